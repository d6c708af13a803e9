"""Traces by OpenTelemetry, where its packages (extra `otel`) and an exporter's address are given; else they cost
nothing.

The standard environment: `OTEL_EXPORTER_OTLP_ENDPOINT` (or `…_TRACES_ENDPOINT`) switches it on; `OTEL_SERVICE_NAME`,
`OTEL_TRACES_SAMPLER` and the like hold as documented. A trace is named by a correlation id: its id is that UUID, so
whoever has the id of a message or a transaction finds its trace, over all processes and days. The first span is the
request, or the message that was received; steps and calls of a worker follow, each linked to the task that it ran in.

Spans name views, flows, steps, connections and statuses: no address with ids in it, no document, no person.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from uuid import UUID

import structlog

log = structlog.get_logger(__name__)
_WANTED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NOTHING: AbstractContextManager[None] = nullcontext()
_made: tuple[int, Any] | None = None  # the process and its spans: a forked child makes its own
_exporter: Any = None  # of tests; else the one of the environment


def is_on() -> bool:
    """Whether spans are made: an address is given, and nobody has switched it off."""
    if _exporter is not None:
        return True
    env = os.environ
    is_off = env.get("OTEL_SDK_DISABLED", "").lower() == "true" or env.get("OTEL_TRACES_EXPORTER") == "none"
    return not is_off and any(env.get(name) for name in _WANTED)


_is_on = is_on()


def span(
    name: str, *, kind: str = "internal", correlation_id: str = "", is_first: bool = False, **attributes: Any
) -> AbstractContextManager[Any]:
    """A span around a piece of work, under the one that runs. With a correlation id it's of that one's trace; what runs
    in another trace is linked. `is_first`: the trace begins with it. Gives the span; None while nothing is traced."""
    if not _is_on:
        return _NOTHING
    spans = _spans()
    return _NOTHING if spans is None else spans.around(name, kind, correlation_id, is_first, attributes)


def begin(correlation_ids: Iterable[UUID], name: str, **attributes: Any) -> None:
    """The first span of each of these traces, linked to what runs now: messages that were received."""
    if not _is_on:
        return
    for found in correlation_ids:
        with span(name, kind="producer", correlation_id=str(found), is_first=True, **attributes):
            pass


def headers() -> dict[str, str]:
    """What a task is sent with, so that its span follows ours; empty while nothing is traced."""
    spans = _spans() if _is_on else None
    return {} if spans is None else spans.headers()


def task_span(name: str, sent: Any) -> AbstractContextManager[Any]:
    """The span of a task that was sent with these headers."""
    spans = _spans() if _is_on else None
    return _NOTHING if spans is None else spans.of_task(name, sent)


def use_exporter(exporter: Any) -> None:
    """Spans go to this exporter at once (None: as the environment says): for tests."""
    global _exporter, _made, _is_on
    _exporter, _made = exporter, None
    _is_on = is_on()


def _spans() -> Any:
    global _made, _is_on
    if _made is None or _made[0] != os.getpid():
        try:
            from q2c.core.spans import Spans
        except ImportError:
            log.warning("traces are asked for and OpenTelemetry isn't installed: install the extra otel")
            _is_on = False
            return None
        _made = (os.getpid(), Spans(_exporter))
    return _made[1]


def tell_answer(own: Any, *, view: str, status: int) -> None:
    """What a request's span says once it's answered: its view, never its path, which holds ids."""
    if own is not None:
        own.update_name(f"{own.name} {view}")
        own.set_attribute("http.route", view)
        own.set_attribute("http.response.status_code", status)
