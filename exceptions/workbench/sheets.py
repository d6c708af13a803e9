"""Held documents as a sheet: out with the queue's filters or of one case, back with what each row would do."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from exceptions import tallies
from exceptions.models import CaseSheet
from exceptions.sheets import carrying, exporting
from exceptions.workbench.cases import visible_case
from exceptions.workbench.filters import CaseFilter
from mappings.tables import BYTES_MAX, file_bytes
from q2c.core.access import PersonRequest, requires
from q2c.core.filters import dress
from q2c.core.htmx import Counted, refuse

RECENT = 10
SHOWN = 500  # rows of a report on a screen
WORK = "exceptions.work_case"


class SheetForm(forms.Form):
    """The sheet that comes back."""

    file = forms.FileField(
        label="File", help_text=f"Our workbook or CSV, filled in; up to {exporting.ROWS_MAX:,} rows.",
        widget=forms.ClearableFileInput(attrs={"accept": ".xlsx,.csv"}),
    )  # fmt: skip

    def clean_file(self) -> Any:
        """Not more than is read."""
        file = self.cleaned_data["file"]
        if file.size > BYTES_MAX:
            raise ValidationError(f"It has more than {BYTES_MAX // 1_000_000} MB. Split it.")
        return file


@require_GET
@requires("exceptions.view_case")
def sheet_export(request: PersonRequest) -> Any:
    """The open documents of the filtered cases, or of one, as a workbook or as CSV."""
    form = "csv" if request.GET.get("format") == "csv" else "xlsx"
    rows, asked, back = tallies.cases_visible_to(request.user), {}, "/exceptions/cases/"
    if number := request.GET.get("case", ""):
        if not (number.isdecimal() and len(number) < 19):
            raise Http404
        case = visible_case(request, int(number))
        rows = tallies.cases_shown_to(request.user).filter(pk=case.pk)
        asked, back = {"Case": case.number}, f"/exceptions/cases/{case.pk}/"
    else:
        found = CaseFilter(request.GET, rows, request=request)
        if found.form.errors:
            raise Http404
        rows = found.qs.filter(closed_at__isnull=True)
        asked = {str(chip.label): str(chip.value) for chip in found.chips}
    try:
        file, _count = exporting.write_sheet(form, rows, by=request.user, asked=asked)
    except exporting.TooMany as refused:
        return refuse(request, str(refused), back)
    name = f"cases-{request.GET.get('case') or 'queue'}-{timezone.localdate():%Y-%m-%d}.{form}"
    return FileResponse(file, as_attachment=True, filename=name)


@require_http_methods(["GET", "POST"])
@requires(WORK)
def sheet_new(request: PersonRequest) -> HttpResponse:
    """Send a sheet back. It's checked at once, and nothing is done before its rows were seen."""
    form = dress(SheetForm(request.POST or None, request.FILES or None, label_suffix=""))
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        sheet = carrying.take_sheet(file_bytes(file), by=request.user, name=file.name)
        return redirect("exceptions:sheet_detail", sheet.pk)
    recent = carrying.sheets_of(request.user).defer("content", "report", "result")[:RECENT]
    context = {"form": form, "recent": recent}
    return render(request, "exceptions/sheet_new.html", context, status=422 if request.method == "POST" else 200)


@require_GET
@requires(WORK)
def sheet_detail(request: PersonRequest, sheet_id: int) -> HttpResponse:
    """What each row would do, and why the others can't; afterwards what was done."""
    return _show(request, _own(request, sheet_id))


@require_POST
@requires(WORK)
def sheet_carry(request: PersonRequest, sheet_id: int) -> HttpResponse:
    """Do what the good rows wish, as of now."""
    sheet = _own(request, sheet_id)
    if not carrying.carry_sheet(sheet, by=request.user):
        return refuse(request, "It was done already, or let go of.", "exceptions:sheet_detail", sheet.pk)
    return redirect("exceptions:sheet_detail", sheet.pk)


def _own(request: PersonRequest, sheet_id: int) -> CaseSheet:
    found = carrying.sheets_of(request.user).filter(pk=sheet_id).first()
    if found is None:
        raise Http404
    return found


def _show(request: PersonRequest, sheet: CaseSheet) -> HttpResponse:
    report = sheet.report
    good, refused = report.get("good", []), report.get("refused", [])
    context = {
        "sheet": sheet, "report": report, "good": good[:SHOWN], "refused": refused[:SHOWN],
        "good_count": len(good), "refused_count": len(refused), "case_count": Counted(
            len({row["case"] for row in good}), True
        ),
        "done_count": sum(row["count"] for row in sheet.result),
        "results": [row for row in sheet.result if row["count"]],
        "left": [row for row in sheet.result if not row["count"]][:SHOWN],
        "left_count": sum(1 for row in sheet.result if not row["count"]),
    }  # fmt: skip
    return render(request, "exceptions/sheet_detail.html", context)
