"""Waivers that stay on the list of open items and can be taken back; cases left alone until something happens."""

from __future__ import annotations

import datetime as dt

import pytest
import time_machine
from django.utils import timezone

from exceptions import cases
from exceptions.models import ExceptionCase, Snooze, Waiver
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import deciding, sendbacks, snoozes, waivers
from q2c.core import audit
from q2c.core.ids import uuid7
from q2c.core.models import AccountingPeriod, AuditEntry, LegalEntity, Proposal
from q2c.core.problems import Category, Problem
from q2c.records.models import GoldenRecord
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests import factories
from tests.core.people import make_person
from tests.exceptions.late import late_case
from tests.exceptions.problems import held
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
FAILED = {"failed_at": "2026-11-01T00:00:00Z"}


def test_a_waived_document_stays_an_open_item_until_it_is_taken_up_again(controller):
    case, ids = late_case(2)
    with pytest.raises(ResolutionRefused, match="Choose one of the reasons"):
        waivers.waive(case, by=controller, reason="booked on Friday", code="because")
    proposal, results = waivers.waive(case, by=controller, reason="booked on Friday", code="booked_by_hand")
    assert (proposal, sum(r.is_restarted for r in results)) == (None, 2)
    standing = Waiver.objects.filter(undone_at__isnull=True)
    assert set(standing.values_list("code", "currency", "amount", "by")) == {
        ("booked_by_hand", "GBP", 120, controller.pk)
    }
    assert WorkItem.objects.count() == 0
    factories.make_transaction("running", source_id=BusinessTransaction.objects.get(pk=ids[0]).source_id,
                               lane=BusinessTransaction.objects.get(pk=ids[0]).lane, lane_sequence=2)  # fmt: skip
    results = {r.transaction_id: r for r in waivers.take_up(case, by=controller, reason="it wasn't booked")}
    assert (results[ids[0]].why_not, results[ids[1]].is_restarted) == ("a later version of it went on", True)
    assert list(standing.values_list("transaction_id", flat=True)) == [ids[0]]
    assert WorkItem.objects.filter(pk=ids[1]).count() == 1
    assert list(AuditEntry.objects.order_by("sequence").values_list("verb", flat=True)) == ["waive", "take_up"]
    with pytest.raises(ResolutionRefused, match="None of its documents is waived"):
        waivers.take_up(case, by=controller, reason="again", transaction_ids=[ids[1]])
    assert audit.verify().holds


@pytest.mark.parametrize(
    ("worker", "behind", "why_not", "goes_on"),
    [
        ("", [("running", {})], "", [True]),  # another ERP's part of the payout
        ("", [("completed", FAILED)], "", [True]),
        ("", [("cancelled", FAILED)], "", [True, True]),  # it wasn't needed
        ("", [("waived", FAILED)], "", [True, False]),
        ("w-1", [("running", FAILED)], waivers.COMES_BACK, [False]),
    ],
)
def test_a_payout_is_taken_up_again_whatever_came_after_it(controller, worker, behind, why_not, goes_on):
    case, ids = late_case(1)
    lane = {"flow": "payout_to_erp", "source_id": "po_1", "lane": "stripe:payout:po_1"}
    BusinessTransaction.objects.filter(pk=ids[0]).update(fact_type="Payout", fact=b"{}", **lane)
    waivers.waive(case, by=controller, reason="no", code="looked_into")
    made = []
    for number, (state, fact) in enumerate(behind):
        state, is_waived = ("cancelled", True) if state == "waived" else (state, False)
        made.append(factories.make_transaction(state, fact=fact, lane_sequence=number + 2, number="", **lane))
        if is_waived:
            Waiver.objects.create(case=case, transaction_id=made[-1].pk, code="test", by=controller, at=timezone.now())
        if state == "running":
            WorkItem.objects.create(transaction=made[-1], flow="payout_to_erp", lane=lane["lane"], worker=worker,
                                    lane_sequence=number + 2, available_at=timezone.now())  # fmt: skip
    results = waivers.take_up(case, by=controller, reason="yes", transaction_ids=ids)
    assert [(row.transaction_id, row.why_not) for row in results] == [(ids[0], why_not)]
    states = BusinessTransaction.objects.filter(pk__in=[*ids, *(txn.pk for txn in made)]).order_by("lane_sequence")
    moved = [state == "running" for state in states.values_list("state", flat=True)]
    assert moved[: len(goes_on)] == goes_on


def test_where_a_rule_asks_for_it_a_waiver_waits_for_another_controller(controller):
    make_rule("resolution_approval", "waive", "1 controller", legal_entity="GB01")
    case, ids = late_case()
    proposal, results = waivers.waive(case, by=controller, reason="a test", code="test")
    assert (results, Waiver.objects.count(), proposal.content["terms"]) == ([], 0, {"code": "test"})
    assert deciding.decide(proposal, by=make_person("carl", "controller"), approve=True)[0] == "approved"
    assert list(Waiver.objects.values_list("transaction_id", "by")) == [(ids[0], controller.pk)]
    assert BusinessTransaction.objects.get(pk=ids[0]).state == "cancelled"


def unread(count: int) -> ExceptionCase:
    """A case of messages that couldn't be read."""
    problem = Problem("malformed_event", Category.VALIDATION, "no id", connection="stripe", event_type="invoice.paid")
    for _ in range(count):
        case_id = cases.open_case(problem, event_id=uuid7(), connection_code="stripe")
    ExceptionCase.objects.update(queue="billing_ops")  # routed to where it is waived
    return ExceptionCase.objects.get(pk=case_id)


def missing_numbers() -> ExceptionCase:
    """A case that holds neither documents nor messages."""
    problem = Problem("feed_gap", Category.DRIFT, "1 is missing", connection="stripe", stream="INV")
    return ExceptionCase.objects.get(pk=cases.open_case(problem, connection_code="stripe"))


@pytest.mark.parametrize(
    ("clause", "is_asked"), [("nobody", False), ("nobody; 1 controller over 1000", True), ("1 controller", True)]
)
@pytest.mark.parametrize(
    ("make", "counted"), [(lambda: unread(2), "2 messages"), (lambda: unread(1), "1 message"),
                          (missing_numbers, "1 finding")],
)  # fmt: skip
def test_giving_up_what_is_no_document_asks_whom_the_rules_ask_and_counts_it(
    controller, client, clause, is_asked, make, counted, django_capture_on_commit_callbacks
):
    make_rule("resolution_approval", "waive", clause)
    case = make()
    client.force_login(controller)
    page = f"/exceptions/cases/{case.pk}/"
    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"{page}waive/", {"waive-code": "test", "waive-why": "a test of theirs"})
    case.refresh_from_db()
    if is_asked:
        proposal = Proposal.objects.get()
        assert (case.state, case.occurrences.filter(closed_at=None).exists()) == ("awaiting_approval", True)
        assert proposal.title.startswith(f"Waive {counted} of {case.number}: ")
        assert client.get(f"/decisions/{proposal.pk}/").status_code == 200
        with django_capture_on_commit_callbacks(execute=True):
            state, results = deciding.decide(proposal, by=make_person("carl", "controller"), approve=True)
        assert (state, all(row.is_restarted for row in results)) == ("approved", True)
        case.refresh_from_db()
    else:
        verb = "is" if counted.startswith("1 ") else "are"
        assert f"{counted} {verb} given up." in client.get(page).content.decode()
    assert (case.state, case.occurrences.filter(closed_at=None).exists()) == ("waived", False)


def test_a_message_that_came_after_the_signature_was_asked_for_is_not_given_up_with_the_others(controller):
    make_rule("resolution_approval", "waive", "1 controller")
    case = unread(1)
    proposal, _ = waivers.waive(case, by=controller, reason="a test", code="test")
    unread(1)
    deciding.decide(proposal, by=make_person("carl", "controller"), approve=True)
    assert case.occurrences.filter(closed_at=None).count() == 1


def test_a_snoozed_case_wakes_on_its_day_with_its_documents_still_held(controller):
    case, ids = late_case()
    tomorrow = timezone.localdate() + dt.timedelta(days=1)
    with pytest.raises(ResolutionRefused, match="after today"):
        snoozes.snooze(case, by=controller, reason="later", until="date", date=timezone.localdate())
    snoozes.snooze(case, by=controller, reason="the bank answers tomorrow", until="date", date=tomorrow)
    assert snoozes.wake_due() == 0
    with time_machine.travel(timezone.now() + dt.timedelta(days=1)):
        assert (snoozes.wake_due(), snoozes.wake_due()) == (1, 0)
    case.refresh_from_db()
    assert (case.snoozed_at, case.is_open, Snooze.objects.get().woken_by) == (None, True, "the day has come")
    assert BusinessTransaction.objects.get(pk=ids[0]).state == "held"


@pytest.mark.parametrize("keeps_instant", [True, False])
@pytest.mark.parametrize(
    ("entity_zone", "persons_zone", "day_before", "its_day"),
    [
        ("America/New_York", "Europe/Berlin", "2026-11-02T04:59Z", "2026-11-02T05:00Z"),
        ("Pacific/Auckland", "Europe/Berlin", "2026-11-01T10:59Z", "2026-11-01T11:00Z"),
        (None, "Europe/Berlin", "2026-11-01T22:59Z", "2026-11-01T23:00Z"),  # of several: by the person's own day
        (None, "", "2026-11-01T23:59Z", "2026-11-02T00:00Z"),
    ],
)
def test_a_day_begins_where_the_cases_entity_is_whoever_snoozes_it_and_wherever_the_worker_runs(
    controller, entity_zone, persons_zone, day_before, its_day, keeps_instant
):
    case, _ = late_case()
    LegalEntity.objects.update(time_zone=entity_zone or "UTC")
    ExceptionCase.objects.update(legal_entity_code="GB01" if entity_zone else "")
    controller.preferences = {"time_zone": persons_zone}
    controller.save()
    case.refresh_from_db()
    with time_machine.travel("2026-10-30T12:00Z", tick=False):
        snoozes.snooze(case, by=controller, reason="x", until="date", date=dt.date(2026, 11, 2))
    if not keeps_instant:
        Snooze.objects.update(wakes={"date": "2026-11-02"})  # as an earlier release kept it
    assert snoozes.words_of(Snooze.objects.get()) == "2 November 2026"
    woken = []
    for moment in (day_before, its_day):
        with time_machine.travel(moment, tick=False):
            woken.append(snoozes.wake_due())
    assert woken == [0, 1]


def test_after_today_is_after_the_day_that_it_is_where_the_entity_is(controller):
    case, _ = late_case()
    LegalEntity.objects.update(time_zone="Pacific/Auckland")
    with time_machine.travel("2026-11-01T12:00Z", tick=False):  # the 2nd there already
        with pytest.raises(ResolutionRefused, match="after today"):
            snoozes.snooze(case, by=controller, reason="x", until="date", date=dt.date(2026, 11, 2))
        snoozes.snooze(case, by=controller, reason="x", until="date", date=dt.date(2026, 11, 3))
        assert snoozes.wake_due() == 0


def test_a_snoozed_case_wakes_when_it_has_so_many_documents_its_period_opens_or_its_customer_changes(controller):
    case, ids = late_case(customer_id="cus_1")
    snoozes.snooze(case, by=controller, reason="wait for more", until="count", count=2)
    late_case(number="INV-MORE")
    assert snoozes.wake_due() == 1
    snoozes.snooze(case, by=controller, reason="reopened on Monday", until="period")
    assert snoozes.wake_due() == 0
    AccountingPeriod.objects.filter(code="2026-09").update(is_receivables_open=True)
    assert snoozes.wake_due() == 1
    factories.make_record("customer", "stripe:customer:cus_1", aliases=["stripe:cus_1"])
    snoozes.snooze(case, by=controller, reason="they send a VAT number", until="customer")
    assert snoozes.wake_due() == 0
    GoldenRecord.objects.update(changed_at=timezone.now() + dt.timedelta(seconds=1))
    assert snoozes.wake_due() == 1
    assert list(Snooze.objects.order_by("pk").values_list("woken_by", flat=True))[:2] == [
        "it has 2 documents", "2026-09 is open in GB01",
    ]  # fmt: skip
    assert BusinessTransaction.objects.get(pk=ids[0]).state == "held"


def test_a_case_that_waits_for_a_period_wakes_when_the_erps_list_has_it_no_longer(controller):
    case, _ = late_case()
    snoozes.snooze(case, by=controller, reason="reopened on Monday", until="period")
    AccountingPeriod.objects.filter(code="2026-09").delete()
    assert snoozes.wake_due() == 1
    assert Snooze.objects.get().woken_by == "the ERP’s list has no period 2026-09 of GB01"
    with pytest.raises(ResolutionRefused, match="None of its documents waits for a period"):
        snoozes.snooze(case, by=controller, reason="reopened on Monday", until="period")


def test_only_one_snooze_stands_a_closed_case_takes_none_and_waking_it_by_hand_says_who(controller):
    case, _ = late_case()
    snoozes.snooze(case, by=controller, reason="first", until="count", count=5)
    snoozes.snooze(case, by=controller, reason="second", until="count", count=9)
    assert list(Snooze.objects.order_by("pk").values_list("woken_by", flat=True)) == ["Cora chose another", ""]
    snoozes.wake(case, by=controller, reason="a customer calls")
    with pytest.raises(ResolutionRefused, match="isn’t snoozed"):
        snoozes.wake(case, by=controller, reason="again")
    ExceptionCase.objects.filter(pk=case.pk).update(state="resolved", closed_at=timezone.now())
    with pytest.raises(ResolutionRefused, match="closed already"):
        snoozes.snooze(case, by=controller, reason="late", until="count", count=9)


def test_a_case_sent_back_is_nobodys_in_the_other_queue_with_the_message(controller):
    found = cases.open_for_steps([held(transaction_id=factories.make_transaction("held").pk)])
    case = ExceptionCase.objects.get(pk=next(iter(found.values())))
    cases.assign(case, controller, by=controller)
    with pytest.raises(ResolutionRefused, match="in the queue of billing operations already"):
        sendbacks.send_back(case, by=controller, to="billing_ops", message="mend it")
    sendbacks.send_back(case, by=controller, to="sales_ops", message="Which product is GTX-1?")
    case.refresh_from_db()
    assert (case.queue, case.assignee, case.is_moved_by_hand) == ("sales_ops", None, True)
    assert case.notes.last().text == "Sent back to sales operations: Which product is GTX-1?"
