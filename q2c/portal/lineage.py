"""The journey of a document from opportunity to ledger: which documents hang together with what was asked for."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from connectors.models import Connection
from connectors.registry import spellings
from q2c.carriers import Key, ends_of
from q2c.core import access
from q2c.core.access import requires
from q2c.portal import told
from q2c.portal.graph import Graph, draw
from q2c.transactions.models import BusinessTransaction, LineageLink
from q2c.transactions.selectors import trace, transaction_visible_to, transactions_visible_to

SHOWN = 15
CONSIDERED = 20


@require_GET
@requires("transactions.view_transaction")
def lineage(request: HttpRequest) -> HttpResponse:
    """The journey through a document of any system, or through a transaction."""
    starts = _starts(request)
    links, is_partial = trace(request.user, starts) if starts else ([], False)
    names = dict(Connection.objects.values_list("code", "name"))
    graph = draw(request.user, links, starts, names)
    if any(box.is_here and box.is_foreign for box in graph.boxes):  # answered as an id that nobody knows
        links, is_partial, graph = [], False, draw(request.user, [], starts, names)
    context = {
        "graph": graph,
        "starts": starts,
        "named": next((box for box in graph.boxes if box.is_here), None),
        "customer": _customer(graph),
        "asked": request.GET.get("id", "") or (starts[0][2] if starts else ""),
        "is_partial": is_partial,
        "recent": [] if starts else _recent(request),
    }
    return render(request, "portal/lineage.html", context)


def _customer(graph: Graph) -> str:
    """Whose journey it is; nobody's where several customers meet, as in a payout."""
    found = {box.customer for box in graph.boxes if box.customer}
    return found.pop() if len(found) == 1 else ""


def _recent(request: HttpRequest) -> list[BusinessTransaction]:
    """The latest journeys, to have something to open."""
    rows = access.visible_to(request.user, LineageLink.objects.filter(relation="became"))
    seen = list(
        dict.fromkeys(rows.order_by("-transaction_id", "sequence").values_list("transaction_id", flat=True)[:80])
    )
    found = list(transactions_visible_to(request.user).filter(pk__in=seen[:SHOWN]).order_by("-id"))
    for txn in found:
        txn.flow_title = told.flow_title(txn.flow)  # type: ignore[attr-defined]
    return found


def _starts(request: HttpRequest) -> list[Key]:
    """The documents that the address names. A foreign transaction is not found."""
    if transaction_id := request.GET.get("transaction"):
        try:
            txn = transaction_visible_to(request.user, transaction_id)
        except (BusinessTransaction.DoesNotExist, ValidationError):
            raise Http404 from None
        own = (txn.source_connection, txn.source_type, txn.source_id)
        ends = {end for link in LineageLink.objects.filter(transaction_id=txn.pk) for end in ends_of(link)}
        return [own] if own in ends or not ends else sorted(ends)
    system, kind, identifier = (request.GET.get(name, "").replace("\x00", "") for name in ("system", "type", "id"))
    if not identifier.strip():
        return []
    if system and kind:
        return [(system, kind, identifier)]
    return _carrying(request, spellings(identifier.strip()[:200]))


def _carrying(request: HttpRequest, forms: list[str]) -> list[Key]:
    """The person's documents with one of these ids or numbers."""
    rows = access.visible_to(request.user, LineageLink.objects.all())
    links = rows.filter(Q(source_id__in=forms) | Q(target_id__in=forms)).order_by()[:CONSIDERED]
    found = [end for link in links for end in ends_of(link) if end[2] in forms]
    numbered = transactions_visible_to(request.user).filter(Q(number__in=forms) | Q(target_number__in=forms))
    found += [(t.source_connection, t.source_type, t.source_id) for t in numbered.order_by("-id")[:CONSIDERED]]
    return list(dict.fromkeys(found))
