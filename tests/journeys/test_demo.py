"""`make demo` as a stranger meets it: killed without warning, ready again with its data, ended without leftovers.

Its company lives on meanwhile: what was sold, billed and posted before each death is neither lost nor doubled after it.
"""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest
import requests

from tests.journeys.stage import LOADED, await_that

ROOT = Path(__file__).resolve().parents[2]
KEEP = (
    "from q2c.core.models import LegalEntity as L;"
    " L.objects.create(code='ZZ9', name='Kept', country='GB', currency='GBP', time_zone='UTC')"
)
KEPT = "from q2c.core.models import LegalEntity as L; print(L.objects.get(code='ZZ9').name)"
ROLE = "from django.db import connection as c; k = c.cursor(); k.execute('select current_user'); print(k.fetchone()[0])"


@pytest.fixture
def demo(tmp_path):
    """A function that starts the demo in a session of its own and waits for its word that it's ready."""
    home = tmp_path / "demo"
    environment = {n: v for n, v in os.environ.items() if n not in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL")}
    environment |= {"Q2C_ENV": "demo", "Q2C_HOME": str(home), "DJANGO_SETTINGS_MODULE": "q2c.settings"}
    environment |= {"Q2C_PORT": str(free_port()), "Q2C_SANDBOX_PORT": str(free_port())}
    started = []

    def start() -> subprocess.Popen:
        said = tmp_path / f"said-{len(started)}.log"  # a pipe that nobody reads any more would halt the demo
        with said.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "q2c.launch"], cwd=ROOT, env=environment, start_new_session=True,
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        started.append(process)
        while "ready after" not in said.read_text():
            assert process.poll() is None, said.read_text()[-4000:]
            time.sleep(0.2)
        return process

    start.home, start.environment = home, environment
    yield start
    for process in started:
        kill_session(process.pid)
        process.wait()
    subprocess.run([sys.executable, "-m", "q2c.launch", "reset"], cwd=ROOT, env=environment, check=True)


def free_port() -> int:
    """A port with room behind it for the vendors."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1] % 20000 + 20000


def session(leader: int) -> list[int]:
    """The living processes of a session."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=", "-s", str(leader)], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if not line.split()[1].startswith("Z")]


def kill_session(leader: int) -> None:
    for pid in session(leader):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def manage(demo, code: str) -> str:
    """What a command beside the running demo prints: it needs no address but Q2C_HOME."""
    environment = {n: v for n, v in demo.environment.items() if n not in ("Q2C_ENV", "Q2C_PORT", "Q2C_SANDBOX_PORT")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "manage.py", "shell", "--no-imports", "-c", code],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def made(demo) -> Counter:
    """How often the vendors' own logs say that each document was made, by type and external id."""
    found: Counter = Counter()
    for vendor in ("netsuite", "stripe"):
        url, last = f"http://127.0.0.1:{demo.environment['Q2C_SANDBOX_PORT']}/_control/{vendor}/log", 0
        while entries := requests.get(url, params={"after": last}, timeout=60).json()["entries"]:
            last = entries[-1]["n"]
            found.update(
                (e["document_type"], e["external_id"]) for e in entries if e["effect"] == "created" and e["external_id"]
            )
    return found


def ask(demo, question: str) -> list[tuple]:
    """Rows of the running demo's database."""
    address = json.loads((demo.home / "running.json").read_text())["DATABASE_URL"]
    with psycopg.connect(address) as wire:
        return wire.execute(question).fetchall()


def is_ready(demo) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{demo.environment['Q2C_PORT']}/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


def kill_database(leader: int) -> None:
    """SIGKILL to PostgreSQL itself; its backends end when they notice."""
    (postmaster,) = [pid for pid in session(leader) if b"/postgres\0-D" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(postmaster, signal.SIGKILL)
    await_that(lambda: postmaster not in session(leader), seconds=10, what="PostgreSQL is gone")


@pytest.mark.scenario(56, of="processes, whatever they carry")
@pytest.mark.crash
def test_a_demo_that_was_killed_goes_on_with_its_data_and_ends_without_leftovers(demo):
    first = demo()
    told = demo.home / "demo.json"
    assert stat.S_IMODE(told.stat().st_mode) == 0o600
    assert json.loads(told.read_text())["portal"] == f"http://127.0.0.1:{demo.environment['Q2C_PORT']}"
    manage(demo, KEEP)
    assert manage(demo, ROLE) == "q2c_app"

    await_that(lambda: len(made(demo)) >= 10, seconds=60, what="the company's first documents")
    kill_database(first.pid)
    await_that(lambda: is_ready(demo), seconds=60, what="the portal has its database again")
    before = len(made(demo))
    await_that(lambda: len(made(demo)) > before, seconds=60, what="work goes on")

    kill_session(first.pid)
    first.wait()
    second = demo()
    assert manage(demo, KEPT) == "Kept"
    ((newest,),) = ask(demo, "SELECT id FROM transactions_businesstransaction ORDER BY id DESC LIMIT 1")
    unfinished = f"SELECT FROM transactions_businesstransaction WHERE state = 'running' AND id <= '{newest}'"
    await_that(lambda: ask(demo, unfinished) == [], seconds=90, what="all that had begun is carried on")
    assert [document for document, times in made(demo).items() if times > 1] == []

    refused = subprocess.run([sys.executable, "-m", "q2c.launch"], cwd=ROOT, env=demo.environment, capture_output=True)
    assert refused.returncode == 1

    second.send_signal(signal.SIGTERM)
    second.wait(timeout=LOADED * 20)
    assert second.returncode == 0
    assert session(second.pid) == []
    assert not told.exists()
