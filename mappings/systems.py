"""Rules that say which system takes a document, checked before anybody is asked: the system must play the role, have a
book for the entity, and begin in a period that is open."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from functools import cache

from connectors import registry
from connectors.families import Family
from connectors.models import Connection
from q2c.core.models import AccountingPeriod, Subsidiary

KIND = "target_system"
ROLES = frozenset({Family.ERP.value, Family.BILLING.value})  # those that documents are handed on to by date


@cache
def roles_of(vendor: str) -> frozenset[str]:
    """The roles that a vendor's systems can play; none for one that we have no package of."""
    try:
        return frozenset(family.value for family in registry.manifest(vendor).families)
    except LookupError:
        return frozenset()


def role_of(key: str) -> str:
    """The role that a rule of this key is about: the first field of its key."""
    return key.partition("|")[0]


class Systems:
    """The connections with what they can take, read once for many rows."""

    def __init__(self) -> None:
        self._known = {row.code: row for row in Connection.objects.all()}
        books = Subsidiary.objects.values_list("connection__code", "legal_entity__code", "legal_entity__is_active")
        self._books: dict[str, set[str]] = {}
        self._entities: set[str] = set()
        for code, entity, is_active in books:
            self._books.setdefault(code, set()).add(entity)
            self._entities |= {entity} if is_active else set()
        self._closed: dict[tuple[str, dt.date], tuple[str, str, dt.date] | None] = {}

    def faults(self, key: str, value: str, legal_entity: str, begins: dt.date) -> Iterator[tuple[str, str]]:
        """Field and words of what is wrong with a rule, each with the way out."""
        role, found = role_of(key), self._known.get(value)
        players = [row for row in self._known.values() if role in roles_of(row.vendor)]
        named = ", ".join(f"{row.name} ({row.code})" for row in players) or "none yet: connect one first"
        if found is None:
            yield "value", f"there is no connection {value}; {_called(role)} systems are {named}"
        elif found not in players:
            yield "value", f"{found.name} is no {_called(role)} system; those are {named}"
        elif role == Family.ERP.value:
            yield from self._book_faults(found, legal_entity, begins)

    def _book_faults(self, erp: Connection, legal_entity: str, begins: dt.date) -> Iterator[tuple[str, str]]:
        served = self._books.get(erp.code, set())
        wanted = {legal_entity} if legal_entity else self._entities
        if lacking := sorted(wanted - served):
            way = f"map their subsidiary for {erp.name} and refresh its lists"
            way += "" if legal_entity else ", or name the entities that go there"
            yield "value", f"{erp.name} has no book of {', '.join(lacking)}; {way}"
        for entity in sorted(wanted):
            closed = self._closed_at(entity, begins)
            if closed is not None:
                name, system, first = closed
                yield "effective_from", (f"{name} is closed in {entity} ({system}); the first date allowed is {first}")
                return

    def _closed_at(self, entity: str, day: dt.date) -> tuple[str, str, dt.date] | None:
        """The closed period of an entity that holds this day, in whichever ERP, and the first day after it that lies in
        no closed one."""
        if (entity, day) not in self._closed:
            self._closed[entity, day] = _closed_at(entity, day)
        return self._closed[entity, day]


def _closed_at(entity: str, day: dt.date) -> tuple[str, str, dt.date] | None:
    rows = AccountingPeriod.objects.filter(subsidiary__legal_entity__code=entity, end_date__gte=day)
    found = None
    columns = ("name", "subsidiary__connection__name", "start_date", "end_date")
    closed = rows.exclude(is_receivables_open=True, is_ledger_open=True).order_by("start_date")
    for name, system, start, end in closed.values_list(*columns):
        if start > day:
            break
        found = found or (name, system)
        day = max(day, end + dt.timedelta(days=1))
    return None if found is None else (*found, day)


def _called(role: str) -> str:
    return "ERP" if role == Family.ERP.value else role
