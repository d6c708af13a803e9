"""What a late document earned in its own period: its lines that defer nothing, by account and dimension, net of tax."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from types import SimpleNamespace

import msgspec
import pytest

from q2c.canonical.base import Source
from q2c.canonical.posting import Accrual, AccruedLine, ArCreditMemo, ArInvoice, ArLine, PostedDocument
from q2c.core.problems import Category, NotNeeded, Problem
from q2c.flows.accrual_to_erp import check_reversal_period, check_standing, compare_accrual
from q2c.links import Links
from q2c.posting.accruals import accrued_lines, build_accrual
from q2c.posting.facts import Book, Period, RateUse

BOOK = Book(code="GB01", name="UK", country="GB", currency="GBP", time_zone="UTC", connection="netsuite", erp_id="2")
ITEMS = {"goods": "54", "postage": "55", "plan": "56", "voucher": "22", "promotion": "82", "unknown": ""}
CLASSES = {"54": "revenue", "55": "revenue", "56": "revenue", "22": "liability", "82": "expense"}
LISTS = (
    {item: {"attributes": {"income_account": account}} for item, account in ITEMS.items()},
    {account: {"attributes": {"account_class": name}} for account, name in CLASSES.items()},
)
DAYS = {"revenue_start": dt.date(2026, 10, 1), "revenue_end": dt.date(2027, 9, 30)}


def line(item: str, amount: str, **facts) -> ArLine:
    return ArLine(item=item, description="", quantity=Decimal(1), rate=Decimal(amount), amount=Decimal(amount), **facts)


def posting(kind: type, *lines: ArLine):
    return kind(
        external_id="x", number="INV-1", customer="7", subsidiary="2", currency="1", currency_code="GBP",
        document_date=dt.date(2026, 10, 30), posting_date=dt.date(2026, 11, 1), period="11", lines=lines,
        total=Decimal(0), tax_total=Decimal(0),
    )  # fmt: skip


MIXED = (
    line("goods", "100.00", department="a"), line("goods", "20.00", department="b"),
    line("goods", "5.00", department="a"), line("postage", "3.50"),
    line("plan", "1200.00", **DAYS), line("voucher", "50.00"), line("promotion", "-8.50"),
    line("unknown", "1.00"),
)  # fmt: skip


@pytest.mark.parametrize(("kind", "sign"), [(ArInvoice, 1), (ArCreditMemo, -1)])
def test_lines_that_defer_and_what_is_no_result_are_left_out_and_a_credit_takes_revenue_back(kind, sign):
    found = accrued_lines(posting(kind, *MIXED), *LISTS)
    assert [(row.account, row.department, row.amount) for row in found] == [
        ("54", "a", sign * Decimal("105.00")), ("54", "b", sign * Decimal("20.00")), ("55", "", sign * Decimal("3.50")),
        ("82", "", sign * Decimal("-8.50")),
    ]  # fmt: skip
    assert accrued_lines(posting(kind, line("plan", "10.00", **DAYS)), *LISTS) == ()


def accrual(*lines: tuple[str, str]) -> Accrual:
    own = tuple(AccruedLine(account=account, amount=Decimal(amount)) for account, amount in lines)
    return Accrual(
        source=Source(connection="stripe", object_type="accrual", object_id="invoice-in_1-2026-10"),
        document_type="invoice", document_id="in_1", number="INV-1", legal_entity="GB01", erp="netsuite",
        currency="GBP", document_date=dt.date(2026, 10, 31), reversed_on=dt.date(2026, 11, 1), lines=own,
        amount=sum((row.amount for row in own), Decimal(0)),
    )  # fmt: skip


PERIOD = Period(
    code="2026-10", name="Oct 2026", erp_id="10", start_date=dt.date(2026, 10, 1), end_date=dt.date(2026, 10, 31),
    is_receivables_open=False, is_ledger_open=True, read_at=dt.datetime(2026, 11, 3, tzinfo=dt.UTC),
)  # fmt: skip


def journal_of(document: Accrual):
    day = document.document_date
    return build_accrual(
        document, book=BOOK, currency="1", account="11", rate=RateUse(), posting_date=day, period=PERIOD
    )


@pytest.mark.parametrize(
    ("lines", "entry"),
    [
        ([("54", "125.00"), ("82", "-8.50")], [("11", "116.50", "0"), ("54", "0", "125.00"), ("82", "8.50", "0")]),
        ([("54", "-40.00")], [("11", "0", "40.00"), ("54", "40.00", "0")]),
        ([("54", "8.50"), ("82", "-8.50")], [("54", "0", "8.50"), ("82", "8.50", "0")]),
    ],
)
def test_accrued_revenue_stands_against_the_documents_own_accounts_until_the_next_period(lines, entry):
    journal = journal_of(accrual(*lines))
    assert [(row.account, str(row.debit), str(row.credit)) for row in journal.lines] == entry
    assert (journal.external_id, journal.posting_date, journal.period, journal.reversal_date) == (
        "acc-stripe-invoice-in_1-2026-10", dt.date(2026, 10, 31), "10", dt.date(2026, 11, 1),
    )  # fmt: skip


def test_an_accrual_is_only_posted_where_it_is_taken_back_on_the_day_that_was_asked_for():
    asked = journal_of(accrual(("54", "125.00")))
    held = PostedDocument(
        document_type="journal", id="90", external_id=asked.external_id, total=Decimal("125.00"), currency_code="GBP",
        currency="1", posting_date=asked.posting_date, period="10", subsidiary="2", reversal="91",
        reversal_date=asked.reversal_date,
    )  # fmt: skip
    assert compare_accrual(held, asked, False) is None
    for wrong in ({"reversal": ""}, {"reversal_date": dt.date(2026, 12, 1)}):
        problem = compare_accrual(msgspec.structs.replace(held, **wrong), asked, False)
        assert (problem.code, problem.category) == ("posted_differently", Category.CONFLICT)
    pending = msgspec.structs.replace(held, reversal="", is_in_ledger=False)  # in the ERP's own approval
    assert compare_accrual(pending, asked, False) is None


@pytest.mark.parametrize("found", [None, msgspec.structs.replace(PERIOD, name="Nov 2026", is_ledger_open=False)])
def test_nothing_is_accrued_that_could_not_be_taken_back(found):
    calendar = SimpleNamespace(period=lambda book, on: found)
    with pytest.raises(Problem, match="couldn't be taken back there") as told:
        check_reversal_period(accrual(("54", "1.00")), BOOK, calendar)
    assert (told.value.code, told.value.subject["ledger"]) == ("period_closed", "ledger")


@pytest.mark.parametrize(
    ("status", "lane", "said"),
    [
        ("void", "stripe:invoice:in_1", "billing voided INV-1, so nothing of it is accrued"),
        ("open", "stripe:invoice:in_2", "INV-1 isn't posted any more, so nothing of it is accrued"),
        ("open", "stripe:invoice:in_1", ""),
    ],
)
def test_nothing_is_accrued_of_a_document_that_was_voided_or_posts_no_more(status, lane, said):
    links = Links()
    links.statuses["stripe", "in_1"] = status
    links.lanes["invoice_to_erp", lane] = [b"{}"]  # those that were cancelled aren't in it
    if not said:
        assert check_standing(accrual(("54", "1.00")), links) == "stands"
        return
    with pytest.raises(NotNeeded) as told:
        check_standing(accrual(("54", "1.00")), links)
    assert told.value.summary == said
