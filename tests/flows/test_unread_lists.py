"""A list of a target that can't be read: what is told, and what else it stops."""

from __future__ import annotations

import datetime as dt

import pytest

from connectors.families import ReferenceRow
from connectors.models import Connection
from exceptions.models import ExceptionCase
from q2c.core.models import AccountingPeriod
from q2c.core.problems import Category, Problem
from q2c.flows import reference
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("code", "state", "asked", "kinds"),
    [
        ("credentials_refused", "paused", ["items"], ["credentials_refused"]),
        ("vendor_permission", "active", ["items", "accounts"], ["list_unread"]),
    ],
)
def test_a_list_that_may_not_be_read_is_told_alone_and_the_next_is_read(monkeypatch, code, state, asked, kinds):
    factories.make_connection("netsuite")
    seen = []

    def refresh(connection, lists):
        seen.extend(lists)
        if lists == ("items",):
            raise Problem(code, Category.AUTHENTICATION, "The role may not do this", connection=connection)

    monkeypatch.setattr(reference, "refresh_reference", refresh)
    monkeypatch.setattr(reference, "REFERENCE_LISTS", ("items", "accounts"))
    reference.refresh_or_tell("netsuite")
    assert (seen, Connection.objects.get(code="netsuite").state) == (asked, state)
    assert list(ExceptionCase.objects.values_list("kind", flat=True)) == kinds


def period_row(number: int, start: dt.date, **more: object) -> ReferenceRow:
    facts = {"start": start.isoformat(), "end": (start + dt.timedelta(days=27)).isoformat(), "is_adjustment": False}
    facts |= {"is_receivables_open": True, "is_ledger_open": True, **more}
    return ReferenceRow(external_id=str(number), code=f"P{number}", name=f"P{number:02} 2026", attributes=facts)


def read_periods(monkeypatch, rows: list[ReferenceRow]) -> list[tuple[str, str, dt.date]]:
    async def read(target, list_name):
        return rows

    monkeypatch.setattr(reference, "_read", read)
    monkeypatch.setattr(reference.ports, "target", lambda code: None)
    reference.refresh_or_tell("netsuite")
    return list(AccountingPeriod.objects.order_by("code").values_list("code", "external_id", "start_date"))


def test_thirteen_periods_of_four_weeks_are_thirteen_and_follow_one_another_by_code(monkeypatch):
    factories.make_connection("netsuite")
    factories.make_subsidiary("GB01")
    monkeypatch.setattr(reference, "REFERENCE_LISTS", ("periods",))
    first = dt.date(2026, 1, 1)
    starts = [first + dt.timedelta(weeks=4 * n) for n in range(14)]
    rows = [period_row(n, start) for n, start in enumerate(starts, 1)]
    known = read_periods(monkeypatch, rows)
    assert not ExceptionCase.objects.exists()
    assert [(external_id, start) for _, external_id, start in known] == [(r.external_id, s) for r, s in
                                                                         zip(rows, starts, strict=True)]  # fmt: skip
    assert [code for code, *_ in known if len(code) > 7] == ["2026-01-29", "2026-12-31"]
    assert read_periods(monkeypatch, [*rows[:13], period_row(15, starts[13])]) == [
        *known[:13], ("2026-12-31", "15", starts[13])
    ]  # fmt: skip


def test_a_period_whose_first_day_moved_is_the_same_one(monkeypatch):
    factories.make_connection("netsuite")
    factories.make_subsidiary("GB01")
    monkeypatch.setattr(reference, "REFERENCE_LISTS", ("periods",))
    assert read_periods(monkeypatch, [period_row(7, dt.date(2026, 2, 1))]) == [("2026-02", "7", dt.date(2026, 2, 1))]
    assert read_periods(monkeypatch, [period_row(7, dt.date(2026, 1, 31))]) == [("2026-01", "7", dt.date(2026, 1, 31))]


def test_a_list_that_cant_be_taken_in_is_told_and_the_next_is_read(monkeypatch):
    factories.make_connection("netsuite")
    factories.make_subsidiary("GB01")
    monkeypatch.setattr(reference, "REFERENCE_LISTS", ("items", "periods"))
    twice = period_row(1, dt.date(2026, 1, 1))
    assert read_periods(monkeypatch, [twice, twice]) == []
    assert {case.summary.partition(" can't")[0] for case in ExceptionCase.objects.filter(kind="list_unread")} == {
        "netsuite's list of items", "netsuite's list of periods"
    }  # fmt: skip
