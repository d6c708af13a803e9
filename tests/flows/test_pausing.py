"""Paused work waits in its order, whatever comes meanwhile, and is carried once when it goes on."""

from __future__ import annotations

import psycopg
import pytest
from django.utils import timezone

from q2c.core.models import AuditEntry
from q2c.flows import pausing
from q2c.transactions import claims, machine, pauses, workers
from q2c.transactions.batch import Run
from q2c.transactions.models import SET_ASIDE, BusinessTransaction, Pause, WorkItem
from tests import factories
from tests.transactions import machine_rig
from tests.transactions.machine_rig import Rig, Target, add_transactions

pytestmark = pytest.mark.django_db(transaction=True)


def add(count, entity):
    made = add_transactions(count)
    for key in made:
        BusinessTransaction.objects.filter(pk=key).update(legal_entity_code=entity, created_at=timezone.now())
    return made


def prepare_for_gb01(fact: machine_rig.Fact, txn: Run) -> machine_rig.Prepared:
    """As a step that finds out who sells."""
    txn.legal_entity_code = "GB01"
    return machine_rig.prepare(fact)


def numbers(made):
    known = dict(BusinessTransaction.objects.filter(pk__in=made).values_list("pk", "number"))
    return [f"x-{known[key]}" for key in made]


@pytest.fixture
def rig():
    return Rig(Target())


@pytest.fixture
def flow():
    return machine_rig.flow(lane_type="invoice")


def carry(flow, rig, limit=3):
    while machine.advance(flow, rig.tools, limit=limit):
        pass


def test_a_paused_entity_waits_without_holding_up_others_and_catches_up_in_order(rig, flow, monkeypatch):
    monkeypatch.setattr(pauses, "AT_ONCE", 2)
    pause = factories.make_pause(flow="", object_type="invoice")
    first, other, later = add(4, "GB01"), add(3, "US01"), add(3, "GB01")
    carry(flow, rig)
    assert rig.target.created == numbers(other)
    assert set(WorkItem.objects.values_list("available_at", "worker")) == {(SET_ASIDE, "")}
    waiting = BusinessTransaction.objects.filter(pk__in=first + later)
    assert set(waiting.values_list("state", "waits_for")) == {
        ("waiting", "the end of a pause of GB01: The ERP is moved")
    }
    Pause.objects.update(resumed_at=pause.at)
    new = add(1, "GB01")
    assert [pauses.bring_back(pause, [flow]) for _ in range(4)] == [2, 2, 2, 1]
    assert Pause.objects.get().caught_up_at is not None
    carry(flow, rig, limit=1)
    assert rig.target.created[3:] == numbers(first + later + new)


def test_what_another_pause_covers_too_stays_where_it_is(rig, flow):
    pause = factories.make_pause(flow="", object_type="invoice")
    factories.make_pause(flow="test_flow", object_type="")
    made = add(2, "GB01")
    carry(flow, rig)
    Pause.objects.filter(pk=pause.pk).update(resumed_at=pause.at)
    assert pauses.bring_back(pause, [flow]) == 0
    assert WorkItem.objects.filter(available_at=SET_ASIDE).count() == len(made)


def test_a_paused_flow_or_object_type_claims_nothing_and_the_rest_goes_on(rig, flow):
    pause = factories.make_pause(flow="", legal_entity_code="", object_type="invoice")
    made = add(2, "GB01")
    assert machine.advance(flow, rig.tools) == 0
    assert set(WorkItem.objects.values_list("token", flat=True)) == {0}
    payments = machine_rig.flow(lane_type="payment")
    assert machine.advance(payments, rig.tools) == len(made)
    pause.delete()


def test_an_entity_that_is_known_only_on_the_way_is_stopped_before_anything_is_sent(rig, flow):
    factories.make_pause(flow="test_flow")
    (made,) = add_transactions(1)
    flow = machine_rig.flow(lane_type="invoice", prepare=prepare_for_gb01)
    machine.advance(flow, rig.tools)
    found = BusinessTransaction.objects.get(pk=made)
    assert (rig.target.created, found.state, found.legal_entity_code) == ([], "waiting", "GB01")
    WorkItem.objects.update(available_at=found.created_at)
    machine.advance(flow, rig.tools)
    assert WorkItem.objects.get().available_at == SET_ASIDE


def test_pausing_and_resuming_are_audited_with_their_reasons_and_a_second_time_changes_nothing():
    operator = factories.make_person("platform")
    pause = pausing.pause_work(by=operator, reason="Wrong tax codes", flow="invoice_to_erp", legal_entity="GB01")
    with pytest.raises(ValueError, match="is paused already"):
        pausing.pause_work(by=operator, reason="Again", flow="invoice_to_erp", legal_entity="GB01")
    with pytest.raises(ValueError, match="No flow carries"):
        pausing.pause_work(by=operator, reason="None", flow="invoice_to_erp", object_type="payment")
    assert pausing.resume_work(pause, by=operator, reason="Mended") == ["invoice_to_erp"]
    assert pausing.resume_work(pause, by=operator, reason="Mended") == []
    acts = AuditEntry.objects.filter(subject_type="work").order_by("sequence")
    assert list(acts.values_list("verb", "why")) == [("pause", "Wrong tax codes"), ("resume", "Mended")]
    assert pausing.catch_up() == ["invoice_to_erp"]
    assert Pause.objects.get().caught_up_at is not None
    assert pausing.catch_up() == []


def test_what_is_set_aside_too_late_for_its_pause_is_given_back_as_it_was(rig, flow):
    pause = factories.make_pause(flow="", object_type="invoice")
    made = add(2, "GB01")
    claimed = claims.claim_batch(flow=flow.code, worker="w", limit=5)
    pausing.resume_work(pause, by=factories.make_person("platform"), reason="mended again")
    pauses.set_aside(flow, [(claim.transaction_id, "why") for claim in claimed], worker="w")
    assert not WorkItem.objects.filter(available_at=SET_ASIDE).exists()
    carry(flow, rig)
    assert sorted(rig.target.created) == sorted(numbers(made))


def test_of_two_that_bring_work_back_one_waits_for_nothing_and_ends_nothing(rig, flow):
    pause = factories.make_pause(flow="", object_type="invoice")
    add(2, "GB01")
    carry(flow, rig)
    pausing.resume_work(pause, by=factories.make_person("platform"), reason="mended again")
    with psycopg.connect(**workers.connection_parameters()) as other:
        other.execute("SELECT 1 FROM transactions_pause WHERE id = %s FOR UPDATE", [pause.pk])
        assert pauses.bring_back(pause, [flow]) == 0
        assert Pause.objects.get().caught_up_at is None
    assert pauses.bring_back(pause, [flow]) == 2
    assert Pause.objects.get().caught_up_at is not None
