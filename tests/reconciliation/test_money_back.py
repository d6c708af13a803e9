"""Money that came back counts against the money that went, wherever sums are shown: driven through what sources say."""

import datetime as dt
from decimal import Decimal

import pytest
from django.db import transaction

from q2c.canonical import billing, events
from q2c.canonical.base import Source
from q2c.flows.dispatch import dispatch_facts
from q2c.flows.facts import About, facts_of
from q2c.flows.intake import carry_due_events
from q2c.inbox.receive import receive
from q2c.reconciliation import cutoff, flash
from q2c.reconciliation.control_totals import compute_totals
from q2c.reconciliation.documents import month_of
from q2c.records.documents import Seen
from q2c.transactions.models import BusinessTransaction
from tests import factories
from tests.inbox.conftest import acme, arrival

__all__ = ["acme"]
pytestmark = pytest.mark.django_db
WENT, BACK = dt.datetime(2026, 10, 29, 12, tzinfo=dt.UTC), dt.datetime(2026, 10, 30, 12, tzinfo=dt.UTC)


def source(kind, object_id):
    return Source(connection="acme", object_type=kind, object_id=object_id)


def refunded(*, failed=False, amount="30.00", number="re_1"):
    refund = billing.Refund(
        source=source("refund", number), payment_id="pi_1", customer_id="cus_1", currency="EUR", gateway="acme",
        amount=Decimal(amount), refunded_at=WENT, status="failed" if failed else "succeeded",
        failed_at=BACK if failed else None, legal_entity="DE01",
    )  # fmt: skip
    return events.RefundMade(occurred_at=BACK if failed else WENT, refund=refund)


def paid_out(*, failed=False):
    payout = billing.Payout(
        source=source("payout", "po_1"), currency="EUR", amount=Decimal("30.00"), arrival_date=WENT.date(),
        gateway="acme", movements=(), status="failed" if failed else "paid", failed_at=BACK if failed else None,
        legal_entity="DE01",
    )  # fmt: skip
    return events.PayoutPaid(occurred_at=BACK if failed else WENT, payout=payout)


def disputed(*, failed=False):
    at = BACK if failed else WENT
    dispute = billing.Dispute(
        source=source("dispute", "dp_1"), payment_id="pi_1", currency="EUR", amount=Decimal("30.00"), at=at,
        status="won" if failed else "withdrawn", gateway="acme", legal_entity="DE01",
    )  # fmt: skip
    return events.DisputeChanged(occurred_at=at, dispute=dispute)


MOVEMENTS = [(refunded, "refund_to_erp"), (paid_out, "payout_to_erp"), (disputed, "dispute_to_erp")]


@pytest.fixture
def october():
    factories.make_period("DE01", "2026-10")
    return month_of("DE01", "2026-10")


def carry(make):
    """What the source says of money that goes and comes back, as flows carry it."""
    went, back = make(), make(failed=True)
    status = getattr(went, "refund", None) or getattr(went, "payout", None) or went.dispute
    known = Seen(status.status, WENT, "", "", True)
    facts = [*facts_of(went, About(WENT)), *facts_of(back, About(BACK, known=known))]
    with transaction.atomic():
        return dispatch_facts(facts).ids


def ends(txn_id, state):
    BusinessTransaction.objects.filter(pk=txn_id).update(state=state, period_code="2026-10")


@pytest.mark.parametrize(("make", "flow"), MOVEMENTS)
def test_what_went_and_came_back_is_two_documents_over_nothing_in_the_flash(october, make, flow):
    went, back = carry(make)
    ends(went, "completed")
    ends(back, "completed")
    (line,) = flash.flash_of(october).lines
    posted = line.places["posted"]
    assert (line.flow, posted.count, posted.gross, line.billed.gross) == (flow, 2, Decimal(0), Decimal(0))
    ends(back, "held")
    (line,) = flash.flash_of(october).lines
    assert (line.places["posted"].gross, line.places["held"].gross) == (Decimal(30), Decimal(-30))


@pytest.mark.parametrize(("make", "flow"), MOVEMENTS)
def test_the_cut_off_list_shows_it_with_its_sign(october, make, flow):
    for txn_id in carry(make):
        ends(txn_id, "completed")
    assert [(row.flow, row.dated, row.amount) for row in cutoff.cut_off(october).rows] == [
        (flow, WENT.date(), Decimal(30)), (flow, BACK.date(), Decimal(-30)),
    ]  # fmt: skip


def tell(acme, *told):
    for event in told:
        receive(acme.id, [arrival(event, f"evt_{event.refund.source.object_id}_{event.refund.status}")], via="webhook")
        carry_due_events()


def refunds_in_totals():
    (row,) = (row for row in compute_totals(["acme"], asks_erp=False).rows if row.document_type == "refund")
    return row, {name: (m.count, m.amount) for name, m in row.measures.items() if m.count}


def failure_of(number):
    return BusinessTransaction.objects.filter(source_id=number).order_by("lane_sequence").last()


@pytest.mark.parametrize("is_overtaken", [False, True])
def test_control_totals_have_a_refund_and_its_failure_which_come_to_nothing(acme, is_overtaken):
    told = [refunded(), refunded(failed=True)]
    tell(acme, *(reversed(told) if is_overtaken else told), refunded(number="re_2", amount="5.00"))
    BusinessTransaction.objects.update(state="completed")
    row, found = refunds_in_totals()
    assert found == {name: (3, Decimal(-5)) for name in ("declared", "received", "billed", "posted")}
    assert row.agrees


def test_what_went_stays_posted_while_its_failure_is_held(acme):
    tell(acme, refunded(), refunded(failed=True), refunded(failed=True, number="re_3"))
    BusinessTransaction.objects.update(state="completed")
    BusinessTransaction.objects.filter(pk=failure_of("re_1").pk).update(state="held")
    row, found = refunds_in_totals()
    assert found == {
        "declared": (3, Decimal(-30)), "received": (3, Decimal(-30)), "billed": (3, Decimal(-30)),
        "posted": (1, Decimal(-30)), "held": (1, Decimal(30)), "ignored": (1, Decimal(-30)),
    }  # fmt: skip
    assert row.agrees
