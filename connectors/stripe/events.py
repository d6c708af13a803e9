"""What each of Stripe's events means: Means, Ignored or NotYet for every type that is documented. Pure.

Source: event types of the Python SDK 16.1.0 (`_event.py`) that concern quote-to-cash. Amounts and states are read
from the
snapshot in the event, except where it may be stale or lacks lines: then the verb that `refetch` names is asked.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import structs

from connectors.fields import needed, read_json, unix
from connectors.manifest import Context, Ignored, Means, NotYet
from connectors.stripe import balances, inbound, inbound_cash, voids
from connectors.stripe.money import from_minor
from q2c.canonical import events
from q2c.core.problems import Category, Problem

UNDATED = "undated"  # of an event of our own making (`register`): its instant is only when the object was begun


def _snapshot(body: bytes) -> tuple[Mapping[str, Any], dt.datetime]:
    event = read_json(body)
    return event["data"]["object"], unix(event["created"])


def _moved(body: bytes) -> tuple[Mapping[str, Any], dt.datetime]:
    """The same of an event that says that money moved. Raises Problem `movement_undated` for one that the register made
    of an object which doesn't say when (`register.as_event`)."""
    raw, at = _snapshot(body)
    if read_json(body).get(UNDATED):
        raise Problem(
            "movement_undated",
            Category.VALIDATION,
            f"Nobody says on which day {raw['id']} went through: Stripe has no event of it any more, and it was begun "
            f"on {at:%-d %B %Y}, days before",
            document=raw["id"],
        )
    return raw, at


def invoice_posted(body: bytes, context: Context) -> list[Any]:
    """invoice.finalized: from here on the invoice's lines and total can't change."""
    raw, at = _snapshot(body)
    invoice = context.fetched or inbound.invoice(raw, context.connection)
    used = [inbound_cash.balance_application(entry) for entry in invoice.balance_entries]
    return [
        events.InvoicePosted(occurred_at=at, invoice=structs.replace(invoice, balance_entries=())),
        *(events.PaymentApplied(occurred_at=at, application=application) for application in used),
    ]


OWN_NOTES = "q2c_"  # metadata that we write ourselves (`outbound.hold_note`)


def is_corrected(body: bytes) -> bool:
    """Whether somebody else changed the notes of a document that is issued: all that may still change of it (Stripe's
    `previous_attributes` holds the keys that changed). What we wrote ourselves says nothing new."""
    data = read_json(body)["data"]
    raw, before = data["object"], (data.get("previous_attributes") or {}).get("metadata") or {}
    now = raw.get("metadata") or {}
    return raw.get("status") != "draft" and any(
        now.get(name) != value for name, value in before.items() if not name.startswith(OWN_NOTES)
    )


def invoice_corrected(body: bytes, context: Context) -> list[Any]:
    """invoice.updated, with the invoice that was asked for; of nothing else than a correction nobody asks."""
    if context.fetched is None:
        return []
    _, at = _snapshot(body)
    return [events.InvoiceCorrected(occurred_at=at, invoice=structs.replace(context.fetched, balance_entries=()))]


def credit_memo_corrected(body: bytes, context: Context) -> list[Any]:
    """credit_note.updated, the same."""
    if context.fetched is None:
        return []
    _, at = _snapshot(body)
    return [events.CreditMemoCorrected(occurred_at=at, credit_memo=context.fetched)]


def is_incomplete(body: bytes) -> bool:
    """Whether the snapshot of a finalized invoice lacks lines (it holds ten), names tax rates or what was sold by their
    ids only, doesn't say who sells, or used the customer's balance, whose ledger it doesn't hold."""
    raw, _ = _snapshot(body)
    behind = (raw.get("parent") or {}).get("subscription_details") or {}
    notes = {**(behind.get("metadata") or {}), **(raw.get("metadata") or {})}
    has_more = bool(raw["lines"].get("has_more") or raw.get("total_taxes") or raw.get("total_tax_amounts"))
    is_nameless = not all(inbound.says_sku(line) for line in raw["lines"]["data"])
    return has_more or is_nameless or not notes.get("legal_entity") or balances.uses_balance(raw)


def invoice_status(status: str) -> Callable[[bytes, Context], list[Any]]:
    """An event that says in which state an invoice is now."""

    def translate(body: bytes, context: Context) -> list[Any]:
        raw, at = _snapshot(body)
        return [_status_changed(raw, context, status=status, at=at)]

    return translate


def invoice_voided(body: bytes, context: Context) -> list[Any]:
    """invoice.voided, with the credit notes that were asked for."""
    raw, at = _snapshot(body)
    changed = _status_changed(raw, context, status="void", at=at)
    void = context.fetched or voids.invoice_void(raw, context.connection, ())
    return [changed, events.InvoiceVoided(occurred_at=at, void=void)]


def credit_voided(body: bytes, context: Context) -> list[Any]:
    """credit_note.voided: what it took off its invoice is owed again."""
    raw, at = _snapshot(body)
    return [events.CreditMemoVoided(occurred_at=at, void=voids.credit_void(raw, context.connection))]


def payment_failed(body: bytes, context: Context) -> list[Any]:
    """invoice.payment_failed: nothing was received."""
    raw, at = _snapshot(body)
    changed = _status_changed(raw, context, status="payment_failed", at=at)
    reason = (raw.get("last_finalization_error") or {}).get("message") or "the payment was declined"
    failed = events.PaymentFailed(
        occurred_at=at,
        connection=context.connection,
        invoice_id=raw["id"],
        reason=str(reason),
        order_id=changed.order_id,
    )
    return [failed, changed]


def _status_changed(
    raw: Mapping[str, Any], context: Context, *, status: str, at: dt.datetime
) -> events.InvoiceStatusChanged:
    behind = (raw.get("parent") or {}).get("subscription_details") or {}
    notes = {**(behind.get("metadata") or {}), **(raw.get("metadata") or {})}
    currency = inbound.currency_of(raw)
    return events.InvoiceStatusChanged(
        occurred_at=at,
        invoice_id=raw["id"],
        connection=context.connection,
        status=status,
        order_id=notes.get("order_id", ""),
        subscription_id=str(behind.get("subscription") or raw.get("subscription") or ""),
        number=str(raw.get("number") or ""),
        currency=currency,
        amount=from_minor(raw["amount_remaining"], currency),
    )


def credit_memo_issued(body: bytes, context: Context) -> list[Any]:
    """credit_note.created: a credit note is issued at once, and only ever voided."""
    raw, at = _snapshot(body)
    memo = context.fetched or inbound.credit_memo(raw, context.connection)
    return [events.CreditMemoIssued(occurred_at=at, credit_memo=memo)]


def payment_received(body: bytes, context: Context) -> list[Any]:
    """payment_intent.succeeded."""
    raw, at = _moved(body)
    payment = context.fetched or inbound_cash.payment(raw, context.connection, received_at=at)
    return [events.PaymentReceived(occurred_at=at, payment=structs.replace(payment, received_at=at))]


def is_ownerless(body: bytes) -> bool:
    """Whether a payment doesn't say itself whose cash it is: the invoice that it pays does."""
    raw, _ = _snapshot(body)
    return not (raw.get("metadata") or {}).get("legal_entity")


def charge_received(body: bytes, context: Context) -> list[Any]:
    """charge.succeeded, and charge.captured of one that was only authorised then: cash only when it's captured and no
    payment intent stands behind it, which says the same itself."""
    raw, at = _moved(body)
    if raw.get("payment_intent") or not raw.get("captured", True):
        return []
    payment = inbound_cash.payment(raw, context.connection, received_at=at)
    return [events.PaymentReceived(occurred_at=at, payment=payment)]


def payment_applied(body: bytes, context: Context) -> list[Any]:
    """invoice_payment.paid: which invoice a payment settles. Paid off Stripe means no cash of Stripe's."""
    raw, at = _snapshot(body)
    application = inbound_cash.application(raw, context.connection, applied_at=at)
    return [] if application is None else [events.PaymentApplied(occurred_at=at, application=application)]


def refund_made(body: bytes, context: Context) -> list[Any]:
    """refund.*: only money that went back, or came back since the refund failed, at the instant when it did. Pending
    and cancelled ones move none."""
    if needed(_snapshot(body)[0], "status") not in ("succeeded", "failed"):
        return []
    raw, at = _moved(body)
    refund = context.fetched or inbound_cash.refund(raw, context.connection)
    changes: dict[str, Any] = {"status": raw["status"]}
    changes["failed_at" if raw["status"] == "failed" else "refunded_at"] = at
    return [events.RefundMade(occurred_at=at, refund=structs.replace(refund, **changes))]


def is_refunded(body: bytes) -> bool:
    """Whether a refund went out: which credit notes it belongs to, only they say."""
    raw, _ = _snapshot(body)
    return raw.get("status") == "succeeded"


def dispute_changed(status: str) -> Callable[[bytes, Context], list[Any]]:
    """A dispute that moved money."""

    def translate(body: bytes, context: Context) -> list[Any]:
        raw, at = _snapshot(body)
        dispute = inbound_cash.dispute(raw, context.connection, status=status, at=at)
        return [events.DisputeChanged(occurred_at=at, dispute=dispute)]

    return translate


def payout_moved(status: str) -> Callable[[bytes, Context], list[Any]]:
    """payout.paid and payout.failed, with the movements that were asked for. The event says which of both it is: the
    payout read meanwhile may have failed already."""

    def translate(body: bytes, context: Context) -> list[Any]:
        raw, at = _snapshot(body)
        payout = context.fetched or inbound_cash.payout(raw, [], context.connection)
        changes: dict[str, Any] = {"source": structs.replace(payout.source, version=status), "status": status}
        if status == "failed":
            changes |= {"failed_at": at, "movements": ()}
        return [events.PayoutPaid(occurred_at=at, payout=structs.replace(payout, **changes))]

    return translate


def subscription_changed(body: bytes, context: Context) -> list[Any]:
    """customer.subscription.*"""
    raw, at = _snapshot(body)
    return [events.SubscriptionChanged(occurred_at=at, subscription=inbound.subscription(raw, context.connection))]


def customer_changed(body: bytes, context: Context) -> list[Any]:
    """customer.created and .updated. One that was asked for and isn't there was deleted meanwhile: it says nothing."""
    raw, at = _snapshot(body)
    if context.fetched is None and names_payment_method(body):
        return []
    customer = context.fetched or inbound.customer(raw, context.connection)
    return [events.CustomerChanged(occurred_at=at, customer=customer)]


def names_payment_method(body: bytes) -> bool:
    """Whether the snapshot of a customer names a default payment method, of which it holds the id only."""
    raw, _ = _snapshot(body)
    return bool((raw.get("invoice_settings") or {}).get("default_payment_method"))


def product_changed(body: bytes, context: Context) -> list[Any]:
    """product.created and .updated"""
    raw, at = _snapshot(body)
    return [events.ProductChanged(occurred_at=at, product=inbound.product(raw, context.connection))]


_DRAFT = Ignored("a draft may still change; invoice.finalized brings the document")
_SAID = Ignored("another event says the same with the document itself")
_NOTICE = Ignored("a notice; it changes no document")
_INTENT = Ignored("no money has moved; payment_intent.succeeded says when it has")
_SETUP = Ignored("payment methods stay at the gateway (PCI)")
_ACCOUNT = Ignored("the gateway's own housekeeping")
_QUOTE = Ignored("the contract's source is the CRM's order")
_SCHEDULE = Ignored("the subscription's own events say when a schedule takes effect")
_PRICE = NotYet("prices are checked against the CRM's price book")

EVENTS: dict[str, Means | Ignored | NotYet] = {
    "invoice.finalized": Means(invoice_posted, refetch="invoice", refetch_when=is_incomplete),
    "invoice.paid": Means(invoice_status("paid")),
    "invoice.voided": Means(invoice_voided, refetch="invoice_void"),
    "invoice.marked_uncollectible": Means(invoice_status("uncollectible")),
    "invoice.payment_failed": Means(payment_failed),
    "credit_note.created": Means(credit_memo_issued, refetch="credit_note"),
    "payment_intent.succeeded": Means(payment_received, refetch="payment", refetch_when=is_ownerless),
    "charge.succeeded": Means(charge_received),
    "charge.captured": Means(charge_received),
    "invoice_payment.paid": Means(payment_applied),
    "refund.created": Means(refund_made, refetch="refund", refetch_when=is_refunded),
    "refund.updated": Means(refund_made, refetch="refund", refetch_when=is_refunded),
    "refund.failed": Means(refund_made),
    "charge.dispute.funds_withdrawn": Means(dispute_changed("withdrawn")),
    "charge.dispute.funds_reinstated": Means(dispute_changed("won")),
    "payout.paid": Means(payout_moved("paid"), refetch="payout"),
    "payout.failed": Means(payout_moved("failed"), refetch="payout"),
    "customer.created": Means(customer_changed, refetch="known_customer", refetch_when=names_payment_method),
    "customer.updated": Means(customer_changed, refetch="known_customer", refetch_when=names_payment_method),
    "customer.subscription.created": Means(subscription_changed),
    "customer.subscription.updated": Means(subscription_changed),
    "customer.subscription.deleted": Means(subscription_changed),
    "customer.subscription.paused": Means(subscription_changed),
    "customer.subscription.resumed": Means(subscription_changed),
    "product.created": Means(product_changed),
    "product.updated": Means(product_changed),
    "invoice.updated": Means(invoice_corrected, refetch="invoice", refetch_when=is_corrected),
    **dict.fromkeys(("invoice.created", "invoice.deleted", "invoice.finalization_failed"), _DRAFT),
    **dict.fromkeys(
        ("invoice.payment_succeeded", "charge.refunded", "charge.refund.updated", "charge.failed",
         "charge.updated", "charge.pending", "charge.expired", "payout.reconciliation_completed"), _SAID,
    ),
    **dict.fromkeys(
        ("invoice.sent", "invoice.upcoming", "invoice.will_be_due", "invoice.overdue", "invoice.overpaid",
         "invoice.payment_action_required", "customer.subscription.trial_will_end", "charge.dispute.created",
         "charge.dispute.updated", "charge.dispute.closed", "payout.created", "payout.updated", "payout.canceled",
         "balance.available", "customer.deleted", "invoice_payment.attached", "invoice_payment.detached"), _NOTICE,
    ),
    **dict.fromkeys(
        ("payment_intent.created", "payment_intent.canceled", "payment_intent.processing",
         "payment_intent.payment_failed", "payment_intent.requires_action", "payment_intent.partially_funded",
         "payment_intent.amount_capturable_updated"), _INTENT,
    ),
    **dict.fromkeys(
        ("setup_intent.created", "setup_intent.succeeded", "setup_intent.canceled", "setup_intent.setup_failed",
         "setup_intent.requires_action", "payment_method.attached", "payment_method.detached", "payment_method.updated",
         "payment_method.automatically_updated", "mandate.updated", "customer.source.created",
         "customer.source.deleted",
         "customer.source.updated", "customer.source.expiring"), _SETUP,
    ),
    **dict.fromkeys(
        ("account.updated", "account.application.authorized", "account.application.deauthorized",
         "account.external_account.created", "account.external_account.updated", "account.external_account.deleted",
         "transfer.created", "transfer.updated", "transfer.paid", "transfer.failed", "transfer.reversed",
         "checkout.session.completed", "checkout.session.expired", "checkout.session.async_payment_succeeded",
         "checkout.session.async_payment_failed", "payment_link.created", "payment_link.updated"), _ACCOUNT,
    ),
    **dict.fromkeys(("quote.created", "quote.finalized", "quote.accepted", "quote.canceled"), _QUOTE),
    **dict.fromkeys(
        ("subscription_schedule.created", "subscription_schedule.updated", "subscription_schedule.released",
         "subscription_schedule.canceled", "subscription_schedule.completed", "subscription_schedule.aborted",
         "subscription_schedule.expiring", "customer.subscription.pending_update_applied",
         "customer.subscription.pending_update_expired"), _SCHEDULE,
    ),
    **dict.fromkeys(
        ("price.created", "price.updated", "price.deleted", "plan.created", "plan.updated", "plan.deleted",
         "product.deleted", "coupon.created", "coupon.updated", "coupon.deleted", "promotion_code.created",
         "promotion_code.updated", "customer.discount.created", "customer.discount.updated",
         "customer.discount.deleted",
         "tax_rate.created", "tax_rate.updated", "customer.tax_id.created", "customer.tax_id.updated",
         "customer.tax_id.deleted"), _PRICE,
    ),
    **dict.fromkeys(("invoiceitem.created", "invoiceitem.updated", "invoiceitem.deleted"), _DRAFT),
    "credit_note.updated": Means(credit_memo_corrected, refetch="credit_note", refetch_when=is_corrected),
    "credit_note.voided": Means(credit_voided),
    "billing.meter.created": NotYet("usage arrives on the invoice"),
    "billing.meter.updated": NotYet("usage arrives on the invoice"),
    "billing.meter.deactivated": NotYet("usage arrives on the invoice"),
    "billing.meter.reactivated": NotYet("usage arrives on the invoice"),
    "billing.meter.error_report_triggered": NotYet("usage arrives on the invoice"),
}  # fmt: skip
