"""What hangs together with a case: other cases, other transactions of its documents, and the ways into the systems."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from connectors import links_out
from connectors.models import Connection
from exceptions.siblings import related_to
from exceptions.workbench.cases import visible_case
from q2c.core.access import requires
from q2c.core.htmx import page
from q2c.flows.catalog import BY_CODE as FLOWS


@require_GET
@requires("exceptions.view_case")
def case_related(request: HttpRequest, case_id: int) -> HttpResponse:
    """Sibling cases, linked transactions, and links to the newest document's records in source and target."""
    case = visible_case(request, case_id)
    found = related_to(request.user, case)
    for txn, _ in found.transactions:
        txn.flow_title = FLOWS[txn.flow].title if txn.flow in FLOWS else txn.flow  # type: ignore[attr-defined]
    links = []
    if (own := found.document) is not None:
        connections = {c.code: c for c in Connection.objects.all()}
        ends = ((own.source_connection, own.source_type, own.source_id),
                (own.target_connection, own.target_type, own.target_id))  # fmt: skip
        for code, kind, identifier in ends:
            if url := links_out.record_url(connections.get(code), kind, identifier):
                links.append((connections[code].name, url))
    context = {"case": case, "found": found, "links": links}
    return page(request, "exceptions/case_related.html", "exceptions/_related.html", context)
