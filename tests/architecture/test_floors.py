"""Nobody imports upwards, and no module stands outside the house."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.house import ROOT, configuration, contract, modules, tree, vendors

FLOORS = "Data arrives at the bottom, people live at the top: nobody imports upwards"

# These stand on no floor: how processes start, and what Django finds by name.
STARTERS = {f"q2c.{n}" for n in ("settings", "wsgi", "web_server", "launch", "supervisor", "servers", "embedded",
                                 "processes")}  # fmt: skip
BY_NAME = re.compile(r"(^|\.)(apps|admin|migrations|management)(\.|$)")

PURE = ("q2c.canonical", "q2c.posting", "q2c.core.money", "q2c.core.problems", "q2c.core.ids", "q2c.core.redact",
        "q2c.core.calendar", "exceptions.grouping", "exceptions.sla", "mappings.survivorship",
        "q2c.reconciliation.compare")  # fmt: skip


def floors() -> list[str]:
    """The modules that the floors name, without their signs."""
    layers = contract(FLOORS)["layers"]
    return [name.strip().strip("()") for layer in layers for name in re.split(r"[|:]", layer)]


def has_code(path: Path) -> bool:
    """Whether a module holds more than a docstring."""
    return any(not isinstance(node, ast.Expr) for node in tree(path).body)


def test_every_import_contract_is_kept():
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    if not Path(command[0]).exists():
        pytest.skip("needs import-linter (make check)")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


def test_every_module_stands_on_a_floor_or_belongs_to_a_vendor():
    homes = [*floors(), *(f"connectors.{vendor}" for vendor in vendors())]
    homeless = [
        name
        for name, path in modules().items()
        if not any(name == home or name.startswith(home + ".") for home in homes)
        and name not in STARTERS
        and not BY_NAME.search(name)
        and (path.name != "__init__.py" or has_code(path))
    ]
    assert homeless == []


def test_every_floor_exists():
    """Those in brackets are named ahead of the issue that builds them."""
    layers = contract(FLOORS)["layers"]
    firm = [name.strip() for layer in layers for name in re.split(r"[|:]", layer) if "(" not in name]
    assert [name for name in firm if name not in modules()] == []


def test_packages_hold_nothing_in_their_init():
    """`from q2c.core import money` isn't seen as importing what `q2c/core/__init__.py` imports.

    A package of models only names its own modules: Django wants all tables of an app under one name."""
    rooms = {home for home in floors() if home in modules()} | {"q2c", "connectors", "mappings", "exceptions"}
    talking = [
        n for n in rooms if modules()[n].name == "__init__.py" and not n.endswith(".models") and has_code(modules()[n])
    ]
    assert talking == []


def test_the_independence_contract_names_every_vendor():
    assert contract("No vendor knows another vendor")["modules"] == [f"connectors.{vendor}" for vendor in vendors()]


def test_the_pure_rooms_load_without_django():
    pure = [n for n in modules() if any(n == room or n.startswith(room + ".") for room in PURE)]
    for vendor in vendors():
        pure += [n for n in (f"connectors.{vendor}.inbound", f"connectors.{vendor}.outbound") if n in modules()]
    assert len(pure) > 10
    unwanted = ["django", "celery", "aiohttp"]
    code = f"import sys\nfor n in {pure!r}: __import__(n)\nprint([m for m in {unwanted!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_installed_packages_are_the_four():
    assert configuration()["tool"]["setuptools"]["packages"]["find"]["include"] == [
        "q2c*", "connectors*", "mappings*", "exceptions*",
    ]  # fmt: skip
