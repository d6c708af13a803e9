"""Stripe's payments, refunds, disputes and payouts in our words. Pure.

Payments and refunds are in their own currency; what moves on Stripe's balance (disputes, payouts, balance transactions)
is in the settlement's. Amounts are integers of the currency's minor unit.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from connectors.fields import dig, needed, unix
from connectors.stripe.inbound import currency_of, customer_note, id_of
from connectors.stripe.money import from_minor
from q2c.canonical import billing
from q2c.canonical.base import Source


def payment(
    raw: Mapping[str, Any], connection: str, *, received_at: dt.datetime, legal_entity: str = "",
    invoice_ids: tuple[str, ...] = (),
) -> billing.Payment:  # fmt: skip
    """A succeeded payment intent, or a charge that has none: gross, before Stripe's fee, and only what was captured.
    `invoice_ids` are those that it pays, `legal_entity` is theirs."""
    currency = currency_of(raw)
    is_intent = raw.get("object") == "payment_intent"
    notes = raw.get("metadata") or {}
    return billing.Payment(
        source=Source(connection=connection, object_type="payment", object_id=raw["id"]),
        customer_id=id_of(raw.get("customer")),
        currency=currency,
        amount=from_minor(raw["amount_received"] if is_intent else captured_units(raw), currency),
        received_at=received_at,
        gateway=connection,
        method=str((raw.get("payment_method_types") or [""])[0]) if is_intent else "charge",
        reference=id_of(raw.get("latest_charge")) if is_intent else raw["id"],
        legal_entity=notes.get("legal_entity") or legal_entity or customer_note(raw, "legal_entity"),
        invoice_ids=invoice_ids,
    )


def captured_units(charge: Mapping[str, Any]) -> Any:
    """What of a charge was taken, in minor units: of one that was authorised before, often less than was authorised."""
    taken = charge.get("amount_captured")
    return charge["amount"] if taken is None else taken


def application(raw: Mapping[str, Any], connection: str, *, applied_at: dt.datetime) -> billing.Application | None:
    """A paid invoice payment, or None when no cash of Stripe's stands behind it (a payment recorded off Stripe).
    Raises ValueError for one that names nothing."""
    behind = needed(raw, "payment")
    if behind.get("type") == "payment_record":
        return None
    payment_id = id_of(behind.get("payment_intent")) or id_of(behind.get("charge"))
    if not payment_id:
        raise ValueError("the payment names neither its payment_intent nor its charge")
    currency = currency_of(raw)
    paid_at = dig(raw, "status_transitions.paid_at")
    return billing.Application(
        source=Source(connection=connection, object_type="invoice_payment", object_id=raw["id"]),
        payment_id=payment_id,
        invoice_id=id_of(raw["invoice"]),
        currency=currency,
        amount=from_minor(raw["amount_paid"], currency),
        applied_at=unix(paid_at) if paid_at else applied_at,
    )


def balance_application(entry: billing.CustomerBalanceEntry) -> billing.Application:
    """The credit from the customer's balance as what it is in receivables: a credit memo applied to the invoice."""
    return billing.Application(
        source=entry.source,
        payment_id=entry.from_id,
        payment_type=entry.from_type,
        invoice_id=entry.invoice_id,
        currency=entry.currency,
        amount=entry.amount,
        applied_at=entry.at,
        kind="credit_memo",
        customer_id=entry.customer_id,
        given_back_by=entry.given_back_by,
    )


def refund(
    raw: Mapping[str, Any], connection: str, *, failed_at: dt.datetime | None = None,
    credit_notes: Sequence[Mapping[str, Any]] = (),
) -> billing.Refund:  # fmt: skip
    """Cash given back; or, with `failed_at`, the money's coming back since the bank couldn't take it. A refund doesn't
    say which credit note it belongs to: the `credit_notes` that stand say it."""
    currency = currency_of(raw)
    credited = [
        billing.RefundedCredit(credit_note_id=note["id"], amount=from_minor(part["amount_refunded"], currency))
        for note in credit_notes
        if note.get("status") != "void"
        for part in note.get("refunds") or ()
        if id_of(part["refund"]) == raw["id"]
    ]
    return billing.Refund(
        source=Source(connection=connection, object_type="refund", object_id=raw["id"]),
        payment_id=id_of(raw.get("payment_intent")) or id_of(raw.get("charge")),
        customer_id=id_of(raw.get("customer")),
        currency=currency,
        amount=from_minor(raw["amount"], currency),
        refunded_at=unix(raw["created"]),
        gateway=connection,
        status=str(raw.get("status") or ""),
        reason=str(raw.get("reason") or ""),
        legal_entity=(raw.get("metadata") or {}).get("legal_entity", ""),
        failed_at=failed_at,
        credits=tuple(sorted(credited, key=lambda credit: credit.credit_note_id)),
    )


def dispute(raw: Mapping[str, Any], connection: str, *, status: str, at: dt.datetime) -> billing.Dispute:
    """Money that the bank took back (`funds_withdrawn`) or gave again (`funds_reinstated`), with Stripe's dispute fee.

    Amount, fee and currency are those of the movement on Stripe's balance, which is in the settlement's currency: the
    newest that took, or gave. What is disputed of the charge stands beside it where that has another currency. A fee
    given back is negative.
    """
    moved = disputed_movement(raw, is_won=status == "won")
    entry = moved or {"amount": raw["amount"], "currency": raw["currency"], "fee": 0}
    currency, own = currency_of(entry), currency_of(raw)
    return billing.Dispute(
        source=Source(connection=connection, object_type="dispute", object_id=raw["id"], version=status),
        payment_id=id_of(raw.get("payment_intent")) or id_of(raw.get("charge")),
        currency=currency,
        amount=from_minor(abs(entry["amount"]), currency),
        at=at,
        status=status,
        gateway=connection,
        fee=from_minor(entry["fee"], currency),
        legal_entity=(raw.get("metadata") or {}).get("legal_entity", ""),
        original_currency=own if own != currency else "",
        original_amount=from_minor(raw["amount"], own) if own != currency else Decimal(0),
    )


def disputed_movement(raw: Mapping[str, Any], *, is_won: bool) -> Mapping[str, Any] | None:
    """The newest movement on the balance by which a dispute gave its money back, or took it; None where none did."""
    moved = [m for m in needed(raw, "balance_transactions") if (m["amount"] > 0) is is_won]
    return moved[-1] if moved else None


def payout(
    raw: Mapping[str, Any], movements: Sequence[Mapping[str, Any]], connection: str, *, legal_entity: str = ""
) -> billing.Payout:
    """A payout with every movement that it pays out. `arrival_date` is a plain date (Stripe gives midnight UTC)."""
    currency = currency_of(raw)
    return billing.Payout(
        source=Source(
            connection=connection, object_type="payout", object_id=raw["id"], version=str(needed(raw, "status"))
        ),
        currency=currency,
        amount=from_minor(raw["amount"], currency),
        arrival_date=unix(raw["arrival_date"]).date(),
        gateway=connection,
        movements=tuple(balance_transaction(m, connection) for m in movements if id_of(m.get("source")) != raw["id"]),
        status=str(raw["status"]),
        legal_entity=(raw.get("metadata") or {}).get("legal_entity") or legal_entity,
        is_automatic=raw.get("automatic") is not False,
    )


# What a movement on the balance is in our words (types of the Python SDK 16.1.0, `_balance_transaction.py`); another
# type keeps Stripe's word.
MOVEMENTS = {
    "charge": "payment", "payment": "payment", "refund": "refund", "payment_refund": "refund",
    "refund_failure": "refund_failed", "payout": "payout", "payout_failure": "payout", "payout_cancel": "payout",
    "stripe_fee": "fee", "stripe_fx_fee": "fee", "tax_fee": "fee", "network_cost": "fee",
    "reserve_transaction": "reserve", "reserve_hold": "reserve", "reserve_release": "reserve",
    "reserved_funds": "reserve",
}  # fmt: skip


RECORD_TYPES = {"charge": "payment", "payment": "payment", "refund": "refund", "dispute": "dispute"}


def balance_transaction(raw: Mapping[str, Any], connection: str) -> billing.BalanceTransaction:
    """One movement on Stripe's balance, in the balance's currency; with its source expanded, whose record it moves and
    what was converted on the way."""
    currency = currency_of(raw)
    about = raw["source"] if isinstance(raw.get("source"), Mapping) else {}
    record_type = RECORD_TYPES.get(str(about.get("object")), "")
    record_id = (record_type == "payment" and id_of(about.get("payment_intent"))) or str(about.get("id") or "")
    kind = MOVEMENTS.get(str(raw["type"]), str(raw["type"]))
    original: dict[str, Any] = {}
    if raw.get("exchange_rate") is not None and about.get("currency") and about["currency"] != raw["currency"]:
        given = about["amount_captured"] if "amount_captured" in about else about["amount"]
        units = given if raw["amount"] > 0 else -given
        original = {"original_currency": currency_of(about), "original_amount": from_minor(units, currency_of(about))}
    return billing.BalanceTransaction(
        source=Source(connection=connection, object_type="balance_transaction", object_id=raw["id"]),
        kind="dispute" if str(raw.get("reporting_category")).startswith("dispute") else kind,
        currency=currency,
        amount=from_minor(raw["amount"], currency),
        fee=from_minor(raw["fee"], currency),
        at=unix(raw["created"]),
        about_id=id_of(raw.get("source")),
        fee_description="; ".join(str(f.get("description") or "") for f in raw.get("fee_details") or ()),
        record_type=record_type,
        record_id=record_id if record_type else "",
        **original,
    )
