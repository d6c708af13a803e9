"""Disputes in a feed: whose they are and of which day, one fact however often a movement is told, and what ended
unheard."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from connectors.families import Registered
from exceptions.models import ExceptionCase
from q2c.canonical import billing, events
from q2c.canonical.base import Source
from q2c.flows.intake import carry_due_events
from q2c.inbox.receive import receive
from q2c.reconciliation import comparing, gaps, usual
from q2c.reconciliation.models import FeedEntityHour, FeedGap
from q2c.records.models import BilledDocument
from q2c.transactions.models import BusinessTransaction
from tests import factories
from tests.inbox.conftest import arrival

AT = dt.datetime(2026, 11, 1, 23, 30, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)


def source_of(kind, name, version=""):
    return Source(connection="acme", object_type=kind, object_id=name, version=version)


def paid(entity):
    payment = billing.Payment(
        source=source_of("payment", "pi_1"), customer_id="cus_1", currency="EUR", amount=Decimal(30), received_at=AT,
        gateway="acme", legal_entity=entity,
    )  # fmt: skip
    return events.PaymentReceived(occurred_at=AT, payment=payment)


def moved(status, at, amount="30.00"):
    dispute = billing.Dispute(
        source=source_of("dispute", "du_1", status), payment_id="pi_1", currency="EUR", amount=Decimal(amount), at=at,
        status=status, gateway="acme",
    )  # fmt: skip
    return events.DisputeChanged(occurred_at=at, dispute=dispute)


def hear(acme, *told):
    for number, event in enumerate(told):
        receive(
            acme.id, [arrival(event, f"{type(event).__name__}-{number}-{BilledDocument.objects.count()}")], via="poll"
        )
        carry_due_events()


@pytest.mark.parametrize("is_apart", [True, False], ids=["the payment before", "in one batch"])
def test_a_dispute_is_of_the_entity_of_its_payment_on_its_day_there(acme, source, is_apart):
    factories.make_entity("DE01")
    if is_apart:
        hear(acme, paid("DE01"), moved("withdrawn", AT))
    else:
        messages = [arrival(paid("DE01"), "one"), arrival(moved("withdrawn", AT), "two")]
        receive(acme.id, messages, via="poll")
        carry_due_events()
    found = BilledDocument.objects.get(document_type="dispute")
    assert (found.legal_entity_code, found.document_date) == ("DE01", dt.date(2026, 11, 2))
    usual.roll_up_arrivals()
    counted = FeedEntityHour.objects.values_list("document_type", "legal_entity_code")
    assert set(counted) == {("payment", "DE01"), ("dispute", "DE01")}


def test_a_dispute_stays_of_the_day_on_which_it_took_the_money(acme, source):
    factories.make_entity("GB01")
    hear(acme, paid("GB01"), moved("withdrawn", AT), moved("won", AT + dt.timedelta(days=60)))
    found = BilledDocument.objects.get(document_type="dispute")
    assert (found.document_date, found.status) == (dt.date(2026, 11, 1), "won")


@pytest.mark.parametrize(
    "told",
    [
        [("withdrawn", 0), ("withdrawn", 2)],  # what was made of the register, then the source's own
        [("withdrawn", 2), ("withdrawn", 0), ("withdrawn", 2)],
        [("withdrawn", 0), ("withdrawn", 2), ("withdrawn", 0), ("withdrawn", 5)],
        [("withdrawn", 0), ("won", 90), ("won", 91)],
    ],
)
def test_a_movement_that_is_told_twice_is_carried_once_whatever_second_it_names(acme, source, told):
    hear(acme, *(moved(status, AT + seconds * SECOND) for status, seconds in told))
    carried = BusinessTransaction.objects.filter(flow="dispute_to_erp")
    assert carried.count() == len({status for status, _ in told})
    assert BilledDocument.objects.get(document_type="dispute").status == told[-1][0]


def entry(kind, status, amount="30.00"):
    return Registered(kind, "x_1", AT, AT, "EUR", Decimal(amount), status=status)


def ours(status, amount="30.00"):
    return comparing.Ours("x_1", "DE01", AT.date(), "EUR", Decimal(amount), status, "", True, AT)


@pytest.mark.parametrize(
    ("listed", "mine", "found"),
    [
        (entry("dispute", ""), ours("withdrawn"), []),
        (entry("dispute", "won"), ours("withdrawn"), ["ended"]),
        (entry("dispute", "won"), ours("won"), []),
        (entry("dispute", "won", "29.10"), ours("withdrawn"), ["ended"]),  # read again, and not only another amount
        (entry("dispute", "won", "29.10"), ours("won"), ["differs"]),
        (entry("dispute", ""), ours("won"), []),  # the list was asked a moment before
        (entry("refund", "failed"), ours("succeeded"), ["ended"]),
        (entry("refund", "failed"), ours("failed"), []),
        (entry("payout", "failed"), ours("paid"), ["ended"]),
        (entry("invoice", "void"), ours("open"), ["ended"]),
        (entry("invoice", "void"), ours("void"), []),
    ],
)
def test_what_ended_at_the_source_and_nobody_told_us_is_found(listed, mine, found):
    said = comparing.compare([listed], {"x_1": mine}, entity_of=lambda e: "", zone_of=lambda e: "UTC")
    assert [gap.kind for gap in said.gaps] == found
    waiting = comparing.compare(
        [listed], {"x_1": mine}, waiting={"x_1"}, entity_of=lambda e: "", zone_of=lambda e: "UTC"
    )
    assert [gap.kind for gap in waiting.gaps] == [kind for kind in found if kind != "ended"]


@pytest.mark.parametrize(
    ("kind", "status", "says"),
    [
        ("dispute", "won", "Acme gave back the money of dispute x_1 over EUR 30.00, and never told us (1 Nov 2026)"),
        ("refund", "failed", "Acme got back the money of refund x_1 over EUR 30.00, and never told us (1 Nov 2026)"),
        ("invoice", "void", "Acme has voided invoice x_1 over EUR 30.00, and never told us (1 Nov 2026)"),
    ],
)
def test_what_ended_unheard_is_said_in_its_words_and_closes_once_we_have_heard_it(acme, source, kind, status, says):
    key = comparing.Key("DE01", AT.date(), "EUR")
    gap = comparing.Gap("ended", key, "x_1", "", Decimal(30), Decimal(30), entry(kind, status))
    gaps.note(acme, kind, [gap], judged={"x_1"}, at=AT)
    case = ExceptionCase.objects.get()
    assert case.summary == says
    BilledDocument.objects.create(
        id="00000000-0000-7000-8000-000000000001", connection_code="acme", document_type=kind, external_id="x_1",
        currency="EUR", amount=30, status=status, content_hash="x", changed_at=AT,
    )  # fmt: skip
    assert gaps.close(acme, kind, at=AT) == 1
    case.refresh_from_db()
    assert (FeedGap.objects.get().closed_how, case.state) == ("arrived", "resolved")
