"""A graph of lineage: a lane per system, a column per step from the beginning, and the same hops as a table."""

from __future__ import annotations

import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Q

from connectors import links_out
from connectors.models import Connection
from q2c.carriers import Key, ends_of
from q2c.core import access
from q2c.core.templatetags.words import spoken_noun
from q2c.flows.catalog import TELLING
from q2c.transactions.models import BusinessTransaction, LineageLink
from q2c.transactions.selectors import transactions_visible_to

SETTLES = frozenset({"applied to", "settles", "supplements"})  # ties two documents that are there; doesn't make one
BOX_WIDTH, BOX_HEIGHT, GAP, LANE_LABEL, LANE_PAD, BETWEEN, TIP = 136, 60, 20, 88, 16, 12, 5  # seven columns in 1,440 px


@dataclass
class Box:
    """A document on the graph. A foreign one shows neither id nor amount."""

    system: str
    kind: str
    id: str
    number: str = ""
    customer: str = ""
    amount: Decimal | None = None
    currency: str = ""
    is_foreign: bool = False
    is_here: bool = False
    link: str = ""
    transaction_id: Any = None
    column: int = 0
    x: int = 0
    y: int = 0

    @property
    def shown_id(self) -> str:
        """The number or id, shortened to what fits."""
        text = self.number or self.id
        return text if len(text) <= 17 else f"{text[:8]}…{text[-5:]}"


@dataclass
class Hop:
    """One step between two documents."""

    source: Box
    target: Box
    relation: str
    amount: Decimal | None
    currency: str
    at: Any
    transaction_id: Any
    is_foreign: bool
    path: str = ""


@dataclass
class Graph:
    """Boxes in lanes by system, columns by distance, hops as arrows."""

    lanes: list[dict[str, Any]] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    hops: list[Hop] = field(default_factory=list)
    width: int = 0
    height: int = 0


def draw(user: Any, links: list[LineageLink], starts: list[Key], names: dict[str, str]) -> Graph:
    """Lay the hops out. What belongs only to foreign entities keeps its place but shows neither id nor amount."""
    boxes: dict[Key, Box] = {}
    seen_by_me: set[Key] = set()
    for link in links:
        for key in ends_of(link):
            boxes.setdefault(key, Box(*key))
            if access.sees_entity(user, link.legal_entity_code, "transactions.view_transaction"):
                seen_by_me.add(key)
    connections = {c.code: c for c in Connection.objects.filter(code__in={key[0] for key in boxes})}
    for key, box in boxes.items():
        box.is_foreign = key not in seen_by_me
        box.is_here = key in starts
        if not box.is_foreign:
            box.link = links_out.record_url(connections.get(key[0]), key[1], key[2])
    hops = [_hop(user, link, boxes) for link in links]
    for hop in sorted(hops, key=lambda h: h.relation != "became"):  # what made a document says its amount
        for box in (hop.source, hop.target) if hop.amount is not None else ():
            if box.amount is None:
                box.amount, box.currency = hop.amount, hop.currency
    _name(list(boxes.values()), hops, user)
    _give_quotes_their_numbers(hops)
    return _place(list(boxes.values()), hops, names)


def _hop(user: Any, link: LineageLink, boxes: dict[Key, Box]) -> Hop:
    source, target = (boxes[key] for key in ends_of(link))
    is_foreign = not access.sees_entity(user, link.legal_entity_code, "transactions.view_transaction")
    amount = None if is_foreign else link.amount
    return Hop(source, target, link.relation, amount, link.currency, link.at, link.transaction_id, is_foreign)


def _name(boxes: list[Box], hops: list[Hop], user: Any) -> None:
    """Numbers, customers and transactions: by the hop that made the document, else by the document's own ids."""
    mine = [box for box in boxes if not box.is_foreign]
    ids = [box.id for box in mine]
    made: dict[tuple[str, str], uuid.UUID] = {}
    for hop in hops:
        if hop.relation == "became" and not hop.is_foreign:
            made.setdefault((hop.target.system, hop.target.id), hop.transaction_id)
            made[hop.source.system, hop.source.id] = hop.transaction_id
    wanted = Q(source_id__in=ids) | Q(target_id__in=ids) | Q(pk__in=set(made.values()))
    rows = transactions_visible_to(user).filter(wanted).exclude(flow__in=TELLING).order_by("id")[:400]
    txns = {txn.pk: txn for txn in rows}
    by_source: dict[tuple[str, str], BusinessTransaction] = {(t.source_connection, t.source_id): t for t in rows}
    by_target = {(t.target_connection, t.target_id): t for t in rows}
    for box in mine:
        key = (box.system, box.id)
        txn = txns.get(made.get(key)) or by_source.get(key) or by_target.get(key)  # type: ignore[arg-type]
        if txn is None:
            continue
        box.transaction_id, box.customer = txn.pk, txn.customer_name or ""
        if (txn.source_connection, txn.source_id) == key:
            box.number = txn.number
        elif (txn.target_connection, txn.target_id) == key:
            box.number = txn.target_number


def _give_quotes_their_numbers(hops: list[Hop]) -> None:
    """An order goes by its quote's number; on the graph the quote carries it, and the opportunity its own id."""
    for hop in hops:
        quote, order = hop.source, hop.target
        if not hop.is_foreign and order.number and not quote.number and spoken_noun(quote.kind) == "Quote":
            quote.number, order.number = order.number, ""


def _place(boxes: list[Box], hops: list[Hop], names: dict[str, str]) -> Graph:
    """Column: longest way from a beginning. Lane: system, in order of first use. Collisions go below each other."""
    for _ in range(len(boxes)):
        moved = False
        for hop in hops:
            wanted = hop.source.column + 1
            if (
                hop.relation not in SETTLES
                and hop.source is not hop.target
                and hop.target.column < wanted <= len(boxes)
            ):
                hop.target.column = wanted
                moved = True
        if not moved:
            break
    hops.sort(key=lambda h: (h.source.column, h.target.column, h.at))
    graph = Graph(boxes=sorted(boxes, key=lambda b: b.column), hops=hops)
    rows: dict[str, dict[int, list[Box]]] = defaultdict(lambda: defaultdict(list))
    for box in graph.boxes:
        rows[box.system][box.column].append(box)
    top = 0
    for index, (system, columns) in enumerate(rows.items()):
        depth = max(len(stack) for stack in columns.values())
        height = 2 * LANE_PAD + depth * BOX_HEIGHT + (depth - 1) * BETWEEN
        graph.lanes.append(
            {
                "name": names.get(system, system),
                "y": top,
                "height": height,
                "label_y": top + height // 2 + 4,
                "alt": index % 2,
            }
        )
        for at, stack in columns.items():
            for place, box in enumerate(stack):
                box.x = LANE_LABEL + at * (BOX_WIDTH + GAP)
                box.y = top + LANE_PAD + place * (BOX_HEIGHT + BETWEEN)
        top += height
    last = max((box.column for box in boxes), default=0)
    graph.width = LANE_LABEL + (last + 1) * (BOX_WIDTH + GAP)
    graph.height = top
    for hop in hops:
        hop.path = _arrow(hop.source, hop.target)
    return graph


def _arrow(source: Box, target: Box) -> str:
    """From the right edge to the left edge, with elbows in the gaps between columns and above the target's row, so
    that no arrow runs through a box; backwards by the near edges."""
    if target.x <= source.x:
        return _back(source, target)
    x1, y1 = source.x + BOX_WIDTH, source.y + BOX_HEIGHT // 2
    x2, y2 = target.x - TIP, target.y + BOX_HEIGHT // 2
    bend = target.x - GAP // 2
    if target.column == source.column + 1:
        return f"M{x1} {y1}H{x2}" if y1 == y2 else f"M{x1} {y1}H{bend}V{y2}H{x2}"
    return f"M{x1} {y1}H{x1 + GAP // 2}V{target.y - BETWEEN // 2}H{bend}V{y2}H{x2}"


def _back(source: Box, target: Box) -> str:
    """An arrow to the same column or an earlier one."""
    near = target.y + BOX_HEIGHT + TIP if target.y < source.y else target.y - TIP
    if target.x == source.x:
        start = source.y if target.y < source.y else source.y + BOX_HEIGHT
        return f"M{source.x + BOX_WIDTH // 2} {start}V{near}"
    if target.y == source.y:
        return f"M{source.x} {source.y + BOX_HEIGHT - BETWEEN}H{target.x + BOX_WIDTH + TIP}"  # below what comes forward
    return f"M{source.x} {source.y + BOX_HEIGHT // 2}H{target.x + BOX_WIDTH // 2}V{near}"
