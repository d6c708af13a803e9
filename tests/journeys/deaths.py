"""Killing or pausing a real worker at a chosen point: a forked process carries the flow and ends itself with SIGKILL
there, or stops itself with SIGSTOP until somebody lets it go on."""

from __future__ import annotations

import datetime as dt
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from django.db import connection

from q2c.flows import tasks
from q2c.transactions import machine, reading, workers, writing
from q2c.transactions.models import Worker, WorkItem
from q2c.transactions.steps import Flow, Write

DONE = 3
NAP = 0.005
SENDS_WITHIN_SECONDS = 2  # so that the deadline of a worker that stands still before it sends soon passes
_kept: list[Any] = []  # the parent's own connection: the child must neither use nor close it


def read_points(flow: Flow) -> list[str]:
    """Before and after every step that only reads or waits."""
    return [f"{s.name}:{when}" for s in flow.steps if not isinstance(s, Write) for when in ("before", "after")]


def write_points(flow: Flow) -> list[str]:
    """Around each write's commits, its sending and its answer."""
    moments = ("before_intent", "before_send", "after_answer", "after_commit")
    return [f"{s.name}:{when}" for s in flow.steps if isinstance(s, Write) for when in moments]


def pause_points(flow: Flow) -> list[str]:
    """Where a worker may stand still while another one takes over: around each write's sending."""
    moments = ("before_intent", "before_send", "after_answer")
    return [f"{s.name}:{when}" for s in flow.steps if isinstance(s, Write) for when in moments]


def carry_and_die(carry: Callable[[], Any], point: str) -> bool:
    """Carry in a process of its own that dies by SIGKILL at the point. Returns whether it got there."""
    child = _fork(carry, point, _die)
    _pid, status = os.waitpid(child, 0)
    _await_end_of([_session_name(child), _beat_name(child)])
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def carry_through_deaths(carry: Callable[[], Any], points: Iterable[str]) -> None:
    """Carry, with a death at each of these points in turn, and to the end."""
    for point in points:
        assert carry_and_die(carry, point), f"the worker never came to {point}"
        bury()
    carry()


def carry_and_stop(code: str, point: str) -> int:
    """Carry one flow in a process of its own that stops itself at the point. Returns its pid once it stands still and
    the database can't write a beat that it had sent just before; when it goes on it beats on a new session."""

    def carry() -> None:
        if point.endswith("before_send"):
            machine.SEND_WITHIN = dt.timedelta(seconds=SENDS_WITHIN_SECONDS)
        tasks.carry(code)

    child = _fork(carry, point, _stop_once())
    _pid, status = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"the worker never came to {point}"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s", [_beat_name(child)]
        )
    _await_end_of([_beat_name(child)])
    return child


def work_beside(work: Callable[[], Any]) -> int:
    """Do something in a process of its own, as another worker would. Returns its pid."""
    return _fork(work, "nowhere:before", _die)


def await_end(child: int, *, goes_on: bool = False) -> None:
    """Wait until another worker has nothing more to do; one that stands still goes on first."""
    if goes_on:
        os.kill(child, signal.SIGCONT)
    _pid, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == DONE, "the other worker ended badly"


def _await_end_of(sessions: list[str]) -> None:
    """Wait until the database has ended these sessions: a beat that it had received but not yet written would otherwise
    bring the worker back to life after its burial, and what it held would look taken for seconds."""
    gave_up = time.monotonic() + 60
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = ANY(%s)", [sessions])
            if not cursor.fetchone()[0]:
                return
            assert time.monotonic() < gave_up, "the database keeps the session of a worker that is gone"
            time.sleep(NAP)


def _session_name(pid: int) -> str:
    return f"worker {pid}"


def _beat_name(pid: int) -> str:
    return f"beat of worker {pid}"


def _name_sessions(pid: int) -> None:
    """Name the sessions that this process will open, and those of its beat."""
    connection.settings_dict["OPTIONS"]["application_name"] = _session_name(pid)
    real = workers.connection_parameters
    workers.connection_parameters = lambda: real() | {"application_name": _beat_name(pid)}


def _fork(carry: Callable[[], Any], point: str, act: Callable[[], Any]) -> int:
    """A worker in a process of its own. No connection that it inherits is used by both."""
    child = os.fork()
    if child:
        return child
    try:
        _kept.append(connection.connection)
        connection.connection = None
        _name_sessions(os.getpid())
        workers._worker = None
        tasks._send_nudge = lambda code: None  # the broker's connection is the parent's
        _plant(*point.split(":"), act)
        carry()
        os._exit(DONE)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def bury() -> None:
    """The dead worker's beat stops and its open intents settle: what takes seconds for real. Deaths are forgiven."""
    Worker.objects.update(beat_at="2020-01-01T00:00:00Z")
    WorkItem.objects.update(intent_free_at="2020-01-01T00:00:00Z", death_count=0, batch_size=0)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop_once() -> Callable[[], None]:
    stopped: list[int] = []

    def stop() -> None:
        if not stopped:
            stopped.append(os.getpid())
            os.kill(os.getpid(), signal.SIGSTOP)

    return stop


def _plant(step_name: str, when: str, act: Callable[[], Any]) -> None:
    if when in ("before", "after"):
        real = reading._take_step

        def take_step(step, run, context):
            if step.name == step_name and when == "before":
                act()
            real(step, run, context)
            if step.name == step_name and when == "after":
                act()

        reading._take_step = take_step
    elif when == "before_intent":
        _wrap(machine, "commit_intents", step_name, act, before=True)
    elif when == "before_send":
        _wrap(machine, "commit_intents", step_name, act, before=False)
    elif when == "after_answer":
        real_write = writing._write

        async def write(run, step, tools):
            await real_write(run, step, tools)
            if step.name == step_name:
                act()

        writing._write = write
    elif when == "after_commit":
        _wrap_remember(step_name, act)


def _wrap(module: Any, name: str, step_name: str, act: Callable[[], Any], *, before: bool) -> None:
    real = getattr(module, name)

    def wrapped(runs, **kwargs):
        is_here = any(r.flow.steps[r.position].name == step_name for r in runs if r.position < len(r.flow.steps))
        if is_here and before:
            act()
        result = real(runs, **kwargs)
        if is_here:
            act()
        return result

    setattr(module, name, wrapped)


def _wrap_remember(step_name: str, act: Callable[[], Any]) -> None:
    real = machine.remember

    def wrapped(runs, **kwargs):
        is_here = any(row.step == step_name and row.state == "done" for r in runs for row in r.rows)
        real(runs, **kwargs)
        if is_here:
            act()

    machine.remember = wrapped
