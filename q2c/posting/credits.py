"""Spreading a credit of a bare amount over the lines that it credits. Pure; the parts sum to it exactly."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from q2c.canonical.billing import CreditMemo, Invoice, InvoiceLine, TaxDetail
from q2c.core.money import ZERO, allocate


def spread_credit(memo: CreditMemo, invoice: Invoice) -> CreditMemo:
    """The credit memo with lines of its own: net and tax allocated in proportion to the invoice's lines, largest
    remainder first, with their SKUs and tax codes. Amounts in the memo's currency."""
    lines = [line for line in invoice.lines if line.amount > 0] or list(invoice.lines)
    weights = [abs(line.amount) for line in lines]
    nets = allocate(memo.total - memo.tax_total, weights, memo.currency)
    taxed = [line for line in lines if line.taxes]
    taxes = dict(
        zip(
            [line.line_id for line in taxed],
            allocate(memo.tax_total, [abs(line.amount) for line in taxed], memo.currency) if taxed else [],
            strict=True,
        )
    )
    made = tuple(
        _credited(memo, line, net, taxes.get(line.line_id, ZERO)) for line, net in zip(lines, nets, strict=True)
    )
    return msgspec.structs.replace(memo, lines=tuple(line for line in made if line.amount or line.taxes))


def _credited(memo: CreditMemo, line: InvoiceLine, net: Decimal, tax: Decimal) -> InvoiceLine:
    detail: tuple[TaxDetail, ...] = ()
    if tax:
        detail = (msgspec.structs.replace(line.taxes[0], amount=tax, base=net),)
    return InvoiceLine(
        line_id=f"{memo.source.object_id}-{line.line_id}",
        sku=line.sku,
        description=memo.reason or line.description,
        quantity=Decimal(1),
        unit_price=net,
        amount=net,
        service_start=line.service_start,
        service_end=line.service_end,
        service_from=line.service_from,
        service_until=line.service_until,
        taxes=detail,
        product_id=line.product_id,
        original_line_id=line.line_id,
    )
