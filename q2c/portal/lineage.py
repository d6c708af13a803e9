"""The journey of a document from opportunity to ledger: a graph with a lane per system, and the same as a table."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from connectors.models import Connection
from q2c.core import access
from q2c.core.access import requires
from q2c.portal import links_out
from q2c.transactions.models import BusinessTransaction, LineageLink
from q2c.transactions.selectors import trace, transaction_visible_to, transactions_visible_to

Key = tuple[str, str, str]
SETTLES = frozenset({"applied_to", "settles", "pays"})  # ties two documents that are there; doesn't make one
BOX_WIDTH, BOX_HEIGHT, GAP, LANE_LABEL, LANE_PAD = 168, 60, 26, 104, 12


@dataclass
class Box:
    """A document on the graph. A foreign one shows neither id nor amount."""

    system: str
    kind: str
    id: str
    number: str = ""
    amount: Decimal | None = None
    currency: str = ""
    is_foreign: bool = False
    is_here: bool = False
    link: str = ""
    transaction_id: Any = None
    x: int = 0
    y: int = 0

    @property
    def shown_id(self) -> str:
        """The number or id, shortened to what fits."""
        text = self.number or self.id
        return text if len(text) <= 22 else f"{text[:12]}…{text[-8:]}"


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


@require_GET
@requires("transactions.view_transaction")
def lineage(request: HttpRequest) -> HttpResponse:
    """The journey through a document of any system, or through a transaction."""
    starts = _starts(request)
    links, is_partial = trace(request.user, starts) if starts else ([], False)
    names = dict(Connection.objects.values_list("code", "name"))
    graph = draw(request.user, links, starts, names)
    if starts and links and all(box.is_foreign for box in graph.boxes):
        raise Http404
    recent = []
    if not starts:
        rows = access.visible_to(request.user, LineageLink.objects.all()).order_by("-transaction_id", "sequence")
        seen = list(dict.fromkeys(rows.values_list("transaction_id", flat=True)[:80]))[:15]
        recent = list(transactions_visible_to(request.user).filter(pk__in=seen).order_by("-id"))
    context = {
        "graph": graph,
        "starts": starts,
        "named": next((box.number for box in graph.boxes if box.is_here and box.number), ""),
        "asked": request.GET.get("id", "") or (starts[0][2] if starts else ""),
        "is_partial": is_partial,
        "recent": recent,
    }
    return render(request, "portal/lineage.html", context)


def _starts(request: HttpRequest) -> list[Key]:
    """The documents that the address names. A foreign transaction is not found."""
    if transaction_id := request.GET.get("transaction"):
        try:
            txn = transaction_visible_to(request.user, transaction_id)
        except (BusinessTransaction.DoesNotExist, ValidationError):
            raise Http404 from None
        return [(txn.source_connection, txn.source_type, txn.source_id)]
    system, kind, identifier = (request.GET.get(name, "") for name in ("system", "type", "id"))
    if not identifier:
        return []
    if system and kind:
        return [(system, kind, identifier)]
    found = []
    rows = LineageLink.objects.filter(Q(source_id=identifier) | Q(target_id=identifier)).order_by()[:20]
    for link in rows:
        if access.sees_entity(request.user, link.legal_entity_code):
            ends = (
                (link.source_system, link.source_type, link.source_id),
                (link.target_system, link.target_type, link.target_id),
            )
            found += [end for end in ends if end[2] == identifier]
    return list(dict.fromkeys(found))


def draw(user: Any, links: list[LineageLink], starts: list[Key], names: dict[str, str]) -> Graph:
    """Lay the hops out. What belongs only to foreign entities keeps its place but shows neither id nor amount."""
    boxes: dict[Key, Box] = {}
    seen_by_me: set[Key] = set()
    for link in links:
        for key in _ends(link):
            boxes.setdefault(key, Box(*key))
            if access.sees_entity(user, link.legal_entity_code):
                seen_by_me.add(key)
    connections = {c.code: c for c in Connection.objects.filter(code__in={key[0] for key in boxes})}
    for key, box in boxes.items():
        box.is_foreign = key not in seen_by_me
        box.is_here = key in starts
        if not box.is_foreign:
            box.link = links_out.record_url(connections.get(key[0]), key[1], key[2])
    hops = []
    for link in links:
        source, target = (boxes[key] for key in _ends(link))
        foreign = not access.sees_entity(user, link.legal_entity_code)
        amount = None if foreign else link.amount
        if not foreign and amount is not None:
            for box in (source, target):
                if box.amount is None:
                    box.amount, box.currency = amount, link.currency
        hops.append(Hop(source, target, link.relation, amount, link.currency, link.at, link.transaction_id, foreign))
    _name(list(boxes.values()), user)
    return _place(boxes, hops, names)


def _name(boxes: list[Box], user: Any) -> None:
    """Numbers and transactions of the documents, one query each way."""
    ids = [box.id for box in boxes if not box.is_foreign]
    txns = transactions_visible_to(user).filter(Q(source_id__in=ids) | Q(target_id__in=ids)).order_by("id")[:400]
    sources = {(t.source_connection, t.source_id): t for t in txns}
    targets = {(t.target_connection, t.target_id): t for t in txns}
    for box in boxes:
        if box.is_foreign:
            continue
        if txn := sources.get((box.system, box.id)):
            box.number, box.transaction_id = txn.number, txn.pk
        elif txn := targets.get((box.system, box.id)):
            box.number, box.transaction_id = txn.target_number, txn.pk


def _ends(link: LineageLink) -> tuple[Key, Key]:
    return (
        (link.source_system, link.source_type, link.source_id),
        (link.target_system, link.target_type, link.target_id),
    )


def _place(boxes: dict[Key, Box], hops: list[Hop], names: dict[str, str]) -> Graph:
    """Column: longest way from a beginning. Lane: system, in order of first use. Collisions go below each other."""
    column = dict.fromkeys(map(id, boxes.values()), 0)
    for _ in range(len(boxes)):
        moved = False
        for hop in hops:
            if hop.relation in SETTLES:
                continue
            wanted = column[id(hop.source)] + 1
            if hop.source is not hop.target and column[id(hop.target)] < wanted <= len(boxes):
                column[id(hop.target)] = wanted
                moved = True
        if not moved:
            break
    graph = Graph(boxes=list(boxes.values()), hops=hops)
    rows: dict[str, dict[int, list[Box]]] = defaultdict(lambda: defaultdict(list))
    systems = list(dict.fromkeys(box.system for box in sorted(boxes.values(), key=lambda b: column[id(b)])))
    for box in boxes.values():
        rows[box.system][column[id(box)]].append(box)
    top = 0
    for index, system in enumerate(systems):
        depth = max(len(stack) for stack in rows[system].values())
        height = 2 * LANE_PAD + depth * BOX_HEIGHT + (depth - 1) * 8
        graph.lanes.append(
            {
                "name": names.get(system, system),
                "y": top,
                "height": height,
                "label_y": top + height // 2 + 4,
                "alt": index % 2,
            }
        )
        for at, stack in rows[system].items():
            for place, box in enumerate(stack):
                box.x = LANE_LABEL + at * (BOX_WIDTH + GAP)
                box.y = top + LANE_PAD + place * (BOX_HEIGHT + 8)
        top += height
    graph.width = LANE_LABEL + (max(column.values(), default=0) + 1) * (BOX_WIDTH + GAP)
    graph.height = top
    for hop in hops:
        hop.path = _arrow(hop.source, hop.target)
    return graph


def _near_edge(source: Box, target: Box) -> int:
    """The target's lower edge when it stands above the source, else its upper one."""
    return target.y + BOX_HEIGHT + 5 if target.y < source.y else target.y - 5


def _arrow(source: Box, target: Box) -> str:
    """From the right edge to the left edge, with an elbow before the target; backwards by the near edges."""
    if target.x <= source.x:
        middle = source.x + BOX_WIDTH // 2
        if target.x == source.x:
            start = source.y if target.y < source.y else source.y + BOX_HEIGHT
            return f"M{middle} {start}V{_near_edge(source, target)}"
        if target.y == source.y:
            return f"M{source.x} {source.y + BOX_HEIGHT // 2}H{target.x + BOX_WIDTH + 5}"
        return f"M{source.x} {source.y + BOX_HEIGHT // 2}H{target.x + BOX_WIDTH // 2}V{_near_edge(source, target)}"
    x1, y1 = source.x + BOX_WIDTH, source.y + BOX_HEIGHT // 2
    x2, y2 = target.x - 5, target.y + BOX_HEIGHT // 2
    bend = target.x - GAP // 2
    return f"M{x1} {y1}H{x2}" if y1 == y2 else f"M{x1} {y1}H{bend}V{y2}H{x2}"
