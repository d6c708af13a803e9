"""What the image is built from: all that the programs need, and nothing else that lies in the folder."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.house import PACKAGES, ROOT

RULES = [
    line for line in (ROOT / ".dockerignore").read_text().splitlines() if line.strip() and not line.startswith("#")
]
COPIED = [
    source
    for line in (ROOT / "Dockerfile").read_text().splitlines()
    if line.startswith("COPY ") and "--from=" not in line
    for source in line.split()[1:-1]
]


def is_sent(path: str) -> bool:
    """Whether Docker sends a file to the builder: the last rule that fits it, or a folder above it, decides."""
    parts = path.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    sent = True
    for rule in RULES:
        if any(_fits(rule.removeprefix("!"), each) for each in above):
            sent = rule.startswith("!")
    return sent


def _fits(rule: str, path: str) -> bool:
    """A rule of .dockerignore: `*` stays within a name, `**/` is any number of folders."""
    if rule.startswith("**/"):
        return fnmatch.fnmatchcase(path.rpartition("/")[2], rule[3:])
    return rule.count("/") == path.count("/") and fnmatch.fnmatchcase(path, rule)


def sent_files() -> list[str]:
    """What of this folder Docker sends."""
    found = (path for path in ROOT.rglob("*") if not path.relative_to(ROOT).as_posix().startswith((".", "tests/")))
    return [name for path in found if path.is_file() and is_sent(name := path.relative_to(ROOT).as_posix())]


@pytest.mark.parametrize(
    "secret",
    [
        ".env", ".env.production", "q2c/.env", "docs/compose/.env", ".git/config", ".q2c/secret_key", "var/vault_keys",
        "dump.sql", "anchors/audit.jsonl", "docs/compose/pgbouncer.ini", "backup/q2c.tar", "id_rsa", "q2c/.netrc",
        "bench-results.json", "tests/conftest.py", "connectors/__pycache__/models.pyc",
    ],
)  # fmt: skip
def test_what_lies_beside_the_code_never_reaches_the_image(secret):
    assert not is_sent(secret)


def test_git_never_keeps_the_values_of_an_installation():
    assert ".env*" in (ROOT / ".gitignore").read_text().splitlines()


def test_every_copy_finds_what_it_names():
    assert "." in COPIED
    sent = sent_files()
    for source in COPIED:
        assert source == "." or any(path == source or path.startswith(f"{source}/") for path in sent), source


def test_every_file_of_the_four_packages_is_sent_and_every_command_finds_its_script():
    sent = set(sent_files())
    for folder in (*PACKAGES, "templates", "static"):
        files = [f for f in (ROOT / folder).rglob("[!.]*") if f.is_file() and "__pycache__" not in f.parts]
        assert {f.relative_to(ROOT).as_posix() for f in files} <= sent
    for script in re.findall(r"[\w./]+\.py\b", (ROOT / "Dockerfile").read_text()):
        assert is_sent(script), script


def test_the_image_can_be_built_out_of_what_is_sent(tmp_path):
    for path in sent_files():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    step = re.search(r"^RUN Q2C_ENV=demo .* python (manage\.py .*?) &&", (ROOT / "Dockerfile").read_text(), re.M)
    assert step
    done = subprocess.run(
        [sys.executable, *step[1].split()],
        cwd=tmp_path,
        env={"Q2C_ENV": "demo", "Q2C_HOME": str(tmp_path / "home"), "DATABASE_URL": "postgresql://nobody@nowhere/q2c",
             "REDIS_URL": "redis://nowhere", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "home" / "static").rglob("*.css"))
    assert Path(tmp_path / "docs/compose/healthcheck.py").exists()
