"""The spans themselves, by OpenTelemetry's SDK. Imported only where tracing is on (`q2c.core.tracing`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_CORRELATION = "q2c.correlation_id"
_first: ContextVar[list[int] | None] = ContextVar("first_span", default=None)
_w3c = TraceContextTextMapPropagator()


class _Ids(RandomIdGenerator):
    """Random ids, but for the first span of a correlation id's trace: its trace and span follow from that id."""

    def generate_trace_id(self) -> int:
        wanted = _first.get()
        return wanted[0] if wanted else super().generate_trace_id()

    def generate_span_id(self) -> int:
        wanted = _first.get()
        return wanted.pop() if wanted and len(wanted) > 1 else super().generate_span_id()


class Spans:
    """One process's spans. `exporter`: of tests, told at once; else OTLP over HTTP as the environment says."""

    def __init__(self, exporter: Any = None) -> None:
        self.provider = TracerProvider(id_generator=_Ids(), resource=Resource.create({"service.namespace": "q2c"}))
        if exporter is not None:
            self.provider.add_span_processor(SimpleSpanProcessor(exporter))
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self.tracer = self.provider.get_tracer("q2c")

    @contextmanager
    def around(
        self, name: str, kind: str, correlation_id: str, is_first: bool, attributes: Mapping[str, Any]
    ) -> Iterator[Any]:
        """A span as `tracing.span` has it; an exception that passes through is told by its type only."""
        running = trace.get_current_span().get_span_context()
        wanted = _context_of(correlation_id)
        facts = {key: value for key, value in attributes.items() if value not in (None, "")}
        context, links = None, []
        if wanted is not None:
            facts[_CORRELATION] = correlation_id
            if is_first or running.trace_id != wanted.trace_id:
                links = [Link(running)] if running.is_valid else []
                context = trace.set_span_in_context(trace.INVALID_SPAN if is_first else NonRecordingSpan(wanted))
        token = _first.set([wanted.trace_id, wanted.span_id] if wanted is not None and is_first else None)
        try:
            own = self.tracer.start_span(
                name, context=context, kind=SpanKind[kind.upper()], attributes=facts, links=links
            )
        finally:
            _first.reset(token)
        with trace.use_span(own, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield own
            except BaseException as error:
                own.set_status(trace.Status(trace.StatusCode.ERROR, type(error).__name__))
                own.set_attribute("error.type", type(error).__name__)
                raise

    def headers(self) -> dict[str, str]:
        """The span that runs, as W3C's `traceparent`."""
        found: dict[str, str] = {}
        _w3c.inject(found)
        return found

    @contextmanager
    def of_task(self, name: str, sent: Any) -> Iterator[Any]:
        """The span of a task, under the one that sent it."""
        carrier = {"traceparent": str((sent or {}).get("traceparent") or "")}
        with self.tracer.start_as_current_span(
            name, context=_w3c.extract(carrier), kind=SpanKind.CONSUMER, record_exception=False
        ) as own:
            yield own


def _context_of(correlation_id: str) -> SpanContext | None:
    """The first span of a correlation id's trace; None where the id isn't a UUID."""
    try:
        found = UUID(correlation_id)
    except ValueError:
        return None
    span_id = int.from_bytes(hashlib.sha256(found.bytes).digest()[:8]) or 1
    return SpanContext(found.int, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
