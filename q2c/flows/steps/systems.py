"""Which system a document goes to: where it, or what it is about, stands already; else as the rule in force on its own
date says; where none does, to the system that plays the role.

So a document of before a cut-over goes the old way also when it arrives late, and what takes an old document back, pays
or applies it goes where that stands.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from q2c.canonical import schema
from q2c.canonical.party import CustomerWanted
from q2c.core.problems import Category, Problem

KIND = "target_system"
CUSTOMER_FLOW = "customer_to_erp"
Record = tuple[str, str]  # type and key of one of our records


class Chosen(NamedTuple):
    """An ERP (our connection's code; empty: the one that plays the role), and the key of the record whose place it
    is; empty where a date decided."""

    erp: str = ""
    follows: str = ""


def want_rule(object_type: str, *, role: str = "erp") -> tuple[str, Any]:
    """The rules that may say where such a document goes."""
    return ("rule", (KIND, f"{role}|{object_type}"))


def want_erp(object_type: str, document: Any, calendar: Any, records: Iterable[Record] = ()) -> list[tuple[str, Any]]:
    """What choosing an ERP needs to know; only the rules, while there's one ERP."""
    wants: list[tuple[str, Any]] = [want_rule(object_type)]
    if not has_several_erps(calendar):
        return wants
    wants += [("xref", record) for record in records]
    wants += [("product_line", line.sku) for line in getattr(document, "lines", ())]
    if getattr(document, "customer_id", ""):
        wants.append(("fact", (CUSTOMER_FLOW, document.source.connection, document.customer_id)))
    return wants


def has_several_erps(calendar: Any) -> bool:
    """Whether books are kept in more than one ERP."""
    return len(calendar.erps()) > 1


def erp_by_rule(object_type: str, document: Any, entity: str, on: dt.date, *, mappings: Any, links: Any) -> str:
    """The ERP that the rule in force on a document's date names; empty where none does. Raises Problem
    `two_target_systems` when its lines would go to two."""
    return by_rule(f"erp|{object_type}", document, entity, on, region_of(document, links), mappings, links)


def by_rule(key: str, document: Any, entity: str, on: dt.date, region: str, mappings: Any, links: Any) -> str:
    """The system that the rule of this key names for the product lines that a document sells; those that the catalogue
    doesn't know go with the others. Raises Problem `two_target_systems`."""
    sold = {links.product_line(line.sku) for line in getattr(document, "lines", ())} - {""} or {""}
    said = {
        line: mappings.get(KIND, key, "", on=on, legal_entity=entity, region=region, product_line=line)
        for line in sorted(sold)
    }
    if len(set(said.values())) > 1:
        named = ", ".join(f"{line} to {system or 'the one that plays the role'}" for line, system in said.items())
        number = getattr(document, "number", "") or document.source.object_id
        raise Problem(
            "two_target_systems",
            Category.VALIDATION,
            f"{number} sells what goes to two systems: {named}",
            connection=document.source.connection,
            document=number,
        )
    return next(iter(said.values()))


def region_of(document: Any, links: Any) -> str:
    """The country of the billing address of a document's customer, as billing told it; empty while unknown."""
    customer = getattr(document, "customer_id", "")
    fact = links.fact(CUSTOMER_FLOW, document.source.connection, customer) if customer else None
    return schema.from_json(fact, CustomerWanted).bill_to.country if fact else ""


def standing(records: Iterable[Record], entity: str, *, links: Any, calendar: Any) -> list[str]:
    """The entity's ERPs in which one of these records stands, the first one first."""
    erps = calendar.erps(entity)
    found = (system for record in records for system in links.systems(*record))
    return list(dict.fromkeys(system for system in found if system in erps))


def follow(
    groups: Iterable[Sequence[Record]], entity: str, rule: Callable[[], str], *, links: Any, calendar: Any
) -> Chosen:
    """The ERP in which the first of these groups stands; where it stands in several (its open items were taken over),
    the one that the rule names. What stands nowhere goes by the rule; empty where there's none."""
    if not has_several_erps(calendar):
        return Chosen(rule())
    for records in groups:
        there = standing(records, entity, links=links, calendar=calendar)
        if there:
            erp = rule() if len(there) > 1 else there[0]
            erp = erp if erp in there else there[0]
            return Chosen(erp, next(key for kind, key in records if erp in links.systems(kind, key)))
    return Chosen(rule())
