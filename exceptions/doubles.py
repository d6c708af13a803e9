"""What was held since its customer looked like another one goes on by itself, once people have said who is who."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from exceptions.models import Occurrence
from exceptions.resolutions import repost_documents
from q2c.core.models import Person
from q2c.records.models import DuplicatePair
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.restart import Restarted

KIND = "duplicate_suspected"


def pairs_named(problem: Mapping[str, Any]) -> set[int]:
    """The ids of the pairs that such a problem was held for."""
    return {int(text) for text in str(problem.get("subject", {}).get("pairs", "")).split(",") if text.isdecimal()}


def go_on_decided(*, by: Person | None, why: str) -> list[Restarted]:
    """Repost what was held for pairs of which none is suspected any more: said to be two, merged, or gone since a
    system merged them. The step asks again, so whoever looks like yet another one is held for that."""
    rows = Occurrence.objects.filter(case__kind=KIND, closed_at__isnull=True, transaction_id__isnull=False)
    told = rows.values_list("transaction_id", "problem")
    held: dict[UUID, set[int]] = {i: pairs_named(problem) for i, problem in told if i is not None}
    standing = BusinessTransaction.objects.filter(pk__in=held, state="held").values_list("pk", flat=True)
    named = {pair for pairs in held.values() for pair in pairs}
    suspected = DuplicatePair.objects.filter(pk__in=named, state=DuplicatePair.State.SUSPECTED)
    open_ = set(suspected.values_list("pk", flat=True))
    ready = sorted(i for i in standing if not held[i] & open_)
    return repost_documents(ready, by=by, reason=why, permission=None) if ready else []
