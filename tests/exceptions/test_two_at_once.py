"""Two people who act on one case, in either order and at the same instant, have one effect; so has a merge beside a
worker that opens. Each act has a thread and a connection of its own."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

import pytest
from django.db import connection
from django.db.models import Sum
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import cases, closing, regrouping, releases, resolutions
from exceptions.models import CaseTally, Choice, ExceptionCase, Occurrence, Waiver
from exceptions.resolving import edits, linking
from q2c.canonical import schema
from q2c.canonical.posting import PostedDocument
from q2c.core.problems import Category, Problem
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests import factories
from tests.core.people import make_person
from tests.exceptions.problems import held
from tests.exceptions.test_adjustments import ORDERS, at_once
from tests.exceptions.test_edits import INVOICE
from tests.exceptions.test_resolutions import hold, line
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db(transaction=True)


def refused(wording: str) -> Problem:
    subject = {"connection": "netsuite", "error": "INVALID", "field": "memo", "wording": wording}
    return Problem("vendor_refused", Category.VALIDATION, f"NetSuite refused: {wording}", **subject)


def effects(ids) -> tuple[str, int, int, int, int]:
    """What became of one document: its state and attempt, choices, waivers and work items of it."""
    txn = BusinessTransaction.objects.get(pk=ids[0])
    counts = (rows.objects.filter(transaction_id=txn.pk).count() for rows in (Choice, Waiver, WorkItem))
    return (txn.state, txn.attempt, *counts)


def test_two_edits_and_an_edit_and_a_waiver_of_one_document_have_one_effect():
    make_rule("resolution_approval", "edit_fields", "nobody", legal_entity="GB01")
    ben, ann = make_person("ben", "controller"), make_person("ann", "controller")
    edited, waived = ("running", 2, 1, 0, 1), ("cancelled", 1, 0, 1, 0)
    for order in ORDERS:
        for beside in ("edit", "waive"):
            case, ids = hold(refused(f"{order} {beside}"), number=f"INV {order} {beside}")
            BusinessTransaction.objects.filter(pk__in=ids).update(fact=schema.to_json(INVOICE))

            def edit(number, by, case=case, ids=ids) -> None:
                own = ExceptionCase.objects.get(pk=case.pk)
                edits.edit_fields(own, by=by, reason="as ordered", transaction_id=ids[0], values={"po_number": number})

            def waive(case=case) -> None:
                resolutions.waive(ExceptionCase.objects.get(pk=case.pk), by=ann, reason="a test", code="test")

            at_once([lambda: edit("PO-2", ben), waive if beside == "waive" else lambda: edit("PO-3", ann)], order)
            ways = [edited] if beside == "edit" or order == "first first" else [waived]
            assert effects(ids) in ([edited, waived] if order == "at once" and beside == "waive" else ways), order


def test_two_links_of_one_document_leave_one():
    make_rule("resolution_approval", "link", "nobody", legal_entity="GB01")
    factories.make_connection("netsuite")
    people = [make_person(name, "controller") for name in ("ben", "ann")]
    for order in ORDERS:
        problem = Problem("outcome_unknown", Category.UNKNOWN_OUTCOME, "?", connection="netsuite", document=order)
        case, ids = hold(problem, number=f"INV {order}")

        def link(number, by, case=case, ids=ids) -> None:
            there = PostedDocument(document_type="ar_invoice", id=number, external_id=f"x-{number}", number="INV-1")
            own = ExceptionCase.objects.get(pk=case.pk)
            chosen = linking.Candidate(there, (), "")
            linking.link(own, by=by, reason="the same", transaction_id=ids[0], chosen=chosen)

        at_once([lambda: link("71", people[0]), lambda: link("72", people[1])], order)
        assert effects(ids) == ("running", 2, 1, 0, 1), order
        chosen = Choice.objects.get(transaction_id=ids[0]).content["document"]
        assert chosen in {"first first": ["71"], "second first": ["72"]}.get(order, ["71", "72"])


def test_a_merge_and_a_worker_that_opens_at_once_leave_no_document_behind():
    ben = make_person("ben", "billing_ops")
    for order in ORDERS:
        into, case = (
            ExceptionCase.objects.get(pk=cases.open_for_steps([row])[row.transaction_id])
            for row in (held(refused(f"{order} a")), held(refused(f"{order} b")))
        )
        late = [held(refused(f"{order} b")) for _ in range(3)]

        def merge(case=case, into=into) -> None:
            regrouping.merge(case, into=into, by=ben, why="the same field, worded twice")

        def open_more(late=late) -> None:
            cases.open_for_steps(late)

        at_once([merge, open_more], order)
        regrouping.finish_merges()
        sums = CaseTally.objects.filter(case=into).aggregate(n=Sum("document_count"), m=Sum("amount"))
        assert (Occurrence.objects.filter(case=into, closed_at=None).count(), sums) == (
            5, {"n": 5, "m": Decimal(50)},
        ), order  # fmt: skip
        assert Occurrence.objects.filter(case=case, closed_at=None).count() == 0


def test_who_closes_many_cases_takes_what_is_free_and_then_waits_for_whoever_holds_one(monkeypatch):
    opened = cases.open_for_steps([held(refused("a")), held(refused("b"))])
    busy, free = sorted(opened.values())
    Occurrence.objects.update(closed_at=timezone.now(), closed_how="completed")
    has_tried, resolve = threading.Event(), closing._resolve

    def try_once(ids, *, waits):
        found = resolve(ids, waits=waits)
        has_tried.set()
        return found

    def run() -> None:
        try:
            closing.resolve_emptied()
        finally:
            connection.close()

    monkeypatch.setattr(closing, "_resolve", try_once)
    thread = threading.Thread(target=run)
    with atomic():
        cases.lock_case(busy)
        thread.start()
        assert has_tried.wait(60)
        assert list(ExceptionCase.objects.filter(closed_at=None).values_list("pk", flat=True)) == [busy]
    thread.join(60)
    assert set(ExceptionCase.objects.values_list("pk", "state")) == {(busy, "resolved"), (free, "resolved")}


def is_waiting(thread: threading.Thread) -> bool:
    """Whether somebody in this database waits for a row's lock, in the end; not once the thread is through."""
    until = time.monotonic() + 60
    while thread.is_alive() and time.monotonic() < until:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE NOT granted AND datname = current_database()"
            )
            if cursor.fetchone()[0]:
                return True
        time.sleep(0.02)
    return False


# What one does, where in it the other one comes in, what that one does, and what becomes of the document.
PRICE = Problem("price_differs", Category.VALIDATION, "?", connection="salesforce", sku="B", currency="GBP")
IN_ONE_ORDER = {
    "repost": (refused("one order"), resolutions, "nudge", "waive", "running"),
    "send back": (refused("one order"), resolutions, "_tell", "waive", "cancelled"),
    "override": (PRICE, resolutions, "repost_documents", "repost", "running"),
    "change set": (None, releases, "repost_documents", "repost", "running"),
}


@pytest.mark.parametrize("act", IN_ONE_ORDER)
def test_documents_are_locked_before_their_case_so_that_two_never_wait_for_each_other(monkeypatch, act):
    """Each in one transaction, as a form that's carried out once is."""
    ben, ann = make_person("ben", "controller"), make_person("ann", "controller")
    problem, place, name, beside, becomes = IN_ONE_ORDER[act]
    case, ids = hold(problem)
    if act == "override":
        (proposal,) = resolutions.propose_overrides(case, by=ben, reason="agreed by phone")
    if act == "change set":
        change_set = releases.remap_and_repost(case, by=ben, reason="new SKU", line=line())
    said: list[str] = []

    def come_in() -> None:
        try:
            own = ExceptionCase.objects.get(pk=case.pk)
            act_of = resolutions.repost if beside == "repost" else resolutions.waive
            said.extend(row.why_not for row in act_of(own, by=ann, reason="a test"))
        except Exception as error:
            said.append(repr(error))
        finally:
            connection.close()

    other, inner = threading.Thread(target=come_in), getattr(place, name)

    def pause(*args, **named):
        if other.ident is None:
            other.start()
            assert is_waiting(other), said
        return inner(*args, **named)

    monkeypatch.setattr(place, name, pause)
    with atomic():
        if act == "repost":
            resolutions.repost(case, by=ben, reason="try again")
        elif act == "send back":
            resolutions.correct_at_source(case, by=ben, reason="the price is wrong")
        elif act == "override":
            resolutions.decide_override(proposal, by=ann, approve=True)
        else:
            releases.decide_change_set(change_set, by=ann, approve=True)
    other.join(60)
    ended = {"running": resolutions.NOT_HELD if beside == "waive" else "it is running already", "cancelled": ""}
    assert said == [ended[becomes]]
    assert BusinessTransaction.objects.get(pk=ids[0]).state == becomes
