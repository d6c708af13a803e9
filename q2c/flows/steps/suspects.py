"""Is a new customer one whom the ERP has already under another id? Where policy asks, two people's answer is awaited.

The step reads pairs that the radar noted; what comes new is compared when its record is stored.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from q2c.canonical.party import Customer
from q2c.core.problems import Category, Problem
from q2c.flows.told import record_key
from q2c.posting.facts import Book

KIND, FIELD, OFF = "posting_policy", "hold_duplicates", "off"


def want_suspects(document: Customer, book: Book, mappings: Any) -> list[tuple[str, Any]]:
    """The customer's own id in the ERP; where the entity's policy holds doubles, also whom it looks like."""
    key = ("customer", record_key(document.source))
    return [("xref", key), *([("suspect", key)] if _limit(book, mappings) is not None else [])]


def check_suspects(document: Customer, book: Book, mappings: Any, links: Any) -> str:
    """Nobody of whom the ERP would get a second record, as far as policy asks.

    Raises Problem `duplicate_suspected` naming the pairs that people must decide about.
    """
    limit, key = _limit(book, mappings), record_key(document.source)
    if limit is None or not document.is_identified or links.find("customer", key, book.connection) is not None:
        return "not asked"
    alike = [
        found
        for found in links.suspects("customer", key)
        if found.score >= limit and (book.connection in found.systems or found.came_first)
    ]
    if alike:
        first = alike[0]
        name = document.name.strip() or document.source.object_id
        raise Problem(
            "duplicate_suspected",
            Category.CONFLICT,
            f"{name} looks like {first.name}: {', '.join(first.reasons)}",
            connection=document.source.connection,
            customer=document.source.object_id,
            pairs=",".join(str(found.pair) for found in alike),
            legal_entity=book.code,
        )
    return "nobody"


def is_holding(entities: Iterable[str], rules: Any) -> bool:
    """Whether the policy of any entity holds doubles today; `rules` is a Snapshot."""
    rules.fetch({(KIND, FIELD)})
    found = (rules.find(KIND, FIELD, on=_today(), legal_entity=code) for code in entities)
    return any(rule is not None and rule.value != OFF for rule in found)


def _limit(book: Book, mappings: Any) -> int | None:
    said = mappings.get(KIND, FIELD, OFF, legal_entity=book.code, on=_today())
    return int(said) if said.isdecimal() else None


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
