"""The supervisor: prefixes lines, starts again what dies, and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# A supervisor over one part. The part tells its process id and waits; a child of its would outlive it if it could.
SCRIPT = """
import os, sys
from q2c import supervisor
from q2c.supervisor import Ended, Part, Supervisor
supervisor.PATIENCE_SECONDS = 1.0
part = Part("part", [sys.executable, "-u", "-c", sys.argv[1]], dict(os.environ))
supervisor = Supervisor([], server_log=1)
try:
    supervisor.keep(part)
    supervisor.watch()
except Ended:
    pass
finally:
    supervisor.end()
"""
WAITS = "import os, time; print('pid', os.getpid()); time.sleep(600)"
DEAF = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAITS
WITH_CHILD = (
    "import os, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    " print('pid', child.pid); child.wait()"
)


@pytest.fixture
def supervise():
    started = []

    def start(code: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def next_pid(process: subprocess.Popen) -> int:
    """The process id in the part's next line."""
    for line in process.stdout:
        if found := re.fullmatch(r"part {11}\| pid (\d+)\n", line):
            return int(found.group(1))
    raise AssertionError("the part said nothing")


def wait_gone(pid: int) -> None:
    """Wait until a process that isn't our child has ended (a zombie has)."""
    for _ in range(600):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state in "ZX":
            return
        signal.sigtimedwait([], 0.05)
    raise AssertionError(f"{pid} lives on")


def test_what_dies_is_started_again(supervise):
    process = supervise(WAITS)
    first = next_pid(process)
    os.kill(first, signal.SIGKILL)
    assert next_pid(process) != first
    process.terminate()
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0
    assert "Traceback" not in output


def test_the_end_takes_everything_with_it_also_what_is_deaf_or_a_grandchild(supervise):
    for code in (DEAF, WITH_CHILD):
        process = supervise(code)
        pid = next_pid(process)
        process.terminate()
        process.communicate(timeout=120)
        assert process.returncode == 0
        wait_gone(pid)


def test_a_killed_supervisor_takes_its_parts_with_it(supervise):
    process = supervise(WAITS)
    pid = next_pid(process)
    process.kill()
    wait_gone(pid)
