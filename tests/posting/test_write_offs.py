"""What takes the open part of an invoice off receivables: gross, or with its part of the tax, to the cent."""

from __future__ import annotations

import asyncio
import datetime as dt
from decimal import Decimal
from types import SimpleNamespace

import pytest

from q2c.canonical.base import Source
from q2c.canonical.billing import Invoice, InvoiceLine, TaxDetail, WriteOff
from q2c.core.problems import Category, NeverSent, NotAnswered, Problem
from q2c.flows.write_off_to_erp import post_write_off
from q2c.posting.facts import Book, ItemUse
from q2c.posting.write_offs import check_account, turn_write_off

BOOK = Book(code="GB01", name="UK", country="GB", currency="GBP", time_zone="UTC", connection="netsuite", erp_id="2")


def line(number: str, net: str, *taxes: tuple[str, str]) -> InvoiceLine:
    details = tuple(TaxDetail(tax_code=c, amount=Decimal(a), base=Decimal(net), rate=Decimal(20)) for c, a in taxes)
    amount = Decimal(net)
    return InvoiceLine(
        line_id=number, sku="QB-API", description="x", quantity=Decimal(1), unit_price=amount, amount=amount,
        service_start=dt.date(2026, 1, 1), service_end=dt.date(2026, 12, 31), taxes=details,
    )  # fmt: skip


INVOICE = Invoice(
    source=Source(connection="stripe", object_type="invoice", object_id="in_1"), number="INV-1", customer_id="cus_1",
    customer_name="Northwind", currency="GBP", issued_at=dt.datetime(2026, 10, 1, tzinfo=dt.UTC),
    lines=(line("1", "100.00", ("txr_1", "20.00")), line("2", "33.33", ("txr_1", "6.67"))), total=Decimal("160.00"),
    tax_total=Decimal("26.67"), legal_entity="GB01",
)  # fmt: skip


def write_off(amount: str, kind: str = "write_off", **facts) -> WriteOff:
    return WriteOff(
        source=Source(connection="stripe", object_type="write_off", object_id="in_1-1"), invoice_id="in_1",
        invoice_number="INV-1", number="INV-1-WO1", customer_id="cus_1", customer_name="Northwind", currency="GBP",
        amount=Decimal(amount), decided_on=dt.date(2026, 11, 20), kind=kind, reason="bankrupt", legal_entity="GB01",
        **facts,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("amount", "kind", "takes_tax_back", "tax", "lines"),
    [
        ("160.00", "write_off", False, "0", [("#write_off", "160.00", [])]),
        ("0.07", "difference", True, "0", [("#difference", "0.07", [])]),  # a difference never moves tax
        ("160.00", "write_off", True, "26.67",
         [("#write_off", "100.00", ["20.00"]), ("#write_off", "33.33", ["6.67"])]),
        ("10.01", "write_off", True, "1.67", [("#write_off", "6.26", ["1.25"]), ("#write_off", "2.08", ["0.42"])]),
    ],
)  # fmt: skip
def test_it_is_gross_unless_policy_takes_the_tax_back_and_sums_to_the_cent(amount, kind, takes_tax_back, tax, lines):
    memo = turn_write_off(write_off(amount, kind), INVOICE, takes_tax_back=takes_tax_back)
    assert (memo.total, memo.tax_total, memo.document_date) == (Decimal(amount), Decimal(tax), dt.date(2026, 11, 20))
    assert [(row.sku, str(row.amount), [str(t.amount) for t in row.taxes]) for row in memo.lines] == lines
    assert sum(row.amount for row in memo.lines) + memo.tax_total == memo.total
    assert {(row.service_start, row.product_id) for row in memo.lines} == {(None, "")}


def test_the_tax_of_several_parts_is_that_of_the_whole_to_the_cent():
    parts, before, taxes = ("33.33", "33.33", "33.33", "60.01"), Decimal(0), []
    for amount in parts:
        memo = turn_write_off(write_off(amount, before=before), INVOICE, takes_tax_back=True)
        assert sum(row.amount for row in memo.lines) + memo.tax_total == memo.total == Decimal(amount)
        taxes.append(str(memo.tax_total))
        before += memo.total
    assert (taxes, before) == (["5.56", "5.55", "5.56", "10.00"], INVOICE.total)
    with pytest.raises(Problem, match="can’t be taken off"):
        turn_write_off(write_off("0.01", before=before), INVOICE, takes_tax_back=True)


@pytest.mark.parametrize("amount", ["160.01", "0", "-1"])
def test_more_than_the_invoice_or_nothing_is_refused(amount):
    with pytest.raises(Problem, match=r"can’t be taken off INV-1 of GBP 160\.00"):
        turn_write_off(write_off(amount), INVOICE, takes_tax_back=False)


@pytest.mark.parametrize(
    ("sku", "account_class", "is_right"),
    [("#write_off", "expense", True), ("#write_off", "asset", True), ("#write_off", "revenue", False),
     ("#difference", "revenue", True), ("#difference", "asset", False), ("#write_off", "", False)],
)  # fmt: skip
def test_bad_debt_is_never_booked_to_revenue(sku, account_class, is_right):
    items = {sku: ItemUse(item="7", label="Bad debt", income_account="54")}
    accounts = {"54": {"code": "4300", "attributes": {"account_class": account_class}}}
    if is_right:
        check_account(items, accounts, BOOK)
        return
    with pytest.raises(Problem, match="Bad debt books a") as caught:
        check_account(items, accounts, BOOK)
    assert (caught.value.code, caught.value.subject["key"]) == ("missing_item_mapping", sku)


def test_an_item_that_defers_is_judged_by_the_account_that_it_posts_to():
    items = {"#write_off": ItemUse(item="7", label="Bad debt", income_account="54", deferral_account="24")}
    accounts = {"54": {"code": "8100", "attributes": {"account_class": "expense"}},
                "24": {"code": "2200", "attributes": {"account_class": "deferred_revenue"}}}  # fmt: skip
    with pytest.raises(Problem, match="Bad debt books a write off to 2200, which is deferred_revenue"):
        check_account(items, accounts, BOOK)


class Erp:
    """An ERP that says what is open, or fails at that; what it was given to post."""

    connection_code = "netsuite"

    def __init__(self, says) -> None:
        self.says, self.posted = says, []

    async def read(self, kind, object_id):
        if isinstance(self.says, Problem):
            raise self.says
        return SimpleNamespace(open_amount=self.says)

    async def post_credit_memo(self, posting):
        self.posted.append(posting)


def post(erp: Erp, kind: str = "write_off", *, is_open: bool = False, **facts) -> int:
    total = Decimal("10.00")
    posting = SimpleNamespace(apply_to=(SimpleNamespace(document="9", amount=total),), total=total)
    asyncio.run(post_write_off(posting, write_off("10.00", kind, **facts), erp, SimpleNamespace(is_open=is_open)))
    return len(erp.posted)


@pytest.mark.parametrize(
    "silence", [Problem("system_unavailable", Category.AVAILABILITY, "503", wait_seconds=7), NotAnswered("no answer")]
)
def test_a_question_without_an_answer_leaves_no_write_in_doubt(silence):
    erp = Erp(silence)
    with pytest.raises(NeverSent) as told:
        post(erp)
    assert (told.value.summary, told.value.wait_seconds, erp.posted) == (silence.summary, silence.wait_seconds, [])
    with pytest.raises(Problem) as refused:
        post(Erp(Problem("rejected", Category.VALIDATION, "no such invoice")))
    assert refused.value.code == "rejected"


@pytest.mark.parametrize("kind", ["write_off", "difference"])
@pytest.mark.parametrize("amount", [None, Decimal("9.99"), Decimal("10.01")])
def test_nothing_is_posted_unless_exactly_what_was_signed_for_is_open(kind, amount):
    erp = Erp(amount)
    with pytest.raises(Problem) as told:
        post(erp, kind)
    assert (told.value.code, erp.posted) == ("open_amount_moved", [])
    assert (post(erp, kind, is_open=True), post(Erp(Decimal("10.00")), kind)) == (1, 1)


def test_a_part_is_posted_where_what_people_saw_is_open_and_not_where_only_the_part_is():
    seen = {"open_amount": Decimal("25.00")}
    assert post(Erp(Decimal("25.00")), **seen) == 1
    for moved in ("10.00", "24.99"):
        with pytest.raises(Problem, match="was to be taken off"):
            post(Erp(Decimal(moved)), **seen)
