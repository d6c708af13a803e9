"""What the architecture tests look at: every module of the four packages, and the tools' configuration."""

import ast
import functools
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("q2c", "connectors", "mappings", "exceptions")


@functools.cache
def modules() -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def configuration() -> dict:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def contract(name: str) -> dict:
    """An import contract by its name."""
    return next(c for c in configuration()["tool"]["importlinter"]["contracts"] if c["name"] == name)


@functools.cache
def tree(path: Path) -> ast.Module:
    """A module, parsed."""
    return ast.parse(path.read_text(), str(path))


@functools.cache
def vendors() -> tuple[str, ...]:
    """Vendor packages, found by looking."""
    others = {"console", "sandbox", "management", "migrations"}
    return tuple(
        sorted(p.parent.name for p in (ROOT / "connectors").glob("*/__init__.py") if p.parent.name not in others)
    )
