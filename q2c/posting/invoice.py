"""A billing invoice becomes an AR invoice; one with a negative total becomes a credit memo. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from q2c.canonical.billing import CreditMemo, Invoice
from q2c.canonical.posting import AppliedTo, ArCreditMemo, ArInvoice, ArLine, JournalLine
from q2c.core.ids import external_id
from q2c.core.problems import Category, Problem
from q2c.posting.checks import check_posting
from q2c.posting.days import with_days
from q2c.posting.facts import Accounts, Book, ItemUse, Period, Policy, RateUse, TaxUse
from q2c.posting.lines import build_journal, build_lines, round_difference
from q2c.posting.summary import build_at_grain


def build_ar_invoice(
    invoice: Invoice, *, book: Book, customer: str, currency: str, items: Mapping[str, ItemUse],
    taxes: Mapping[str, TaxUse], accounts: Accounts, policy: Policy, rate: RateUse, document_date: dt.date,
    posting_date: dt.date, period: Period, terms: str = "", prefix: str = "inv",
) -> ArInvoice:  # fmt: skip
    """The AR invoice of a billing invoice, balanced to the cent, under an external id with this prefix. Raises Problem
    when it doesn't add up."""
    invoice = with_days(invoice, book.time_zone)
    lines = build_lines(invoice.lines, items, taxes, book=book, policy=policy, document_date=document_date)
    lines = round_difference(
        lines, total=invoice.total, tax_total=invoice.tax_total, currency=invoice.currency, limit=policy.rounding_limit,
        accounts=accounts, number=invoice.number, legal_entity=book.code,
    )  # fmt: skip
    posting = ArInvoice(
        external_id=external_id(prefix, source=invoice.source.connection, object_id=invoice.source.object_id),
        number=invoice.number,
        customer=customer,
        subsidiary=book.erp_id,
        currency=currency,
        currency_code=invoice.currency,
        document_date=document_date,
        posting_date=posting_date,
        period=period.erp_id,
        lines=lines,
        total=invoice.total,
        tax_total=invoice.tax_total,
        due_date=invoice.due_date,
        terms=terms,
        po_number=invoice.po_number,
        memo=f"{invoice.source.connection} {invoice.number}",
        receivables_account=accounts.receivables,
        exchange_rate=rate.sent,
        journal=_journal(invoice, lines, items, accounts, policy, customer=customer, legal_entity=book.code),
        makes_revenue_elements=policy.revenue_owner == "erp",
    )
    check_posting(posting, book.code)
    return posting


def build_ar_credit_memo(
    memo: CreditMemo, *, book: Book, customer: str, currency: str, items: Mapping[str, ItemUse],
    taxes: Mapping[str, TaxUse], accounts: Accounts, policy: Policy, rate: RateUse, document_date: dt.date,
    posting_date: dt.date, period: Period, apply_to: tuple[AppliedTo, ...] = (), prefix: str = "cm",
) -> ArCreditMemo:  # fmt: skip
    """The AR credit memo of a billing credit note, balanced to the cent, under an external id with this prefix. Raises
    Problem when it doesn't add up."""
    total, tax_total = memo.total, memo.tax_total
    if total < 0 or not (total or any(line.amount for line in memo.lines)):
        raise Problem(
            "out_of_balance",
            Category.VALIDATION,
            f"{memo.number} is a credit of {total}: nothing to give back",
            number=memo.number,
            legal_entity=book.code,
        )
    memo = with_days(memo, book.time_zone)
    lines = build_lines(memo.lines, items, taxes, book=book, policy=policy, document_date=document_date)
    lines = round_difference(
        lines, total=total, tax_total=tax_total, currency=memo.currency, limit=policy.rounding_limit, accounts=accounts,
        number=memo.number, legal_entity=book.code,
    )  # fmt: skip
    posting = ArCreditMemo(
        external_id=external_id(prefix, source=memo.source.connection, object_id=memo.source.object_id),
        number=memo.number,
        customer=customer,
        subsidiary=book.erp_id,
        currency=currency,
        currency_code=memo.currency,
        document_date=document_date,
        posting_date=posting_date,
        period=period.erp_id,
        lines=lines,
        total=total,
        tax_total=tax_total,
        memo=f"{memo.source.connection} {memo.number}",
        receivables_account=accounts.receivables,
        exchange_rate=rate.sent,
        apply_to=apply_to,
        makes_revenue_elements=policy.revenue_owner == "erp",
        journal=_journal(memo, lines, items, accounts, policy, customer=customer, legal_entity=book.code),
    )
    check_posting(posting, book.code)
    return posting


def _journal(
    document: Invoice | CreditMemo, lines: tuple[ArLine, ...], items: Mapping[str, ItemUse], accounts: Accounts,
    policy: Policy, *, customer: str, legal_entity: str,
) -> tuple[JournalLine, ...]:  # fmt: skip
    """The double entry that the ledger should hold: by account, or at the finer grain of the day's summary."""
    is_credit = isinstance(document, CreditMemo)
    if policy.is_summary:
        return build_at_grain(
            lines, items, accounts, total=document.total, legal_entity=legal_entity, is_credit=is_credit
        )
    return build_journal(lines, items, accounts, total=document.total, customer=customer, is_credit=is_credit)
