"""A bill run is held until it's complete, then released or rejected whole: each document posts once, or none does.

`BILL_RUN_DOCUMENTS=200` is the run that the figures of the pages speak of; fewer prove the same in less time.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import threading
from decimal import Decimal

import pytest
from django.db import connection
from django.db.transaction import atomic
from django.utils import timezone

from exceptions.models import ExceptionCase, Waiver
from exceptions.resolving import waivers
from q2c.core.models import AuditEntry
from q2c.flows import bill_run_acts as acts
from q2c.flows import tasks
from q2c.flows.bill_run_acts import RunRefused
from q2c.reconciliation import completeness
from q2c.reconciliation.models import FeedGap
from q2c.transactions import bill_run_counts
from q2c.transactions.bill_runs import BillRun
from q2c.transactions.models import SET_ASIDE, BusinessTransaction, Dependency, WorkItem
from tests import factories
from tests.journeys.deaths import carry_and_die
from tests.journeys.house import forget_everything
from tests.mappings.rules import make_rule, next_number

pytestmark = pytest.mark.django_db(transaction=True)
COUNT = int(os.environ.get("BILL_RUN_DOCUMENTS", "200"))
EACH = Decimal("12.34")
AT_ONCE = 500  # the control door takes no more
WHY = "Checked against billing"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """What was made a moment ago is judged too, and only webhooks bring it."""
    monkeypatch.setattr(completeness, "SETTLES", -dt.timedelta(seconds=5))


def policy(**fields):
    """How GB01's runs post."""
    number = next_number()
    for name, value in {"posting": "hold", "complete_after": "0m", **fields}.items():
        make_rule("bill_run", name, value, number=number, legal_entity="GB01")
    forget_everything()


def bill(house, first, last, **changes):
    """Invoices BR-0001, ... of GBP 12.34 each."""
    house.buyer = getattr(house, "buyer", None) or house.customer()
    line = {"amount": 1234, "quantity": 1, "description": "API", "metadata": {"sku": "QB-API"}}
    given = [
        {"customer": house.buyer, "currency": "gbp", "lines": [line], "metadata": {"legal_entity": "GB01"},
         "number": f"BR-{n:04}", **changes}
        for n in range(first, last + 1)
    ]  # fmt: skip
    return [made for place in range(0, len(given), AT_ONCE)
            for made in house.make("stripe", "invoice", given[place : place + AT_ONCE])]  # fmt: skip


def gather(house, count):
    """Carry until so many documents wait at the gate."""

    def stand():
        waits = BusinessTransaction.objects.filter(flow="invoice_to_erp", state="waiting")
        return waits.filter(waits_for__startswith="the release of bill run").count() == count

    house.carry(until=stand, seconds=60)


def check(code="stripe"):
    for kind in ("invoice", "credit_memo"):
        assert completeness.check_feed(code, kind).failure == ""


def move_on():
    """As beat does every few seconds."""
    tasks.run_bill_runs()


def the_run(**which):
    return BillRun.objects.get(**which)


def part_of(run):
    (part,) = run.parts.filter(document_type="invoice")
    return part


def decide(act, *, run=None, proposer=None):
    """Two people agree."""
    proposal = acts.decide(run or the_run(), act, by=proposer or factories.make_person("billing_ops"), why=WHY)
    by = factories.make_person("controller")
    return acts.sign(proposal, by=by, approve=True, why="", seen_hash=proposal.content_hash)


def test_a_run_is_held_until_it_is_complete_and_then_released_whole_each_document_posted_once(house, monkeypatch):
    monkeypatch.setattr(house, "poll", lambda: None)  # which would bring the lost one too
    policy()
    lost = COUNT * 7 // 10
    house.fault("stripe", "webhook_lose", when={"external_id": f"BR-{lost:04}"})
    bill(house, 1, COUNT)
    gather(house, COUNT - 1)
    check()
    move_on()
    run = the_run()
    part = part_of(run)
    assert (run.state, run.legal_entity_code, run.name, run.addition) == ("gathering", "GB01", run.day.isoformat(), 0)
    assert (part.expected_count, part.expected_amount) == (COUNT, COUNT * EACH)
    assert (part.received_count, part.received_amount, part.posted_count) == (COUNT - 1, (COUNT - 1) * EACH, 0)
    assert (part.waiting_count, part.held_count) == (COUNT - 1, 0)
    assert run.reasons == ["1 invoice over GBP 12.34 is missing."]
    assert FeedGap.objects.get().number == f"BR-{lost:04}"
    with pytest.raises(RunRefused, match="Say why"):
        acts.decide(run, "release", by=factories.make_person("controller"), why=" ")
    gather(house, COUNT)  # completeness had it read again
    check()
    move_on()
    run.refresh_from_db()
    assert (run.state, run.reasons) == ("complete", [])
    assert house.made("netsuite", "invoice") == []
    early = acts.decide(run, "release", by=factories.make_person("billing_ops"), why=WHY)
    bill(house, COUNT + 1, COUNT + 1)
    gather(house, COUNT + 1)
    move_on()
    early.refresh_from_db()
    assert (early.state, early.void_reason) == ("void", acts.CHANGED)
    house.void(BusinessTransaction.objects.get(number=f"BR-{COUNT + 1:04}").source_id)
    house.carry(until=lambda: house.states("invoice_to_erp") == {"waiting": COUNT, "cancelled": 1})
    check()
    move_on()
    run.refresh_from_db()
    assert (run.state, part_of(run).given_up_count, part_of(run).expected_count) == ("complete", 1, COUNT + 1)
    assert decide("release") == "approved"
    move_on()
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": COUNT, "cancelled": 1}, seconds=60)
    move_on()
    run.refresh_from_db()
    part = part_of(run)
    assert (run.state, part.posted_count, part.posted_amount, part.waiting_count) == ("posted", COUNT, COUNT * EACH, 0)
    posted = house.made("netsuite", "invoice")
    assert (len(posted), len({entry["id"] for entry in posted})) == (COUNT, COUNT)
    assert run.decided_by.username.startswith("billing_ops")
    assert AuditEntry.objects.filter(verb="release", subject_type="bill_run").count() == 1


def test_a_rejected_run_posts_nothing_and_what_its_source_issues_again_is_a_run_of_its_own(house):
    policy()
    bill(house, 1, 8)
    gather(house, 8)
    check()
    assert decide("reject") == "approved"
    move_on()
    move_on()
    run = the_run()
    part = part_of(run)
    assert (run.state, run.work, part.given_up_count, part.given_up_amount) == ("rejected", "", 8, 8 * EACH)
    assert (part.waiting_count, part.posted_count) == (0, 0)
    assert house.states("invoice_to_erp") == {"cancelled": 8}
    assert Waiver.objects.filter(case_id=run.case_id, code="with_its_run").count() == 8
    case = ExceptionCase.objects.get(pk=run.case_id)
    assert (case.kind, case.state) == ("bill_run_rejected", "open")
    assert "8 invoices over GBP 98.72 are to be voided or corrected where they were billed" in case.summary
    taken = waivers.take_up(case, by=factories.make_person("controller"), reason="We want it after all")
    assert {row.is_restarted for row in taken} == {False}
    assert "rejected as a whole" in taken[0].why_not
    bill(house, 9, 10)
    gather(house, 2)
    check()
    move_on()
    again = the_run(addition=1)
    assert (again.called, again.state, part_of(again).expected_count) == (f"{run.name} + 1", "complete", 2)
    assert house.made("netsuite", "invoice") == []


@pytest.mark.parametrize("left", [{}, {"work": "reject"}], ids=["carried out", "beat died before the last piece"])
def test_what_a_worker_held_when_its_run_was_rejected_is_given_up_once_it_is_free(house, left):
    policy()
    bill(house, 1, 3)
    gather(house, 3)
    check()
    late = BusinessTransaction.objects.get(number="BR-0003")
    own = WorkItem.objects.filter(transaction=late)
    own.update(worker="x", available_at=timezone.now())
    assert decide("reject") == "approved"
    for _ in range(3):
        move_on()
    assert (house.states("invoice_to_erp"), the_run().work) == ({"cancelled": 2, "waiting": 1}, "")
    own.update(worker="")
    house.carry(until=lambda: own.get().available_at == SET_ASIDE)
    if left:
        BillRun.objects.update(carried_to=late.pk, **left)
    move_on()
    move_on()
    part = part_of(the_run())
    assert house.states("invoice_to_erp") == {"cancelled": 3}
    assert (the_run().work, part.given_up_count, part.waiting_count, part.held_count) == ("", 3, 0, 0)
    assert Waiver.objects.filter(case_id=the_run().case_id, code="with_its_run").count() == 3
    assert house.made("netsuite", "invoice") == []


def test_a_release_waits_for_a_worker_that_is_letting_go_of_one_of_its_documents(house):
    """Both at once: the release finds it standing aside, although it was made while the worker's commit was open."""
    policy(release="1 person")
    bill(house, 1, 2)
    gather(house, 2)
    check()
    move_on()
    run, late = the_run(), BusinessTransaction.objects.get(number="BR-0002")
    own = WorkItem.objects.filter(transaction=late)
    own.update(worker="x")
    person = factories.make_person("controller")
    releasing = threading.Thread(target=_release, args=(run, person))
    with atomic():
        own.update(worker="", available_at=SET_ASIDE)
        bill_run_counts.meet_decided([run.pk], [late.pk])
        releasing.start()
        releasing.join(0.5)
        assert releasing.is_alive()
    releasing.join()
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 2})
    assert len(house.made("netsuite", "invoice")) == 2


def _release(run, person):
    acts.decide(run, "release", by=person, why=WHY)
    move_on()
    connection.close()


@pytest.mark.parametrize(("act", "stands"), [("release", "void"), ("reject", "proposed")])
def test_a_release_of_more_than_was_shown_to_be_held_is_void(house, act, stands):
    policy()
    bill(house, 1, 2)
    gather(house, 2)
    check()
    proposal = acts.decide(the_run(), act, by=factories.make_person("billing_ops"), why=WHY)
    BusinessTransaction.objects.filter(number="BR-0002").update(state="held")
    move_on()
    proposal.refresh_from_db()
    assert (proposal.content["held_by_cases"], part_of(the_run()).held_count, proposal.state) == (0, 1, stands)


def test_a_worker_that_dies_in_the_middle_of_a_release_leaves_whole_pieces_and_another_goes_on(house, monkeypatch):
    monkeypatch.setattr(bill_run_counts, "AT_ONCE", 3)
    policy(release="1 person")
    bill(house, 1, 8)
    gather(house, 8)
    check()
    move_on()
    assert acts.decide(the_run(), "release", by=factories.make_person("controller"), why=WHY) is None
    assert acts.carry_piece(the_run().pk) == (True, ["invoice_to_erp"])

    def die_before_the_commit():
        whole = acts.wake_piece

        def wake(run):
            whole(run)
            os.kill(os.getpid(), signal.SIGKILL)

        acts.wake_piece = wake
        acts.carry_piece(the_run().pk)

    assert carry_and_die(die_before_the_commit, "nowhere:before")
    assert WorkItem.objects.filter(flow="invoice_to_erp", available_at__lt=timezone.now()).count() == 3
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 3, "waiting": 5})
    move_on()
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 8})
    move_on()
    run = the_run()
    assert (run.state, run.work, part_of(run).posted_count) == ("posted", "", 8)
    assert len(house.made("netsuite", "invoice")) == 8


@pytest.mark.parametrize(("late", "stands"), [("post", "posted"), ("hold", "complete")])
def test_what_comes_after_the_release_posts_by_itself_or_is_held_as_an_addition(house, late, stands):
    policy(release="1 person", late=late)
    bill(house, 1, 2)
    gather(house, 2)
    check()
    acts.decide(the_run(), "release", by=factories.make_person("controller"), why=WHY)
    move_on()
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 2})
    bill(house, 3, 3)
    house.carry(until=lambda: BusinessTransaction.objects.filter(flow="invoice_to_erp").count() == 3)
    house.carry()
    check()
    move_on()
    newest = BillRun.objects.latest("addition")
    part = part_of(newest)
    assert newest.state == stands
    if late == "post":
        assert (newest.addition, part.late_count, part.received_count, part.posted_count) == (0, 1, 3, 3)
    else:
        assert (newest.addition, part.expected_count, part.received_count, part.posted_count) == (1, 1, 1, 0)
        acts.decide(newest, "release", by=factories.make_person("controller"), why=WHY)
        move_on()
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 3})
    assert len(house.made("netsuite", "invoice")) == 3


def test_a_payment_of_a_held_invoice_waits_with_it_and_is_never_overdue(house):
    policy(release="1 person")
    (invoice,) = bill(house, 1, 1)
    gather(house, 1)
    house.pay(invoice)
    house.carry(until=lambda: house.states("application_to_erp") == {"waiting": 1})
    Dependency.objects.update(patience_until="2020-01-01T00:00:00Z")
    WorkItem.objects.filter(flow="application_to_erp").update(available_at="2020-01-01T00:00:00Z")
    tasks.carry("application_to_erp")
    assert house.states("application_to_erp") == {"waiting": 1}
    check()
    acts.decide(the_run(), "release", by=factories.make_person("controller"), why=WHY)
    move_on()
    house.carry(until=lambda: house.states("application_to_erp") == {"completed": 1})
    assert ExceptionCase.objects.count() == 0


def test_two_people_who_release_at_once_release_once(house):
    policy(release="1 person")
    bill(house, 1, 3)
    gather(house, 3)
    check()
    move_on()
    people, run, said = [factories.make_person("controller") for _ in range(2)], the_run(), []
    both = threading.Barrier(2)

    def release(person):
        both.wait()
        try:
            said.append(acts.decide(run, "release", by=person, why=WHY))
        except RunRefused as refused:
            said.append(str(refused))
        finally:
            connection.close()

    threads = [threading.Thread(target=release, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.refresh_from_db()
    assert sorted(map(str, said)) == sorted(["None", f"{run.decided_by} released it already."])
    move_on()
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 3})
    assert len(house.made("netsuite", "invoice")) == 3
    assert AuditEntry.objects.filter(verb="release", subject_type="bill_run").count() == 1


def test_a_run_that_billing_names_is_complete_once_all_that_it_told_came_whatever_its_days(house):
    policy(release="by itself", complete_after="day")
    told = {"legal_entity": "GB01", "bill_run": "BR-NOV", "bill_run_count": "3", "bill_run_amount": "37.02"}
    bill(house, 1, 2, metadata=told)
    gather(house, 2)
    move_on()
    run = the_run()
    assert (run.name, run.is_named, run.state) == ("BR-NOV", True, "gathering")
    assert run.reasons == ["1 invoice over GBP 12.34 is missing."]
    bill(house, 3, 3, metadata=told)
    gather(house, 3)
    move_on()
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 3})
    move_on()
    run.refresh_from_db()
    assert (run.state, run.decided_by, run.decided_why) == ("posted", None, acts.BY_ITSELF)
    assert len(house.made("netsuite", "invoice")) == 3
    bill(house, 4, 4)
    gather(house, 1)
    check()
    move_on()
    days = the_run(is_named=False)  # the register counts those of the named run in this day too
    assert (part_of(days).expected_count, part_of(days).expected_amount) == (1, EACH)


def test_a_rule_that_comes_in_the_middle_of_a_day_takes_in_what_posted_before(house):
    bill(house, 1, 2)
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 2})
    assert not BillRun.objects.exists()
    policy()
    bill(house, 3, 3)
    gather(house, 1)
    check()
    move_on()
    run = the_run()
    part = part_of(run)
    assert (run.state, part.expected_count, part.received_count, part.posted_count) == ("complete", 3, 3, 2)


def test_where_documents_post_as_they_come_their_run_says_so_and_a_person_may_hold_the_rest(house):
    policy(posting="as they come", late="post")
    bill(house, 1, 2)
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 2})
    check()
    move_on()
    run, person = the_run(), factories.make_person("controller")
    assert (run.state, run.holds, part_of(run).posted_count) == ("posted", False, 2)
    with pytest.raises(RunRefused, match="post as they come"):
        acts.decide(run, "release", by=person, why=WHY)
    bill(house, 3, 3)
    house.carry(without="invoice_to_erp")
    move_on()
    run.refresh_from_db()
    acts.hold(run, by=person, why="Prices look wrong")
    house.carry()
    move_on()
    run.refresh_from_db()
    assert (run.state, run.reasons[0]) == ("held", f"{person.username} holds it: Prices look wrong")
    assert house.states("invoice_to_erp") == {"completed": 2, "waiting": 1}
    with pytest.raises(RunRefused, match=r"can’t be rejected whole: BR-0001, BR-0002 are posted"):
        acts.decide(run, "reject", by=person, why=WHY)
    assert house.states("invoice_to_erp") == {"completed": 2, "waiting": 1}
    check()
    assert decide("release", run=run) == "approved"
    move_on()
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 3})
    assert len(house.made("netsuite", "invoice")) == 3
