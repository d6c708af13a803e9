"""Transactions: the list, and one of them with its steps, exchanges and documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from connectors import links_out, recorder
from connectors.models import Connection, Exchange
from exceptions.models import Choice, Occurrence
from mappings.models import CrossReference
from mappings.references import RECORD_TYPES
from q2c.canonical.edits import EDIT
from q2c.core import access, reveals
from q2c.core.access import PersonRequest, requires
from q2c.core.htmx import page, paginate
from q2c.core.models import LegalEntity
from q2c.core.templatetags.technical import pretty, wire
from q2c.flows import pausing
from q2c.flows.summary_to_erp import SUMMARY_TO_ERP
from q2c.inbox.models import InboundEvent
from q2c.portal import reasons, told
from q2c.portal.filters import TransactionFilter
from q2c.portal.keeping import is_archived
from q2c.records.persons import persons_among
from q2c.transactions import selectors
from q2c.transactions.contributions import IN_SUMMARY
from q2c.transactions.models import BusinessTransaction, LineageLink

VIEW_EXCHANGE = "transactions.view_exchange"
SHOWN = 20  # documents of a summary; the journey shows more


@require_GET
@requires("transactions.view_transaction")
def transaction_list(request: HttpRequest) -> HttpResponse:
    """Transactions of my entities, newest first."""
    rows = selectors.transactions_visible_to(request.user)
    found = TransactionFilter(request.GET, rows, request=request)
    counts = selectors.open_counts(request.user)
    titles = {code: flow.title for code, flow in told.flows().items()}
    listed = paginate(request, found.qs, *found.undated)
    for txn in listed:
        txn.flow_title = titles.get(txn.flow) or told.flow_title(txn.flow)
    told.tell_waits(request.user, listed)
    context = {
        "filter": found,
        "page": listed,
        "counts": counts,
        "paused_work": pausing.pauses_seen_by(request.user),
        "on_the_way": counts["running"] + counts["waiting"],
        "names": dict(Connection.objects.values_list("code", "name")),
    }
    return page(request, "portal/transaction_list.html", "portal/_transaction_table.html", context)


@require_GET
@requires("transactions.view_transaction")
def transaction_detail(request: HttpRequest, transaction_id: Any) -> HttpResponse:
    """One transaction: where it stands, step by step, what was said to whom, what it became."""
    return _show_transaction(request, transaction_id)


@require_POST
@requires(reveals.PERMISSION)
def transaction_reveal(request: PersonRequest, transaction_id: Any) -> HttpResponse:
    """The same with what is masked of its document and of what its steps gave, this once and with a reason."""
    return _show_transaction(request, transaction_id, form=reveals.RevealForm(request.POST))


def _show_transaction(
    request: HttpRequest, transaction_id: Any, *, form: reveals.RevealForm | None = None
) -> HttpResponse:
    txn = _visible(request, transaction_id)
    told.tell_waits(request.user, [txn])
    exchanges: list[Exchange] = []
    if access.sees_entity(request.user, txn.legal_entity_code, VIEW_EXCHANGE):
        exchanges = list(
            Exchange.objects.filter(transaction_id=txn.pk)
            .select_related("connection")
            .defer("request", "response")
            .order_by("at")
        )
    runs = list(selectors.steps_of(txn.pk))
    steps = told.tell_steps(txn, runs, exchanges)
    used = reasons.used_rules(steps)
    reposts = told.tell_reposts(txn, steps)
    choices = list(Choice.objects.filter(transaction_id=txn.pk).select_related("by").order_by("-pk")[:20])
    connections = {c.code: c for c in Connection.objects.all()}
    others = list(selectors.lane_of(txn)[:10])
    for other in others:
        other.flow_title = told.flow_title(other.flow)  # type: ignore[attr-defined]
    for step in steps:
        step.system = step.exchanges[-1].connection.name if step.exchanges else ""
    plain = {"fact": pretty(bytes(txn.fact)), "gave": "\n".join(_gave(steps))}
    context = {
        "txn": txn,
        "title": told.flow_title(txn.flow),
        "subject": told.tell_subject(txn),
        "became": told.tell_became(txn),
        "steps": steps,
        "reposts": reposts,
        "paused_work": pausing.pauses_over(request.user, txn),
        "held_at": next((step.sentence for step in steps if step.state == "held"), "this step"),
        "done_count": sum(step.state == "done" for step in steps),
        "used": used,
        "changed_rules": [rule for rule in used if not rule.is_same],
        "has_posting": reasons.has_posting(steps),
        "occurrence": Occurrence.objects.filter(transaction_id=txn.pk).select_related("case").order_by("-id").first(),
        "documents": documents_of(txn, connections),
        "source": connections.get(txn.source_connection),
        "target": connections.get(txn.target_connection),
        "source_link": links_out.record_url(connections.get(txn.source_connection), txn.source_type, txn.source_id),
        "target_link": links_out.record_url(connections.get(txn.target_connection), txn.target_type, txn.target_id),
        "other_versions": others,
        "event": InboundEvent.objects.filter(pk=txn.event_id).defer("body", "headers").first()
        if txn.event_id
        else None,
        "entity": LegalEntity.objects.filter(code=txn.legal_entity_code).first() if txn.legal_entity_code else None,
        **_summary(txn),
        "has_lineage": LineageLink.objects.filter(transaction_id=txn.pk).exists(),
        **_masked(request.user, ("transaction", txn.pk), plain, txn, form),
        "reveal_url": reverse("portal:transaction_reveal", args=[txn.pk]),
        "choices": choices,
        "is_archived": not runs and txn.state in selectors.FINAL and is_archived(txn),
        "is_edited": any(choice.about == EDIT for choice in choices),
    }
    return page(
        request, "portal/transaction_detail.html", "portal/_steps.html", context, status=reveals.status_of(context)
    )


def _masked(
    user: Any, subject: tuple[str, object], plain: dict[str, str], txn: BusinessTransaction,
    form: reveals.RevealForm | None,
) -> dict[str, Any]:  # fmt: skip
    people = persons_among([txn.customer_name])
    return reveals.show_masked(user, subject, plain, entity=txn.legal_entity_code, form=form, people=people)


def _gave(steps: list[Any]) -> Iterator[str]:
    for step in steps:
        if step.runs and step.last.output:
            yield pretty(step.last.output)
        yield from (pretty(value) for _, value in step.used_rows)


@require_GET
@requires("transactions.view_transaction")
def posting(request: HttpRequest, transaction_id: Any) -> HttpResponse:
    """The journal of one transaction, line by line, and why each amount is on its account."""
    txn = _visible(request, transaction_id)
    explained = reasons.explain_posting(txn)
    if explained is None:
        raise Http404
    context = {
        "txn": txn,
        "title": told.flow_title(txn.flow),
        "subject": told.tell_subject(txn),
        "posting": explained,
        "names": dict(Connection.objects.values_list("code", "name")),
    }
    return page(request, "portal/posting.html", "portal/posting.html", context)


def _summary(txn: BusinessTransaction) -> dict[str, Any]:
    """The summary that a document is in, and the documents that a summary holds (all are of its entity)."""
    if txn.flow != SUMMARY_TO_ERP.code:
        return {"summary": selectors.summary_of(txn)}
    documents = selectors.summed_up_in(txn)
    count = documents.count()
    return {"summed_up": list(documents[:SHOWN]), "summed_up_count": count, "not_shown_count": max(0, count - SHOWN)}


def documents_of(txn: BusinessTransaction, connections: dict[str, Connection]) -> list[dict[str, Any]]:
    """The same document in other systems, with a link where the system has one."""
    key = f"{txn.source_connection}:{txn.source_type}:{txn.source_id}"
    rows = CrossReference.objects.filter(record_type__in=RECORD_TYPES, record_key=key).select_related("connection")
    return [
        {
            "system": row.connection.name,
            "type": row.external_type,
            "id": row.external_id,
            "number": row.number,
            "at": row.at,
            "link": links_out.record_url(row.connection, row.external_type, row.external_id),
        }
        for row in rows.exclude(external_type=IN_SUMMARY).order_by("connection__code", "external_type")
    ]


def _visible(request: HttpRequest, transaction_id: Any) -> BusinessTransaction:
    try:
        return selectors.transaction_visible_to(request.user, transaction_id)
    except BusinessTransaction.DoesNotExist:
        raise Http404 from None


@require_GET
@requires(VIEW_EXCHANGE)
def exchange(request: HttpRequest, transaction_id: Any, exchange_id: Any) -> HttpResponse:
    """One request and its answer, redacted and masked."""
    return _show_exchange(request, transaction_id, exchange_id)


@require_POST
@requires(reveals.PERMISSION)
def exchange_reveal(request: PersonRequest, transaction_id: Any, exchange_id: Any) -> HttpResponse:
    """The same with what is masked, this once and with a reason."""
    return _show_exchange(request, transaction_id, exchange_id, form=reveals.RevealForm(request.POST))


def _show_exchange(
    request: HttpRequest, transaction_id: Any, exchange_id: Any, *, form: reveals.RevealForm | None = None
) -> HttpResponse:
    txn = _visible(request, transaction_id)
    if not access.sees_entity(request.user, txn.legal_entity_code, VIEW_EXCHANGE):  # another role shows the document
        return access.denied(request, VIEW_EXCHANGE)
    found = Exchange.objects.filter(transaction_id=txn.pk, id=exchange_id).select_related("connection").first()
    if found is None:
        raise Http404
    sent, answered = (wire(text) for text in recorder.read_exchange(found))
    plain = {"url": found.url, "sent": sent, "answered": answered}
    shown = _masked(request.user, ("exchange", found.id), plain, txn, form)
    context = {
        "txn": txn, "exchange": found, "is_intact": recorder.is_intact(found), **shown,
        "reveal_url": reverse("portal:exchange_reveal", args=[txn.pk, found.id]),
    }  # fmt: skip
    return page(request, "portal/exchange.html", "portal/_exchange.html", context, status=reveals.status_of(shown))
