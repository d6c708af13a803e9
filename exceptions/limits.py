"""How much a change set may release on one signature: a governed limit of each entity, in its book's currency."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from mappings.days import rules_todays
from mappings.resolve import Snapshot
from q2c import ports
from q2c.core.problems import Problem

FIELD = "release_over"
_KIND = "posting_policy"


def over_limit(documents: Iterable[Mapping[str, Any]]) -> list[str]:
    """In words, each entity in which these held documents together are over its limit; none needs but one signature.

    Amounts of another currency are counted by the ERP's newest rate. One without a rate, and a limit that isn't a
    number, count as over: a second person looks.
    """
    by_entity: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for facts in documents:
        if facts.get("amount"):
            by_entity[facts["legal_entity"]].append(facts)
    rules = Snapshot.load([(_KIND, FIELD, {})])
    said = []
    days = rules_todays(by_entity)
    for entity, own in sorted(by_entity.items()):
        rule = rules.find(_KIND, FIELD, on=days[entity], legal_entity=entity)
        if rule is None:
            continue
        currency, total = _total(entity, own)
        try:
            is_under = total is not None and total <= Decimal(rule.value)
        except InvalidOperation:
            is_under = False
        if not is_under:
            amount = "more than can be counted" if total is None else f"{currency} {total:,.2f}"
            said.append(f"it releases {amount} in {entity}, over the limit of {currency} {rule.value}")
    return said


def total_in_book(entity: str, documents: Iterable[Mapping[str, Any]], *, connection: str = "") -> Decimal | None:
    """What these documents amount to together, without signs, in the currency of the entity's book (of the one at this
    connection, where it's named); None where a rate or the book is missing, so that nobody can say."""
    return _total(entity, [facts for facts in documents if facts.get("amount")], connection)[1]


def _total(entity: str, documents: list[Mapping[str, Any]], connection: str = "") -> tuple[str, Decimal | None]:
    try:
        book = ports.Calendar().book(entity, connection)
    except Problem:
        return "", None
    rates = ports.reference(book.connection, "rates")
    total = Decimal(0)
    for facts in documents:
        rate = Decimal(1)
        if facts["currency"] != book.currency:
            known = rates.get(f"{facts['currency']}/{book.currency}")
            if known is None:
                return book.currency, None
            rate = Decimal(known["attributes"]["rate"])
        total += abs(Decimal(facts["amount"])) * rate
    return book.currency, total
