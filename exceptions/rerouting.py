"""Open cases follow the rules of routing when those change, begin or end, and when an amount grows past a step.

Whatever puts a rule in force or ends it (a change set, an emergency's end, a date), the ids of those in force differ
from the ones that were brought to the cases last; so one comparison finds it, also after a crash.

A case that somebody has goes to the new queue only if that person works it too; otherwise it stays with its person and
queue until it's given back. If the person doesn't work its present queue any more, it goes, and is nobody's. A case
whose queue somebody chose is never touched.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection as database
from django.db.models import Q, QuerySet
from django.db.transaction import atomic
from django.utils import timezone

from exceptions.duty import Duty
from exceptions.models import CaseNote, CaseTally, ExceptionCase, RoutingMark
from exceptions.opening import keep_history
from exceptions.routing import Facts, Route, Router, main_customer, names_in
from mappings.days import rules_today
from mappings.kinds import ROUTING
from mappings.models import MappingRule
from q2c.core import leases

BATCH = 2000
_MANY = 200  # rules; beyond, all open cases are looked at
_LEASE_SECONDS = 600.0
_OPENING = dt.timedelta(minutes=5)  # no transaction that opens cases takes longer
_DOCUMENTS_MAX = 1000  # of a case, the newest, that say whose it mostly is
_CUSTOMERS = """
    SELECT o.case_id, t.customer_id, t.customer_name, coalesce(o.amount_at_risk, 0)
      FROM unnest(%s::bigint[]) AS c(id)
     CROSS JOIN LATERAL (SELECT case_id, transaction_id, amount_at_risk FROM exceptions_occurrence
                          WHERE case_id = c.id AND closed_at IS NULL ORDER BY id DESC LIMIT %s) o
      JOIN transactions_businesstransaction t ON t.id = o.transaction_id
"""
_BY_NAME = ~Q(key="*") & ~Q(key__endswith="|*")  # rules
_MOVE = """
    UPDATE exceptions_exceptioncase c
       SET queue = x.queue, severity = x.severity, routed_by_id = x.rule, assignee_id = x.person,
           state = CASE WHEN c.state = 'awaiting_approval' THEN c.state WHEN x.person IS NULL THEN 'open'
                        ELSE 'in_review' END
      FROM unnest(%s::bigint[], %s::text[], %s::smallint[], %s::bigint[], %s::bigint[])
           AS x(id, queue, severity, rule, person)
     WHERE c.id = x.id AND c.closed_at IS NULL RETURNING c.id
"""


class _Move(NamedTuple):
    case: int
    queue: str
    severity: int
    rule: int | None
    person: int | None
    says: str  # empty where only the rule's number changes


def reroute() -> int:
    """Bring rules that changed since to the open cases. Returns how many went to another queue, person or severity."""
    me = leases.this_process()
    if not leases.take_lease("routing", holder=me, seconds=_LEASE_SECONDS):
        return 0
    try:
        return _reroute()
    finally:
        leases.release_lease("routing", holder=me)


def _reroute() -> int:
    now, today = timezone.now(), rules_today()
    rules = MappingRule.objects.filter(
        Q(effective_to=None) | Q(effective_to__gt=today), kind=ROUTING, known_to=None, effective_from__lte=today
    )
    in_force = sorted(rules.values_list("pk", flat=True))
    mark = RoutingMark.objects.filter(pk=1).first() or RoutingMark(applied_at=now)
    changed = set(in_force) ^ set(mark.rules)
    open_cases = ExceptionCase.objects.filter(closed_at__isnull=True, is_moved_by_hand=False)
    if changed:
        moved = _route_all(open_cases.filter(_concerned(changed)))
        mark.rules, mark.applied_at, mark.is_settled = in_force, now, False
    elif not mark.is_settled and now > mark.applied_at + _OPENING:
        moved = _route_all(open_cases.filter(opened_at__gte=mark.applied_at - _OPENING))
        mark.is_settled = True
    else:
        return 0
    mark.save()
    return moved


def follow_amounts(case_ids: Collection[int]) -> int:
    """Cases whose amount at risk changed go where a step "from" so much sends them, or a rule of the customer whose
    they mostly are now. Returns how many went."""
    if not MappingRule.objects.filter(_BY_NAME | Q(value__contains=" from "), kind=ROUTING, known_to=None).exists():
        return 0
    return route_again(case_ids)


def route_again(case_ids: Collection[int]) -> int:
    """Bring the rules of now to these open cases. Returns how many went."""
    return _route_all(ExceptionCase.objects.filter(pk__in=case_ids, closed_at__isnull=True, is_moved_by_hand=False))


def _concerned(changed: Collection[int]) -> Q:
    """The cases that one of these rules put where they are, or may put elsewhere now."""
    if len(changed) > _MANY:
        return Q()
    found = Q(routed_by__in=changed)
    for rule in MappingRule.objects.filter(pk__in=changed, known_to=None):
        of_rule = Q(pk__gt=0)
        for field, said in (("legal_entity_code", rule.legal_entity_code), ("connection_code", rule.connection_code)):
            if said:
                of_rule &= Q(**{field: said})
        parts = rule.key.split("|") if rule.key != "*" else ()
        for field, part in zip(("category", "kind"), parts, strict=False):
            of_rule &= Q(**{f"{field}__startswith": part[:-1]} if part.endswith("*") else {field: part})
        found |= of_rule
    return found


def _route_all(cases: QuerySet[ExceptionCase]) -> int:
    moved, after = 0, 0
    while True:
        with atomic():
            rows = list(cases.filter(pk__gt=after).select_for_update(no_key=True, of=("self",)).order_by("pk")[:BATCH])
            moved += _move(list(_moves(rows))) if rows else 0
        if len(rows) < BATCH:
            return moved
        after = rows[-1].pk


def _moves(cases: list[ExceptionCase]) -> Iterator[_Move]:
    ids = [case.pk for case in cases]
    documents: dict[int, list[tuple[tuple[str, ...], Decimal]]] = defaultdict(list)
    if _names_are_asked():
        with database.cursor() as cursor:
            cursor.execute(_CUSTOMERS, [ids, _DOCUMENTS_MAX])
            for case_id, customer, name, amount in cursor.fetchall():
                documents[case_id].append(((customer, name), amount))
    customers = {case_id: main_customer(found) for case_id, found in documents.items()}
    currencies: dict[int, set[str]] = defaultdict(set)
    for pk, currency in CaseTally.objects.filter(case__in=ids, document_count__gt=0).values_list("case", "currency"):
        currencies[pk].add(currency)
    facts = {
        case.pk: Facts(
            kind=case.kind, category=case.category, flow=case.flow, connection=case.connection_code,
            legal_entity=case.legal_entity_code, names=names_in(case.subject, customers.get(case.pk, ())),
            currency=min(currencies[case.pk]) if len(currencies[case.pk]) == 1 else "", amount=case.amount_at_risk,
        )
        for case in cases
    }  # fmt: skip
    router = Router(facts.values())
    duty = Duty(ids={case.assignee_id for case in cases if case.assignee_id})
    for case in cases:
        move = _move_of(case, router.route(facts[case.pk]), duty)
        if move is not None:
            yield move


def _names_are_asked() -> bool:
    """Whether any rule names a customer, SKU or other key: else nobody need look whose the documents are."""
    return MappingRule.objects.filter(_BY_NAME, kind=ROUTING, known_to=None).exists()


def _move_of(case: ExceptionCase, route: Route, duty: Duty) -> _Move | None:
    if (case.queue, case.severity, case.routed_by_id) == (route.queue, route.severity, route.rule):
        return None
    person, words = case.assignee_id, [] if case.queue == route.queue else [f"to {_words(route.queue)}"]
    if person is None:
        person = route.person
        words += [f"to {route.person_says}"] if person else []
    elif not duty.works(person, route.queue, case.legal_entity_code, case.kind):
        if duty.works(person, case.queue, case.legal_entity_code, case.kind):
            return None
        person = route.person
        words.append("its owner doesn’t work that queue any more")
    if case.severity != route.severity:
        words.append("with another severity")
    why = f"rule {route.rule} says so" if route.rule else "no rule says otherwise any more"
    says = f"{', '.join(words)}: {why}" if words else ""
    return _Move(case.pk, route.queue, route.severity, route.rule, person, says)


def _move(moves: list[_Move]) -> int:
    if not moves:
        return 0
    columns = [list(column) for column in zip(*moves, strict=True)]
    with database.cursor() as cursor:
        cursor.execute(_MOVE, columns[:5])
        moved = {row[0] for row in cursor.fetchall()}
        keep_history(cursor, moved, why="routed")
    told = [move for move in moves if move.case in moved and move.says]
    now = timezone.now()
    CaseNote.objects.bulk_create(
        [CaseNote(case_id=move.case, at=now, verb="routed", text=move.says, data=_data(move)) for move in told]
    )
    return len(told)


def _data(move: _Move) -> dict[str, Any]:
    return {"queue": move.queue, "rule": move.rule, "person": move.person}


def _words(queue: str) -> str:
    return queue.replace("_", " ")
