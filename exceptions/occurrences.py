"""Which documents are in a case, and the tallies of them: written a batch at a time, never by touching one hot row."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from django.db import connection as database

from exceptions import reporting
from q2c.core.models import AccountingPeriod
from q2c.core.problems import Problem
from q2c.core.redact import redact


class HeldDocument(Protocol):
    """What the machine tells of a held transaction; `StepProblem` is one such."""

    @property
    def transaction_id(self) -> UUID | None: ...
    @property
    def flow(self) -> str: ...
    @property
    def step(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def problem(self) -> Problem: ...
    @property
    def number(self) -> str: ...
    @property
    def legal_entity_code(self) -> str: ...
    @property
    def amount(self) -> Decimal | None: ...
    @property
    def currency(self) -> str: ...
    @property
    def period_code(self) -> str: ...
    @property
    def connection_code(self) -> str: ...
    @property
    def at(self) -> dt.datetime: ...
    @property
    def worker(self) -> str: ...
    @property
    def customers(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, kw_only=True)
class StepProblem:
    """One document that hit a problem. Without a transaction it's an event, or a whole connection."""

    problem: Problem
    at: dt.datetime
    transaction_id: UUID | None = None
    event_id: UUID | None = None
    read_key: str | None = None  # of a message that couldn't be read: whose later version, read, closes this
    flow: str = ""
    step: str = ""
    attempt: int = 1
    number: str = ""
    legal_entity_code: str = ""
    amount: Decimal | None = None
    currency: str = ""
    period_code: str = ""
    connection_code: str = ""
    worker: str = ""
    customers: tuple[str, ...] = ()  # id and name of whose document it is


Pair = tuple[HeldDocument, int]  # a document and its case


_Place = tuple[int, str, str, str, str]  # case, entity, period, currency, worker


@dataclass(frozen=True, slots=True)
class Change:
    """What is added to a tally, or with a count of -1 taken from it."""

    case: int
    legal_entity: str
    period: str
    currency: str
    count: int
    amount: Decimal | None
    at_risk: Decimal | None
    worker: str
    at: dt.datetime | None = None


_INSERT = """
    INSERT INTO exceptions_occurrence AS o (
        case_id, transaction_id, event_id, read_key, flow, step, attempt, number, legal_entity_code, period_code,
        amount, currency, amount_at_risk, problem, at, closed_how)
    SELECT x.case_id, x.txn, x.event, x.read_key, x.flow, x.step, x.attempt, x.number, x.entity, x.period, x.amount,
           x.currency, x.at_risk, x.problem::jsonb, x.at, ''
      FROM unnest(%s::bigint[], %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::int[], %s::text[],
                  %s::text[], %s::text[], %s::numeric[], %s::text[], %s::numeric[], %s::text[], %s::timestamptz[])
           AS x(case_id, txn, event, read_key, flow, step, attempt, number, entity, period, amount, currency, at_risk,
                problem, at)
"""
_COMES_BACK = """
    ON CONFLICT ({column}) WHERE closed_at IS NULL AND {column} IS NOT NULL
    DO UPDATE SET attempt = excluded.attempt, at = excluded.at, step = excluded.step, problem = excluded.problem,
                  reposted_at = NULL, source_asked_at = NULL,
                  told = CASE WHEN o.told = 1 AND o.problem - 'evidence' <> excluded.problem - 'evidence' THEN 2
                              ELSE o.told END
     WHERE o.case_id = excluded.case_id
        OR EXISTS (SELECT FROM exceptions_apartcase p WHERE p.case_id = o.case_id AND p.out_of_id = excluded.case_id)
    RETURNING coalesce(transaction_id, event_id), xmax = 0
"""
_ADD_TO_TALLIES = """
    INSERT INTO exceptions_casetally AS t (
        case_id, legal_entity_code, period_code, currency, worker, document_count, amount, amount_at_risk, last_at,
        is_rolled)
    SELECT x.*, false FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[],
                                  %s::numeric[], %s::numeric[], %s::timestamptz[]) AS x
    ON CONFLICT (case_id, legal_entity_code, period_code, currency, worker) DO UPDATE
       SET document_count = t.document_count + excluded.document_count, amount = t.amount + excluded.amount,
           amount_at_risk = t.amount_at_risk + excluded.amount_at_risk,
           last_at = greatest(t.last_at, excluded.last_at), is_rolled = false
"""


def subject_id(row: HeldDocument) -> UUID | None:
    """The transaction or event that the row is about; None for a whole connection."""
    return row.transaction_id or getattr(row, "event_id", None)


def add_occurrences(pairs: list[Pair], fresh: set[int]) -> None:
    """Occurrences and tallies. What stands for a whole connection is noted once per opening, not once per attempt."""
    pairs = [pair for pair in pairs if subject_id(pair[0]) or pair[1] in fresh]
    if not pairs:
        return
    worker = pairs[0][0].worker
    with database.cursor() as cursor:
        added, kept = _insert(cursor, pairs)
        moved = [pair for pair in pairs if subject_id(pair[0]) not in added | kept]
        changes: list[Change] = []
        if moved:
            changes = _supersede(cursor, [subject_id(row) for row, _ in moved], worker)
            added |= _insert(cursor, moved)[0]
        for row, case in pairs:
            if subject_id(row) in added:
                risk = reporting.at_risk(row.amount, row.currency)
                place = (case, row.legal_entity_code, period_of(row), row.currency)
                changes.append(Change(*place, 1, row.amount, risk, row.worker, row.at))
        add_to_tallies(cursor, changes)


def close_occurrences(column: str, ids: list[UUID], *, how: str, worker: str, case_id: int | None = None) -> list[int]:
    """Close the open occurrences of these transactions or events, and count them out. Returns the case of each."""
    where = f"{column} = ANY(%s) AND closed_at IS NULL" + ("" if case_id is None else " AND case_id = %s")
    with database.cursor() as cursor:
        cursor.execute(
            f"UPDATE exceptions_occurrence SET closed_at = now(), closed_how = %s WHERE {where}"
            " RETURNING case_id, legal_entity_code, period_code, currency, amount, amount_at_risk",
            [how, sorted(ids), *([] if case_id is None else [case_id])],
        )
        gone = cursor.fetchall()
        add_to_tallies(cursor, [_taken(row, worker) for row in gone])
    return [row[0] for row in gone]


def add_to_tallies(cursor: Any, changes: Iterable[Change]) -> None:
    """Add the changes: one sorted statement, one row per worker."""
    counts: Counter[_Place] = Counter()
    amounts: dict[_Place, Decimal] = {}
    risks: dict[_Place, Decimal] = {}
    newest: dict[_Place, dt.datetime | None] = {}
    for change in changes:
        key = (change.case, change.legal_entity, change.period, change.currency, change.worker)
        counts[key] += change.count
        amounts[key] = amounts.get(key, Decimal(0)) + change.count * (change.amount or Decimal(0))
        risks[key] = risks.get(key, Decimal(0)) + change.count * (change.at_risk or Decimal(0))
        known = newest.get(key)
        newest[key] = change.at if known is None or (change.at is not None and change.at > known) else known
    keys = sorted(counts)
    if keys:
        columns = [
            *map(list, zip(*keys, strict=True)),
            *([of[key] for key in keys] for of in (counts, amounts, risks, newest)),
        ]
        cursor.execute(_ADD_TO_TALLIES, columns)


def period_of(row: HeldDocument) -> str:
    """The period that the document can't be posted in: the problem's own, else the document's; empty while unknown."""
    return row.problem.subject.get("period", row.period_code)[:20]


def name_periods(rows: Iterable[HeldDocument]) -> None:
    """Where an ERP refused the period of a document that stands there, call it as the ERP's list is kept by us."""
    lacking = [row.problem.subject for row in rows if "erp_period" in row.problem.subject]
    lacking = [subject for subject in lacking if "period" not in subject]
    if not lacking:
        return
    found = AccountingPeriod.objects.filter(external_id__in={subject["erp_period"] for subject in lacking})
    place = ("subsidiary__legal_entity__code", "subsidiary__connection__code", "external_id", "code")
    codes = {tuple(key): code for *key, code in found.values_list(*place)}
    for subject in lacking:
        code = codes.get((subject.get("legal_entity"), subject.get("connection"), subject["erp_period"]))
        if code is not None:
            subject["period"] = code


def as_json(value: Any) -> str:
    """JSON that jsonb takes: it refuses the null character."""
    return json.dumps(value, default=str).replace("\\u0000", "")


def without_null(text: str) -> str:
    """The text without null characters, which PostgreSQL refuses."""
    return text.replace("\x00", "")


def _taken(row: tuple[Any, ...], worker: str) -> Change:
    case, entity, period, currency, amount, at_risk = row
    return Change(case, entity, period, currency, -1, amount, at_risk, worker)


def _insert(cursor: Any, pairs: list[Pair]) -> tuple[set[UUID | None], set[UUID | None]]:
    """Whose occurrence is new, and who came back on the same case's; those of another case are in neither."""
    added: set[UUID | None] = set()
    kept: set[UUID | None] = set()
    for column in ("transaction_id", "event_id"):
        part = [pair for pair in pairs if (pair[0].transaction_id is not None) == (column == "transaction_id")]
        if not part:
            continue
        part.sort(key=lambda pair: str(subject_id(pair[0])))
        columns = zip(*(_values(row, case) for row, case in part), strict=True)
        cursor.execute(_INSERT + _COMES_BACK.format(column=column), [list(values) for values in columns])
        for subject, is_new in cursor.fetchall():
            (added if is_new else kept).add(subject)
    return added, kept


def _values(row: HeldDocument, case: int) -> tuple[Any, ...]:
    problem = row.problem
    facts = {
        "code": problem.code,
        "category": problem.category.value,
        "summary": problem.summary,
        "subject": problem.subject,
        "evidence": redact(problem.evidence),
    }
    return (
        case,
        row.transaction_id,
        getattr(row, "event_id", None),
        getattr(row, "read_key", None),
        row.flow,
        row.step,
        row.attempt,
        without_null(row.number)[:120],
        row.legal_entity_code,
        period_of(row),
        row.amount,
        row.currency,
        reporting.at_risk(row.amount, row.currency),
        as_json(facts),
        row.at,
    )


def _supersede(cursor: Any, subjects: list[UUID | None], worker: str) -> list[Change]:
    """Another cause holds these documents now: close the earlier occurrence, and count it out."""
    cursor.execute(
        "UPDATE exceptions_occurrence SET closed_at = now(), closed_how = 'superseded'"
        " WHERE (transaction_id = ANY(%s) OR event_id = ANY(%s)) AND closed_at IS NULL"
        " RETURNING case_id, legal_entity_code, period_code, currency, amount, amount_at_risk",
        [subjects, subjects],
    )
    return [_taken(row, worker) for row in cursor.fetchall()]
