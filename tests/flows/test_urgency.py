"""What a close waits for goes first, and what has been due for long has its turn."""

from __future__ import annotations

import datetime as dt

import pytest

from q2c.flows.urgency import OF_A_CLOSE, priority_of
from q2c.posting.facts import Period
from q2c.transactions import claims
from q2c.transactions.models import WorkItem
from tests.transactions.machine_rig import add_transactions

TODAY = dt.date(2026, 4, 3)


def period(month: int, *, is_open: bool) -> Period:
    start = dt.date(2026, month, 1)
    return Period(
        code=f"2026-{month:02}", name="", erp_id=str(month), start_date=start,
        end_date=dt.date(2026, month + 1, 1) - dt.timedelta(days=1), is_receivables_open=is_open, is_ledger_open=True,
        read_at=dt.datetime(2026, 4, 3, tzinfo=dt.UTC),
    )  # fmt: skip


PERIODS = {("GB01", "netsuite"): [period(2, is_open=False), period(3, is_open=True), period(4, is_open=True)]}


@pytest.mark.parametrize(
    ("priority", "entity", "date", "wanted"),
    [
        (5, "GB01", dt.date(2026, 3, 31), OF_A_CLOSE),
        (5, "GB01", dt.date(2026, 4, 2), 5),  # its period isn't over
        (5, "GB01", dt.date(2026, 2, 2), 5),  # its period is closed
        (5, "US01", dt.date(2026, 3, 31), 5),  # another entity's period
        (7, "GB01", dt.date(2026, 3, 31), 7),  # back-fill stays last
        (5, "GB01", None, 5),
    ],
)
def test_a_document_of_a_period_that_is_over_and_open_goes_first(priority, entity, date, wanted):
    assert priority_of(priority, entity, date, PERIODS, TODAY) == wanted


@pytest.mark.django_db(transaction=True)
def test_old_work_goes_first_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(claims, "RAISED_MAX", 2)
    old = add_transactions(3)
    long_ago = "2020-01-01T00:00:00Z"
    WorkItem.objects.update(priority=8, available_at=long_ago)
    new = add_transactions(1)
    assert claims.raise_old(["test_flow", "another"]) == 2
    claimed = [c.transaction_id for c in claims.claim_batch(flow="test_flow", worker="w", limit=2)]
    assert set(claimed) < set(old)
    (next_one,) = claims.claim_batch(flow="test_flow", worker="w", limit=1)
    assert next_one.transaction_id == new[0]
