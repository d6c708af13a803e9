"""Completeness: what the sources' own registers hold against what we have, per feed and day; and asking them again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST
from kombu.exceptions import OperationalError

from connectors.models import Connection
from exceptions.models import ExceptionCase
from q2c.core import access, audit, exports
from q2c.core.access import PersonRequest, requires
from q2c.core.exports import About, Cell
from q2c.core.filters import FIRST_YEAR, LAST_YEAR, DateField, dress
from q2c.core.htmx import page, refuse, wants_fragment
from q2c.portal.reports import file_of, files_for
from q2c.reconciliation import completeness, shown, tasks
from q2c.reconciliation.models import FeedCheck, FeedGap
from q2c.reconciliation.shown import Asked
from q2c.reconciliation.words import many, one

ASK = "inbox.replay_event"
SHOWN = 200  # differences on a screen; the file takes all
COLUMNS = (
    "System", "Document type", "Entity", "Day", "Currency", "Period", "Source documents", "Source amount",
    "Our documents", "Our amount", "Waiting", "Missing", "Missing amount", "Not known at the source",
    "Not known amount", "Other amounts", "Not confirmed", "Not confirmed amount", "Compared",
)  # fmt: skip
GAP_COLUMNS = (
    "System", "Document type", "Difference", "Number", "Id at the source", "Entity", "Day", "Currency", "Amount",
    "Our amount", "Found", "Read again", "Closed", "How", "Case",
)  # fmt: skip
KINDS = {
    "missing": "Missing here", "surplus": "Not known at the source", "differs": "Another amount",
    "ended": "Voided at the source", "number": "Number missing in its series",
}  # fmt: skip
ENDED = {"refund": "Failed at the source", "payout": "Failed at the source", "dispute": "Won at the source"}
HOW = {"arrived": "Arrived", "agrees": "Agrees now", "waived": "Waived"}


class AskForm(forms.Form):
    """Which entity, which system, up to which day, and the totals of which period."""

    entity = forms.ChoiceField(label="Entity", required=False)
    connection = forms.ChoiceField(label="System", required=False)
    until = DateField(label="Up to", required=False)
    period = forms.ChoiceField(label="Totals of", required=False)

    def __init__(self, *args: Any, entities: list[str], names: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.fields["entity"].choices = [("", "All entities"), *((code, code) for code in entities)]  # type: ignore[attr-defined]
        self.fields["connection"].choices = [("", "All systems"), *names.items()]  # type: ignore[attr-defined]
        self.fields["until"].widget.attrs["size"] = 11
        dress(self, small=True)

    def offer(self, periods: list[str]) -> None:
        """The periods that may be chosen."""
        self.fields["period"].choices = [(code, code) for code in periods] or [("", "none")]  # type: ignore[attr-defined]


@require_GET
@requires(shown.PERMISSION)
def completeness_grid(request: PersonRequest) -> Any:
    """Feeds by days, and a period's totals."""
    connections = {row.code: row for row in Connection.objects.order_by("name").defer("secrets", "next_secrets")}
    names = {code: row.name for code, row in connections.items()}
    entities = [e.code for e in access.visible_entities(request.user, shown.PERMISSION)]
    form = AskForm(request.GET, entities=entities, names=names)
    entity, code = request.GET.get("entity", ""), request.GET.get("connection", "")
    if (entity and entity not in entities) or (code and code not in names):
        raise Http404
    asked = Asked(request.user, entity, code)
    periods = shown.periods_of(asked)
    form.offer(periods)
    wanted = request.GET.get("period", "")
    if wanted and wanted not in periods:
        raise Http404
    period = wanted or (periods[0] if periods else "")
    today = timezone.now().date()
    is_right = form.is_valid()
    until = min((is_right and form.cleaned_data["until"]) or today, today)
    if request.GET.get("format") in exports.FORMS:
        about = About(shown.QUERY, _parameters(asked, names) | {"Period": period or "none"}, request.user)
        return file_of(request, about, COLUMNS, _day_cells(asked, period, names, about), f"completeness-{period}")
    grid = shown.grid_of(asked, until, connections)
    form.initial = {"period": period}
    context = {
        "form": form, "grid": grid, "until": until, "today": today, "period": period, "asked": asked, "names": names,
        "totals": shown.totals_of(asked, period) if period else [], "files": files_for(request) if period else [],
        "earlier": _address(request, until - dt.timedelta(days=shown.DAYS)),
        "later": _address(request, min(until + dt.timedelta(days=shown.DAYS), today)) if until < today else "",
        "first": grid.days[0], "sees_inbox": access.may(request.user, "inbox.view_event"),
        "by_itself": wants_fragment(request),
    }  # fmt: skip
    status = 200 if is_right else 422
    return page(request, "portal/completeness.html", "portal/_completeness.html", context, status=status)


@require_GET
@requires(shown.PERMISSION)
def completeness_day(request: PersonRequest, code: str, document_type: str, on: str) -> Any:
    """A feed's day: the sums that explain each other, and each document on which both don't agree."""
    connection, day = _place(code, on)
    asked = Asked(request.user, connection=code)
    rows = shown.gaps_of_day(asked, document_type, day)
    names = {code: connection.name}
    if request.GET.get("format") in exports.FORMS:
        parameters = _parameters(asked, names) | {"Document type": one(document_type), "Day": day.isoformat()}
        about = About(shown.DAY_QUERY, parameters, request.user)
        return file_of(request, about, GAP_COLUMNS, _gap_cells(rows, names, about), f"completeness-{code}-{day}")
    days, found = shown.day_rows(asked, document_type, day), list(rows[: SHOWN + 1])
    cell = next(
        (
            cell
            for row in shown.grid_of(asked, day, {code: connection}).rows if row.document_type == document_type
            for cell in row.cells if cell.day == day
        ),
        None,
    )  # fmt: skip
    cases = ExceptionCase.objects.in_bulk({gap.case_id for gap in found if gap.case_id})
    for gap in found:
        gap.case = cases.get(gap.case_id) if gap.case_id else None  # type: ignore[attr-defined]
        gap.word, gap.how = _word(gap), HOW.get(gap.closed_how, "")  # type: ignore[attr-defined]
    context = {
        "connection": connection, "document_type": document_type, "title": many(document_type), "day": day,
        "days": days, "gaps": found[:SHOWN], "has_more": len(found) > SHOWN, "cell": cell,
        "open_count": rows.filter(closed_at=None).count(), "files": files_for(request),
        "check": FeedCheck.objects.defer("answers").filter(connection_code=code, document_type=document_type).first(),
        "webhooks": shown.lost_webhooks_of(asked, day), "may_ask": access.may(request.user, ASK),
        "has_register": document_type in completeness.registers_of(connection.vendor),
        "sees_cases": access.may(request.user, "exceptions.view_case"),
        "sees_inbox": access.may(request.user, "inbox.view_event"),
        "is_too_old": day < timezone.now().date() - dt.timedelta(days=completeness.DAYS_MOST),
    }  # fmt: skip
    return render(request, "portal/completeness_day.html", context)


@require_POST
@requires(ASK)
def completeness_ask(request: PersonRequest, code: str, document_type: str, on: str) -> HttpResponse:
    """Compare with the source's register from this day on, now."""
    connection, day = _place(code, on)
    if document_type not in completeness.registers_of(connection.vendor):
        raise Http404
    audit.record(request.user, "ask_register", "feed", f"{code}:{document_type}:{on}")
    try:
        tasks.check_feed.apply_async((code, document_type, day.isoformat()), retry=False, expires=600)
    except (OperationalError, OSError):
        said = "Nobody could be told to ask just now. The next check asks within minutes by itself."
        return refuse(request, said, "portal:completeness_day", code, document_type, on)
    said = f"{connection.name} is asked for its {many(document_type)} from {day:%-d %b} on. Look again in a minute."
    messages.success(request, said, extra_tags="done")
    return redirect("portal:completeness_day", code, document_type, on)


def _place(code: str, on: str) -> tuple[Connection, dt.date]:
    connection = Connection.objects.filter(code=code).first()
    try:
        day = dt.date.fromisoformat(on)
    except ValueError:
        raise Http404 from None
    if connection is None or not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise Http404
    return connection, day


def _address(request: PersonRequest, until: dt.date) -> str:
    query = {name: value for name, value in request.GET.items() if value and name not in ("until", "format")}
    return f"{reverse('portal:completeness')}?{urlencode(query | {'until': until.isoformat()})}"


def _parameters(asked: Asked, names: dict[str, str]) -> dict[str, str]:
    system = names.get(asked.connection, "") or "all"
    return {"Entity": asked.entity or "all that the person sees", "System": system}


def _day_cells(asked: Asked, period: str, names: dict[str, str], about: About) -> Iterator[list[Cell]]:
    for row in shown.days_of_period(asked, period):
        about.add(f"{one(row.document_type)} {row.currency} source", row.source_amount)
        about.add(f"{one(row.document_type)} {row.currency} ours", row.our_amount)
        yield [
            names.get(row.connection_code, row.connection_code), one(row.document_type), row.legal_entity_code,
            row.day.isoformat(), row.currency, row.period_code, row.source_count, row.source_amount, row.our_count,
            row.our_amount, row.waiting_count, row.missing_count, row.missing_amount, row.surplus_count,
            row.surplus_amount, row.differing_count, row.unconfirmed_count, row.unconfirmed_amount,
            row.checked_at.isoformat(timespec="seconds"),
        ]  # fmt: skip


def _word(gap: FeedGap) -> str:
    return ENDED.get(gap.document_type, KINDS[gap.kind]) if gap.kind == FeedGap.Kind.ENDED else KINDS[gap.kind]


def _gap_cells(rows: Any, names: dict[str, str], about: About) -> Iterator[list[Cell]]:
    gap: FeedGap
    for gap in rows.iterator(2000):
        if gap.closed_at is None and gap.currency:
            about.add(f"{gap.currency} open", gap.amount)
        yield [
            names.get(gap.connection_code, gap.connection_code), one(gap.document_type), _word(gap), gap.number,
            gap.external_id, gap.legal_entity_code, gap.day.isoformat(), gap.currency,
            "" if gap.amount is None else gap.amount, "" if gap.our_amount is None else gap.our_amount,
            gap.found_at.isoformat(timespec="seconds"), gap.read_again_count,
            gap.closed_at.isoformat(timespec="seconds") if gap.closed_at else "", HOW.get(gap.closed_how, ""),
            gap.case_id or "",
        ]  # fmt: skip
