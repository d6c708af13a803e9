"""The one way in: problems become occurrences of cases, a whole batch in a few statements, in the caller's transaction.

Two workers at once make one case and never wait in a circle: an existing case is only key-share locked, in order of
fingerprint; whoever must open or reopen one first takes a lock that all openers share. One more document doesn't touch
the case's own row. A cause that people merged into another (`CaseAlias`) counts as that one.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection as database
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import kinds, reporting
from exceptions.clocks import Promise, promise
from exceptions.fixes import note_failed
from exceptions.grouping import VERSION, fingerprint
from exceptions.models import CaseNote, ExceptionCase
from exceptions.occurrences import (
    HeldDocument,
    add_occurrences,
    as_json,
    name_periods,
    period_of,
    subject_id,
    without_null,
)
from exceptions.routing import Facts, Route, Router, main_customer, names_in
from mappings.calendars import calendars
from mappings.days import rules_today
from q2c.core.models import Person

_OPENERS_LOCK = 0x51326301  # any constant: all who open or reopen a case take it first


Prints = dict[str, list[HeldDocument]]
Due = dict[str, Promise]
Routes = dict[str, Route]


def fingerprint_of(row: HeldDocument) -> str:
    """Which piece of work this is: the kind's `same_when` over the problem's subject, then over the document."""
    problem = row.problem
    facts = {
        "connection": row.connection_code,
        "subsidiary": row.legal_entity_code,
        "period": row.period_code,
        "flow": row.flow,
        "step": row.step,
        "document": row.number or str(subject_id(row) or ""),
        "error": problem.code,
    } | problem.subject
    return fingerprint(problem.code, kinds.kind_of(problem.code).same_when, facts)


def open_for_steps(rows: Iterable[HeldDocument]) -> dict[UUID, int]:
    """One occurrence per held document, of exactly one open case per cause. Returns the case's id by transaction.

    Call it inside the transaction that holds the documents. The same document for the same cause again comes back on
    its occurrence; for another cause the earlier occurrence is superseded.
    """
    found = open_occurrences(rows)
    return {row.transaction_id: case for row, case in found if row.transaction_id is not None}


def open_occurrences(rows: Iterable[HeldDocument]) -> list[tuple[HeldDocument, int]]:
    """As `open_for_steps`, for documents of any sort: each with its case's id."""
    latest: dict[Any, HeldDocument] = {}
    rows = list(rows)
    name_periods(rows)
    for row in rows:
        latest[subject_id(row) or fingerprint_of(row)] = row
    by_print: Prints = {}
    for row in latest.values():
        by_print.setdefault(fingerprint_of(row), []).append(row)
    if not by_print:
        return []
    with atomic(savepoint=False):
        cases, fresh = _find_or_open(by_print)
        pairs = [(row, cases[print_]) for print_ in sorted(by_print) for row in by_print[print_]]
        add_occurrences(pairs, fresh)
    return pairs


def _find_or_open(by_print: Prints) -> tuple[dict[str, int], set[int]]:
    prints = sorted(by_print)
    with database.cursor() as cursor:
        cases = _lock_open(cursor, prints)
        missing = [p for p in prints if p not in cases]
        if not missing:
            return cases, set()
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_OPENERS_LOCK])
        leads = _leads(cursor, missing)
        if leads:
            by_print = _led(by_print, leads)
            missing = sorted({leads.get(p, p) for p in missing})
        closed, waived = _lock_latest(cursor, missing, cases)
        missing = [p for p in missing if p not in cases]
        if not missing:
            return cases | {p: cases[to] for p, to in leads.items()}, set()
        due = _due_dates({p: by_print[p][0] for p in missing})
        routes = _routes({p: by_print[p] for p in missing})
        again = [p for p in missing if p in closed]
        if again or waived:
            note_failed({*(closed[p] for p in again), *waived}, timezone.now())
        if again:
            cases |= _reopen(cursor, again, closed, by_print, due, routes)
        new = [p for p in missing if p not in closed]
        opened = _insert_cases(cursor, new, by_print, due, routes) if new else {}
        cases |= opened
        _note_opening(opened, {p: cases[p] for p in again}, by_print, routes)
    return cases | {p: cases[to] for p, to in leads.items()}, {cases[p] for p in missing}


def _leads(cursor: Any, prints: list[str]) -> dict[str, str]:
    """Of these causes those that people have merged into another: that one's fingerprint."""
    cursor.execute(
        "SELECT fingerprint, target FROM exceptions_casealias WHERE fingerprint = ANY(%s) AND ended_at IS NULL",
        [prints],
    )
    return dict(cursor.fetchall())


def _led(by_print: Prints, leads: dict[str, str]) -> Prints:
    """The documents of merged causes under the one that they count as."""
    found: Prints = {}
    for print_ in sorted(by_print):
        found.setdefault(leads.get(print_, print_), []).extend(by_print[print_])
    return found


def _lock_open(cursor: Any, prints: list[str]) -> dict[str, int]:
    cursor.execute(
        "SELECT p.print, c.id FROM unnest(%s::text[]) AS p (print)"
        " LEFT JOIN exceptions_casealias a ON a.fingerprint = p.print AND a.ended_at IS NULL"
        " JOIN exceptions_exceptioncase c ON c.fingerprint = coalesce(a.target, p.print)"
        "  AND c.state IN ('open', 'in_review', 'awaiting_approval')"
        " ORDER BY c.fingerprint FOR KEY SHARE OF c",
        [prints],
    )
    return dict(cursor.fetchall())


def _lock_latest(cursor: Any, prints: list[str], cases: dict[str, int]) -> tuple[dict[str, int], list[int]]:
    """The newest case of each cause: open ones are added to `cases`, resolved ones returned; waived ones are returned
    apart, since they stay so."""
    cursor.execute(
        "SELECT c.fingerprint, c.id, c.state FROM exceptions_exceptioncase c"
        " JOIN (SELECT DISTINCT ON (fingerprint) id FROM exceptions_exceptioncase"
        "        WHERE fingerprint = ANY(%s) ORDER BY fingerprint, id DESC) newest ON newest.id = c.id"
        " ORDER BY c.fingerprint FOR KEY SHARE OF c",
        [prints],
    )
    closed, waived = {}, []
    for print_, case, state in cursor.fetchall():
        if state in ExceptionCase.OPEN_STATES:
            cases[print_] = case
        elif state == ExceptionCase.State.RESOLVED:
            closed[print_] = case
        else:
            waived.append(case)
    return closed, waived


def _due_dates(rows: dict[str, HeldDocument]) -> Due:
    known = calendars({row.legal_entity_code for row in rows.values()}, on=rules_today())
    due = {}
    for print_, row in rows.items():
        due[print_] = promise(kinds.kind_of(row.problem.code), row.at, known[row.legal_entity_code])
    return due


def _routes(by_print: Prints) -> Routes:
    facts = {print_: _facts_of(rows) for print_, rows in by_print.items()}
    router = Router(facts.values())
    return {print_: router.route(asked) for print_, asked in facts.items()}


def _facts_of(rows: list[HeldDocument]) -> Facts:
    first, problem = rows[0], rows[0].problem
    return Facts(
        kind=problem.code, category=problem.category.value, flow=first.flow,
        connection=_connection_of(first), legal_entity=_entity_of(rows), currency=first.currency,
        names=names_in(problem.subject, main_customer((row.customers, _at_risk([row])) for row in rows)),
        amount=_at_risk(rows),
    )  # fmt: skip


def _reopen(
    cursor: Any, prints: list[str], closed: dict[str, int], by_print: Prints, due: Due, routes: Routes
) -> dict[str, int]:
    cursor.execute(
        "UPDATE exceptions_exceptioncase c SET state = 'open', closed_at = NULL,"
        " regressed_count = c.regressed_count + 1, failed_fix = c.resolution, resolution = '',"
        " legal_entity_code = CASE x.entity WHEN c.legal_entity_code THEN x.entity ELSE '' END,"
        " opened_at = x.at, last_at = x.at, due_at = x.due,"
        " turns_at = x.turns, standing = 'on_time', escalation = 0, paused_for = '', is_told = false,"
        " queue = CASE WHEN is_ours THEN x.queue ELSE c.queue END,"
        " severity = CASE WHEN is_ours THEN x.severity ELSE c.severity END,"
        " routed_by_id = CASE WHEN is_ours THEN x.rule ELSE c.routed_by_id END,"
        " assignee_id = CASE WHEN is_ours THEN x.person ELSE c.assignee_id END"
        " FROM (SELECT k.assignee_id IS NULL AND NOT k.is_moved_by_hand AS is_ours, u.*"
        "         FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::text[],"
        "                     %s::smallint[], %s::bigint[], %s::bigint[], %s::text[])"
        "           AS u(id, at, due, turns, queue, severity, rule, person, entity)"
        "         JOIN exceptions_exceptioncase k ON k.id = u.id) x WHERE c.id = x.id",
        [
            [closed[p] for p in prints],
            [by_print[p][0].at for p in prints],
            [due[p].due_at for p in prints],
            [due[p].at_risk_at for p in prints],
            [routes[p].queue for p in prints],
            [routes[p].severity for p in prints],
            [routes[p].rule for p in prints],
            [routes[p].person for p in prints],
            [_entity_of(by_print[p]) for p in prints],
        ],
    )
    return {p: closed[p] for p in prints}


_INSERT_CASES = """
    INSERT INTO exceptions_exceptioncase (
        fingerprint, fingerprint_version, kind, category, state, severity, queue, summary, subject, connection_code,
        legal_entity_code, period_code, flow, opened_at, last_at, due_at, resolution, close_reason, regressed_count,
        failed_fix, document_count, amount_at_risk, blocks_entity, blocks_period, routed_by_id, assignee_id,
        turns_at)
    SELECT x.print, %s, x.kind, x.category, CASE WHEN x.person IS NULL THEN 'open' ELSE 'in_review' END, x.severity,
           x.queue, x.summary, x.subject::jsonb, x.connection,
           x.entity, x.period, x.flow, x.at, x.at, x.due, '', '', 0, '', x.documents, x.at_risk, x.blocks_entity,
           x.blocks_period, x.rule, x.person, x.turns
      FROM unnest(%s::text[], %s::text[], %s::text[], %s::smallint[], %s::text[], %s::text[], %s::text[], %s::text[],
                  %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::int[], %s::numeric[],
                  %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::timestamptz[])
           AS x(print, kind, category, severity, queue, summary, subject, connection, entity, period, flow, at, due,
                documents, at_risk, blocks_entity, blocks_period, rule, person, turns)
     ORDER BY x.print
    RETURNING fingerprint, id
"""


def _insert_cases(cursor: Any, prints: list[str], by_print: Prints, due: Due, routes: Routes) -> dict[str, int]:
    rows = [_case_values(print_, by_print[print_], due[print_], routes[print_]) for print_ in prints]
    cursor.execute(_INSERT_CASES, [VERSION, *map(list, zip(*rows, strict=True))])
    return dict(cursor.fetchall())


def _connection_of(row: HeldDocument) -> str:
    return row.problem.subject.get("connection", row.connection_code)[:40]


def _entity_of(rows: list[HeldDocument]) -> str:
    """The entity that all of them are of, or none."""
    entities = {row.legal_entity_code for row in rows}
    return entities.pop() if len(entities) == 1 else ""


def _at_risk(rows: list[HeldDocument]) -> Decimal:
    return sum((reporting.at_risk(row.amount, row.currency) or Decimal(0) for row in rows), Decimal(0))


def _case_values(print_: str, rows: list[HeldDocument], due: Promise, route: Route) -> tuple[Any, ...]:
    row, problem = rows[0], rows[0].problem
    return (
        print_,
        problem.code,
        problem.category.value,
        route.severity,
        route.queue,
        without_null(problem.summary)[:500],
        as_json(problem.subject),
        _connection_of(row),
        _entity_of(rows),
        period_of(row),
        row.flow,
        row.at,
        due.due_at,
        sum(subject_id(r) is not None for r in rows),
        _at_risk(rows),
        row.legal_entity_code,
        period_of(row),
        route.rule,
        route.person,
        due.at_risk_at,
    )


_KEPT = [field.column for field in ExceptionCase._meta.concrete_fields if field.name not in ExceptionCase.ROLLED_UP]
_HISTORY = ", ".join(f'"{column}"' for column in _KEPT)
_KEEP_HISTORY = f"""
    INSERT INTO exceptions_historicalexceptioncase (
        {_HISTORY}, history_date, history_type, history_change_reason, history_user_id)
    SELECT {_HISTORY}, now(), CASE WHEN id = ANY(%s) THEN '+' ELSE '~' END,
           CASE WHEN id = ANY(%s) THEN 'opened' ELSE %s END, %s
      FROM exceptions_exceptioncase WHERE id = ANY(%s)
"""


def keep_history(
    cursor: Any, changed: Iterable[int], *, why: str, opened: Iterable[int] = (), by: Person | None = None
) -> None:
    """Keep what simple_history would keep of each case, in one statement: of new ones as opened, of others with why;
    `by` is None where the portal itself acts."""
    new = list(opened)
    cursor.execute(_KEEP_HISTORY, [new, new, why, by.pk if by else None, [*new, *changed]])


def _note_opening(opened: dict[str, int], reopened: dict[str, int], by_print: Prints, routes: Routes) -> None:
    notes = []
    for verb, found in (("opened", opened), ("regressed", reopened)):
        for print_, case in found.items():
            row = by_print[print_][0]
            notes.append(CaseNote(case_id=case, at=row.at, verb=verb, text=without_null(row.problem.summary)))
            if verb == "opened" and routes[print_].person:
                notes.append(CaseNote(case_id=case, at=row.at, verb="assigned", text=routes[print_].person_says))
    CaseNote.objects.bulk_create(notes)
    with database.cursor() as cursor:
        keep_history(cursor, reopened.values(), why="regressed", opened=opened.values())
