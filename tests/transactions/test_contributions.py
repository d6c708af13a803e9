"""Contributions: in one summary at most, frozen for good, numbered per day; what is held isn't summed up."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal as D

import pytest
from django.db import DatabaseError, IntegrityError, connection
from django.db.transaction import atomic

from q2c.canonical.posting import JournalLine
from q2c.core.ids import uuid7
from q2c.flows.summaries import freeze_day
from q2c.transactions.contributions import (
    Contributing,
    Day,
    find_contributions,
    lines_of,
    open_days,
    store_contributions,
)
from q2c.transactions.models import BusinessTransaction, Contribution, Summary
from tests.factories import make_transaction

DAY = Day("netsuite", "GB01", dt.date(2011, 3, 31), "GBP")


def contribute(number: str, amount: str = "10.00", *, day: Day = DAY, state: str = "waiting") -> Contributing:
    txn = make_transaction(state=state)
    lines = (
        JournalLine(account="1105", debit=D(amount)),
        JournalLine(account="410", credit=D(amount), tax_code="5", revenue_start=dt.date(2011, 1, 1)),
    )
    row = Contributing(txn.pk, f"inv-stripe-{number}", day, lines, ("invoice", f"stripe:invoice:{number}"))
    store_contributions([row])
    return row


@pytest.mark.django_db
def test_what_is_frozen_can_neither_change_nor_go_nor_move_to_another_summary():
    row = contribute("1")
    first = freeze_day(DAY)
    for change in (
        lambda own: own.update(summary_id=None),
        lambda own: own.update(currency="EUR"),
        lambda own: own.delete(),
    ):
        with pytest.raises(DatabaseError, match="Cannot update or delete"), atomic():
            change(Contribution.objects.filter(pk=row.transaction_id))
    store_contributions([Contributing(uuid7(), row.external_id, DAY, row.lines[:0], row.record)])
    assert Contribution.objects.get().transaction_id == row.transaction_id
    assert freeze_day(DAY) is None
    assert list(lines_of(first.transaction_id)) == list(row.lines)


@pytest.mark.django_db
def test_a_contribution_that_doesnt_balance_is_refused():
    row = contribute("1")
    with pytest.raises(DatabaseError, match="contribution_balances"), atomic():
        store_contributions([Contributing(row.transaction_id, row.external_id, DAY, row.lines[:1], row.record)])


@pytest.mark.django_db
def test_a_days_summaries_are_numbered_and_name_what_they_hold():
    contribute("1", "10.00")
    contribute("2", "5.50")
    contribute("3", day=Day("netsuite", "GB01", DAY.posting_date, "EUR"))
    assert [day.currency for day, _ in open_days()] == ["EUR", "GBP"]
    first = freeze_day(DAY)
    late = contribute("4", "1.00")
    delta = freeze_day(DAY)
    assert [s.number for s in (first, delta)] == ["GB01-2011-03-31-GBP-0", "GB01-2011-03-31-GBP-1"]
    amounts = BusinessTransaction.objects.filter(flow="summary_to_erp").order_by("source_id")
    assert list(amounts.values_list("amount", "line_count", "state")) == [
        (D("15.50"), 4, "running"), (D("1.00"), 2, "running"),
    ]  # fmt: skip
    found = find_contributions([("netsuite", late.external_id), ("netsuite", "inv-stripe-9")])
    assert [(c.delta, c.is_posted, c.total) for c in found.values()] == [(1, False, D("1.00"))]
    with pytest.raises(IntegrityError, match="one_summary_per_day_and_delta"), atomic():
        Summary.objects.create(
            transaction_id=uuid7(), connection_code="other", legal_entity_code="GB01", posting_date=DAY.posting_date,
            currency="GBP", delta=1, at=dt.datetime.now(dt.UTC),
        )  # fmt: skip


@pytest.mark.django_db
def test_a_held_document_isnt_summed_up_until_it_goes_on():
    row = contribute("1", state="held")
    assert open_days() == []
    assert freeze_day(DAY) is None
    BusinessTransaction.objects.filter(pk=row.transaction_id).update(state="waiting")
    assert freeze_day(DAY).document_count == 1


@pytest.mark.django_db(transaction=True)
def test_two_who_freeze_at_once_make_one_summary_of_each_document():
    for number in range(20):
        contribute(str(number))

    def freeze(_):
        try:
            return freeze_day(DAY)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        started = [s for s in pool.map(freeze, range(4)) if s is not None]
    assert [s.document_count for s in started] == [20]
    assert Contribution.objects.exclude(summary=None).count() == 20
