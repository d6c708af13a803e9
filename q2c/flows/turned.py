"""An invoice with a negative total as the credit memo that the ERP gets (pure)."""

from __future__ import annotations

from msgspec import structs

from q2c.canonical import billing


def credit_memo_of(invoice: billing.Invoice) -> billing.CreditMemo:
    """An invoice with a negative total as the ERP's credit memo: the signs of amounts and quantities turn."""
    return billing.CreditMemo(
        source=invoice.source,
        number=invoice.number,
        customer_id=invoice.customer_id,
        customer_name=invoice.customer_name,
        currency=invoice.currency,
        issued_at=invoice.issued_at,
        document_date=invoice.document_date,
        total=-invoice.total,
        tax_total=-invoice.tax_total,
        lines=tuple(_turned(line) for line in invoice.lines),
        reason="Invoice with a negative total",
        legal_entity=invoice.legal_entity,
        feed=invoice.feed,
        feed_number=invoice.feed_number,
        feed_type=invoice.feed_type,
        is_customer_known=invoice.is_customer_known,
        declared_total=invoice.declared_total,
    )


def _turned(line: billing.InvoiceLine) -> billing.InvoiceLine:
    """The line with its sign turned: a negative price, or else the quantity, becomes positive; a price never stays
    below 0."""
    taxes = tuple(structs.replace(t, amount=-t.amount, base=-t.base) for t in line.taxes)
    declared = None if line.declared_amount is None else -line.declared_amount
    sign = {"unit_price": -line.unit_price} if line.unit_price < 0 else {"quantity": -line.quantity}
    return structs.replace(line, amount=-line.amount, taxes=taxes, declared_amount=declared, **sign)
