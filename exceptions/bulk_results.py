"""What became of a bulk action, as one person sees it: rows of foreign entities and queues count for nothing."""

from __future__ import annotations

import functools
import operator
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.db.models.functions import Coalesce

from exceptions.freezing import ASSIGN, WAYS
from exceptions.kind_words import LOOK_AGAIN, REPOST
from exceptions.models import BulkAction, BulkItem, Occurrence
from q2c.core import access
from q2c.core.roles import Role
from q2c.flows.catalog import BY_CODE as FLOWS
from q2c.transactions.models import BusinessTransaction

State, Result = BulkAction.State, BulkItem.Result
CARRIED_ON = (REPOST, LOOK_AGAIN)  # done means on the way: its document comes to an end later
REASONS_SHOWN = 12
POSTED, BACK, ON_WAY, LEFT, PENDING, DONE = "posted", "back", "on_way", "left", "pending", "done"
_OF_STATE = {"completed": POSTED, "held": BACK, "running": ON_WAY, "waiting": ON_WAY, "unknown": ON_WAY}


@dataclass
class Outcome:
    """How many items are where. `begun`: done by the action; `running`: of those on the way, how many wait for
    nothing."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    total: int = 0
    begun: int = 0
    running: int = 0


@dataclass
class Total:
    """Documents of one type, entity, period and currency: on which one may act, and the others."""

    flow: str
    legal_entity: str
    period: str
    currency: str
    count: int = 0
    amount: Decimal = Decimal(0)
    other_count: int = 0
    other_amount: Decimal = Decimal(0)


def actions_visible_to(user: Any) -> QuerySet[BulkAction]:
    """The person's own, and those of others that touch their queues and entities; drafts are one's own."""
    parts = [Q(made_by=user)]
    for role, entity in _scopes(user):
        part = ~Q(state=State.DRAFT)
        if role.queues:
            part &= Q(queues__overlap=list(role.queues))
        if role.kinds:
            part &= Q(Exists(BulkItem.objects.filter(action=OuterRef("pk"), case__kind__in=role.kinds)))
        if entity is not None:
            part &= Q(legal_entity_codes__contains=[entity])
        parts.append(part)
    seen = BulkAction.objects.filter(functools.reduce(operator.or_, parts))
    return seen.select_related("made_by", "assign_to", "again_of")


def items_visible_to(user: Any, action: BulkAction) -> QuerySet[BulkItem]:
    """The action's rows of the person's queues and entities."""
    parts = []
    for role, entity in _scopes(user):
        part = Q(action=action) & access.class_q(role, "case__") if role.kinds else Q(action=action)
        if role.queues:
            part &= Q(queue__in=role.queues)
        if entity is not None:
            part &= Q(legal_entity_code=entity)
        parts.append(part)
    return BulkItem.objects.filter(functools.reduce(operator.or_, parts)) if parts else BulkItem.objects.none()


def totals_for(user: Any, action: BulkAction) -> list[Total]:
    """What was frozen, by document type, entity, period and currency, of the person's queues and entities."""
    scopes = _scopes(user)
    found: dict[tuple[str, ...], Total] = {}
    is_limited = any(role.kinds for role, _ in scopes)  # the totals don't tell kinds: they are added up from the rows
    for queue, flow, entity, period, currency, may_act, count, amount in (
        _totals_of(user, action) if is_limited else action.totals
    ):
        if not is_limited and not any(
            (not role.queues or queue in role.queues) and own in (None, entity) for role, own in scopes
        ):
            continue
        place = (flow, entity, period, currency)
        total = found.setdefault(place, Total(FLOWS[flow].title if flow in FLOWS else flow, entity, period, currency))
        if may_act:
            total.count, total.amount = total.count + count, total.amount + Decimal(amount)
        else:
            total.other_count, total.other_amount = total.other_count + count, total.other_amount + Decimal(amount)
    return [found[place] for place in sorted(found)]


def outcome_of(user: Any, action: BulkAction) -> Outcome:
    """Where its items are by now; one query."""
    found = Outcome()
    rows = items_visible_to(user, action)
    if action.what in CARRIED_ON:
        state = BusinessTransaction.objects.filter(pk=OuterRef("transaction_id")).values("state")
        rows = rows.annotate(now=Subquery(state))
    else:
        rows = rows.annotate(now=Value(""))
    sums = rows.values_list("result", "now").annotate(Count("pk"))
    for result, state_now, count in sums.order_by():
        found.total += count
        found.counts[_place(action, result, state_now)] += count
        if result == Result.DONE:
            found.begun += count
            found.running += count if state_now == "running" else 0
    return found


def are_rows_gone(action: BulkAction) -> bool:
    """Whether policy has let go of what became of each: only the counts are left."""
    return bool(action.ended_at and action.item_count) and not action.items.exists()


def rows_at(action: BulkAction, rows: QuerySet[BulkItem], place: str) -> QuerySet[BulkItem]:
    """Of these rows those that are at a place (posted, back, on_way, left, pending, done); all for anything else."""
    if place in (LEFT, PENDING):
        return rows.filter(result=Result.REFUSED if place == LEFT else Result.PENDING)
    states = [state for state, of in _OF_STATE.items() if of == place]
    if place == DONE or not states:
        return rows.filter(result=Result.DONE) if place == DONE else rows
    there = BusinessTransaction.objects.filter(pk=OuterRef("transaction_id"), state__in=states)
    return rows.filter(Exists(there), result=Result.DONE)


def reasons_of(user: Any, action: BulkAction) -> list[tuple[str, int]]:
    """Why some are left as they were, the most frequent first."""
    rows = items_visible_to(user, action).filter(result=Result.REFUSED)
    sums = rows.values_list("says").annotate(count=Count("pk")).order_by("-count", "says")
    return list(sums[:REASONS_SHOWN])


def tell_rows(action: BulkAction, rows: Iterable[Any]) -> None:
    """Adds to these items what their documents are by now (`txn`), and the case of one that came back (`back_in`)."""
    rows = list(rows)
    ids = [row.transaction_id for row in rows if row.transaction_id]
    txns = {t.pk: t for t in BusinessTransaction.objects.filter(pk__in=ids).defer("fact")}
    held = Occurrence.objects.filter(transaction_id__in=ids, closed_at__isnull=True)
    case_of = dict(held.values_list("transaction_id", "case_id"))
    for row in rows:
        row.txn = txns.get(row.transaction_id)
        row.place = _place(action, row.result, row.txn.state if row.txn else None)
        row.back_in = case_of.get(row.transaction_id) if row.place == BACK else None


def is_of_cases(action: BulkAction) -> bool:
    """Whether its items are cases, not documents."""
    return action.what == ASSIGN


def phase_of(action: BulkAction, outcome: Outcome) -> str:
    """draft, waiting, running, carrying (all were begun, some documents are on the way), settled, undone."""
    if action.state == State.DONE:
        return "carrying" if outcome.counts[ON_WAY] else "settled"
    return str(action.state)


def ways_of(user: Any, codes: Iterable[str] = tuple(WAYS)) -> list[Any]:
    """What this person may do in bulk, of these ways."""
    return [WAYS[code] for code in WAYS if code in codes and access.may(user, WAYS[code].permission)]


def _place(action: BulkAction, result: str, state: str | None) -> str:
    if result != Result.DONE:
        return LEFT if result == Result.REFUSED else PENDING
    return _OF_STATE.get(state or "", DONE) if action.what in CARRIED_ON else DONE


def _totals_of(user: Any, action: BulkAction) -> QuerySet[BulkItem, Any]:
    may_act = Case(When(result=Result.REFUSED, then=Value(False)), default=Value(True))
    place = ("queue", "flow", "legal_entity_code", "period_code", "currency")
    rows = items_visible_to(user, action).annotate(may_act=may_act).order_by().values_list(*place, "may_act")
    return rows.annotate(count=Count("pk"), total=Coalesce(Sum("amount"), Value(Decimal(0))))


def _scopes(user: Any) -> list[tuple[Role, str | None]]:
    """Each role that sees cases, with its entity (None: all)."""
    return [(role, entity) for role, entity in access.memberships(user) if access.VIEW_CASE in role.may]
