"""Cases as one person sees them: which, how many documents, how much money. Foreign entities count for nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from exceptions import counting
from exceptions.clocks import TOLD_ROLES, told_q
from exceptions.closes import Close, Known, Place, closes_of
from exceptions.models import CaseTally, ExceptionCase, Occurrence
from q2c.core import access, shell


class BlockedClose(NamedTuple):
    """A close with the cases that stand in its way, and their amount in reporting currency."""

    close: Close
    case_count: int
    amount_at_risk: Decimal


@dataclass
class Totals:
    """Open documents of a case and their amounts, each currency apart."""

    document_count: int = 0
    amounts: dict[str, Decimal] = field(default_factory=dict)
    at_risk: Decimal = Decimal(0)  # in reporting currency, without signs

    @property
    def money(self) -> list[tuple[str, Decimal]]:
        """Currency and amount, the largest first."""
        return sorted(self.amounts.items(), key=lambda pair: (-abs(pair[1]), pair[0]))

    def add(self, currency: str, count: int, amount: Decimal, at_risk: Decimal) -> None:
        """One tally."""
        self.document_count += count
        self.at_risk += at_risk
        if currency and count:
            self.amounts[currency] = self.amounts.get(currency, Decimal(0)) + amount


def cases_visible_to(user: Any) -> QuerySet[ExceptionCase]:
    """Cases of the person's queues and entities."""
    cases = ExceptionCase.objects.filter(access.cases_q(user, CaseTally.objects.all()))
    return cases.select_related("assignee")


def open_cases_visible_to(user: Any) -> QuerySet[ExceptionCase]:
    """Those that wait for somebody: open, and not left alone until something happens. Queue, home and navigation count
    the same."""
    rows: QuerySet[ExceptionCase] = shell.open_cases(user)
    return rows.select_related("assignee")


def late(cases: QuerySet[ExceptionCase]) -> QuerySet[ExceptionCase]:
    """Of these those whose promise is broken; what waits for somebody outside breaks none meanwhile."""
    return cases.filter(due_at__lt=timezone.now(), paused_for="")


def cases_shown_to(user: Any) -> QuerySet[ExceptionCase]:
    """Cases that the person may open by their number, and work from there: those of their lists, those that a document
    of their entities was in, and those of which a role of theirs was told, also once they're closed. Name which ones:
    a list goes by `cases_visible_to`."""
    tallies = CaseTally.objects.all()
    told, concerned = access.NOBODY, access.concerned_q(user, tallies)
    for role, code in access.memberships(user):
        if role.code in TOLD_ROLES:
            had = Q(legal_entity_code=code) | Q(Exists(tallies.filter(case=OuterRef("pk"), legal_entity_code=code)))
            told |= told_q(role.code) if code is None else told_q(role.code) & had
    cases = ExceptionCase.objects.select_related("assignee")
    return cases.filter(concerned | told) if concerned else cases  # an empty one is about every case


def case_visible_to(user: Any, case_id: int) -> ExceptionCase:
    """One case, as `cases_shown_to`. Raises DoesNotExist for a foreign one too."""
    return cases_shown_to(user).select_related("routed_by").get(pk=case_id)


def totals_of(user: Any, cases: Iterable[ExceptionCase]) -> dict[int, Totals]:
    """Open documents and amounts per case, of the person's entities only; one query."""
    found: dict[int, Totals] = defaultdict(Totals)
    rows = CaseTally.objects.filter(access.of_cases_q(user), case__in=[case.pk for case in cases])
    sums = rows.values_list("case_id", "currency").annotate(
        Sum("document_count"), Sum("amount"), Sum("amount_at_risk")
    )  # fmt: skip
    for case_id, currency, count, amount, at_risk in sums.order_by():
        found[case_id].add(currency, count, amount, at_risk)
    return found


def total_of_open(user: Any) -> Totals:
    """Open documents and amounts of all open cases that the person sees."""
    total = Totals()
    open_cases = cases_visible_to(user).filter(closed_at__isnull=True).order_by().values("pk")
    rows = CaseTally.objects.filter(access.of_cases_q(user), case__in=open_cases)
    sums = rows.values_list("currency").annotate(Sum("document_count"), Sum("amount"), Sum("amount_at_risk"))
    for currency, count, amount, at_risk in sums.order_by():
        total.add(currency, count, amount, at_risk)
    return total


def closes_blocked(user: Any, *, known: Known | None = None) -> list[BlockedClose]:
    """The closes that open cases of this person's queues stand in the way of, the nearest first, each with how many
    cases and their amount at risk in the person's entities: those that `open_cases_visible_to` has. A close that the
    ERP has finished is blocked no more. `known` as of `closes_of`."""
    cases = open_cases_visible_to(user)
    found: dict[Place, list[Any]] = defaultdict(lambda: [0, Decimal(0)])
    found.update({place: [*sums] for place, sums in counting.open_by_close(user).items()})
    shared = CaseTally.objects.filter(
        case__in=cases.filter(legal_entity_code="").order_by().values("pk"), document_count__gt=0
    )
    shared = shared.filter(access.of_cases_q(user)).exclude(period_code="").exclude(legal_entity_code="")
    for entity, period, count, amount in (
        shared.order_by().values_list("legal_entity_code", "period_code")
        .annotate(Count("case", distinct=True), Sum("amount_at_risk"))
    ):  # fmt: skip
        found[entity, period][0] += count
        found[entity, period][1] += amount
    closes = closes_of(found, known=known)
    blocked = [BlockedClose(close, *found[place]) for place, close in closes.items() if close.is_open]
    return sorted(blocked, key=lambda row: (row.close.closes_at, -row.amount_at_risk))


def places_of(blocked: Iterable[BlockedClose]) -> list[Place]:
    """Entity and period of each of these closes."""
    return [(row.close.entity, row.close.period) for row in blocked]


def blocking_q(user: Any, places: Iterable[Place]) -> Q:
    """Cases that stand in the way of one of these closes: by what most of a case is of; a case about several entities
    by any of its open documents that the person sees."""
    periods: dict[str, set[str]] = defaultdict(set)
    for entity, period in places:
        periods[entity].add(period)
    if not periods:
        return access.NOBODY
    own, parts = Q(), Q()
    for entity, codes in sorted(periods.items()):
        own |= Q(blocks_entity=entity, blocks_period__in=sorted(codes))
        parts |= Q(legal_entity_code=entity, period_code__in=sorted(codes))
    shared = CaseTally.objects.filter(access.of_cases_q(user), parts, case=OuterRef("pk"), document_count__gt=0)
    return (own & ~Q(legal_entity_code="")) | Q(Exists(shared), legal_entity_code="")


def occurrences_visible_to(user: Any, case: ExceptionCase) -> QuerySet[Occurrence]:
    """The case's documents of the person's entities, open ones first."""
    return Occurrence.objects.filter(access.of_cases_q(user), case=case)
