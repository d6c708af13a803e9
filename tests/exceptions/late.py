"""Held documents whose period is closed, for tests of what people agree on."""

from __future__ import annotations

from uuid import UUID

from exceptions import cases
from exceptions.models import ExceptionCase
from q2c.core.problems import Category, Problem
from tests import factories
from tests.exceptions.problems import held


def late_case(count: int = 1, *, entity: str = "GB01", **facts) -> tuple[ExceptionCase, list[UUID]]:
    """A case of documents in September 2026, which is closed while October is open; their ids in order."""
    factories.make_period(entity, "2026-09", is_open=False)
    factories.make_period(entity, "2026-10")
    problem = Problem(
        "period_closed", Category.PERIOD_CLOSED, f"Sep 2026 is closed in {entity}", legal_entity=entity,
        period="2026-09", ledger="receivables",
    )  # fmt: skip
    values = {"state": "held", "problem_code": problem.code, "legal_entity_code": entity, "period_code": "2026-09"}
    txns = [factories.make_transaction(**values | facts) for _ in range(count)]
    found = cases.open_for_steps(
        [held(problem, transaction_id=t.pk, number=t.number, legal_entity_code=entity, period_code="2026-09")
         for t in txns]
    )  # fmt: skip
    return ExceptionCase.objects.get(pk=found[txns[0].pk]), sorted(t.pk for t in txns)
