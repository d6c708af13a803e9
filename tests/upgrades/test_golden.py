"""Whatever the last release stored is read by this one: documents, what their steps gave, open writes, tasks."""

from __future__ import annotations

import json

import pytest
from celery import current_app
from django.db import connection
from django.utils import timezone

from q2c.canonical import schema
from q2c.core.ids import uuid7
from q2c.flows import catalog
from q2c.transactions import claims, resuming
from q2c.transactions.steps import Write, decode_output
from tests.upgrades.golden import documents, released

DOCUMENTS, RELEASE = documents(), released()
LEASE = {"wait_count": 0, "probe_count": 0, "parked_at": "", "is_after_restore": False}


@pytest.mark.scenario(59)
def test_every_flow_of_the_last_release_left_a_document():
    assert set(DOCUMENTS) == set(RELEASE["flows"])


@pytest.mark.scenario(59)
@pytest.mark.parametrize("code", DOCUMENTS)
def test_a_stored_document_and_what_its_steps_gave_are_read(code):
    flow, stored = catalog.BY_CODE[code], DOCUMENTS[code]
    fact = schema.from_json(stored["fact"], flow.fact_type)
    assert json.loads(schema.to_json(fact)) == json.loads(stored["fact"])  # nothing of it is lost on the way
    steps = {step.name: step for step in flow.steps}
    for _, name, _, state, output in stored["steps"]:
        assert name in steps or name in flow.retired, f"{name} is gone: name it in the flow's `retired`"
        if name in steps and state == "done" and output not in (None, "null"):
            decode_output(output.encode(), steps[name].output_type)


@pytest.mark.scenario(59)
@pytest.mark.parametrize("code", RELEASE["flows"])
def test_the_steps_of_a_flow_keep_names_kinds_and_order(code):
    """Documents on their way stand between two steps of the last release: a step may come in, or be retired."""
    flow = catalog.BY_CODE[code]
    here = [[step.name, step.kind, step.gives] for step in flow.steps]
    kept = [step for step in RELEASE["flows"][code] if step[0] not in flow.retired]
    assert [step for step in here if step in kept] == kept


@pytest.mark.scenario(59)
@pytest.mark.django_db
@pytest.mark.parametrize("code", DOCUMENTS)
def test_a_document_that_the_last_release_began_is_taken_over_after_each_of_its_writes(code):
    flow, stored = catalog.BY_CODE[code], DOCUMENTS[code]
    done = [row for row in stored["steps"] if row[3] == "done"]
    ends = [n + 1 for n, row in enumerate(done) if row[2] == "write"]
    for number, end in enumerate(ends):
        for intent in [None, *(i for i in stored["intents"] if i["step"] == done[end - 1][1])]:
            kept = done[: end - 1] if intent else done[:end]
            pk = _put_back(code, stored, kept, number)
            lease = claims.Claim(pk, 1, intent, generation=0, step_count=len(kept), **LEASE)
            (run,) = resuming.load_runs(flow, [lease])
            assert (run.ending, run.newer, run.problem, run.lacks) == (None, "", None, [])
            step = flow.steps[run.position] if run.position < len(flow.steps) else None
            if intent:
                assert isinstance(step, Write)
                assert step.name == intent["step"]


def _put_back(code, stored, steps, number):
    """The document with these finished steps, as the last release left it."""
    pk, now = uuid7(), timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO transactions_businesstransaction (id, flow, business_key, lane, lane_sequence, state_at,"
            " created_at, fact_type, fact, source_connection, source_type, source_id, correlation_id)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 'stripe', 'x', 'x', '')",
            [pk, code, str(pk), str(pk), number, now, now, stored["fact_type"], stored["fact"].encode()],
        )
        for sequence, name, kind, state, output in steps:
            cursor.execute(
                "INSERT INTO transactions_steprun (transaction_id, sequence, step, kind, state, attempt, gave, output,"
                " external_id, idempotency_key, content_hash, at, took_us)"
                " VALUES (%s, %s, %s, %s, %s, 1, '', %s, '', '', '', %s, 0)",
                [pk, sequence, name, kind, state, None if output is None else output.encode(), now],
            )
    return pk


@pytest.mark.scenario(59)
def test_every_task_that_the_last_release_sends_is_known():
    current_app.loader.import_default_modules()
    assert set(RELEASE["tasks"]) - set(current_app.tasks) == set()
