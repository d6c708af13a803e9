"""Canonical billing lines to ERP lines and to the journal that we expect of them. Pure; exact to the minor unit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, cast

from q2c.canonical.billing import InvoiceLine, TaxDetail
from q2c.canonical.posting import ArLine, ArTax, JournalLine
from q2c.core.money import ZERO, decimals, round_money
from q2c.core.problems import Category, Problem
from q2c.posting.facts import Accounts, Book, ItemUse, Policy, TaxUse, use_of


def build_lines(
    lines: Iterable[InvoiceLine], items: Mapping[str, ItemUse], taxes: Mapping[str, TaxUse], *, book: Book,
    policy: Policy, document_date: dt.date,
) -> tuple[ArLine, ...]:  # fmt: skip
    """ERP lines of billing lines. Where quantity times price isn't the amount to the cent, the amount counts: one
    piece at it. Raises Problem `revenue_treatment` as `_revenue_dates` does."""
    built = []
    for line in lines:
        use = use_of(items, line.sku, line.charge_type) or items[line.sku]
        revenue_start, revenue_end = _revenue_dates(line, use, book, policy, document_date)
        is_exact = line.quantity * line.unit_price == line.amount
        built.append(
            ArLine(
                item=use.item,
                description=(line.description or line.sku)[:999],
                quantity=line.quantity if is_exact else Decimal(1),
                rate=line.unit_price if is_exact else line.amount,
                amount=line.amount,
                revenue_start=revenue_start,
                revenue_end=revenue_end,
                revenue_rule=use.revenue_rule,
                taxes=tuple(_tax(detail, taxes[detail.tax_code]) for detail in line.taxes),
                department=use.department,
                class_=use.class_,
                location=use.location,
            )
        )
    return tuple(built)


def _revenue_dates(
    line: InvoiceLine, use: ItemUse, book: Book, policy: Policy, document_date: dt.date
) -> tuple[dt.date | None, dt.date | None]:
    """First and last day over which the ERP recognises the line; none where its item doesn't defer.

    Raises Problem `revenue_treatment` where the item defers, billing gives no service dates, and policy says to hold.
    """
    if not use.deferral_account:
        return None, None
    if line.service_start is not None and line.service_end is not None:
        return line.service_start, line.service_end
    if policy.missing_service_dates == "document":
        return document_date, document_date
    raise Problem(
        "revenue_treatment",
        Category.VALIDATION,
        f"{line.sku} defers revenue in {book.code}, and its line has no service dates",
        sku=line.sku,
        legal_entity=book.code,
    )


def _tax(detail: TaxDetail, use: TaxUse) -> ArTax:
    return ArTax(
        code=use.code,
        tax_type=use.tax_type,
        account=use.account,
        base=detail.base,
        rate=detail.rate,
        amount=detail.amount,
        jurisdiction=detail.jurisdiction,
        reason=detail.reason,
        is_inclusive=detail.is_inclusive,
    )


def round_difference(
    lines: tuple[ArLine, ...], *, total: Decimal, tax_total: Decimal, currency: str, limit: int, accounts: Accounts,
    number: str, legal_entity: str,
) -> tuple[ArLine, ...]:  # fmt: skip
    """The lines with one visible rounding line if they miss the total by no more than the entity's limit, in smallest
    units of the currency; never on tax.

    Raises Problem `rounding_over_limit` beyond the limit, and `missing_item_mapping` when no rounding item is mapped.
    """
    missing = total - tax_total - sum((line.amount for line in lines), ZERO)
    if missing == 0:
        return lines
    most = Decimal(limit).scaleb(-decimals(currency))
    if abs(missing) > most:
        raise Problem(
            "rounding_over_limit",
            Category.VALIDATION,
            f"The lines of {number} miss its total by {currency} {missing}; the limit of {legal_entity} is {most}",
            number=number,
            legal_entity=legal_entity,
            difference=missing,
        )
    if not accounts.rounding_item:
        raise Problem(
            "missing_item_mapping",
            Category.MAPPING,
            f"No item for rounding differences in {legal_entity}",
            kind="item",
            key="#rounding",
            legal_entity=legal_entity,
        )
    amount = round_money(missing, currency)
    return (
        *lines,
        ArLine(item=accounts.rounding_item, description="Rounding", quantity=Decimal(1), rate=amount, amount=amount),
    )


def build_journal(
    lines: tuple[ArLine, ...], items: Mapping[str, ItemUse], accounts: Accounts, *, total: Decimal, customer: str,
    is_credit: bool = False,
) -> tuple[JournalLine, ...]:  # fmt: skip
    """The double entry that the ledger should hold: receivables against revenue or deferral per item, and tax per
    account."""
    by_item = {use.item: use for use in items.values()}
    sums: dict[tuple[str, str, str, str], Decimal] = {}
    for line in lines:
        use = by_item.get(line.item)
        account = accounts.rounding if use is None else use.deferral_account or use.income_account
        key = (account or f"item:{line.item}", line.department, line.class_, line.location)
        sums[key] = sums.get(key, ZERO) + line.amount
    flip = -1 if is_credit else 1
    journal = [_side(accounts.receivables or "receivables", flip * total, customer=customer)]
    for (account, department, class_, location), amount in sorted(sums.items()):
        journal.append(_side(account, -flip * amount, department=department, class_=class_, location=location))
    for account, amount in sorted(_taxes_by_account(lines, accounts).items()):
        journal.append(_side(account, -flip * amount))
    return tuple(j for j in journal if j.debit or j.credit)


def _taxes_by_account(lines: tuple[ArLine, ...], accounts: Accounts) -> dict[str, Decimal]:
    """Tax by the account that its code names, else the entity's tax account."""
    sums: dict[str, Decimal] = {}
    for line in lines:
        for tax in line.taxes:
            account = tax.account or accounts.tax or "tax"
            sums[account] = sums.get(account, ZERO) + tax.amount
    return sums


def _side(account: str, amount: Decimal, **more: Any) -> JournalLine:
    return JournalLine(account=account, debit=max(amount, ZERO), credit=max(-amount, ZERO), **more)


def check_minor_units(amounts: Iterable[Decimal], currency: str, number: str) -> None:
    """Raises Problem `out_of_balance` for an amount that the currency can't express."""
    places = decimals(currency)
    for amount in amounts:
        if -cast(int, amount.normalize().as_tuple().exponent) > places:
            raise Problem(
                "out_of_balance",
                Category.VALIDATION,
                f"{number} has an amount of {amount}, and {currency} has {places} decimals",
                number=number,
                currency=currency,
            )
