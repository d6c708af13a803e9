"""Keeping a target's own lists at hand: items, accounts, periods and the like, cached with their age.

Validation and period checks read these, so a vendor's outage never refuses an order; the ERP's own refusal is the
last check.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from functools import partial
from typing import Any

import structlog
from django.db import DatabaseError, InterfaceError, OperationalError
from django.db.models import Count, Max
from django.db.transaction import atomic

from connectors.families import REFERENCE_LISTS, Family, ReferenceRow
from connectors.fields import UNREADABLE
from connectors.models import Connection, ReferenceEntry
from connectors.registry import manifest
from connectors.rows import say_unreadable
from exceptions import cases
from mappings.models import MappingRule
from q2c import ports
from q2c.core.models import AccountingPeriod, LegalEntity, Subsidiary
from q2c.core.problems import Category, Problem
from q2c.flows.done import pause_refused
from q2c.transactions.workers import run_now

log = structlog.get_logger()
RATES_DAYS = 400
UNREAD = "list_unread"
_STORED_AT_ONCE = 1000
_UNSTORED = (DatabaseError, *UNREADABLE)  # what a list that we can't take in ends in
_OUT_OF_REACH = (OperationalError, InterfaceError)  # our own database: nothing about the list


def refresh_reference(code: str, lists: tuple[str, ...] = REFERENCE_LISTS) -> dict[str, int]:
    """Read a target's lists afresh and store them; rows that are gone become inactive. Returns rows by list.

    Raises Problem when the target can't be read, or a list is suddenly empty; what was stored before stays, with its
    age.
    """
    counts: dict[str, int] = {}
    target = ports.target(code)
    for name in lists:
        rows = run_now(partial(_read, target, name))
        counts[name] = len(rows)
        if not rows:
            _check_emptied(code, name)
        _store(code, name, rows)
    ports.forget_kept()
    return counts


def refresh_or_tell(code: str) -> None:
    """Read each of a target's lists afresh; of one that can't be read whole, open a case that closes once it can. What
    an outage keeps from being read is read the next time."""
    for name in REFERENCE_LISTS:
        try:
            refresh_reference(code, (name,))
        except Problem as problem:
            log.warning(UNREAD, connection=code, list=name, problem=problem.code, summary=problem.summary)
            if problem.pauses_connection:
                pause_refused(code, problem)
                return
            if not problem.heals_by_itself:
                unread = problem if problem.code == UNREAD else _unread(code, name, problem.summary)
                cases.open_case(unread, connection_code=code)
        except _OUT_OF_REACH:
            raise
        except _UNSTORED as error:
            log.exception("list_unstored", connection=code, list=name)
            cases.open_case(_unread(code, name, say_unreadable(error, "")), connection_code=code)
        else:
            was_read = _unread(code, name, "was read")
            cases.close_matching(was_read, how="healed", why="The list was read whole again.", connection_code=code)


def _check_emptied(code: str, list_name: str) -> None:
    """An empty list is rather a fault than a truth, unless none of it was known, or a person has waived its case since
    it was read last. Raises Problem."""
    known = ReferenceEntry.objects.filter(connection__code=code, list_name=list_name, is_active=True)
    found = known.aggregate(count=Count("pk"), newest=Max("read_at"))
    if not found["count"]:
        return
    emptied = _unread(code, list_name, f"it came empty, where {found['count']:,} rows are known")
    if not cases.is_waived_since(emptied, found["newest"], connection_code=code):
        raise emptied


def _unread(code: str, list_name: str, why: str) -> Problem:
    says = f"{code}'s list of {list_name.replace('_', ' ')} can't be read whole: {why}"
    return Problem(UNREAD, Category.DRIFT, says, connection=code, list=list_name)


async def _read(target: ports.Target, list_name: str) -> list[ReferenceRow]:
    if list_name == "rates":
        newest: dict[str, ReferenceRow] = {}
        since = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=RATES_DAYS)
        async for row in target.rates_since(since):
            kept = newest.get(row.external_id)
            if kept is None or kept.attributes["date"] < row.attributes["date"]:
                newest[row.external_id] = row
        return list(newest.values())
    return [row async for row in target.reference(list_name)]


def _store(code: str, list_name: str, rows: list[ReferenceRow]) -> None:
    connection, now = Connection.objects.get(code=code), dt.datetime.now(dt.UTC)
    entries = [
        ReferenceEntry(
            connection=connection,
            list_name=list_name,
            external_id=r.external_id,
            code=r.code[:120],
            name=r.name[:300],
            attributes=r.attributes,
            is_active=r.is_active,
            read_at=now,
        )
        for r in rows
    ]
    with atomic():
        ReferenceEntry.objects.bulk_create(
            entries,
            batch_size=_STORED_AT_ONCE,
            update_conflicts=True,
            unique_fields=["connection", "list_name", "external_id"],
            update_fields=["code", "name", "attributes", "is_active", "read_at"],
        )
        ReferenceEntry.objects.filter(connection=connection, list_name=list_name, read_at__lt=now).update(
            is_active=False
        )
        if list_name == "subsidiaries":
            _store_books(connection, rows)
        if list_name == "periods":
            _store_periods(connection, rows, now)


def _store_books(connection: Connection, rows: list[ReferenceRow]) -> None:
    """The books that entities have in this ERP, with its names. Which book an entity has is a governed rule, not a
    guess: only a rule for this very connection makes one."""
    names = {row.external_id: row.name for row in rows}
    ruled = MappingRule.objects.filter(kind="subsidiary", connection_code=connection.code, known_to__isnull=True)
    entities = LegalEntity.objects.in_bulk(ruled.values_list("key", flat=True), field_name="code")
    for rule in ruled.filter(effective_to__isnull=True, value__in=names, key__in=entities):
        made_with = {"external_id": rule.value, "name": names[rule.value]}
        Subsidiary.objects.get_or_create(legal_entity=entities[rule.key], connection=connection, defaults=made_with)
    for book in Subsidiary.objects.filter(connection=connection, external_id__in=names):
        if book.name != names[book.external_id]:
            Subsidiary.objects.filter(pk=book.pk).update(name=names[book.external_id])


def _store_periods(connection: Connection, rows: list[ReferenceRow], now: dt.datetime) -> None:
    """The periods of each book; one whose first day has moved is the same one under another code."""
    months = [row for row in rows if not row.attributes.get("is_adjustment")]
    codes = period_codes((row.external_id, dt.date.fromisoformat(row.attributes["start"])) for row in months)
    books = list(Subsidiary.objects.filter(connection=connection))
    periods = []
    for book in books:
        for row in months:
            facts: dict[str, Any] = row.attributes
            own = facts.get("by_subsidiary", {}).get(book.external_id, facts)
            periods.append(
                AccountingPeriod(
                    subsidiary=book,
                    code=codes[row.external_id],
                    name=row.name,
                    start_date=dt.date.fromisoformat(facts["start"]),
                    end_date=dt.date.fromisoformat(facts["end"]),
                    external_id=row.external_id,
                    is_receivables_open=own["is_receivables_open"],
                    is_ledger_open=own["is_ledger_open"],
                    read_at=now,
                )
            )
    AccountingPeriod.objects.bulk_create(
        periods,
        batch_size=_STORED_AT_ONCE,
        update_conflicts=True,
        unique_fields=["subsidiary", "code"],
        update_fields=[
            "name",
            "start_date",
            "end_date",
            "external_id",
            "is_receivables_open",
            "is_ledger_open",
            "read_at",
        ],
    )
    AccountingPeriod.objects.filter(subsidiary__in=books, external_id__in=codes, read_at__lt=now).delete()


def period_codes(periods: Iterable[tuple[str, dt.date]]) -> dict[str, str]:
    """Our codes of an ERP's periods, given by its id and their first day: the month, and of a second that begins in one
    month (weeks make the period, not months) the day too. In the order of their codes they follow one another."""
    codes: dict[str, str] = {}
    taken: set[str] = set()
    for external_id, start in sorted(periods, key=lambda period: (period[1], period[0])):
        day, number = f"{start:%Y-%m-%d}", 2
        code = f"{start:%Y-%m}" if f"{start:%Y-%m}" not in taken else day
        while code in taken:  # two calendars in one list
            code, number = f"{day}.{number}", number + 1
        taken.add(code)
        codes[external_id] = code
    return codes


def reference_targets() -> list[str]:
    """The connections whose lists we keep: every ERP."""
    return [c.code for c in Connection.objects.all() if Family.ERP in manifest(c.vendor).families]
