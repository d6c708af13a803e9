"""Which documents a change set could concern: held ones that it answers, posted ones that used what it touches.

Found in a fixed number of statements, from the rules that each step noted and from what open cases lack.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q

from exceptions.models import ExceptionCase, Occurrence
from mappings.days import rules_today
from mappings.drafts import CREATE, RETIRE, Line, lines_of
from mappings.kinds import DIMENSIONS
from mappings.models import ChangeSet
from mappings.planning import Lines, rules_touched
from q2c.core.ids import uuid7_bound
from q2c.core.models import AccountingPeriod
from q2c.flows.backtest import ledger_flows
from q2c.transactions.models import BusinessTransaction

DOCUMENTS_MAX = 200_000  # of the past; beyond, the set must begin where it alters nothing posted
LATE = dt.timedelta(days=62)  # a document may be dated so long before the day on which it posts
EARLY = dt.timedelta(days=400)  # and may have come so long before its own date
# Questions that have an answer without any rule: a new rule concerns documents that used none.
_HAVE_DEFAULTS = frozenset({"posting_policy", "location", "account", "target_system"})
# What the fields of posting policy hold documents by.
_HELD_BY_POLICY = {
    "rounding_limit": "rounding_over_limit",
    "missing_service_dates": "revenue_treatment",
    "price_tolerance": "price_differs",
    "rate_days_max": "rate_missing",
    "hold_duplicates": "duplicate_suspected",
}


@dataclass
class Concerned:
    """The documents that a change set could concern."""

    cases: list[ExceptionCase]
    held: list[UUID]
    posted: list[UUID]
    tested: list[UUID]  # of the periods chosen, whether the rows' dates reach them or not; none where that is the same
    tested_since: dt.date | None  # the first day of those periods
    in_flight: list[tuple[str, str, int]]  # entity, flow, how many
    used: list[tuple[str, str, str, str, int]]  # entity, flow, source, target, how many documents
    use_count: int = 0
    is_complete: bool = True
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = len(self.held) + len(self.posted) + len(self.tested)


def find_concerned(change_set: ChangeSet, periods: int) -> Concerned:
    """Which documents it could concern, and would in the last so many periods, in a fixed number of statements."""
    lines = lines_of(change_set)
    cases = cases_answered(lines)
    touched = sorted(rules_touched(change_set))
    since = min((line.effective_from for line in lines), default=rules_today()) - LATE
    use_count = count_uses(touched)
    posted = _posted_by_rules(touched, since) if use_count else set()
    posted |= _posted_by_default(lines, since)
    newest = sorted(posted, reverse=True)
    last = last_periods(periods)
    start = min((day for days in last.values() for day in days.values()), default=None)
    tested: set[UUID] = set()
    if start is not None and any(line.effective_from > start for line in lines):
        early = [replace(line, effective_from=min(line.effective_from, start)) for line in lines]
        tested = _posted_by_rules(touched, start - LATE) if use_count else set()
        tested |= _posted_by_default(early, start - LATE)
    return Concerned(
        cases=cases,
        held=_held_in(cases),
        posted=newest[:DOCUMENTS_MAX],
        tested=_of_periods(tested, last)[:DOCUMENTS_MAX],
        tested_since=start,
        in_flight=_in_flight(touched),
        used=_used(newest),
        use_count=use_count,
        is_complete=len(newest) <= DOCUMENTS_MAX,
    )


def last_periods(count: int) -> dict[str, dict[str, dt.date]]:
    """The last so many periods of each entity up to today, open and closed: their first days, by entity and code."""
    rows = AccountingPeriod.objects.filter(start_date__lte=rules_today()).order_by("-start_date")
    found: dict[str, dict[str, dt.date]] = {}
    for entity, code, start in rows.values_list("subsidiary__legal_entity__code", "code", "start_date"):
        own = found.setdefault(entity, {})
        if len(own) < count:
            own[code] = start
    return found


def _of_periods(ids: Iterable[UUID], periods: Mapping[str, Mapping[str, dt.date]]) -> list[UUID]:
    """Those posted in these periods, newest first."""
    rows = BusinessTransaction.objects.filter(pk__in=list(ids)).order_by("-pk")
    places = rows.values_list("pk", "legal_entity_code", "period_code")
    return [pk for pk, entity, code in places.iterator(chunk_size=5000) if code in periods.get(entity, ())]


def count_uses(rules: Iterable[int]) -> int:
    """How many documents used these rules so far, by the workers' tallies: no document is looked at."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(sum(count), 0) FROM mappings_ruleuse WHERE rule_id = ANY(%s)", [list(rules)])
        return int(cursor.fetchone()[0])


def cases_answered(lines: Iterable[Line]) -> list[ExceptionCase]:
    """The open cases that lack what these rules would say."""
    lines = [line for line in lines if line.act != RETIRE]
    known = Lines(lines)
    open_cases = ExceptionCase.objects.filter(closed_at__isnull=True)
    lacking = open_cases.filter(category="mapping", subject__kind__in=known.kinds)
    found = [case for case in lacking if _answers(known, case.subject)]
    policies = [line for line in lines if line.kind == "posting_policy" and line.key in _HELD_BY_POLICY]
    for case in open_cases.filter(kind__in={_HELD_BY_POLICY[line.key] for line in policies}) if policies else ():
        if any(case.kind == _HELD_BY_POLICY[p.key] and _in_entity(p, case.subject) for p in policies):
            found.append(case)
    return found


def facts_of(ids: Iterable[UUID]) -> list[tuple[UUID, dict[str, Any]]]:
    """What is signed of each document, as it is now."""
    names = ("transaction", "number", "legal_entity", "amount", "currency", "period", "attempt", "problem", "hash")
    with connection.cursor() as cursor:
        cursor.execute(_FACTS, [list(ids)])
        return [(row[0], dict(zip(names, (str(row[0]), *row[1:]), strict=True))) for row in cursor.fetchall()]


def _held_in(cases: list[ExceptionCase]) -> list[UUID]:
    rows = Occurrence.objects.filter(case__in=cases, closed_at__isnull=True, transaction_id__isnull=False)
    return [i for i in rows.order_by("transaction_id").values_list("transaction_id", flat=True) if i is not None]


def _answers(lines: Lines, subject: Mapping[str, str]) -> bool:
    """Whether one of the rows says what the case lacks."""
    return any(
        all(not v or subject.get(name, v) == v for name, v in zip(DIMENSIONS, line.dimensions, strict=True))
        for line in lines.about(subject.get("kind", ""), subject.get("key", ""))
    )


def _in_entity(line: Line, subject: Mapping[str, str]) -> bool:
    return not line.legal_entity or subject.get("legal_entity", line.legal_entity) == line.legal_entity


def that_used(rules: list[int], since: dt.datetime) -> list[UUID]:
    """The transactions begun up to 400 days before, that used one of these rules in a step since then, in their
    order."""
    with connection.cursor() as cursor:
        facts: dict[str, Any] = {
            "rules": rules,
            "since": since,
            "bound": uuid7_bound(int((since - EARLY).timestamp() * 1000)),
        }
        cursor.execute(_USED_SINCE, facts)
        return [row[0] for row in cursor.fetchall()]


def _posted_by_rules(rules: list[int], since: dt.date) -> set[UUID]:
    """Completed documents since then whose steps used one of these rules."""
    with connection.cursor() as cursor:
        facts: dict[str, Any] = {"rules": rules, "since": since, "bound": _bound(since), "flows": ledger_flows()}
        cursor.execute(_POSTED, facts)
        return {row[0] for row in cursor.fetchall()}


def _posted_by_default(lines: list[Line], since: dt.date) -> set[UUID]:
    """Completed documents since then that a new rule could concern although they used none: its kind has defaults."""
    new = [
        ln for ln in lines if ln.act == CREATE and ln.kind in _HAVE_DEFAULTS and (ln.kind != "item" or "#" in ln.key)
    ]
    if not new:
        return set()
    where = Q()
    for line in new:
        here = Q(document_date__gte=line.effective_from - LATE) | Q(document_date=None)
        if line.legal_entity:
            here &= Q(legal_entity_code=line.legal_entity)
        if line.currency:
            here &= Q(currency=line.currency)
        where |= here
    rows = BusinessTransaction.objects.filter(where, state="completed", flow__in=ledger_flows(), pk__gte=_bound(since))
    return set(rows.values_list("pk", flat=True)[: DOCUMENTS_MAX + 1])


def _in_flight(rules: list[int]) -> list[tuple[str, str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(_IN_FLIGHT, {"rules": rules})
        return cursor.fetchall()


def _used(ids: list[UUID]) -> list[tuple[str, str, str, str, int]]:
    with connection.cursor() as cursor:
        cursor.execute(_USED, [ids])
        return cursor.fetchall()


def _bound(since: dt.date) -> UUID:
    start = dt.datetime.combine(max(since, dt.date(1972, 1, 1)) - EARLY, dt.time(), tzinfo=dt.UTC)
    return uuid7_bound(int(start.timestamp() * 1000))


_USES = "EXISTS (SELECT FROM jsonb_array_elements(s.used -> 'rules') r WHERE (r ->> 0)::bigint = ANY(%(rules)s))"
_POSTED = f"""
    SELECT t.id FROM transactions_businesstransaction t
     WHERE t.id IN (SELECT s.transaction_id FROM transactions_steprun s
                     WHERE s.transaction_id >= %(bound)s AND s.state = 'done' AND {_USES})
       AND t.state = 'completed' AND t.flow = ANY(%(flows)s)
       AND (t.document_date IS NULL OR t.document_date >= %(since)s)
"""
_USED_SINCE = f"""
    SELECT DISTINCT s.transaction_id FROM transactions_steprun s
     WHERE s.transaction_id >= %(bound)s AND s.state = 'done' AND s.at >= %(since)s AND {_USES} ORDER BY 1
"""
_IN_FLIGHT = f"""
    SELECT t.legal_entity_code, t.flow, count(*) FROM transactions_businesstransaction t
     WHERE t.state IN ('running', 'waiting', 'unknown')
       AND EXISTS (SELECT FROM transactions_steprun s
                    WHERE s.transaction_id = t.id AND s.state = 'done' AND {_USES})
     GROUP BY 1, 2 ORDER BY 1, 2
"""
_USED = """
    SELECT legal_entity_code, flow, source_connection, target_connection, count(*)
      FROM transactions_businesstransaction WHERE id = ANY(%s) GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
_FACTS = """
    SELECT id, number, legal_entity_code, coalesce(trim_scale(amount)::text, ''), currency, period_code, attempt,
           problem_code, encode(sha256(fact), 'hex')
      FROM transactions_businesstransaction WHERE id = ANY(%s) ORDER BY id
"""
