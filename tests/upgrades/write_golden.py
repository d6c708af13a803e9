"""Not a test: writes what this release leaves behind, at a release (`make golden`)."""

from __future__ import annotations

from typing import Any

import pytest

from q2c.flows import catalog
from q2c.outbox.models import OutboxEvent
from q2c.transactions import machine
from q2c.transactions.models import BusinessTransaction
from tests.journeys.conftest import cast, home, house, sandboxes  # noqa: F401 - fixtures
from tests.journeys.scenes import SCENES, enter
from tests.upgrades.golden import document_facts, release_facts, write


def test_write_what_the_release_consists_of():
    write("release", release_facts())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("code", catalog.BY_CODE)
def test_write_a_document_of_each_flow(house, code, monkeypatch):  # noqa: F811
    intents: dict[Any, list[dict[str, Any]]] = {}
    real = machine.commit_intents

    def noting(runs, **given):
        kept = real(runs, **given)
        for run in kept:
            intents.setdefault(run.id, []).append(dict(run.due_intent))
        return kept

    monkeypatch.setattr(machine, "commit_intents", noting)
    prepared = SCENES[code].prepare(house)
    house.carry()
    enter(house, SCENES[code], prepared, "golden")
    house.carry()
    txn = BusinessTransaction.objects.filter(flow=code, state="completed").order_by("id").last()
    assert txn is not None, house.standing()
    events = OutboxEvent.objects.filter(transaction_id=txn.pk).order_by("id")
    write(code, document_facts(txn, intents.get(txn.pk, []), [[e.event_type, e.subject, e.data] for e in events]))
