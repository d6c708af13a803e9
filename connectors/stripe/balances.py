"""A customer's balance at Stripe in our words: credit that an invoice used, and debt that it collected. Pure.

Stripe keeps one signed number per customer and currency: below zero is credit of the customer's, above zero a debt that
the next invoice collects. Which entry meant which only the whole ledger says, read in order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from msgspec import structs

from connectors.fields import unix
from connectors.stripe.inbound import currency_of, id_of
from connectors.stripe.money import from_minor
from q2c.canonical import billing
from q2c.canonical.base import Source

UNAPPLIED = "unapplied_from_invoice"  # a voided invoice gives back what it had used or collected
COLLECTS = "applied_to_invoice"


def uses_balance(raw: Mapping[str, Any]) -> bool:
    """Whether a finalized invoice used credit of its customer's balance or collected a debt on it: the balance came
    nearer to zero."""
    start, end = raw.get("starting_balance") or 0, raw.get("ending_balance") or 0
    return bool((start < 0 and end > start) or (start > 0 and end < start))


def with_balance(invoice: billing.Invoice, raws: Sequence[Mapping[str, Any]], connection: str) -> billing.Invoice:
    """The invoice with what it used and collected of its customer's balance."""
    return structs.replace(
        invoice,
        balance_entries=balance_entries(raws, invoice.source.object_id, connection),
        collected=collected_debts(raws, invoice.source.object_id),
    )


def balance_entries(
    raws: Sequence[Mapping[str, Any]], invoice_id: str, connection: str
) -> tuple[billing.CustomerBalanceEntry, ...]:
    """What an invoice took from its customer's balance, oldest credit first. `raws` is the whole ledger of the balance,
    oldest first. Credit that an invoice gives back goes where it came from."""
    return tuple(
        _entry(raw, part, f"{raw['id']}-{number}" if number else str(raw["id"]), connection)
        for raw, parts in _walk(raws).used.get(invoice_id, ())
        for number, part in enumerate(parts)
    )


def collected_debts(raws: Sequence[Mapping[str, Any]], invoice_id: str) -> tuple[billing.CollectedDebt, ...]:
    """The debts that an invoice collected beside its own total, oldest first."""
    return tuple(
        billing.CollectedDebt(amount=from_minor(part.left, part.currency), invoice_id=part.id)
        for part in _walk(raws).collected.get(invoice_id, ())
    )


@dataclass
class _Part:
    """A part of the balance: credit that a document gave, or a debt that an invoice left, and how much is left of
    it."""

    type: str
    id: str
    left: int
    currency: str
    given_back_by: str = ""


@dataclass
class _Ledger:
    credits: list[_Part] = field(default_factory=list)
    debts: list[_Part] = field(default_factory=list)
    used: dict[str, list[tuple[Mapping[str, Any], list[_Part]]]] = field(default_factory=dict)  # by invoice
    taken: dict[str, list[_Part]] = field(default_factory=dict)  # credit that an invoice holds now
    collected: dict[str, list[_Part]] = field(default_factory=dict)  # debts that an invoice holds now


def _walk(raws: Sequence[Mapping[str, Any]]) -> _Ledger:
    """Read the ledger in order. A negative entry first pays debts, the oldest first, and only its rest is credit; a
    positive one first uses credit, and only its rest is a debt."""
    ledger = _Ledger()
    for raw in raws:
        if raw["amount"] < 0:
            _add_credit(ledger, raw)
        elif raw["amount"] > 0:
            _add_debt(ledger, raw)
    return ledger


def _add_credit(ledger: _Ledger, raw: Mapping[str, Any]) -> None:
    currency, amount, invoice = currency_of(raw), -raw["amount"], id_of(raw.get("invoice"))
    if raw["type"] == UNAPPLIED:
        held = ledger.taken.pop(invoice, []) or [_Part("", "", amount, currency)]
        given = [replace(part, given_back_by=invoice) for part in held]
    elif raw.get("credit_note"):
        given = [_Part("credit_note", id_of(raw["credit_note"]), amount, currency)]
    else:
        given = [_Part("invoice" if invoice else "", invoice, amount, currency)]
    paid = [part for credit in given for part in _take(ledger.debts, credit)]
    if raw["type"] == COLLECTS:  # its payment pays the debt: no credit comes of it, whoever had left the debt there
        unknown = [replace(part, type="", id="") for part in given if part.left]
        ledger.collected.setdefault(invoice, []).extend([*paid, *unknown])
    elif raw["type"] == UNAPPLIED:
        ledger.credits[:0] = given
    else:
        ledger.credits += given


def _add_debt(ledger: _Ledger, raw: Mapping[str, Any]) -> None:
    currency, amount, invoice = currency_of(raw), raw["amount"], id_of(raw.get("invoice"))
    if raw["type"] == UNAPPLIED:
        ledger.debts[:0] = ledger.collected.pop(invoice, []) or [_Part("", "", amount, currency)]
        return
    debt = _Part("invoice" if invoice else "", invoice, amount, currency)
    taken = _take(ledger.credits, debt)
    if taken:
        ledger.used.setdefault(invoice, []).append((raw, taken))
        ledger.taken.setdefault(invoice, []).extend(replace(part) for part in taken)
    if debt.left:
        ledger.debts.append(debt)


def _take(parts: list[_Part], wanted: _Part) -> list[_Part]:
    """Set `wanted` off against these, the oldest first; what was taken of each. Changes both."""
    found = []
    for part in parts:
        amount = min(part.left, wanted.left) if part.currency == wanted.currency else 0
        if amount:
            part.left -= amount
            wanted.left -= amount
            found.append(replace(part, left=amount))
    parts[:] = [part for part in parts if part.left]
    return found


def _entry(raw: Mapping[str, Any], part: _Part, object_id: str, connection: str) -> billing.CustomerBalanceEntry:
    return billing.CustomerBalanceEntry(
        source=Source(connection=connection, object_type="customer_balance_transaction", object_id=object_id),
        customer_id=id_of(raw.get("customer")),
        currency=part.currency,
        amount=from_minor(part.left, part.currency),
        at=unix(raw["created"]),
        invoice_id=id_of(raw.get("invoice")),
        from_type=part.type,
        from_id=part.id,
        given_back_by=part.given_back_by,
    )
