"""Small checks that every posting passes before it may leave the house (law 9). Pure; each raises a Problem."""

from __future__ import annotations

from decimal import Decimal

from q2c.canonical.posting import ArCreditMemo, ArInvoice, CashReceipt, CashRefund, Journal
from q2c.core.money import ZERO
from q2c.core.problems import Category, Problem
from q2c.posting.lines import check_minor_units

Posting = ArInvoice | ArCreditMemo | CashReceipt | CashRefund | Journal


def check_balance(posting: Posting, legal_entity: str) -> None:
    """Debits equal credits, and the lines add up to the document. Raises Problem `out_of_balance`."""
    journal = posting.lines if isinstance(posting, Journal) else posting.journal
    debit = sum((line.debit for line in journal), ZERO)
    credit = sum((line.credit for line in journal), ZERO)
    number = getattr(posting, "number", posting.external_id)
    nets_to_nothing = isinstance(posting, ArInvoice | ArCreditMemo) and posting.total == 0
    if debit != credit or not (journal or nets_to_nothing):
        raise _out_of_balance(number, legal_entity, f"debits are {debit} and credits {credit}")
    if isinstance(posting, ArInvoice | ArCreditMemo):
        lines = sum((line.amount for line in posting.lines), ZERO)
        if lines + posting.tax_total != posting.total:
            raise _out_of_balance(
                number, legal_entity, f"lines {lines} and tax {posting.tax_total} aren't {posting.total}"
            )
        check_minor_units([line.amount for line in posting.lines] + [posting.total], posting.currency_code, number)


def check_accounts(posting: Posting, legal_entity: str) -> None:
    """Every journal line names an account of the ERP. Raises Problem `missing_account_mapping`."""
    journal = posting.lines if isinstance(posting, Journal) else posting.journal
    for line in journal:
        if not line.account or line.account in ("receivables", "tax"):
            raise Problem(
                "missing_account_mapping",
                Category.MAPPING,
                f"No {line.account or 'ledger'} account is mapped for {legal_entity}",
                kind="account",
                key=line.account,
                legal_entity=legal_entity,
            )


def check_taxes(posting: Posting, legal_entity: str) -> None:
    """The tax details of all lines are the document's tax, to the cent. Raises Problem `out_of_balance`."""
    if not isinstance(posting, ArInvoice | ArCreditMemo):
        return
    taxes = [tax.amount for line in posting.lines for tax in line.taxes]
    if sum(taxes, ZERO) != posting.tax_total:
        why = f"its tax details are {sum(taxes, ZERO)} and its tax is {posting.tax_total}"
        raise _out_of_balance(posting.number, legal_entity, why)
    check_minor_units(taxes, posting.currency_code, posting.number)


CHECKS = (check_taxes, check_balance, check_accounts)


def check_posting(posting: Posting, legal_entity: str) -> Posting:
    """The posting, having passed every check. Raises Problem."""
    for check in CHECKS:
        check(posting, legal_entity)
    return posting


def _out_of_balance(number: str, legal_entity: str, why: str) -> Problem:
    return Problem(
        "out_of_balance",
        Category.VALIDATION,
        f"{number} doesn't add up: {why}",
        number=number,
        legal_entity=legal_entity,
    )


def difference_of(total: Decimal | None, asked: Decimal) -> Decimal:
    """What the ERP booked less what we asked for."""
    return (total if total is not None else ZERO) - asked
