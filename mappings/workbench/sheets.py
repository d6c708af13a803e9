"""Sheets of rules in and out: upload or paste, the report of what is wrong, the draft; and the export."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.transaction import atomic
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from kombu.exceptions import OperationalError

from connectors.models import Connection
from exceptions import releases
from mappings import exports, sheets, tasks
from mappings.drafts import DraftRefused
from mappings.kinds import BY_CODE, KINDS
from mappings.models import ChangeSet, Sheet
from mappings.tables import BYTES_MAX, ROWS_MAX, file_bytes
from mappings.workbench.change_sets import say_proposed
from mappings.workbench.rules import RuleFilter, rules_visible_to
from q2c.core.access import PersonRequest, requires
from q2c.core.approvals import ApprovalRefused
from q2c.core.filters import DateField, dress
from q2c.core.htmx import page, refuse
from q2c.flows.reference import reference_targets
from q2c.flows.tasks import refresh_lists

PASTE_MAX = 900_000  # signs of a paste; a form takes 1 MB
RECENT = 10
ANY_KIND = ""


class SheetForm(forms.Form):
    """A file or pasted cells, of which kind, and from when the rows hold that say nothing."""

    kind = forms.ChoiceField(label="Kind", required=False)
    default_from = DateField(label="In force from", help_text="For rows that name no day.")
    file = forms.FileField(
        label="File",
        required=False,
        help_text=f"CSV or .xlsx, up to {ROWS_MAX:,} rows, {BYTES_MAX // 1_000_000} MB.",
    )
    cells = forms.CharField(
        label="Cells", required=False, max_length=PASTE_MAX, strip=False,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "class": "code", "wrap": "off"}),
        help_text="Copied from a spreadsheet, with their headings: at least Key and Becomes.",
    )  # fmt: skip

    def __init__(self, data: Any = None, files: Any = None, *, initial: dict[str, Any]) -> None:
        super().__init__(data, files, initial=initial, label_suffix="")
        choices = [(ANY_KIND, "As its column Kind says"), *((kind.code, kind.title) for kind in KINDS)]
        self.fields["kind"].choices = choices  # type: ignore[attr-defined]
        self.fields["file"].widget.attrs["accept"] = ".csv,.tsv,.txt,.xlsx"
        dress(self)

    def clean(self) -> dict[str, Any]:
        """One of the two."""
        data = super().clean() or self.cleaned_data
        if bool(data.get("file")) == bool((data.get("cells") or "").strip()) and not self.errors:
            raise ValidationError("Choose a file or paste cells, one of the two.")
        return data


class DraftForm(forms.Form):
    """What the draft is called, and why."""

    title = forms.CharField(label="Title", max_length=200)
    why = forms.CharField(label="Reason", min_length=5, max_length=1000, widget=forms.Textarea(attrs={"rows": 2}))


@require_http_methods(["GET", "POST"])
@requires("mappings.propose_rule")
def sheet_new(request: PersonRequest) -> HttpResponse:
    """Upload a file or paste cells. Small ones are checked at once, others by a worker."""
    kind = request.GET.get("kind", "item")
    first = {"kind": kind if kind in BY_CODE else "item", "default_from": timezone.localdate()}
    form = SheetForm(request.POST or None, request.FILES or None, initial=first)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        file = data["file"]
        sheet = sheets.store_sheet(
            file_bytes(file) if file else data["cells"].encode(), by=request.user,
            name=file.name if file else f"Cells pasted {timezone.localtime():%-d %b, %H:%M}", kind=data["kind"],
            default_from=data["default_from"], is_pasted=not file,
        )  # fmt: skip
        _carry(sheet)
        return redirect("mappings:sheet_detail", sheet.pk)
    context = {"form": form, "recent": sheets.sheets_of(request.user).defer("content", "report")[:RECENT]}
    return render(request, "mappings/sheet_new.html", context, status=422 if request.method == "POST" else 200)


@require_GET
@requires("mappings.propose_rule")
def sheet_detail(request: PersonRequest, sheet_id: int) -> HttpResponse:
    """How far it is; then what it says: faults by row and column, what changes, and the draft."""
    return _show(request, _own(request, sheet_id))


@require_POST
@requires("mappings.propose_rule")
def sheet_cancel(request: PersonRequest, sheet_id: int) -> HttpResponse:
    """Let go of it: a worker stops within 2,000 rows, and what was sent is dropped."""
    sheet = _own(request, sheet_id)
    if sheets.cancel_sheet(sheet):
        messages.success(request, f"{sheet.name} is let go of. Nothing was drafted.", extra_tags="done")
    return redirect("mappings:sheet_new")


@require_POST
@requires("mappings.propose_rule")
def sheet_draft(request: PersonRequest, sheet_id: int) -> HttpResponse:
    """A draft of the right rows; proposed at once if that's wished and the sheet is small."""
    sheet = _own(request, sheet_id)
    form = dress(DraftForm(request.POST, label_suffix=""))
    if not form.is_valid():
        return _show(request, sheet, form=form, status=422)
    if not sheets.want_draft(sheet, title=form.cleaned_data["title"], why=form.cleaned_data["why"]):
        return _show(request, sheet, status=422)
    _carry(sheet)
    sheet.refresh_from_db()
    change_set = sheet.change_set
    if change_set is None:
        return redirect("mappings:sheet_detail", sheet.pk)
    if "propose" in request.POST:
        return propose_draft(request, change_set)
    messages.success(request, "Drafted. Nobody is asked until you propose it.", extra_tags="done")
    return redirect("mappings:change_set_detail", change_set.pk)


def propose_draft(request: PersonRequest, change_set: ChangeSet) -> HttpResponse:
    """Propose a draft with what it would do, and go to its page; there too where it's refused."""
    try:
        with atomic():
            say_proposed(request, releases.propose_change_set(change_set, by=request.user))
    except DraftRefused as refused:
        said = " ".join(f"Row {f.line + 1}: {f.text.rstrip('.')}." for f in refused.faults[:5])
        return refuse(request, f"It can’t be proposed as it is. {said}", "mappings:change_set_detail", change_set.pk)
    except ApprovalRefused as refused:
        return refuse(request, f"Not possible: {refused.why}", "mappings:change_set_detail", change_set.pk)
    return redirect("mappings:change_set_detail", change_set.pk)


@require_GET
@requires("mappings.view_rule")
def rule_export(request: PersonRequest) -> Any:
    """The filtered rules as CSV or as a workbook."""
    found = RuleFilter(request.GET, rules_visible_to(request.user), request=request)
    form = "xlsx" if request.GET.get("format") == "xlsx" else "csv"
    asked = {chip.label: chip.value for chip in found.chips}
    try:
        write = exports.write_workbook if form == "xlsx" else exports.write_csv
        file, _count = write(found.qs, by=request.user, asked=asked)
    except ValueError as refused:
        return refuse(request, str(refused), f"{request.path.removesuffix('export/')}?{request.GET.urlencode()}")
    name = f"mappings-{request.GET.get('kind') or 'all'}-{timezone.localdate():%Y-%m-%d}.{form}"
    return FileResponse(file, as_attachment=True, filename=name)


@require_POST
@requires("mappings.propose_rule")
def lists_refresh(request: PersonRequest) -> HttpResponse:
    """Have the ERPs' own lists read now; rules whose target has gone from them get their case."""
    codes = reference_targets()
    try:
        for code in codes:
            refresh_lists.apply_async((code,), retry=False, expires=600)
    except (OperationalError, OSError):
        said = "Not possible just now: no worker can be told. Try again later."
        return refuse(request, said, "mappings:rule_list")
    names = ", ".join(Connection.objects.filter(code__in=codes).order_by("name").values_list("name", flat=True))
    said = f"The lists of {names} are being read. Rules whose target is gone get a case." if names else "No ERP yet."
    messages.success(request, said, extra_tags="done")
    return redirect("mappings:rule_list")


def _carry(sheet: Sheet) -> None:
    if len(sheet.content) <= sheets.AT_ONCE:
        sheets.carry_sheet(sheet.pk)
    else:
        tasks.nudge_sheet(sheet.pk)


def _own(request: PersonRequest, sheet_id: int) -> Sheet:
    found = sheets.sheets_of(request.user).filter(pk=sheet_id).first()
    if found is None:
        raise Http404
    return found


def _show(request: PersonRequest, sheet: Sheet, *, form: forms.Form | None = None, status: int = 200) -> HttpResponse:
    count = sheet.report.get("line_count", 0)
    noun = BY_CODE[sheet.kind].title if sheet.kind in BY_CODE else ""
    if form is None:
        changes = f"{count:,} {'change' if count == 1 else 'changes'}"
        title = f"{changes} of {noun}" if sheet.kind in BY_CODE else f"{sheet.name}: {changes}"
        form = dress(DraftForm(initial={"title": title[:200]}, label_suffix=""))
    for difference in sheet.report.get("differences", ()):
        difference["effective_from"] = dt.date.fromisoformat(difference["effective_from"])
    context = {
        "sheet": sheet, "report": sheet.report, "form": form, "is_small": len(sheet.content) <= sheets.AT_ONCE,
        "percent": 100 * sheet.done_rows // sheet.total_rows if sheet.total_rows else None,
        "cells": bytes(sheet.content).decode() if sheet.is_pasted and sheet.report.get("wrong") else "",
    }  # fmt: skip
    return page(request, "mappings/sheet_detail.html", "mappings/_sheet_progress.html", context, status=status)
