"""What a change set would do, as its page shows it: the figures that a person may see, in rows and columns."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from connectors.models import ReferenceEntry
from exceptions import tallies
from exceptions.evidence import closed_words
from mappings.models import ChangeSet
from q2c.core import access
from q2c.core.money import ZERO
from q2c.core.templatetags.words import plain_money
from q2c.flows.catalog import BY_CODE as FLOWS
from q2c.flows.trial import POSTS

LISTS = ("accounts", "departments", "classes", "locations")
SEE = "mappings.view_rule"
ROWS_MAX = 60  # of a table on the page; its documents have a page of their own


def figures_of(user: Any, content: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The tables of the evidence: own entities only. `names` are the connections' by code."""
    released = [_released(row) for row in content["released"] if access.sees_entity(user, row[2], SEE)]
    cells = [row for row in content["cells"] if access.sees_entity(user, row[0], SEE)]
    back_test = content.get("back_test", {})
    differs = [row for row in back_test.get("changed", ()) if access.sees_entity(user, row[0], SEE)]
    altered = [row for row in content["altered"] if access.sees_entity(user, row[0], SEE)]
    in_flight = [row for row in content["in_flight"] if access.sees_entity(user, row[0], SEE)]
    used = [row for row in content["used"] if access.sees_entity(user, row[0], SEE)]
    cases = tallies.cases_visible_to(user).filter(pk__in=content["cases"]).order_by("pk")[:ROWS_MAX]
    return {
        "released": released[:ROWS_MAX],
        "released_more": max(0, len(released) - ROWS_MAX),
        "posts": sum(row["count"] for row in released if row["outcome"] == POSTS),
        "stays": sum(row["count"] for row in released if row["outcome"] == "held"),
        "in_flight": sum(row[2] for row in in_flight),
        "cases": list(cases),
        "case_count": len(content["cases"]),
        "derived": content["derived"],
        "since": dt.date.fromisoformat(content["since"]),
        "altered": sum(row[2] for row in altered),
        "differs": sum(row[2] for row in differs),
        "back_test": back_test,
        "tested_since": dt.date.fromisoformat(back_test["since"]) if back_test.get("since") else None,
        "tables": _tables(cells, content["periods"]),
        "closed": closed_words(content),
        "flows": sorted({FLOWS[row[1]].title for row in used if row[1] in FLOWS}),
        "systems": sorted({names.get(code, code) for row in used for code in row[2:4] if code}),
        "posted": sum(row[4] for row in used),
        "use_count": content["use_count"],
    }


def _released(row: list[Any]) -> dict[str, Any]:
    outcome, says, entity, period, currency, count, amount = row
    return {"outcome": outcome, "says": says, "entity": entity, "period": period, "currency": currency,
            "count": count, "amount": Decimal(amount)}  # fmt: skip


def _tables(cells: list[list[Any]], periods: list[list[Any]]) -> list[dict[str, Any]]:
    """One table per entity and currency: a row per account and dimensions, a column per period, net debits."""
    columns: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for entity, code, is_open in periods:
        columns[entity].append((code, is_open))
    tables: dict[tuple[str, str], dict[tuple[str, ...], dict[str, Decimal]]] = defaultdict(dict)
    for entity, currency, account, department, class_, location, period, amount in cells:
        place = (account, department, class_, location)
        tables[entity, currency].setdefault(place, {})[period] = Decimal(amount)
    called = names_of(place for rows in tables.values() for place in rows)
    found = []
    for (entity, currency), rows in sorted(tables.items()):
        moved = {code for row in rows.values() for code in row}
        listed = {code for code, _ in columns[entity]}
        known = [*columns[entity], *((code, True) for code in sorted(moved - listed))]
        shown = [
            {
                "account": place[0],
                "name": called(place)[0],
                "dimensions": called(place)[1:],
                "amounts": [(code, _text(row.get(code), currency), code in row, code in moved) for code, _ in known],
            }
            for place, row in sorted(rows.items())
        ]
        totals = ((code, sum((row.get(code, ZERO) for row in rows.values()), ZERO)) for code, _ in known)
        sums = [(_text(total, currency), code in moved) for code, total in totals]
        heads = [(code, is_open, code in moved) for code, is_open in known]
        found.append({"entity": entity, "currency": currency, "periods": heads, "rows": shown[:ROWS_MAX], "sums": sums,
                      "more": max(0, len(shown) - ROWS_MAX)})  # fmt: skip
    return found


def _text(amount: Decimal | None, currency: str) -> str:
    return plain_money(amount or ZERO, currency)


def names_of(places: Iterable[Sequence[str]]) -> Callable[[Sequence[str]], list[str]]:
    """What the ERP's lists call an account and its dimensions, of places that begin with their ids: account,
    department, class, location. Those that a place doesn't have are left out. One query."""
    ids = {(list_name, i) for place in places for list_name, i in zip(LISTS, place, strict=False) if i}
    wanted = {list_name for list_name, _ in ids}
    rows = ReferenceEntry.objects.filter(list_name__in=wanted, external_id__in={i for _, i in ids}) if ids else None
    known: dict[tuple[str, str], str] = {}
    for list_name, i, code, name in rows.values_list("list_name", "external_id", "code", "name") if rows else ():
        known[list_name, i] = f"{code} {name}".strip() if list_name == LISTS[0] else name or code

    def called(place: Sequence[str]) -> list[str]:
        return [known.get((list_name, i), i) for list_name, i in zip(LISTS, place, strict=False) if i]

    return called


def content_of(change_set: ChangeSet) -> Mapping[str, Any] | None:
    """The evidence that was signed, or of a draft what was found out last; None while there's none."""
    if change_set.proposal is not None:
        return change_set.proposal.content.get("evidence")
    found = getattr(change_set, "evidence", None)
    return found.content if found is not None and found.content else None
