"""What taking something off an invoice would book, in words: accounts, amounts, period and tax, before anybody asks for
it and in what people sign."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from exceptions.kind_words import ACCEPT_DIFFERENCE
from mappings.resolve import Snapshot
from q2c import ports
from q2c.canonical import schema
from q2c.canonical.billing import Invoice
from q2c.core.money import ZERO, spoken_money
from q2c.core.problems import Problem
from q2c.flows.asked_again import facts_again
from q2c.flows.steps.receivables import Standing, invoice_stands_on, want_standing_invoice
from q2c.flows.write_off_to_erp import TAX
from q2c.links import Links, fetch_links
from q2c.posting.facts import Book, Policy
from q2c.posting.write_offs import SKUS
from q2c.transactions.models import BusinessTransaction

KEEP = "keep"
LINE_LEVEL = Policy()


@dataclass(frozen=True)
class Booking:
    """Where it's booked: the accounts by number and name (empty where no mapping says), the period, the policy's clause
    about tax."""

    to: str
    off: str
    sku: str
    entity: str
    period: str
    is_open: bool
    tax: dict[str, Any]
    keeps_tax: bool

    @property
    def off_words(self) -> str:
        """The account of receivables, or what it is."""
        return self.off or "receivables"


def booking_of(txn: BusinessTransaction, resolution: str, book: Book, on: dt.date) -> Booking:
    """What would be booked for this invoice on a day, by today's mappings: off the account on which it stands, to that
    of the item in force on its date. A few statements."""
    entity, erp = txn.legal_entity_code, txn.target_connection
    sku = SKUS["difference" if resolution == ACCEPT_DIFFERENCE else "write_off"]
    scope = {"legal_entity": entity}
    rules = Snapshot.load([("posting_policy", TAX, scope), ("item", sku, scope), ("account", "receivables", scope)])
    facts = facts_again(schema.from_json(bytes(txn.fact), Invoice), rules, "item", "account")
    if facts is not None:
        facts |= {"document_type": "write_off", "takes_back": "invoice"}
    asked = {"on": on, "legal_entity": entity, "connection": erp, "currency": txn.currency, "document": facts}
    items = ports.reference(erp, "items")
    stands = _standing(txn, book)
    dated = {**asked, "on": txn.document_date or on}  # an item is asked for on the date of what is taken back
    item = items.get(_value(rules, "item", sku, dated), {}).get("attributes", {})
    rule = rules.find("posting_policy", TAX, on=on, legal_entity=entity)
    clause: dict[str, Any] = {"entity": entity, "field": TAX, "says": rule.value if rule else KEEP}
    clause |= {"rule": rule.rule_id if rule else None, "version": rule.version if rule else None}
    period = ports.Calendar().period(book, on)
    return Booking(
        to=account_words(erp, item.get("income_account", "")),
        off=account_words(
            erp, stands.account or _value(rules, "account", "receivables", {**asked, "on": stands.since or on})
        ),
        sku=sku, entity=entity, period=period.name if period else f"{on:%B %Y}",
        is_open=period is not None and period.is_receivables_open, tax=clause,
        keeps_tax=clause["says"] == KEEP or resolution == ACCEPT_DIFFERENCE,
    )  # fmt: skip


def _standing(txn: BusinessTransaction, book: Book) -> Standing:
    """Where the invoice stands, as its write-off will ask; nothing of one that left no trace."""
    links, source = Links(), (txn.source_connection, txn.source_id)
    fetch_links(links, {"given": {key for _, key in want_standing_invoice(*source)}})
    return invoice_stands_on(*source, LINE_LEVEL, book, links) or Standing()


def in_general(booking: Booking) -> list[str]:
    """As sentences for a form, before any amount is known."""
    return [
        f"{booking.to or _unmapped(booking)} is debited and {booking.off_words} credited, in {booking.period}, in the "
        "invoice’s currency and at its rate.",
        *_late(booking),
        _tax_words(booking),
    ]


def with_amounts(booking: Booking, *, currency: str, amount: Decimal, tax: Decimal = ZERO) -> list[str]:
    """As sentences for what is signed: the amount that leaves receivables, and how much of it is tax taken back."""
    to = booking.to or _unmapped(booking)
    back = f" and {spoken_money(tax, currency)} to the accounts of the invoice’s tax codes" if tax else ""
    return [
        f"It debits {spoken_money(amount - tax, currency)} to {to}{back}, and credits "
        f"{spoken_money(amount, currency)} to {booking.off_words}, in {booking.period}, in the invoice’s currency and "
        "at its rate; no revenue is made or taken.",
        *_late(booking),
        _tax_words(booking),
    ]


def _unmapped(booking: Booking) -> str:
    return f"the account of the item {booking.sku}, which nobody has mapped for {booking.entity} yet,"


def _late(booking: Booking) -> list[str]:
    if booking.is_open:
        return []
    return [
        f"{booking.period} is closed for receivables now: it would wait as a late document for a decision of its own."
    ]


def _tax_words(booking: Booking) -> str:
    if booking.keeps_tax:
        return "The invoice’s tax stays as it was declared."
    return "Its part of the invoice’s tax is taken back, in the invoice’s own tax codes."


def _value(rules: Snapshot, kind: str, key: str, asked: dict[str, Any]) -> str:
    """What a mapping says; empty where none does, or where two do: the document is held for that then."""
    try:
        found = rules.find(kind, key, **asked)
    except Problem:
        return ""
    return found.value if found else ""


def account_words(connection: str, account: str) -> str:
    """An account of the ERP by its number and name; empty for one that its list doesn't hold."""
    known = ports.reference(connection, "accounts").get(account)
    return f"{known['code']} {known['name']}".strip() if known else ""
