"""A day's summary: it balances, it's the sum of its documents cell by cell, and nothing is netted."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from decimal import Decimal as D

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from q2c.canonical.base import Source
from q2c.canonical.billing import CreditMemo, Invoice
from q2c.canonical.posting import ArTax, DaySummary, JournalLine
from q2c.core.problems import Problem
from q2c.posting.checks import check_balance
from q2c.posting.facts import ItemUse, Policy, RateUse
from q2c.posting.invoice import build_ar_credit_memo, build_ar_invoice
from q2c.posting.policy import check_policy
from q2c.posting.summary import build_at_grain, build_summary, cell_of, due_at, sum_lines
from tests.posting.test_invoice import ACCOUNTS, BOOK, DAY, ITEMS, PERIOD, build, document, line

CENTS = {"JPY": 0, "GBP": 2, "KWD": 3}
SUMMARY = {"detail": "summary", "subledger_owner": "billing"}
dates = st.sampled_from([None, dt.date(2011, 1, 1), dt.date(2011, 12, 31)])


calm = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])  # of a busy machine
places = st.builds(
    dict, account=st.sampled_from(["410", "420"]), department=st.sampled_from(["", "d1"]),
    tax_code=st.sampled_from(["", "S", "Z"]), revenue_start=dates, customer=st.sampled_from(["", "1501"]),
)  # fmt: skip
entries = st.tuples(places, st.sampled_from(["debit", "credit"]), st.integers(1, 10**9))
documents = st.lists(st.lists(entries, min_size=1, max_size=4), min_size=1, max_size=5)


def lines_of(drawn: list, currency: str = "GBP") -> list[JournalLine]:
    """The lines of some balanced postings: of each its entries, and the counter-entry."""
    lines = []
    for posting in drawn:
        made = [JournalLine(**place, **{side: D(n).scaleb(-CENTS[currency])}) for place, side, n in posting]
        owed = sum((x.debit - x.credit for x in made), D(0))
        counter = {"debit": max(-owed, D(0)), "credit": max(owed, D(0))}
        lines += [*made, JournalLine(account="1105", **counter)] if owed else made
    return lines


def summary_of(lines: list[JournalLine], currency: str = "GBP") -> DaySummary:
    return DaySummary(
        source=Source(connection="portal", object_type="summary", object_id=f"GB01-2011-03-31-{currency}-0"),
        legal_entity="GB01", posting_date=DAY, currency=currency, delta=0, document_count=1, line_count=len(lines),
        total=sum((x.debit for x in lines), D(0)), contents="c",
    )  # fmt: skip


def journal_of(lines: list[JournalLine], currency: str = "GBP", **changes):
    return build_summary(
        lines, document=changes.get("document") or summary_of(lines, currency), book=BOOK, currency="1",
        rate=RateUse(), posting_date=DAY, period=PERIOD,
    )  # fmt: skip


@calm
@given(documents, st.sampled_from(list(CENTS)))
def test_a_summary_balances_and_is_the_sum_of_its_postings_cell_by_cell(drawn, currency):
    given_lines = lines_of(drawn, currency)
    journal = journal_of(given_lines, currency)
    check_balance(journal, "GB01")
    expected = defaultdict(D)
    for x in given_lines:
        expected[cell_of(x)] += x.debit + x.credit
    assert {cell_of(x): x.debit + x.credit for x in journal.lines} == expected
    assert len(journal.lines) == len(expected)
    for side in ("debit", "credit"):  # netting would make both smaller
        assert sum(getattr(x, side) for x in journal.lines) == sum(getattr(x, side) for x in given_lines)


@calm
@given(documents, st.randoms(use_true_random=False))
def test_the_order_of_documents_changes_nothing(drawn, random):
    lines = lines_of(drawn)
    shuffled = random.sample(lines, len(lines))
    assert sum_lines(lines) == sum_lines(shuffled)


def test_an_invoice_and_its_credit_stand_on_both_sides_with_tax_by_code():
    invoice = build(document(Invoice, line("100.00", tax="20.00"), total="120.00", tax="20.00"), **SUMMARY)
    credit = build(
        document(CreditMemo, line("30.00", tax="6.00"), total="36.00", tax="6.00"), build_ar_credit_memo, **SUMMARY
    )
    journal = journal_of([*invoice.journal, *credit.journal])
    assert [(x.account, x.tax_code, x.debit, x.credit, x.customer) for x in journal.lines] == [
        ("110", "", D("120.00"), D("0.00"), ""),
        ("240", "t1", D("6.00"), D("0.00"), ""),
        ("410", "t1", D("30.00"), D("0.00"), ""),
        ("110", "", D("0.00"), D("36.00"), ""),
        ("240", "t1", D("0.00"), D("20.00"), ""),
        ("410", "t1", D("0.00"), D("100.00"), ""),
    ]
    assert journal.external_id == "sum-portal-GB01-2011-03-31-GBP-0"


def test_a_deferral_keeps_its_dates_and_a_discount_its_own_side():
    start, end = dt.date(2011, 1, 1), dt.date(2011, 12, 31)
    posting = build(
        document(
            Invoice, line("120.00", sku="SUB", service_start=start, service_end=end), line("-10.00"), total="110.00"
        ),
        build_ar_invoice,
        **SUMMARY,
    )
    assert [(x.account, x.debit - x.credit, x.revenue_start, x.revenue_end) for x in posting.journal] == [
        ("110", D("110.00"), None, None),
        ("410", D("10.00"), None, None),
        ("220", D("-120.00"), start, end),
    ]


def test_an_item_without_an_account_is_named_with_its_sku():
    lines = build(document(Invoice, line("10.00"), total="10.00")).lines
    with pytest.raises(Problem, match="SKU A names no account") as refused:
        build_at_grain(lines, {"A": ItemUse(item="i-a")}, ACCOUNTS, total=D(10), legal_entity="GB01")
    assert (refused.value.code, refused.value.subject["key"]) == ("missing_item_mapping", "A")


def test_each_tax_detail_stands_on_its_own_account_and_code():
    (made,) = build(document(Invoice, line("10.00", tax="2.00"), total="12.00", tax="2.00")).lines
    state, city = (
        ArTax(code=code, tax_type="7", account=account, base=D(10), rate=D(10), amount=D(1))
        for code, account in (("t1", "241"), ("t2", ""))
    )
    taxed = msgspec.structs.replace(made, taxes=(city, state))
    journal = build_at_grain((taxed,), ITEMS, ACCOUNTS, total=D(12), legal_entity="GB01")
    assert [(x.account, x.tax_code, x.debit - x.credit) for x in journal] == [
        ("110", "", D(12)), ("240", "t2", D(-1)), ("241", "t1", D(-1)), ("410", "t1+t2", D(-10)),
    ]  # fmt: skip


def test_a_journal_that_isnt_what_was_frozen_is_refused():
    lines = [JournalLine(account="1", debit=D(5)), JournalLine(account="2", credit=D(5))]
    other = summary_of([*lines, *lines])
    with pytest.raises(Problem, match="its documents were 10 when it was frozen"):
        journal_of(lines, document=other)


@pytest.mark.parametrize(
    ("zone", "came", "due"),
    [
        ("Europe/London", "2011-03-31T12:00:00+00:00", "2011-04-01T02:00:00+01:00"),
        ("Asia/Tokyo", "2011-03-31T12:00:00+00:00", "2011-04-01T02:00:00+09:00"),
        ("Europe/London", "2011-04-01T00:59:00+00:00", "2011-04-01T02:00:00+01:00"),
        ("Europe/London", "2011-04-01T01:01:00+00:00", "2011-04-02T02:00:00+01:00"),
        ("Europe/London", "2011-04-05T09:00:00+00:00", "2011-04-06T02:00:00+01:00"),
    ],
)
def test_a_contribution_is_due_at_the_first_cut_off_after_its_day_and_its_coming(zone, came, due):
    at = due_at(DAY, dt.datetime.fromisoformat(came), time_zone=zone, cut_off="02:00")
    assert at == dt.datetime.fromisoformat(due)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"detail": "summary"}, "subledger_owner"),
        ({"subledger_owner": "billing"}, "subledger_owner"),
        ({"detail": "both"}, "detail"),
        ({**SUMMARY, "summary_cut_off": "noon"}, "summary_cut_off"),
    ],
)
def test_a_mixed_policy_is_refused_naming_the_field(changes, field):
    with pytest.raises(Problem) as refused:
        check_policy(Policy(**changes), "GB01")
    assert (refused.value.code, refused.value.subject["key"]) == ("missing_posting_policy", field)


def test_all_in_summary_and_all_by_line_are_policies():
    assert check_policy(Policy(**SUMMARY), "GB01").is_summary
    assert not check_policy(Policy(), "GB01").is_summary
