"""Spreading a credit of a bare amount: nets and each tax in proportion, exact to the cent."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D

from q2c.canonical.base import Source
from q2c.canonical.billing import CreditMemo, Invoice, InvoiceLine, TaxDetail
from q2c.posting.credits import spread_credit

NOW = dt.datetime(2026, 11, 20, 9, tzinfo=dt.UTC)


def line(line_id: str, amount: str, *taxes: TaxDetail) -> InvoiceLine:
    return InvoiceLine(
        line_id=line_id, sku="A", description="A", quantity=D(1), unit_price=D(amount), amount=D(amount), taxes=taxes
    )


def document(kind, *lines: InvoiceLine, total: str, tax: str):
    return kind(
        source=Source(connection="stripe", object_type="invoice", object_id="in_1"), number="1", customer_id="c",
        customer_name="C", currency="USD", issued_at=NOW, total=D(total), tax_total=D(tax), lines=lines,
    )  # fmt: skip


def test_every_tax_of_every_line_gets_its_part_and_one_without_an_amount_keeps_its_base():
    state = TaxDetail(tax_code="STATE", amount=D("7.25"), base=D("100.00"), rate=D("7.25"))
    county = TaxDetail(tax_code="COUNTY", amount=D("2.50"), base=D("100.00"), rate=D("2.5"))
    zero = TaxDetail(tax_code="ZERO", amount=D(0), base=D("50.00"), reason="zero_rated")
    invoice = document(Invoice, line("l1", "100.00", state, county), line("l2", "50.00", zero), total="159.75",
                       tax="9.75")  # fmt: skip
    spread = spread_credit(document(CreditMemo, total="15.98", tax="0.98"), invoice)
    assert [each.amount for each in spread.lines] == [D("10.00"), D("5.00")]
    assert [(t.tax_code, t.amount, t.base) for each in spread.lines for t in each.taxes] == [
        ("STATE", D("0.73"), D("10.00")), ("COUNTY", D("0.25"), D("10.00")), ("ZERO", D(0), D("5.00")),
    ]  # fmt: skip


def test_a_credit_without_tax_takes_none_from_the_lines():
    vat = TaxDetail(tax_code="VAT", amount=D("20.00"), base=D("100.00"), rate=D(20))
    invoice = document(Invoice, line("l1", "100.00", vat), total="120.00", tax="20.00")
    (spread,) = spread_credit(document(CreditMemo, total="10.00", tax="0"), invoice).lines
    assert (spread.amount, spread.taxes, spread.original_line_id) == (D("10.00"), (), "l1")
