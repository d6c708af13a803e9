"""Spreading a credit of a bare amount over the lines that it credits. Pure; the parts sum to it exactly."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from q2c.canonical.billing import CreditMemo, Invoice, InvoiceLine
from q2c.core.money import ZERO, allocate, round_money


def spread_credit(memo: CreditMemo, invoice: Invoice) -> CreditMemo:
    """The credit memo with lines of its own: net and tax allocated in proportion to the invoice's lines, largest
    remainder first, with their SKUs and tax codes. Amounts in the memo's currency."""
    lines = [line for line in invoice.lines if line.amount > 0] or list(invoice.lines)
    nets = allocate(memo.total - memo.tax_total, [abs(line.amount) for line in lines], memo.currency)
    taxes = _spread_tax(memo, lines)
    made = tuple(
        _credited(memo, line, net, [taxes.get((place, number), ZERO) for number in range(len(line.taxes))])
        for place, (line, net) in enumerate(zip(lines, nets, strict=True))
    )
    return msgspec.structs.replace(memo, lines=tuple(line for line in made if line.amount or line.taxes))


def _spread_tax(memo: CreditMemo, lines: list[InvoiceLine]) -> dict[tuple[int, int], Decimal]:
    """The memo's tax by (line, detail), in proportion to what each of the invoice's tax details amounts to."""
    taxed = {
        (place, number): abs(detail.amount)
        for place, line in enumerate(lines)
        for number, detail in enumerate(line.taxes)
        if detail.amount
    }
    if not memo.tax_total or not taxed:
        return {}
    return dict(zip(taxed, allocate(memo.tax_total, list(taxed.values()), memo.currency), strict=True))


def _credited(memo: CreditMemo, line: InvoiceLine, net: Decimal, taxes: list[Decimal]) -> InvoiceLine:
    """A detail that never had an amount (zero-rated, reverse charge) stays, with its part of the base."""
    details = tuple(
        msgspec.structs.replace(
            detail, amount=tax, base=round_money(net * detail.base / line.amount, memo.currency) if line.amount else net
        )
        for detail, tax in zip(line.taxes, taxes, strict=True)
        if tax or not detail.amount
    )
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
        taxes=details,
        product_id=line.product_id,
        original_line_id=line.line_id,
        charge_type=line.charge_type,
    )
