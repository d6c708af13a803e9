"""In whose book a payout stands, and which part of it in which ERP: where what it pays out stands."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from q2c.canonical import schema
from q2c.canonical.billing import BalanceTransaction, Payout
from q2c.core import ids
from q2c.core.problems import Awaits, Category, Problem
from q2c.flows.steps import dates, systems
from q2c.flows.steps.summary import IN_TWO_ERPS, across_cut_over
from q2c.flows.told import record_key
from q2c.posting.cash import name_payout
from q2c.posting.facts import Book
from q2c.transactions.steps import Read

PAYOUT_FLOW = "payout_to_erp"


def want_gateway_book(payout: Payout, calendar: Any) -> list[tuple[str, Any]]:
    """Policy, the cross-references and states of what the payout pays out, the rule by currency, and what names its
    ERP."""
    connection, moved = payout.source.connection, _moved(payout)
    records = [record for movement in payout.movements if (record := record_of(movement, connection))]
    records += [("payout", record_key(payout.source))]
    wants = (
        [("carried", (PAYOUT_FLOW, _lane(payout)))] if payout.failed_at and systems.has_several_erps(calendar) else []
    )
    return [
        *wants,
        *dates.want_seller(payout),
        *systems.want_erp("payout", payout, calendar, records),
        *(("xref", (kind, f"{connection}:{kind}:{object_id}")) for kind, object_id in moved),
        *(("fact", (f"{kind}_to_erp", connection, object_id)) for kind, object_id in moved),
    ]


def record_of(movement: BalanceTransaction, connection: str) -> systems.Record | None:
    """Our record of the document that a movement belongs to; None for a fee and its like."""
    key = f"{connection}:{movement.record_type}:{movement.record_id}"
    if movement.record_type == "dispute":
        return ("dispute", f"{key}:{'won' if movement.amount > 0 else 'withdrawn'}")
    return (movement.record_type, key) if movement.record_type else None


def find_gateway_book(payout: Payout, txn: Any, links: Any, mappings: Any, calendar: Any) -> Book:
    """The book of the gateway account's owner, else the one book that holds all that the payout pays out; waits for
    what isn't in its book yet. Its currency decides only where we carry nothing of it. Its ERP is the one that holds
    what it pays out; where that stands in several, each has its part (`take_part`).

    Raises Problem `payout_of_several_entities` where it pays out the cash of more than one.
    """
    entities = {payout.legal_entity}
    if not payout.legal_entity or systems.has_several_erps(calendar):  # then also to know in which ERP its cash is
        owners = _find_owners(payout, links)
        entities = entities if payout.legal_entity else owners
    if len(entities) > 1:
        raise Problem(
            "payout_of_several_entities",
            Category.VALIDATION,
            f"{name_payout(payout)} pays out the cash of {', '.join(sorted(entities))}",
            connection=payout.source.connection,
            document=payout.source.object_id,
            legal_entity=", ".join(sorted(entities)),
        )
    entity = entities.pop() if entities else dates.find_seller(payout, txn, mappings)

    def rule() -> str:
        on = dates.own_date(payout, entity, calendar)
        return systems.erp_by_rule("payout", payout, entity, on, mappings=mappings, links=links)

    records = [record for movement in payout.movements if (record := record_of(movement, payout.source.connection))]
    groups = [records] if payout.movements else [[("payout", record_key(payout.source))]]
    return dates.take_book(entity, txn, calendar, systems.follow(groups, entity, rule, links=links, calendar=calendar))


def take_part(payout: Payout, book: Book, links: Any, calendar: Any) -> Payout:
    """What of a payout belongs to this book: all but what stands in other ERPs only. The rest is posted there, by a
    transaction of its own.

    Raises Problem `unsupported_document` for the failure of a payout that stands in several ERPs.
    """
    if not systems.has_several_erps(calendar):
        return payout
    connection = payout.source.connection

    def is_here(movement: BalanceTransaction) -> bool:
        record = record_of(movement, connection)
        there = systems.standing([record], book.code, links=links, calendar=calendar) if record else []
        return not there or book.connection in there

    stands = systems.standing([("payout", record_key(payout.source))], book.code, links=links, calendar=calendar)
    if payout.failed_at and (len(stands) > 1 or _is_parted(payout, links)):
        raise across_cut_over(payout, f"{name_payout(payout)} came back", IN_TWO_ERPS)
    return part_of(payout, tuple(movement for movement in payout.movements if is_here(movement)))


def _is_parted(payout: Payout, links: Any) -> bool:
    """Whether a payout that failed was parted between ERPs, also while the rest is still on its way (a failure may have
    come before it), and where a part was given up."""
    paid: list[Payout] = [schema.from_json(r.fact, Payout) for r in links.carried(PAYOUT_FLOW, _lane(payout))]
    return len({frozenset(m.source.object_id for m in each.movements) for each in paid if not each.failed_at}) > 1


def _lane(payout: Payout) -> str:
    source = payout.source
    return ids.lane(connection=source.connection, object_type=source.object_type, object_id=source.object_id)


def part_of(payout: Payout, movements: tuple[BalanceTransaction, ...]) -> Payout:
    """The payout over some of its movements; itself where these are all."""
    if movements == payout.movements:
        return payout
    kept = {movement.source.object_id for movement in movements}
    others = sum((m.amount - m.fee for m in payout.movements if m.source.object_id not in kept), Decimal(0))
    return msgspec.structs.replace(payout, movements=movements, amount=payout.amount - others)


def _find_owners(document: Payout, links: Any) -> set[str]:
    """The entities in whose books its movements stand, or wait for them. One that we don't carry (from before we
    began, or cancelled) says nothing."""
    connection = document.source.connection
    entities = set()
    for kind, object_id in _moved(document):
        entity = links.entity(kind, f"{connection}:{kind}:{object_id}")
        if not entity and links.state(f"{kind}_to_erp", connection, object_id) not in ("", "completed", "cancelled"):
            raise Awaits(f"{kind}:{connection}:{object_id}", f"{kind} {object_id} in the ERP")
        entities.add(entity)
    return entities - {""}


def _moved(document: Payout) -> list[tuple[str, str]]:
    """Record type and id of each document that the payout's movements belong to."""
    moved = ((m.record_type, m.record_id) for m in document.movements if m.record_type in ("payment", "refund"))
    return list(dict.fromkeys(moved))


_FIND_BOOK, *_DATE_AND_POLICY = dates.whose(find_gateway_book, want_gateway_book)
WHOSE = (
    _FIND_BOOK,
    Read("take_part", "Take the part that belongs to this ERP", take_part, gives="document"),
    *_DATE_AND_POLICY,
)
