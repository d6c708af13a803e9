"""What undoes a billing document: the same lines the other way round, less what was credited before. Pure."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

import msgspec

from q2c.canonical.billing import CreditMemo, DocumentVoid, Invoice, InvoiceLine
from q2c.core.money import ZERO, spoken_money
from q2c.core.problems import Category, Problem
from q2c.posting.credits import spread_credit


def turn_invoice(void: DocumentVoid, invoice: Invoice) -> CreditMemo:
    """The credit memo that takes back what is left of a voided invoice: its own items, tax codes and service dates.

    Raises Problem `out_of_balance` when billing voided another amount than is left.
    """
    credited = [_with_lines(memo, invoice) for memo in void.credits]
    total = invoice.total - sum((memo.total for memo in credited), ZERO)
    if total != void.amount:
        raise Problem(
            "out_of_balance",
            Category.VALIDATION,
            f"{void.number} was voided over {spoken_money(void.amount, void.currency)}, but "
            f"{spoken_money(total, void.currency)} of it is left",
            connection=void.source.connection,
            document=void.number,
        )
    return CreditMemo(
        source=void.source,
        number=f"{void.number}-VOID",
        customer_id=invoice.customer_id,
        customer_name=invoice.customer_name,
        currency=invoice.currency,
        issued_at=void.voided_at,
        total=total,
        tax_total=invoice.tax_total - sum((memo.tax_total for memo in credited), ZERO),
        lines=tuple(line for line in _left(invoice, credited) if line.amount or any(t.amount for t in line.taxes)),
        invoice_id=void.document_id,
        reason="Voided in billing",
        legal_entity=invoice.legal_entity,
        is_customer_known=invoice.is_customer_known,
    )


def turn_credit(void: DocumentVoid, memo: CreditMemo) -> Invoice:
    """The invoice that charges again what a voided credit memo gave."""
    return Invoice(
        source=void.source,
        number=f"{void.number}-VOID",
        customer_id=memo.customer_id,
        customer_name=memo.customer_name,
        currency=memo.currency,
        issued_at=void.voided_at,
        total=memo.total,
        tax_total=memo.tax_total,
        lines=memo.lines,
        legal_entity=memo.legal_entity,
        is_customer_known=memo.is_customer_known,
    )


def _with_lines(memo: CreditMemo, invoice: Invoice) -> CreditMemo:
    return memo if memo.lines and all(line.original_line_id for line in memo.lines) else spread_credit(memo, invoice)


def _left(invoice: Invoice, credited: list[CreditMemo]) -> list[InvoiceLine]:
    nets: dict[str, Decimal] = defaultdict(Decimal)
    taxes: dict[tuple[str, str], list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
    for line in (line for memo in credited for line in memo.lines):
        nets[line.original_line_id] += line.amount
        for tax in line.taxes:
            given = taxes[line.original_line_id, tax.tax_code]
            given[0] += tax.amount
            given[1] += tax.base
    return [_less(line, nets, taxes) for line in invoice.lines]


def _less(line: InvoiceLine, nets: dict[str, Decimal], taxes: dict[tuple[str, str], list[Decimal]]) -> InvoiceLine:
    left = tuple(
        msgspec.structs.replace(tax, amount=tax.amount - given[0], base=tax.base - given[1])
        for tax in line.taxes
        for given in (taxes.get((line.line_id, tax.tax_code), [ZERO, ZERO]),)
    )
    net = line.amount - nets.get(line.line_id, ZERO)
    whole = {} if net == line.amount else {"quantity": Decimal(1), "unit_price": net}
    return msgspec.structs.replace(line, amount=net, taxes=left, original_line_id=line.line_id, **whole)
