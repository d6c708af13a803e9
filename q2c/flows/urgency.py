"""What a close waits for goes first: documents of a period that is over and not closed yet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Protocol

from q2c import ports
from q2c.posting.facts import Period

OF_A_CLOSE = 2  # beside what people repost (3), before what bears no period
EVERYDAY = range(5, 7)  # priorities of documents that may be raised: neither back-fill nor what goes first anyway

Periods = Mapping[tuple[str, str], Sequence[Period]]


class Dated(Protocol):
    """What is looked at of a fact."""

    @property
    def priority(self) -> int: ...
    @property
    def legal_entity_code(self) -> str: ...
    @property
    def document_date(self) -> dt.date | None: ...


def priorities_of(facts: Sequence[Dated]) -> list[int]:
    """Each fact's priority, by the periods that this process keeps for some seconds."""
    if not any(fact.document_date and fact.priority in EVERYDAY for fact in facts):
        return [fact.priority for fact in facts]
    periods, today = ports.periods(), dt.datetime.now(dt.UTC).date()
    return [priority_of(f.priority, f.legal_entity_code, f.document_date, periods, today) for f in facts]


def priority_of(
    priority: int, legal_entity: str, document_date: dt.date | None, periods: Periods, today: dt.date
) -> int:
    """A document's priority: raised while its period is over, and receivables are open in one of its entity's
    books."""
    if priority not in EVERYDAY or not legal_entity or document_date is None:
        return priority
    for (entity, _), of_book in periods.items():
        if entity == legal_entity and any(
            p.start_date <= document_date <= p.end_date < today and p.is_receivables_open for p in of_book
        ):
            return OF_A_CLOSE
    return priority
