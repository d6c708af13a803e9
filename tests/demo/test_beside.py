"""What a demo keeps in files between its starts, and how a command finds the demo beside which it works."""

import json
import os

import pytest

from q2c.demo import seed
from q2c.embedded import adopt_running_demo

RUNNING = {
    "DATABASE_URL": "postgres://app@db/q2c", "REDIS_URL": "redis://broker/0", "Q2C_ENV": "demo", "Q2C_PORT": "8100",
    "DATABASE_OWNER_URL": "postgres://owner@db/q2c",
}  # fmt: skip


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in (*RUNNING, "Q2C_SANDBOX_PORT"):
        monkeypatch.setenv(name, "")  # so that what adoption sets is taken away again
        monkeypatch.delenv(name)
    (tmp_path / "running.json").write_text(json.dumps(RUNNING))
    return tmp_path


def test_passwords_that_are_known_stay_in_the_file_as_it_lies_there(tmp_path):
    made = seed._passwords(tmp_path)
    path = tmp_path / "people.json"
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat()
    assert seed._passwords(tmp_path) == made
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.write_text(json.dumps({name: word for name, word in made.items() if name != "auditor"}))
    again = seed._passwords(tmp_path)
    assert {name: word for name, word in again.items() if name != "auditor"} == {
        name: word for name, word in made.items() if name != "auditor"
    }
    assert again["auditor"] != made["auditor"]
    assert json.loads(path.read_text()) == again


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="an environment that names nothing"),
        pytest.param({"DATABASE_URL": RUNNING["DATABASE_URL"]}, id="one that names the demo's own database"),
        pytest.param({"DATABASE_URL": RUNNING["DATABASE_URL"], "REDIS_URL": RUNNING["REDIS_URL"]}, id="and its broker"),
        pytest.param({"Q2C_ENV": "demo"}, id="one that says that it's a demo"),
    ],
)
def test_a_command_works_beside_the_demo(home, monkeypatch, given):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert adopt_running_demo(home)
    assert {name: os.environ.get(name) for name in RUNNING} == RUNNING


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"DATABASE_URL": "postgres://app@elsewhere/q2c"}, id="another database"),
        pytest.param({"Q2C_ENV": "production"}, id="production"),
        pytest.param({"Q2C_ENV": "test"}, id="a test"),
        pytest.param({"DATABASE_URL": RUNNING["DATABASE_URL"], "Q2C_ENV": "demo"}, id="a part of the demo itself"),
    ],
)
def test_a_command_for_something_else_learns_nothing_of_the_demo(home, monkeypatch, given):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert not adopt_running_demo(home)
    assert "DATABASE_OWNER_URL" not in os.environ
