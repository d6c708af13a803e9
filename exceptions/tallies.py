"""Cases as one person sees them: which, how many documents, how much money. Foreign entities count for nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet, Sum

from exceptions.models import CaseTally, ExceptionCase, Occurrence
from q2c.core import access


@dataclass
class Totals:
    """Open documents of a case and their amounts, each currency apart."""

    document_count: int = 0
    amounts: dict[str, Decimal] = field(default_factory=dict)

    @property
    def money(self) -> list[tuple[str, Decimal]]:
        """Currency and amount, the largest first."""
        return sorted(self.amounts.items(), key=lambda pair: (-abs(pair[1]), pair[0]))

    def add(self, currency: str, count: int, amount: Decimal) -> None:
        """One tally."""
        self.document_count += count
        if currency and count:
            self.amounts[currency] = self.amounts.get(currency, Decimal(0)) + amount


def cases_visible_to(user: Any) -> QuerySet[ExceptionCase]:
    """Cases of the person's queues and entities."""
    cases = ExceptionCase.objects.filter(access.cases_q(user, CaseTally.objects.all()))
    return cases.select_related("assignee")


def case_visible_to(user: Any, case_id: int) -> ExceptionCase:
    """One case. Raises DoesNotExist for a foreign one too."""
    return cases_visible_to(user).get(pk=case_id)


def totals_of(user: Any, cases: Iterable[ExceptionCase]) -> dict[int, Totals]:
    """Open documents and amounts per case, of the person's entities only; one query."""
    found: dict[int, Totals] = defaultdict(Totals)
    rows = access.visible_to(user, CaseTally.objects.filter(case__in=[case.pk for case in cases]))
    for case_id, currency, count, amount in (
        rows.values_list("case_id", "currency").annotate(n=Sum("document_count"), total=Sum("amount")).order_by()
    ):
        found[case_id].add(currency, count, amount)
    return found


def total_of_open(user: Any) -> Totals:
    """Open documents and amounts of all open cases that the person sees."""
    total = Totals()
    open_cases = cases_visible_to(user).filter(closed_at__isnull=True).order_by().values("pk")
    rows = access.visible_to(user, CaseTally.objects.filter(case__in=open_cases))
    for currency, count, amount in (
        rows.values_list("currency").annotate(n=Sum("document_count"), total=Sum("amount")).order_by()
    ):
        total.add(currency, count, amount)
    return total


def occurrences_visible_to(user: Any, case: ExceptionCase) -> QuerySet[Occurrence]:
    """The case's documents of the person's entities, open ones first."""
    return access.visible_to(user, Occurrence.objects.filter(case=case))
