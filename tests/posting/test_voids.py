"""What undoes a document: the original's lines and taxes, less what was credited, to the cent."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from q2c.canonical import billing
from q2c.canonical.base import Source
from q2c.core.problems import Problem
from q2c.posting.voids import turn_credit, turn_invoice

AT = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def tax(code, amount, base):
    return billing.TaxDetail(tax_code=code, amount=Decimal(amount), base=Decimal(base))


def line(name, amount, *taxes, **more):
    return billing.InvoiceLine(line_id=name, sku=f"SKU-{name}", description=name, quantity=Decimal(2),
                               unit_price=Decimal(amount) / 2, amount=Decimal(amount), taxes=taxes, **more)  # fmt: skip


STANDARD, REDUCED = line("a", "100", tax("S", "20", "100")), line("b", "100", tax("R", "5", "100"))
DISCOUNT = line("c", "-10", tax("S", "-2", "-10"))
INVOICE = billing.Invoice(source=Source("stripe", "invoice", "in_1"), number="N-1", customer_id="cus_1",
                          customer_name="", currency="GBP", issued_at=AT, total=Decimal(213), tax_total=Decimal(23),
                          lines=(STANDARD, REDUCED, DISCOUNT))  # fmt: skip


def void(amount, *credits):
    return billing.DocumentVoid(source=Source("stripe", "invoice_void", "in_1"), document_id="in_1", number="N-1",
                                customer_id="cus_1", currency="GBP", amount=Decimal(amount), voided_at=AT,
                                credits=credits)  # fmt: skip


def credit(total, tax_total, *lines):
    return billing.CreditMemo(source=Source("stripe", "credit_note", "cn_1"), number="N-1-CN", customer_id="cus_1",
                              customer_name="", currency="GBP", issued_at=AT, total=Decimal(total),
                              tax_total=Decimal(tax_total), lines=lines, invoice_id="in_1")  # fmt: skip


def told(memo):
    return [(x.sku, x.amount, [(t.tax_code, t.amount, t.base) for t in x.taxes]) for x in memo.lines]


def test_the_whole_invoice_turns_line_by_line_each_with_its_own_tax():
    memo = turn_invoice(void("213"), INVOICE)
    assert (memo.total, memo.tax_total, memo.invoice_id, memo.issued_at) == (213, 23, "in_1", AT)
    assert told(memo) == [
        ("SKU-a", 100, [("S", 20, 100)]), ("SKU-b", 100, [("R", 5, 100)]), ("SKU-c", -10, [("S", -2, -10)]),
    ]  # fmt: skip


def test_a_credited_line_is_taken_back_only_for_what_is_left():
    before = credit("42", "2", line("x", "40", tax("R", "2", "40"), original_line_id="b"))
    memo = turn_invoice(void("171", before), INVOICE)
    assert (memo.total, memo.tax_total) == (171, 21)
    assert told(memo)[1] == ("SKU-b", 60, [("R", 3, 60)])
    assert (memo.lines[1].quantity, memo.lines[1].unit_price) == (1, 60)
    assert sum(x.amount for x in memo.lines) + memo.tax_total == memo.total


def test_a_line_that_was_credited_in_full_is_not_taken_back_again():
    before = credit("105", "5", line("x", "100", tax("R", "5", "100"), original_line_id="b"))
    assert [sku for sku, *_ in told(turn_invoice(void("108", before), INVOICE))] == ["SKU-a", "SKU-c"]


def test_another_amount_than_is_left_is_refused():
    with pytest.raises(Problem, match=r"voided over GBP 200\.00, but GBP 213\.00 of it is left") as raised:
        turn_invoice(void("200"), INVOICE)
    assert raised.value.code == "out_of_balance"


def test_a_credit_memo_is_charged_again_with_its_own_lines():
    memo = credit("42", "2", line("x", "40", tax("R", "2", "40"), original_line_id="b"))
    invoice = turn_credit(void("42"), memo)
    assert (invoice.total, invoice.tax_total, invoice.lines) == (42, 2, memo.lines)
    assert (invoice.number, invoice.issued_at) == ("N-1-VOID", AT)
