"""The controller's reports: the flash of a period, and the cut-off list around its end; on screen, as CSV and XLSX."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from exceptions.closes import next_close
from q2c.core import access, exports
from q2c.core.access import PersonRequest, requires
from q2c.core.exports import About, Cell
from q2c.core.filters import dress
from q2c.core.models import AccountingPeriod, LegalEntity
from q2c.portal.bill_runs import waiting_for_release
from q2c.reconciliation import cutoff
from q2c.reconciliation import flash as flashes
from q2c.reconciliation import ignored as left_out
from q2c.reconciliation.documents import PLACE_WORDS, Month, months_of
from q2c.reconciliation.words import one

REPORT = "portal.view_report"
NOBODYS = "nobody"
SHOWN = 500  # rows of the cut-off list on a screen; the file takes all
ALWAYS = ("posted", "awaiting", "held")  # places that are shown also where nothing is
_STATES = {"posted": "completed", "awaiting": "waiting", "held": "held", "unknown": "unknown", "given_up": "cancelled"}
FLASH_COLUMNS = ("Document type", "Currency", "Where", "Documents", "Net", "Tax", "Gross")
CUT_OFF_COLUMNS = (
    "Document type", "Number", "Customer", "Where", "Dated", "Served until", "Posted on", "Period", "Within the days",
    "On both sides", "Currency", "Gross", "Tax",
)  # fmt: skip

IGNORED_COLUMNS = (
    "Document type", "Number", "Id at the source", "System", "Customer", "Dated", "Currency", "Amount", "Reason",
    "Who answers for it",
)  # fmt: skip


class ReportForm(forms.Form):
    """Which entity, which period of it, and for the cut-off list how many days on either side."""

    entity = forms.ChoiceField(label="Entity")
    period = forms.ChoiceField(label="Period")
    days = forms.IntegerField(label="Days on either side", min_value=1, max_value=cutoff.DAYS_MAX)
    of = forms.ChoiceField(
        label="Whose", required=False, choices=[("", "Of the entity"), (NOBODYS, "Of no known entity")]
    )

    def __init__(self, *args: Any, entities: list[str], months: list[Month], **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.fields["entity"].choices = [(code, code) for code in entities]  # type: ignore[attr-defined]
        self.fields["period"].choices = [(m.code, m.name) for m in months]  # type: ignore[attr-defined]
        dress(self, small=True)


@require_GET
@requires(REPORT)
def flash(request: PersonRequest) -> Any:
    """What an entity billed in a period, and where it is, by document type and currency."""
    asked = _asked(request)
    if asked is None:
        return _nothing(request, "Flash")
    form, month = asked
    found = flashes.flash_of(month)
    about = About(flashes.QUERY, _parameters(month), request.user, as_of=found.as_of)
    rows = _flash_rows(found, about)
    if request.GET.get("format") in exports.FORMS:
        return file_of(request, about, FLASH_COLUMNS, rows, f"flash-{month.entity}-{month.code}")
    for cells in rows:
        about.take(cells)
    context = {
        "form": form, "month": month, "about": about, "groups": [_group(line, month) for line in found.lines],
        "all_count": sum(line.billed.count for line in found.lines),
        "open_count": sum(line.places[p].count for line in found.lines for p in ("awaiting", "held", "unknown")),
        "homeless": flashes.count_homeless() if access.entities_where(request.user, REPORT) is None else 0,
        "runs_waiting": waiting_for_release(request.user, entity=month.entity, period=month.code),
        "files": files_for(request), "now": timezone.now(),
    }  # fmt: skip
    return render(request, "portal/flash.html", context)


@require_GET
@requires(REPORT)
def cut_off(request: PersonRequest) -> Any:
    """Documents dated, served or posted around a period's end; those with dates on both sides stand first."""
    asked = _asked(request)
    if asked is None:
        return _nothing(request, "Cut-off list")
    form, month = asked
    days = form.cleaned_data["days"] if form.is_valid() else cutoff.DAYS
    is_file = request.GET.get("format") in exports.FORMS
    limit = cutoff.FILE_ROWS_MAX if is_file else cutoff.ROWS_MAX
    found = cutoff.cut_off(month, days=days, limit=limit)
    asked_for = {**_parameters(month), "Days": str(days)}
    if found.has_more:
        asked_for["Left out"] = f"what comes after the first {limit:,}"
    about = About(cutoff.QUERY, asked_for, request.user, as_of=found.as_of)
    rows = _cut_off_rows(found, about)
    if is_file:
        return file_of(request, about, CUT_OFF_COLUMNS, rows, f"cut-off-{month.entity}-{month.code}")
    for cells in rows:
        about.take(cells)
    context = {
        "form": form, "month": month, "about": about, "found": found, "rows": found.rows[:SHOWN],
        "files": files_for(request), "places": PLACE_WORDS,
    }  # fmt: skip
    return render(request, "portal/cut_off.html", context, status=200 if form.is_valid() else 422)


@require_GET
@requires(REPORT)
def ignored(request: PersonRequest) -> Any:
    """Documents of a period that were ignored, not needed or given up, each with amount, reason and owner; for whoever
    sees all entities also those of none that is known."""
    asked = _asked(request)
    if asked is None:
        return _nothing(request, "Ignored documents")
    form, month = asked
    sees_all = access.entities_where(request.user, REPORT) is None
    is_homeless = _whose(request) == NOBODYS
    if is_homeless and not sees_all:
        raise Http404  # whose they are nobody knows, so they may be anybody's
    found = left_out.homeless_of(month) if is_homeless else left_out.ignored_of(month)
    has_more, found = len(found) > left_out.ROWS_MAX, found[: left_out.ROWS_MAX]
    asked_for = _parameters(month) | ({"Entity": "none that is known"} if is_homeless else {})
    if has_more:
        asked_for["Left out"] = f"what comes after the first {left_out.ROWS_MAX:,}"
    homeless = left_out.count_homeless(month) if sees_all and not is_homeless else 0
    if homeless:
        asked_for["Of no known entity"] = f"{homeless:,} more"
    about = About(left_out.OF_NOBODY if is_homeless else left_out.QUERY, asked_for, request.user)
    rows = _ignored_rows(found, about)
    if request.GET.get("format") in exports.FORMS:
        whose = "no-entity" if is_homeless else month.entity
        return file_of(request, about, IGNORED_COLUMNS, rows, f"ignored-{whose}-{month.code}")
    for cells in rows:
        about.take(cells)
    context = {
        "form": form, "month": month, "about": about, "count": len(found), "rows": found[:SHOWN],
        "has_more": has_more, "homeless": homeless, "is_homeless": is_homeless, "with_whose": sees_all,
        "files": files_for(request),
    }  # fmt: skip
    return render(request, "portal/ignored.html", context)


def report_links(user: Any) -> list[tuple[str, str]]:
    """The reports, for the home page; none for who may see no report. Each opens on the close that comes next."""
    if not access.may(user, REPORT):
        return []
    return [("Flash", reverse("portal:flash")), ("Cut-off list", reverse("portal:cut_off")),
            ("Ignored documents", reverse("portal:ignored"))]  # fmt: skip


def entities_for(user: Any) -> list[str]:
    """The entities whose reports a person may see."""
    allowed = access.entities_where(user, REPORT)
    codes = LegalEntity.objects.filter(is_active=True).values_list("code", flat=True)
    return [code for code in codes if allowed is None or code in allowed]


def _asked(request: PersonRequest) -> tuple[ReportForm, Month] | None:
    """What the address asks for, the next close where it doesn't say. None without any book; 404 for what isn't the
    person's or isn't there."""
    entities = entities_for(request.user)
    entity, period = request.GET.get("entity", ""), request.GET.get("period", "")
    if not entity:
        entity, coming = _next_place(entities)
        period = period or coming
    months = months_of(entity) if entity in entities else []
    if not months:
        if request.GET.get("entity") and entity not in entities:
            raise Http404
        return None
    month = next((m for m in months if m.code == period), None)
    if month is None:
        if request.GET.get("period"):  # asked for, and not there: another one's figures would mislead
            raise Http404
        month = next((m for m in months if m.first <= timezone.localdate()), months[0])
    days = request.GET.get("days", "") or str(cutoff.DAYS)
    given = {"entity": entity, "period": month.code, "days": days, "of": _whose(request)}
    return ReportForm(given, entities=entities, months=months), month


def _whose(request: PersonRequest) -> str:
    return NOBODYS if request.GET.get("of", "") == NOBODYS else ""


def _next_place(entities: list[str]) -> tuple[str, str]:
    periods = AccountingPeriod.objects.filter(subsidiary__legal_entity__code__in=entities)
    close = next_close(periods, now=timezone.now())
    return (close.entity, close.period) if close else (entities[0] if entities else "", "")


def _nothing(request: PersonRequest, title: str) -> HttpResponse:
    return render(request, "portal/report_empty.html", {"title": title})


def _parameters(month: Month) -> dict[str, str]:
    return {
        "Entity": month.entity, "Period": f"{month.code} ({month.first} to {month.last}, {month.time_zone})",
    }  # fmt: skip


def _flash_rows(found: flashes.Flash, about: About) -> Iterator[list[Cell]]:
    for line in found.lines:
        about.add(f"{line.title}, {line.currency}", line.billed.gross)
        for title, figure, _ in _figures(line):
            yield [line.title, line.currency, title, figure.count, figure.net, figure.tax, figure.gross]


def _figures(line: flashes.Line) -> Iterator[tuple[str, flashes.Figure, str]]:
    """Each figure of a line with its words and its place."""
    yield "Billed", line.billed, "billed"
    for place, figure in line.places.items():
        yield PLACE_WORDS[place], figure, place
    yield "Unapplied", line.unapplied, "unapplied"


def _group(line: flashes.Line, month: Month) -> dict[str, Any]:
    """A line as the screen shows it: what is nothing and isn't always asked for is left out."""
    base = {"entity": month.entity, "period": month.code, "flow": line.flow, "currency": line.currency}
    rows = []
    for title, figure, place in _figures(line):
        if place == "unapplied" and line.flow not in ("payment_to_erp", "credit_memo_to_erp"):
            continue
        if figure.count or place in ("billed", "unapplied", *ALWAYS):
            state = {"state": _STATES[place]} if place in _STATES else {}
            shows_rows = figure.count and (place == "billed" or state)
            url = f"{reverse('portal:transaction_list')}?{urlencode(base | state)}" if shows_rows else ""
            rows.append({"title": title, "figure": figure, "place": place, "url": url})
    return {"line": line, "rows": rows, "is_billed": line.flow in ("invoice_to_erp", "credit_memo_to_erp")}


def _cut_off_rows(found: cutoff.CutOff, about: About) -> Iterator[list[Cell]]:
    for row in found.rows:
        about.add(f"{row.title}, {row.currency}", row.amount)
        days = [str(day or "") for day in (row.dated, row.served, row.posted)]
        yield [
            row.title, row.number, row.customer, PLACE_WORDS[row.place], *days, row.period, ", ".join(row.reasons),
            row.crosses, row.currency, row.amount, row.tax if row.tax is not None else Decimal(0),
        ]  # fmt: skip


def _ignored_rows(found: list[left_out.IgnoredDocument], about: About) -> Iterator[list[Cell]]:
    for row in found:
        about.add(row.total, row.amount)
        yield [
            one(row.document_type), row.number, row.external_id, row.connection, row.customer, str(row.dated or ""),
            row.currency, row.amount, row.why, row.owner,
        ]  # fmt: skip


def files_for(request: PersonRequest) -> list[tuple[str, str]]:
    """The addresses of this very report as files."""
    query = request.GET.copy()
    found = []
    for form in reversed(exports.FORMS):
        query["format"] = form
        found.append((form.upper(), f"?{query.urlencode()}"))
    return found


def file_of(
    request: PersonRequest, about: About, columns: tuple[str, ...], rows: Iterator[list[Cell]], name: str
) -> FileResponse:
    """The report as the file that the address asks for; the audit trail says so."""
    form = request.GET["format"]
    if form == "xlsx":
        file = exports.write_workbook(about, columns, rows, subject=about.query.code, name=about.query.title)
    else:
        file = exports.write_csv(about, columns, rows, subject=about.query.code)
    return FileResponse(file, as_attachment=True, filename=f"{name}-{timezone.localdate():%Y-%m-%d}.{form}")
