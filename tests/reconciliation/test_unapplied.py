"""What of receipts and credit memos is unapplied: counted by the lineage that flows tell, in its currency."""

import datetime as dt
from decimal import Decimal

import pytest
from msgspec import structs

from q2c.canonical.base import Source
from q2c.canonical.billing import CreditMemo, Dispute
from q2c.canonical.events import DisputeChanged
from q2c.canonical.posting import PostedDocument
from q2c.canonical.unwinding import SettledBy, Unwinding
from q2c.flows.facts import About, facts_of
from q2c.flows.payout_to_erp import tell_dispute
from q2c.flows.told import Link
from q2c.flows.unwinding_to_erp import tell
from q2c.posting import unwinding as rules
from q2c.posting.facts import Book
from q2c.reconciliation import flash
from q2c.reconciliation.documents import month_of
from q2c.records.documents import Seen
from tests import factories

pytestmark = pytest.mark.django_db
AT = dt.datetime(2026, 10, 29, 12, tzinfo=dt.UTC)
BOOK = Book(
    code="DE01", name="DE", country="DE", currency="EUR", time_zone="Europe/Berlin", connection="netsuite", erp_id="3"
)
OURS = {"legal_entity_code": "DE01", "period_code": "2026-10"}


@pytest.fixture
def october():
    factories.make_period("DE01", "2026-10")
    return month_of("DE01", "2026-10")


def told_by(flow, hops, **fields):
    """A completed transaction of this flow with the hops that it told."""
    txn = factories.make_transaction(flow=flow, **fields)
    for hop in hops:
        if isinstance(hop, Link):
            source, target = (
                (hop.source_system, hop.source_type, hop.source_id), (hop.target_system, hop.target_type, hop.target_id)
            )  # fmt: skip
            factories.make_link(
                txn, source, target, relation=hop.relation, amount=hop.amount, currency=hop.currency, step=hop.step
            )


def unapplied(month):
    return {
        (line.flow, line.currency): (line.unapplied.count, line.unapplied.gross)
        for line in flash.flash_of(month).lines
        if line.unapplied.count
    }


def dispute(status, amount="92.00", **converted):
    return Dispute(
        source=Source(connection="stripe", object_type="dispute", object_id="dp_1", version=status), status=status,
        payment_id="pay_1", currency="EUR", amount=Decimal(amount), at=AT, gateway="stripe", **converted,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("is_won", "left"), [(False, {}), (True, {("payment_to_erp", "USD"): (1, Decimal(100))})]
)  # fmt: skip
def test_a_dispute_takes_back_of_a_receipt_what_it_takes_in_the_receipts_currency(october, is_won, left):
    factories.make_transaction(
        **OURS, flow="payment_to_erp", currency="USD", source_id="pay_1", amount=Decimal("100.00")
    )
    own = {"original_currency": "USD", "original_amount": Decimal("100.00")}
    disputes = [dispute("withdrawn", **own), *([dispute("won", "93.10", **own)] if is_won else [])]
    for document in disputes:
        journal = PostedDocument(id=f"j_{document.status}", document_type="journal", number="", external_id="x")
        told_by("dispute_to_erp", tell_dispute(document, journal, BOOK), legal_entity_code="DE01", source_id="dp_1")
    assert unapplied(october) == left


def test_a_dispute_that_an_older_release_read_stays_the_same_fact():
    own = {"original_currency": "USD", "original_amount": Decimal("100.00")}
    keys = set()
    for document in (dispute("withdrawn"), dispute("withdrawn", **own)):
        (fact,) = facts_of(DisputeChanged(occurred_at=AT, dispute=document), About(AT))
        keys.add(fact.business_key)
        assert fact.document == document
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("known", "is_same"),
    [
        (None, False),
        (Seen("withdrawn", AT, "", has_content=True), True),
        (Seen("won", AT, "", has_content=True), False),  # the other movement
    ],
)
def test_a_disputes_movement_that_is_told_again_with_another_second_is_the_same_fact(known, is_same):
    (first,) = facts_of(DisputeChanged(occurred_at=AT, dispute=dispute("withdrawn")), About(AT))
    later = AT + dt.timedelta(seconds=2)
    again = structs.replace(dispute("withdrawn"), at=later)
    (fact,) = facts_of(DisputeChanged(occurred_at=later, dispute=again), About(later, known=known))
    assert (fact.business_key == first.business_key) is is_same
    assert fact.lane == first.lane


def test_what_is_said_in_another_currency_takes_nothing_of_a_receipt(october):
    factories.make_transaction(
        **OURS, flow="payment_to_erp", currency="USD", source_id="pay_1", amount=Decimal("100.00")
    )
    journal = PostedDocument(id="j_1", document_type="journal", number="", external_id="x")
    told_by("dispute_to_erp", tell_dispute(dispute("withdrawn"), journal, BOOK), source_id="dp_1")
    assert unapplied(october) == {("payment_to_erp", "USD"): (1, Decimal(100))}


@pytest.mark.parametrize(
    ("settled", "left"),
    [
        ((), {}),  # billing keeps the invoice: the ERP was told nothing
        (("100.00",), {}),
        (("97.36",), {("payment_to_erp", "EUR"): (1, Decimal("2.64"))}),  # people agreed to what was open
        (("60.00", "40.00"), {}),  # the rest went to what it collected for another invoice
    ],
)
def test_of_a_receipt_what_settles_in_the_erp_is_applied_and_no_more(october, settled, left):
    factories.make_transaction(
        **OURS, flow="payment_to_erp", currency="EUR", source_id="pay_1", amount=Decimal("100.00"), target_id="777"
    )
    applied = factories.make_transaction(flow="application_to_erp", source_id="app_1")
    fact = {"relation": "paid by", "amount": Decimal("100.00"), "currency": "EUR"}
    factories.make_link(applied, ("stripe", "invoice", "in_1"), ("stripe", "payment", "pay_1"), **fact)
    for n, amount in enumerate(settled):
        told = {"relation": "settles", "amount": Decimal(amount), "currency": "EUR"}
        factories.make_link(applied, ("netsuite", "receipt", "777"), ("netsuite", "ar_invoice", f"inv{n}"), **told)
    assert unapplied(october) == left


def unwound(kind, *, reposts, generation=1):
    """A plan that took a document over 60 off an invoice over 60, and what it tells."""
    erp_invoice = f"inv{generation}"
    unwinding = Unwinding(
        source=Source(connection="stripe", object_type="unwinding", object_id=f"in_1-{generation}"),
        generation=generation, invoice_id="in_1", invoice_number="INV-1", customer_id="cus_1", customer_name="Blue",
        legal_entity="DE01", erp="netsuite", erp_invoice=erp_invoice, currency="EUR", total=Decimal(60),
        open_amount=Decimal(0), on=AT.date(), reposts=reposts,
        settled=(SettledBy(kind=kind, document="777", amount=Decimal(60), moves=True),),
    )  # fmt: skip
    credit = CreditMemo(
        source=unwinding.source, number="INV-1-U1", customer_id="cus_1", customer_name="Blue", currency="EUR",
        issued_at=AT, total=Decimal(60), lines=(),
    )  # fmt: skip
    memo = PostedDocument(id=f"cm{generation}", document_type="ar_credit_memo", number="", external_id="x")
    again = f"inv{generation + 1}"
    reposted = PostedDocument(id=again, document_type="ar_invoice", number="", external_id="y") if reposts else None
    settling = rules.settling_of(unwinding, reposted=again, credit_memo=memo.id) if reposts else None
    return tell(unwinding, credit, memo, reposted, settling, BOOK)


@pytest.mark.parametrize(
    ("plans", "left"), [((), 40), ((False,), 100), ((True,), 40), ((True, True), 40), ((True, False), 100)]
)  # fmt: skip
@pytest.mark.parametrize(
    ("flow", "kind", "relation"),
    [("payment_to_erp", "receipt", "paid by"), ("credit_memo_to_erp", "credit_memo", "settled by")],
)
def test_what_a_plan_takes_off_an_invoice_is_unapplied_until_it_settles_the_next(
    october, flow, kind, relation, plans, left
):
    factories.make_transaction(
        **OURS, flow=flow, currency="EUR", source_id="doc_1", amount=Decimal("100.00"), target_id="777"
    )
    money = {"amount": Decimal(60), "currency": "EUR"}
    applied = factories.make_transaction(flow="application_to_erp", source_id="app_1")
    factories.make_link(
        applied, ("stripe", "invoice", "in_1"), ("stripe", "payment", "doc_1"), relation=relation, **money
    )
    factories.make_link(
        applied, ("netsuite", kind, "777"), ("netsuite", "ar_invoice", "inv1"), relation="settles", **money
    )
    for n, reposts in enumerate(plans):
        told_by(
            "unwinding_to_erp", unwound(kind, reposts=reposts, generation=n + 1), source_id="in_1",
            lane="stripe:invoice:in_1", lane_sequence=n + 1, number=f"U-{n}",
        )  # fmt: skip
    assert unapplied(october) == {(flow, "EUR"): (1, Decimal(left))}
