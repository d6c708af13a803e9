"""Traces: one by each correlation id, from the request over the task to the vendor's call; nothing while it's off."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from django.http import HttpResponse

from q2c import celery
from q2c.core import middleware, tracing
from q2c.core.ids import uuid7


@pytest.fixture
def exported():
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    tracing.use_exporter(exporter)
    yield exporter
    tracing.use_exporter(None)


def test_nothing_is_traced_or_even_imported_while_no_address_is_given():
    checks = (
        "import sys; from q2c.core import tracing\n"
        "with tracing.span('x', correlation_id='y') as own: assert own is None\n"
        "assert tracing.headers() == {} and not any(name.startswith('opentelemetry') for name in sys.modules)"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    subprocess.run([sys.executable, "-c", checks], check=True, env=env, timeout=300)


@pytest.mark.parametrize(
    ("env", "is_on"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({}, False),
    ],
)
def test_the_standard_environment_switches_it_on_and_off(monkeypatch, env, is_on):
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert tracing.is_on() is is_on


def test_a_request_a_message_its_step_and_its_call_hang_together_by_their_correlation_ids(exported, rf):
    request, event = rf.post("/hooks/stripe/"), uuid7()

    def door(asked):
        asked.resolver_match = SimpleNamespace(view_name="api:webhook")
        tracing.begin([event], "receive", via="webhook")
        sent.update(tracing.headers())
        return HttpResponse(status=202)

    sent: dict = {}
    middleware.correlation(door)(request)
    task = SimpleNamespace(name="q2c.inbox.carry_events", request=SimpleNamespace(headers=None, **sent))
    celery.begin_span(task=task)
    with (
        tracing.span("invoice_to_erp post_invoice", correlation_id=str(event)),
        tracing.span("POST netsuite", kind="client", correlation_id=str(event), connection="netsuite"),
    ):
        pass
    celery.end_span(task=task)

    spans = {span.name: span for span in exported.get_finished_spans()}
    web, message = spans["POST api:webhook"], spans["receive"]
    carried, step, call = spans[task.name], spans["invoice_to_erp post_invoice"], spans["POST netsuite"]
    assert f"{web.context.trace_id:032x}" == request.correlation_id.replace("-", "")
    assert web.attributes["http.response.status_code"] == 202
    assert {found.context.trace_id for found in (message, step, call)} == {event.int}
    assert step.parent.span_id == message.context.span_id  # made in another process, from the id alone
    assert call.parent.span_id == step.context.span_id
    assert carried.parent.span_id == web.context.span_id
    assert [link.context.span_id for link in message.links] == [web.context.span_id]
    assert [link.context.span_id for link in step.links] == [carried.context.span_id]
    assert {found.attributes["q2c.correlation_id"] for found in (message, step, call)} == {str(event)}


def test_what_fails_is_told_by_its_type_and_never_by_its_words(exported):
    with pytest.raises(ValueError, match="secret"), tracing.span("post", correlation_id="no uuid"):
        raise ValueError("a secret word")
    (span,) = exported.get_finished_spans()
    assert (span.status.description, span.attributes["error.type"], span.events) == ("ValueError", "ValueError", ())
    assert "secret" not in span.to_json()
