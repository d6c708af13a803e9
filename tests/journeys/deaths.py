"""Killing a real worker at a chosen point: a forked process carries the flow and ends itself with SIGKILL there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from django.db import connection

from q2c.transactions import machine, reading, workers, writing
from q2c.transactions.models import Worker, WorkItem
from q2c.transactions.steps import Flow, Write

_kept: list[Any] = []  # the parent's own connection: the child must neither use nor close it


def read_points(flow: Flow) -> list[str]:
    """Before and after every step that only reads or waits."""
    return [f"{s.name}:{when}" for s in flow.steps if not isinstance(s, Write) for when in ("before", "after")]


def write_points(flow: Flow) -> list[str]:
    """Around each write's commits, its sending and its answer."""
    moments = ("before_intent", "before_send", "after_answer", "after_commit")
    return [f"{s.name}:{when}" for s in flow.steps if isinstance(s, Write) for when in moments]


def carry_and_die(carry: Callable[[], Any], point: str) -> bool:
    """Carry in a process of its own that dies by SIGKILL at the point. Returns whether it got there."""
    child = os.fork()
    if child == 0:
        try:
            _kept.append(connection.connection)
            connection.connection = None
            workers._worker = None
            _plant(*point.split(":"))
            carry()
        finally:
            os._exit(3)  # it didn't reach the point
    _pid, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def bury() -> None:
    """The dead worker's beat stops and its open intents settle: what takes seconds for real. Deaths are forgiven."""
    Worker.objects.update(beat_at="2020-01-01T00:00:00Z")
    WorkItem.objects.update(intent_free_at="2020-01-01T00:00:00Z", death_count=0, batch_size=0)


def _die(*_args: Any, **_kwargs: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _plant(step_name: str, when: str) -> None:
    if when in ("before", "after"):
        real = reading._take_step

        def take_step(step, run, context):
            if step.name == step_name and when == "before":
                _die()
            real(step, run, context)
            if step.name == step_name and when == "after":
                _die()

        reading._take_step = take_step
    elif when == "before_intent":
        _wrap(machine, "commit_intents", step_name, before=True)
    elif when == "before_send":
        _wrap(machine, "commit_intents", step_name, before=False)
    elif when == "after_answer":
        real_write = writing._write

        async def write(run, step, tools):
            await real_write(run, step, tools)
            if step.name == step_name:
                _die()

        writing._write = write
    elif when == "after_commit":
        _wrap_remember(step_name)


def _wrap(module: Any, name: str, step_name: str, *, before: bool) -> None:
    real = getattr(module, name)

    def wrapped(runs, **kwargs):
        is_here = any(r.flow.steps[r.position].name == step_name for r in runs if r.position < len(r.flow.steps))
        if is_here and before:
            _die()
        result = real(runs, **kwargs)
        if is_here:
            _die()
        return result

    setattr(module, name, wrapped)


def _wrap_remember(step_name: str) -> None:
    real = machine.remember

    def wrapped(runs, **kwargs):
        is_here = any(row.step == step_name and row.state == "done" for r in runs for row in r.rows)
        real(runs, **kwargs)
        if is_here:
            _die()

    machine.remember = wrapped
