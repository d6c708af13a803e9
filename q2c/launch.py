"""`make demo`: the portal with its workers, schedules and vendor sandboxes, under one supervisor.

python -m q2c.launch            starts everything; Ctrl-C or SIGTERM ends everything
python -m q2c.launch worker     one more worker beside a running demo
python -m q2c.launch reset      forgets everything that the demo has stored
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException  # noqa: TID251 - asks our own door whether it's ready
from pathlib import Path

from q2c.embedded import adopt_running_demo, missing_servers
from q2c.processes import take_lock, write_private
from q2c.servers import Place
from q2c.supervisor import Ended, Part, Supervisor

ROOT = Path(__file__).resolve().parent.parent
# Queue and processes: a worker per urgency. Two at the doors, so that a storm of messages keeps no poll from its turn.
WORKERS = (("doors", 2), ("flows", 2), ("reconciliation", 1))


def home() -> Path:
    """Where the demo keeps everything."""
    return Path(os.environ.get("Q2C_HOME") or ".q2c").absolute()


def port() -> int:
    """Where the portal listens."""
    return int(os.environ.get("Q2C_PORT") or 8000)


def sandbox_port() -> int:
    """Where the sandboxes' control door listens."""
    return int(os.environ.get("Q2C_SANDBOX_PORT") or 8900)


def main(arguments: list[str]) -> int:
    """Start everything, or do what the word says."""
    if arguments == ["worker"]:
        return run_worker()
    if arguments == ["reset"]:
        return reset()
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    lock = take_lock(folder / "demo.lock")
    if lock is None:
        sys.stderr.write(f"The demo of {folder} is already running.\n")
        return 1
    os.chdir(ROOT)
    return run_demo(folder)


def run_demo(folder: Path) -> int:
    """Everything, until somebody asks for the end."""
    started = time.monotonic()
    log = os.open(folder / "servers.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    (folder / "demo.json").unlink(missing_ok=True)
    servers = missing_servers(folder)
    supervisor = Supervisor([], server_log=log)
    try:
        servers.start(log)
        supervisor.servers = servers.servers
        owner, portal = environments(folder, servers.environment)
        # Beside the database's preparation, since neither needs the other.
        files = Part("static", manage("collectstatic", "--noinput", "--verbosity=0"), portal)
        supervisor.keep(Part("sandbox", manage("sandbox"), portal))
        supervisor.run(Part("migrate", manage("prepare_database", "--verbosity=0"), owner))
        supervisor.run(files)
        write_private(folder / "running.json", json.dumps(adoptable(owner, portal)))
        supervisor.watch(until=each_second(lambda: answers(sandbox_port(), "/_control/vendors")))
        supervisor.run(Part("seed", manage("seed_demo"), portal))
        supervisor.keep(*parts(portal))
        supervisor.watch(until=each_second(lambda: answers(port(), "/readyz")))
        tell(folder, supervisor)
        supervisor.say(f"ready after {time.monotonic() - started:.0f} s")
        supervisor.keep(Part("feed", manage("demo_feed"), portal))  # the company's daily life
        supervisor.watch()
    except Ended:
        return 0
    except RuntimeError as problem:
        supervisor.say(str(problem))
        return 1
    finally:
        supervisor.say("ending")
        (folder / "demo.json").unlink(missing_ok=True)
        (folder / "running.json").unlink(missing_ok=True)
        supervisor.end()
        servers.stop()
    return 0


def parts(portal: dict[str, str]) -> list[Part]:
    """The portal's own programs."""
    python = sys.executable
    celery = [python, "-m", "celery", "-A", "q2c.celery:app"]
    found = [Part("web", [python, "-m", "gunicorn", "-c", "python:q2c.web_server", "q2c.wsgi"], portal)]
    for queue, count in WORKERS:
        # SIGQUIT: an orphaned worker doesn't first finish what it has begun; another one carries on.
        found.append(Part(queue, worker_command(queue, count), portal, orphan_signal=signal.SIGQUIT))
    found.append(Part("beat", [*celery, "beat", "--pidfile="], portal))
    return found


def worker_command(queue: str, count: int) -> list[str]:
    """A Celery worker of one queue. Gossip and mingling are chatter that nothing here needs."""
    return [
        sys.executable, "-m", "celery", "-q", "-A", "q2c.celery:app", "worker", "--queues", queue,
        "--concurrency", str(count), "--hostname", f"{queue}-{os.getpid()}@%h",
        "--without-gossip", "--without-mingle", "--without-heartbeat",
    ]  # fmt: skip


def manage(*arguments: str) -> list[str]:
    """A management command's line."""
    return [sys.executable, str(ROOT / "manage.py"), *arguments]


def environments(folder: Path, servers: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What the owner's commands and what the portal's own programs see; only the former know the owner's password."""
    counters = folder / "metrics"
    shutil.rmtree(counters, ignore_errors=True)  # old sums and ghosts would come back
    counters.mkdir()
    owner = os.environ | servers
    owner |= {
        "Q2C_ENV": os.environ.get("Q2C_ENV") or "demo",
        "Q2C_HOME": str(folder),
        "Q2C_PORT": str(port()),
        "Q2C_SANDBOX_PORT": str(sandbox_port()),
        "PROMETHEUS_MULTIPROC_DIR": str(counters),
        "DJANGO_SETTINGS_MODULE": "q2c.settings",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore"),
    }
    owner.setdefault("DATABASE_OWNER_URL", owner["DATABASE_URL"])
    portal = {name: value for name, value in owner.items() if name != "DATABASE_OWNER_URL"}
    return owner, portal


def adoptable(owner: dict[str, str], portal: dict[str, str]) -> dict[str, str]:
    """What another command needs to work beside the running demo."""
    names = ("DATABASE_URL", "REDIS_URL", "Q2C_ENV", "Q2C_PORT", "Q2C_SANDBOX_PORT")
    return {name: portal[name] for name in names if name in portal} | {
        "DATABASE_OWNER_URL": owner["DATABASE_OWNER_URL"]
    }


def answers(door: int, path: str) -> bool:
    """Whether a door of ours answers 200."""
    line = HTTPConnection("127.0.0.1", door, timeout=3)
    try:
        line.request("GET", path)
        return line.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        line.close()


def each_second(asks: Callable[[], bool]) -> Callable[[], bool]:
    """The same question, put at most once a second; no in between."""
    next_time = 0.0

    def ask() -> bool:
        nonlocal next_time
        if time.monotonic() < next_time:
            return False
        next_time = time.monotonic() + 1
        return asks()

    return ask


def tell(folder: Path, supervisor: Supervisor) -> None:
    """Write `demo.json` (0600) from what the seeding left, and print the same."""
    told = {"portal": f"http://127.0.0.1:{port()}", "control": f"http://127.0.0.1:{sandbox_port()}"}
    told |= json.loads((folder / "demo.seed.json").read_text())
    write_private(folder / "demo.json", json.dumps(told, indent=2) + "\n")
    for line in json.dumps(told, indent=2).splitlines():
        supervisor.say(line)


def run_worker() -> int:
    """Become one more worker of the flows beside a running demo."""
    os.chdir(ROOT)
    if not adopt_running_demo(home()) and not os.environ.get("DATABASE_URL"):
        sys.stderr.write(f"There's no running demo in {home()}, and no DATABASE_URL.\n")
        return 1
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(home() / "metrics")
    os.environ.pop("DATABASE_OWNER_URL", None)
    command = worker_command("flows", int(os.environ.get("Q2C_WORKER_PROCESSES") or 1))
    return os.execv(command[0], command)


def reset() -> int:
    """Delete what the demo has stored under its home; a database given by DATABASE_URL isn't touched."""
    folder = home()
    if not folder.exists():
        return 0
    locks = [take_lock(folder / name) for name in ("demo.lock", "embedded.lock")]
    if None in locks:
        sys.stderr.write(f"The demo of {folder} is running: end it first.\n")
        return 1
    if (folder / "embedded.id").exists():
        place = Place(folder)
        for elsewhere in {place.folder, place.sockets} - {folder}:
            shutil.rmtree(elsewhere)
    kept = ["test", "bench", "pictures", "chaos"]  # homes of their own
    for path in folder.iterdir():
        if path.name in kept:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
