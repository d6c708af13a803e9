"""What an event says of golden records and billed documents, and whom it concerns (pure tables by event type)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from q2c.canonical import events
from q2c.canonical.schema import content_hash, to_builtins
from q2c.flows.facts import rounding_of
from q2c.records.documents import Billed, Seen
from q2c.records.store import Sighting

_NOT_VALUES = frozenset({"source", "type"})


def sighting_of(event: Any, family: str) -> Sighting | None:
    """The golden record that an event speaks of, or None for events about documents."""
    match event:
        case events.CustomerChanged(customer=c):
            parent = f"{c.source.connection}:{c.source.object_type}:{c.parent_id}" if c.parent_id else ""
            joins = (
                c.crm_id if c.crm_id.count(":") == 2 else ""
            )  # we write the account's record key on billing's customer
            return _sighting("customer", c, event, family, name=c.name, number=c.number,
                             parent_key=parent, legal_entity_code=c.legal_entity, joins=joins)  # fmt: skip
        case events.ProductChanged(product=p):
            return _sighting("product", p, event, family, name=p.name, number=p.sku)
        case events.PriceChanged(price=p):
            return _sighting("price", p, event, family, number=p.sku)
        case events.OrderClosedWon(order=o):
            return _sighting("order", o, event, family, name=o.name, number=o.number,
                             legal_entity_code=o.legal_entity)  # fmt: skip
        case events.SubscriptionChanged(subscription=s):
            return _sighting("subscription", s, event, family, number=s.source.object_id)
    return None


def _sighting(record_type: str, document: Any, event: Any, family: str, **names: str) -> Sighting:
    return Sighting(
        record_type=record_type,
        document=document,
        values=_plain(document),
        family=family,
        occurred_at=event.occurred_at,
        **names,
    )


def _plain(document: Any) -> dict[str, Any]:
    return {name: value for name, value in to_builtins(document).items() if name not in _NOT_VALUES}


def billed_of(event: Any, connection: str) -> Billed | None:
    """The billed document that an event speaks of, with the status that it gives it."""
    at = event.occurred_at
    match event:
        case events.InvoicePosted(invoice=d):
            return _billed("invoice", d, "open", at, number=d.number, customer_id=d.customer_id, order_id=d.order_id,
                           subscription_id=d.subscription_id, amount=d.total, line_count=len(d.lines), feed=d.feed,
                           feed_type=d.feed_type, rounding=rounding_of(d), document_date=d.document_date,
                           dated_at=d.issued_at)  # fmt: skip
        case events.InvoiceCorrected(invoice=d):  # of the age of its issue: it says no state
            return billed_of(events.InvoicePosted(occurred_at=d.issued_at, invoice=d), connection)
        case events.CreditMemoCorrected(credit_memo=d):
            return billed_of(events.CreditMemoIssued(occurred_at=d.issued_at, credit_memo=d), connection)
        case events.CreditMemoIssued(credit_memo=d):
            return _billed("credit_memo", d, "issued", at, number=d.number, customer_id=d.customer_id, amount=d.total,
                           line_count=len(d.lines), feed=d.feed, feed_type=d.feed_type, rounding=rounding_of(d),
                           document_date=d.document_date, dated_at=d.issued_at)  # fmt: skip
        case events.PaymentReceived(payment=d):
            return _billed("payment", d, "received", at, number=d.reference, customer_id=d.customer_id, amount=d.amount,
                           dated_at=d.received_at)  # fmt: skip
        case events.PaymentApplied(application=d):
            return _billed("application", d, "applied", at, customer_id=d.customer_id, amount=d.amount)
        case events.RefundMade(refund=d):
            return _billed("refund", d, d.status, at, customer_id=d.customer_id, amount=d.amount,
                           dated_at=d.refunded_at)  # fmt: skip
        case events.DisputeChanged(dispute=d):
            taken_at = None if d.is_returned else d.at  # it's of the day on which its money was taken
            return _billed("dispute", d, d.status, at, amount=d.amount, dated_at=taken_at)
        case events.PayoutPaid(payout=d):
            return _billed("payout", d, d.status, at, amount=d.amount, line_count=len(d.movements),
                           document_date=d.arrival_date)  # fmt: skip
        case events.InvoiceStatusChanged():
            return Billed(connection, "invoice", event.invoice_id, event.status, at, number=event.number,
                          order_id=event.order_id, subscription_id=event.subscription_id)  # fmt: skip
        case events.CreditMemoVoided(void=d):
            return Billed(connection, "credit_memo", d.document_id, "void", at, number=d.number)
    return None


def _billed(document_type: str, document: Any, status: str, at: Any, **fields: Any) -> Billed:
    source = document.source
    return Billed(
        connection_code=source.connection, document_type=document_type, external_id=source.object_id, status=status,
        status_at=at, currency=document.currency, legal_entity_code=document.legal_entity,
        content_hash=content_hash(document), **fields,
    )  # fmt: skip


def _document(event: Any) -> Any:
    for name in ("customer", "order", "subscription", "invoice", "credit_memo", "payment", "application", "refund",
                 "dispute", "payout", "void"):  # fmt: skip
        found = getattr(event, name, None)
        if found is not None:
            return found
    return event


def customer_of(event: Any) -> str:
    """The customer's id in the event's own system, if the event names one."""
    if isinstance(event, events.CustomerChanged):
        return event.customer.source.object_id
    return getattr(_document(event), "customer_id", "")


def subscription_of(event: Any) -> str:
    """The subscription that an event is about."""
    return getattr(_document(event), "subscription_id", "")


def invoice_of(event: Any) -> str:
    """The invoice whose order tells which order an event is about."""
    is_status = isinstance(event, events.InvoiceStatusChanged | events.PaymentFailed)
    return event.invoice_id if is_status else ""


def disputed_of(event: Any) -> str:
    """The payment that a dispute takes back: only that says whose it is."""
    return event.dispute.payment_id if isinstance(event, events.DisputeChanged) else ""


def as_told_before(billed: Billed, known: Seen) -> Billed:
    """A dispute's movement that was told before stays of that instant: a message made from the register and the
    source's own may name it seconds apart, and are one fact."""
    if known.status_at is None or (billed.document_type, billed.status) != ("dispute", known.status):
        return billed
    return replace(billed, status_at=known.status_at)


def corrected_of(event: Any) -> str:
    """The document that an event says was corrected; empty for every other event."""
    is_correction = isinstance(event, events.InvoiceCorrected | events.CreditMemoCorrected)
    return _document(event).source.object_id if is_correction else ""


def order_of(event: Any) -> str:
    """The order that an event names itself."""
    return "" if isinstance(event, events.OrderClosedWon) else getattr(_document(event), "order_id", "")


def entity_of(event: Any) -> str:
    """The selling entity that an event names itself."""
    return getattr(_document(event), "legal_entity", "")
