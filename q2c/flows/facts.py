"""The table of what starts what: each canonical event gives the facts that flows carry (pure).

`Ignored` is a decision that keeps the document's amount, so that no total loses it.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import msgspec

from q2c.canonical import billing, contract, events
from q2c.canonical.base import Source
from q2c.canonical.schema import content_hash
from q2c.core import ids
from q2c.flows.api_orders import API_ORDER_PREFIX
from q2c.flows.dispatch import Fact
from q2c.flows.steps.orders import as_read
from q2c.flows.turned import credit_memo_of
from q2c.posting.days import last_service_day
from q2c.records.documents import Seen

NO_INSTANT = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Ignored:
    """A document that is known and isn't carried."""

    code: str
    reason: str


@dataclass(frozen=True)
class About:
    """What is known around an event: who the customer is, where the entity's midnight is, which order it's about."""

    occurred_at: dt.datetime
    is_billing: bool = False
    legal_entity: str = ""
    customer_name: str = ""
    order_id: str = ""
    time_zone: str = "UTC"
    is_changed: bool = True  # of a record that has states: whether this event changed it
    is_held: bool = False  # of a document that was corrected: whether its newest version is held
    known: Seen | None = None  # of a document: what came of it before this event


def facts_of(event: Any, about: About) -> list[Fact] | Ignored:
    """The facts of one event, or why it isn't carried. One that only changes a golden record gives an empty list."""
    return _MAKERS[type(event)](event, about)


def _customer(event: events.CustomerChanged, about: About) -> list[Fact]:
    customer = event.customer
    if not (about.is_billing and about.is_changed):
        return []
    # A customer may return to an earlier content, so its key carries the instant of the change beside the content.
    fact = _fact(
        "customer_to_erp", customer, customer.source, about, stamp=event.occurred_at,
        number=customer.number, customer_id=customer.source.object_id, customer_name=customer.name,
        currency=customer.currency if len(customer.currency) == 3 else "", priority=4,
    )  # fmt: skip
    return [fact]


def _order(event: events.OrderClosedWon, about: About) -> list[Fact]:
    """A sale, or the order in which the sale of an opportunity was written down: that one isn't sold again."""
    order = event.order
    amount = (
        order.amount if order.amount is not None else sum((x.quantity * x.unit_price for x in order.lines), Decimal(0))
    )
    flow = "order_to_sale" if order.opportunity_id else "order_to_subscription"
    return [
        _fact(
            flow, order, order.source, about, read=as_read(order), number=order.number,
            customer_id=order.customer_id, currency=order.currency, amount=amount, line_count=len(order.lines),
            document_date=order.start_date,
        )
    ]  # fmt: skip


def _invoice(event: events.InvoicePosted, about: About) -> list[Fact] | Ignored:
    invoice = event.invoice
    if _is_nothing(invoice):
        return Ignored("zero_amount", "A document of 0 has no effect on the books")
    facts = [_negative_invoice(invoice, about) if invoice.total < 0 else _billed(invoice, "invoice_to_erp", about)]
    if about.is_changed:  # a newer status of it may have come before
        facts += _status(event, about, invoice.source, invoice_status="open", number=invoice.number)
    return facts


def _corrected(event: events.InvoiceCorrected | events.CreditMemoCorrected, about: About) -> list[Fact]:
    """Only what is held is read again: what was posted is never edited, and what runs goes on as it came."""
    if not about.is_held:
        return []
    if isinstance(event, events.CreditMemoCorrected):
        fact = _billed(event.credit_memo, "credit_memo_to_erp", about)
    elif event.invoice.total < 0:
        fact = _negative_invoice(event.invoice, about)
    else:
        fact = _billed(event.invoice, "invoice_to_erp", about)
    return [replace(fact, is_correction=True)]


def _is_nothing(document: billing.Invoice | billing.CreditMemo) -> bool:
    """A feed's document of 0, by its contract, or a credit note of nothing. The lines of another one may move revenue
    or sell what has a price: its flow decides, by policy."""
    if document.total or (isinstance(document, billing.Invoice) and document.lines and not document.feed):
        return False
    return bool(document.feed) or not any(line.amount for line in document.lines)


def _negative_invoice(invoice: billing.Invoice, about: About) -> Fact:
    return _billed(credit_memo_of(invoice), "credit_memo_to_erp", about)


def _credit_memo(event: events.CreditMemoIssued, about: About) -> list[Fact] | Ignored:
    if _is_nothing(event.credit_memo):
        return Ignored("zero_amount", "A document of 0 has no effect on the books")
    memo = event.credit_memo
    return [_billed(memo, "credit_memo_to_erp", about), *(_given_back(memo, part, about) for part in memo.refunds)]


def _given_back(memo: billing.CreditMemo, part: billing.CreditRefund, about: About) -> Fact:
    """That a refund gave a credit note back: nothing of both may stay open."""
    given = billing.Application(
        source=replace_fields(memo.source, object_type="credit_note_refund",
                              object_id=f"{memo.source.object_id}-{part.refund_id}"),
        payment_id=memo.source.object_id, payment_type="credit_note", kind="credit_memo", invoice_id=memo.invoice_id,
        refund_id=part.refund_id, currency=memo.currency, amount=part.amount, applied_at=memo.issued_at,
        customer_id=memo.customer_id, legal_entity=memo.legal_entity,
    )  # fmt: skip
    return _application(events.PaymentApplied(occurred_at=about.occurred_at, application=given), about)[0]


def _billed(document: billing.Invoice | billing.CreditMemo, flow: str, about: About) -> Fact:
    return _fact(
        flow, document, document.source, about, read=_read_of(document), number=document.number,
        customer_id=document.customer_id, customer_name=document.customer_name, currency=document.currency,
        amount=document.total,
        line_count=len(document.lines), document_date=document.document_date or _date(document.issued_at, about),
        feed=document.feed, feed_type=document.feed_type, rounding=rounding_of(document),
        legal_entity=document.legal_entity, priority=6 if document.feed else 5, tax=document.tax_total,
        service_end=last_service_day(document, about.time_zone),
    )  # fmt: skip


def _read_of(document: billing.Invoice | billing.CreditMemo) -> billing.Invoice | billing.CreditMemo:
    """What its key rests on: the debts that an invoice collects are read from a ledger of their own."""
    document = _uncharged(document)
    return replace_fields(document, collected=()) if isinstance(document, billing.Invoice) else document


def _uncharged(document: Any) -> Any:
    """A document without how its lines are charged, which older releases didn't read: what they posted is no other
    document for that."""
    if not any(line.charge_type for line in document.lines):
        return document
    return replace_fields(document, lines=tuple(replace_fields(line, charge_type="") for line in document.lines))


def rounding_of(document: billing.Invoice | billing.CreditMemo) -> Decimal:
    """What the register declares less what was received, in the register's sign: a credit is negative there, also in
    `declared_total`, while a credit memo's own total is positive."""
    if document.declared_total is None:
        return Decimal(0)
    return document.declared_total - (-document.total if isinstance(document, billing.CreditMemo) else document.total)


def _payment(event: events.PaymentReceived, about: About) -> list[Fact]:
    paid = event.payment
    read = replace_fields(paid, invoice_ids=())  # a payment told again may know of more
    return [
        _fact("payment_to_erp", paid, paid.source, about, read=read, number=paid.reference,
              customer_id=paid.customer_id, currency=paid.currency, amount=paid.amount,
              document_date=_date(paid.received_at, about), legal_entity=paid.legal_entity)
    ]  # fmt: skip


def _application(event: events.PaymentApplied, about: About) -> list[Fact]:
    applied = event.application
    return [
        _fact("application_to_erp", applied, applied.source, about, read=replace_fields(applied, given_back_by=""),
              customer_id=applied.customer_id, currency=applied.currency, amount=applied.amount,
              document_date=_date(applied.applied_at, about), legal_entity=applied.legal_entity)
    ]  # fmt: skip


def _refund(event: events.RefundMade, about: About) -> list[Fact] | Ignored:
    refund = event.refund
    never = Ignored(f"refund_{refund.status}"[:60], f"A refund that is {refund.status} moved no money")
    return _movements(refund, about, went="succeeded", make=_refund_fact, never=never)


def _refund_fact(refund: billing.Refund, about: About) -> Fact:
    # An event that says again that it went names another instant, and may know of more credit notes.
    read = replace_fields(refund, failed_at=None, refunded_at=NO_INSTANT, credits=())
    return _fact(
        "refund_to_erp", refund, refund.source, about, read=read,
        customer_id=refund.customer_id, currency=refund.currency, amount=refund.amount,
        document_date=_date(refund.failed_at or refund.refunded_at, about), legal_entity=refund.legal_entity,
    )  # fmt: skip


def _movements(
    document: Any, about: About, *, went: str, make: Callable[[Any, About], Fact], never: Ignored
) -> list[Fact] | Ignored:
    """Money that went, or came back since that failed: a failure undoes only what is known to have gone (`went`), and
    one that overtook it follows it in the same lane."""
    known = about.known.status if about.known else ""
    if document.status == went:
        facts = [make(document, about)]
        if about.known and known == "failed":
            facts.append(make(_failed(document, about.known.status_at), about))
        return facts
    if document.status == "failed" and known == went:
        return [make(document, about)]
    return [] if about.known and known == "failed" and not about.known.ignored_reason else never


def _failed(document: Any, at: dt.datetime | None) -> Any:
    changes: dict[str, Any] = {"status": "failed", "failed_at": at}
    if isinstance(document, billing.Payout):
        changes["movements"] = ()
    return replace_fields(document, **changes)


def _dispute(event: events.DisputeChanged, about: About) -> list[Fact]:
    dispute, known = event.dispute, about.known
    # A movement that was told before is the same fact, whatever second this event says; older releases didn't read
    # what the charge was over.
    told_at = known.status_at if known is not None and known.status == dispute.status else None
    at = told_at.astimezone(dt.UTC) if told_at is not None else dispute.at
    read = replace_fields(dispute, at=at, original_currency="", original_amount=Decimal(0))
    return [
        _fact("dispute_to_erp", dispute, dispute.source, about, read=read, currency=dispute.currency,
              amount=dispute.amount, document_date=_date(dispute.at, about), legal_entity=dispute.legal_entity)
    ]  # fmt: skip


def _payout(event: events.PayoutPaid, about: About) -> list[Fact] | Ignored:
    never = Ignored("payout_never_arrived", "The payout failed on its way: the bank never had the money")
    return _movements(event.payout, about, went="paid", make=_payout_fact, never=never)


def _payout_fact(payout: billing.Payout, about: About) -> Fact:
    failed_on = _date(payout.failed_at, about) if payout.failed_at else None
    return _fact(
        "payout_to_erp", payout, payout.source, about, read=replace_fields(payout, failed_at=None),
        currency=payout.currency, amount=payout.amount, line_count=len(payout.movements),
        document_date=failed_on or payout.arrival_date, legal_entity=payout.legal_entity,
    )  # fmt: skip


def _subscription(event: events.SubscriptionChanged, about: About) -> list[Fact]:
    subscription = event.subscription
    if not about.is_changed:
        return []
    return _status(event, about, subscription.source, subscription_status=subscription.status)


def _invoice_status(event: events.InvoiceStatusChanged, about: About) -> list[Fact]:
    source = Source(connection=event.connection, object_type="invoice", object_id=event.invoice_id)
    payment = {"payment_status": "paid"} if event.status == "paid" else {}
    return _status(event, about, source, invoice_status=event.status, number=event.number, **payment)


def _invoice_void(event: events.InvoiceVoided, about: About) -> list[Fact] | Ignored:
    return _void(event.void, "invoice_void_to_erp", about)


def _credit_void(event: events.CreditMemoVoided, about: About) -> list[Fact] | Ignored:
    return _void(event.void, "credit_void_to_erp", about)


def _void(void: billing.DocumentVoid, flow: str, about: About) -> list[Fact] | Ignored:
    if void.amount == 0:
        return Ignored("zero_amount", "A document of 0 has no effect on the books")
    read = replace_fields(void, balance_entries=(), credits=tuple(_uncharged(memo) for memo in void.credits))
    return [
        _fact(flow, void, void.source, about, read=read, number=void.number,
              customer_id=void.customer_id, currency=void.currency, amount=void.amount,
              document_date=_date(void.voided_at, about), legal_entity=void.legal_entity)
    ]  # fmt: skip


def _payment_failed(event: events.PaymentFailed, about: About) -> list[Fact]:
    source = Source(connection=event.connection, object_type="invoice", object_id=event.invoice_id)
    return _status(event, about, source, payment_status="failed")


def _status(event: Any, about: About, source: Source, **said: str) -> list[Fact]:
    if not is_order_of_crm(about.order_id):
        return []
    status = contract.OrderStatus(
        source=replace_fields(source, version=""), order_id=about.order_id, at=event.occurred_at, **said
    )
    return [status_fact(status, legal_entity=about.legal_entity, customer_name=about.customer_name)]


def is_order_of_crm(order_id: str) -> bool:
    """Whether there is a CRM to tell about this order; of an order of our own API there isn't."""
    return bool(order_id) and not order_id.startswith(API_ORDER_PREFIX)


def status_fact(
    status: contract.OrderStatus, *, legal_entity: str = "", customer_name: str = "", correlation_id: str = ""
) -> Fact:
    """The fact that tells the CRM a status: one lane per order. Our own postings use it too."""
    source = status.source
    return Fact(
        flow="status_to_crm",
        business_key=ids.business_key(
            connection=source.connection, object_type=source.object_type, object_id=source.object_id,
            content_hash=content_hash(status),
        ),
        lane=f"order:{status.order_id}",
        document=status,
        source_connection=source.connection,
        source_type=source.object_type,
        source_id=source.object_id,
        number=status.number,
        legal_entity_code=legal_entity,
        customer_name=customer_name,
        correlation_id=correlation_id,
        priority=7,
    )  # fmt: skip


def _nothing(event: Any, about: About) -> list[Fact]:
    return []


def _fact(
    flow: str, document: Any, source: Source, about: About, *, read: Any = None, stamp: dt.datetime | None = None,
    legal_entity: str = "", customer_name: str = "", **columns: Any,
) -> Fact:  # fmt: skip
    read = document if read is None else read
    digest = content_hash(replace_fields(read, source=replace_fields(read.source, version="")))
    if stamp is not None:
        digest = ids.digest(digest, stamp.isoformat())
    names = {"connection": source.connection, "object_type": source.object_type, "object_id": source.object_id}
    return Fact(
        flow=flow,
        business_key=ids.business_key(**names, content_hash=digest),
        lane=ids.lane(**names),
        document=document,
        source_connection=source.connection,
        source_type=source.object_type,
        source_id=source.object_id,
        legal_entity_code=legal_entity or about.legal_entity,
        customer_name=customer_name or about.customer_name,
        **columns,
    )


def _date(instant: dt.datetime, about: About) -> dt.date:
    return instant.astimezone(zoneinfo.ZoneInfo(about.time_zone)).date()


def replace_fields(document: Any, **changes: Any) -> Any:
    """A copy of a canonical document with some fields changed."""
    return msgspec.structs.replace(document, **changes)


def with_event(facts: Iterable[Fact], event_id: Any) -> list[Fact]:
    """The facts, naming the inbound event that they come from."""
    return [replace(fact, event_id=event_id, correlation_id=str(event_id)) for fact in facts]


_MAKERS: dict[type, Callable[[Any, About], list[Fact] | Ignored]] = {
    events.CustomerChanged: _customer,
    events.CustomerMerged: _customer,
    events.ProductChanged: _nothing,
    events.PriceChanged: _nothing,
    events.OrderClosedWon: _order,
    events.SubscriptionChanged: _subscription,
    events.InvoicePosted: _invoice,
    events.InvoiceCorrected: _corrected,
    events.CreditMemoCorrected: _corrected,
    events.InvoiceStatusChanged: _invoice_status,
    events.InvoiceVoided: _invoice_void,
    events.CreditMemoVoided: _credit_void,
    events.CreditMemoIssued: _credit_memo,
    events.PaymentReceived: _payment,
    events.PaymentApplied: _application,
    events.PaymentFailed: _payment_failed,
    events.RefundMade: _refund,
    events.DisputeChanged: _dispute,
    events.PayoutPaid: _payout,
}
