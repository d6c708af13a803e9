"""What takes the open part of an invoice off receivables: a credit memo over a line of its own. Pure.

Its item decides the account: what is written off is an expense, or lowers an allowance, and never revenue.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from q2c.canonical.billing import CreditMemo, Invoice, InvoiceLine, WriteOff
from q2c.core.money import ZERO, round_money, spoken_money
from q2c.core.problems import Category, Problem
from q2c.posting.credits import spread_credit
from q2c.posting.facts import Book, ItemUse

SKUS = {"write_off": "#write_off", "difference": "#difference"}  # what the item mapping calls them
CLASSES = {"#write_off": ("expense", "asset"), "#difference": ("expense", "revenue")}  # of the item's account


def turn_write_off(write_off: WriteOff, invoice: Invoice, *, takes_tax_back: bool) -> CreditMemo:
    """The credit memo of a decision, in the invoice's currency, on the day of the decision.

    Gross, unless policy takes tax back: then its part of the invoice's tax stands in the invoice's own tax codes, to
    the cent, and the rest is net; the tax of several parts sums to that of the whole. Raises Problem `out_of_balance`
    for more than the invoice is over.
    """
    if not ZERO < write_off.amount <= invoice.total - write_off.before:
        raise Problem(
            "out_of_balance",
            Category.VALIDATION,
            f"{spoken_money(write_off.amount, write_off.currency)} can’t be taken off {invoice.number} of "
            f"{spoken_money(invoice.total, invoice.currency)}",
            connection=write_off.source.connection,
            document=invoice.number,
        )
    has_tax = takes_tax_back and write_off.kind == "write_off" and invoice.tax_total > 0
    upto = write_off.before + write_off.amount
    tax = _tax_of(upto, invoice) - _tax_of(write_off.before, invoice) if has_tax else ZERO
    memo = CreditMemo(
        source=write_off.source,
        number=write_off.number,
        customer_id=write_off.customer_id,
        customer_name=write_off.customer_name,
        currency=write_off.currency,
        issued_at=dt.datetime.combine(write_off.decided_on, dt.time(12), dt.UTC),
        document_date=write_off.decided_on,
        total=write_off.amount,
        tax_total=tax,
        lines=(),
        invoice_id=write_off.invoice_id,
        reason=write_off.reason,
        legal_entity=write_off.legal_entity,
        is_customer_known=invoice.is_customer_known,
    )
    sku = SKUS[write_off.kind]
    if has_tax:
        lines = tuple(_plain(line, sku) for line in spread_credit(memo, invoice).lines)
    else:
        lines = (_line("1", sku, write_off),)
    return msgspec.structs.replace(memo, lines=lines)


def check_account(items: Mapping[str, ItemUse], accounts: Mapping[str, Mapping[str, Any]], book: Book) -> None:
    """That the account that the item posts to is of a class that takes this: of one that defers, its deferral. Raises
    Problem `missing_item_mapping` naming both."""
    for sku, use in items.items():
        account = accounts.get(use.deferral_account or use.income_account, {})
        found = str(account.get("attributes", {}).get("account_class") or "")
        if found not in CLASSES[sku]:
            what = sku.strip("#").replace("_", " ")
            raise Problem(
                "missing_item_mapping",
                Category.MAPPING,
                f"{use.label or use.item} books a {what} to {account.get('code') or 'no account'}, which is "
                f"{found or 'of no known class'} and not {' or '.join(CLASSES[sku])}",
                kind="item",
                key=sku,
                connection=book.connection,
                legal_entity=book.code,
            )


def _tax_of(amount: Decimal, invoice: Invoice) -> Decimal:
    return round_money(amount * invoice.tax_total / invoice.total, invoice.currency)


def _line(line_id: str, sku: str, write_off: WriteOff) -> InvoiceLine:
    amount: Decimal = write_off.amount
    return InvoiceLine(
        line_id=line_id, sku=sku, description=f"{write_off.invoice_number}: {write_off.reason}"[:400],
        quantity=Decimal(1), unit_price=amount, amount=amount,
    )  # fmt: skip


def _plain(line: InvoiceLine, sku: str) -> InvoiceLine:
    """The line without its service and its product: only the tax is the original's."""
    return msgspec.structs.replace(
        line, sku=sku, product_id="", service_start=None, service_end=None, service_from=None, service_until=None,
        revenue_rule="", charge_type="",
    )  # fmt: skip
