"""What Stripe voids, in our words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from connectors.fields import unix
from connectors.stripe import balances
from connectors.stripe.inbound import id_of
from connectors.stripe.money import from_minor
from q2c.canonical import billing
from q2c.canonical.base import Source


def invoice_void(
    raw: Mapping[str, Any],
    connection: str,
    credits: Sequence[billing.CreditMemo],
    ledger: Sequence[Mapping[str, Any]] = (),
) -> billing.DocumentVoid:
    """A voided invoice. `credits` are the notes that had lowered it and stand; what is taken back is the rest.
    `ledger` is its customer's balance, oldest first, which says what it had used of it."""
    currency = str(raw["currency"]).upper()
    stamps = raw.get("status_transitions") or {}
    taken = from_minor(raw["total"], currency) - sum((memo.total for memo in credits), Decimal(0))
    return billing.DocumentVoid(
        source=Source(connection=connection, object_type="invoice_void", object_id=raw["id"]),
        document_id=raw["id"],
        number=str(raw.get("number") or raw["id"]),
        customer_id=id_of(raw.get("customer")),
        currency=currency,
        amount=taken,
        voided_at=unix(stamps.get("voided_at") or raw["created"]),
        credits=tuple(credits),
        balance_entries=balances.balance_entries(ledger, raw["id"], connection),
    )


def credit_void(raw: Mapping[str, Any], connection: str) -> billing.DocumentVoid:
    """A voided credit note."""
    currency = str(raw["currency"]).upper()
    return billing.DocumentVoid(
        source=Source(connection=connection, object_type="credit_note_void", object_id=raw["id"]),
        document_id=raw["id"],
        number=str(raw.get("number") or raw["id"]),
        customer_id=id_of(raw.get("customer")),
        currency=currency,
        amount=from_minor(raw["total"], currency),
        voided_at=unix(raw.get("voided_at") or raw["created"]),
        invoice_id=id_of(raw.get("invoice")),
    )
