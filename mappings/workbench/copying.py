"""Copy an entity's rules to another one; renumber targets from a day on. Both go on as a sheet, to be looked at."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from connectors.models import Connection
from mappings import copies, sheets, tasks
from mappings.columns import HEADINGS, NAMES, write_conditions
from mappings.drafts import Line
from mappings.kinds import KINDS
from mappings.models import MappingRule
from q2c.core import access
from q2c.core.access import PersonRequest, requires
from q2c.core.exports import harmless
from q2c.core.filters import DateField, dress

PAIRS_MAX = 2000


class CopyForm(forms.Form):
    """From which entity to which, what, and from when."""

    source = forms.ChoiceField(label="From entity")
    to = forms.ChoiceField(label="To entity")
    on = DateField(label="In force from")
    kinds = forms.MultipleChoiceField(label="Kinds", widget=forms.CheckboxSelectMultiple)

    def __init__(self, data: Any = None, *, user: Any) -> None:
        scoped = [(kind.code, kind.title) for kind in KINDS if "legal_entity" in kind.scope]
        first = {"on": timezone.localdate(), "kinds": [code for code, _ in scoped]}
        super().__init__(data, initial=first, label_suffix="")
        seen = access.visible_entities(user, "mappings.view_rule")
        entities = [(entity.code, f"{entity.code} {entity.name}") for entity in seen]
        self.fields["source"].choices = entities  # type: ignore[attr-defined]
        self.fields["to"].choices = [("", "Choose the new one"), *entities]  # type: ignore[attr-defined]
        self.fields["kinds"].choices = scoped  # type: ignore[attr-defined]
        dress(self)
        self.fields["kinds"].widget.attrs["class"] = "form-check-input"

    def clean(self) -> dict[str, Any]:
        """Two different ones."""
        data = super().clean() or self.cleaned_data
        if data.get("source") and data.get("source") == data.get("to"):
            self.add_error("to", "Choose another entity than the one that is copied.")
        return data


class RenumberForm(forms.Form):
    """Which list, from when, and each old target with its new one."""

    list_name = forms.ChoiceField(label="List")
    connection = forms.ChoiceField(label="System")
    on = DateField(label="In force from")
    pairs = forms.CharField(
        label="Old and new", max_length=200_000, strip=False,
        widget=forms.Textarea(
            attrs={"rows": 8, "class": "code", "spellcheck": "false", "placeholder": "46, 4410\n47, 4420"}
        ),
        help_text="A line for each: the old id, a tab or a comma, the new id, code or name. Or paste two columns of a "
        "spreadsheet.",
    )  # fmt: skip

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, initial={"on": timezone.localdate(), "list_name": "accounts"}, label_suffix="")
        names = [(name, name.replace("_", " ").capitalize()) for name in copies.RENUMBERED]
        self.fields["list_name"].choices = names  # type: ignore[attr-defined]
        systems = list(Connection.objects.filter(reference__isnull=False).distinct().values_list("code", "name"))
        self.fields["connection"].choices = systems  # type: ignore[attr-defined]
        dress(self)

    def clean_pairs(self) -> dict[str, str]:
        """Old to new."""
        found: dict[str, str] = {}
        for number, line in enumerate(self.cleaned_data["pairs"].splitlines(), 1):
            if not line.strip():
                continue
            old, _, new = (part.strip() for part in line.replace(",", "\t", 1).partition("\t"))
            if not old or not new:
                raise ValidationError(f"Line {number} hasn’t both: write the old id, a tab, the new one.")
            if found.setdefault(old, new) != new:
                raise ValidationError(f"Line {number} says another new target of {old} than a line above.")
            if len(found) > PAIRS_MAX:
                raise ValidationError(f"Up to {PAIRS_MAX:,} lines at once.")
        if not found:
            raise ValidationError("Write at least one line.")
        return found


@require_http_methods(["GET", "POST"])
@requires("mappings.propose_rule")
def copy_entity(request: PersonRequest) -> HttpResponse:
    """An entity's rules as new ones of another."""
    form = CopyForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        copied = copies.copy_entity(data["source"], data["to"], kinds=data["kinds"], on=data["on"])
        if copied.lines:
            if copied.left_out:
                messages.info(request, _left_out(data["to"], copied.left_out))
            return _as_sheet(request, f"{data['source']} to {data['to']}", copied.lines, on=data["on"])
        form.add_error(None, _nothing_to_copy(data["source"], data["to"], copied.left_out))
    return _show(request, "Copy an entity’s rules to another", "Show what would be copied", form)


@require_http_methods(["GET", "POST"])
@requires("mappings.propose_rule")
def renumber(request: PersonRequest) -> HttpResponse:
    """Old targets become new ones from a day on, over every kind with that list."""
    form = RenumberForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        lines = copies.renumber(
            data["pairs"], list_name=data["list_name"], connection=data["connection"], on=data["on"]
        )
        if lines:
            return _as_sheet(request, f"Renumbering of {data['list_name']}", lines, on=data["on"])
        form.add_error("pairs", "No rule becomes any of these old targets from that day on.")
    return _show(request, "Renumber targets from a day on", "Show what would be renumbered", form)


def _left_out(to: str, count: int) -> str:
    return f"{count:,} {'rule was' if count == 1 else 'rules were'} left out: {to} has its own on that day."


def _nothing_to_copy(source: str, to: str, left_out: int) -> str:
    if not left_out:
        return f"{source} has no rule of these kinds on that day."
    return f"{to} has its own rule on that day for each of the {left_out:,} of these kinds that {source} has."


def _show(request: PersonRequest, title: str, verb: str, form: forms.Form) -> HttpResponse:
    context = {"title": title, "verb": verb, "form": form}
    return render(request, "mappings/copying.html", context, status=422 if request.method == "POST" else 200)


def _as_sheet(request: PersonRequest, name: str, lines: list[Line], *, on: Any) -> HttpResponse:
    """The wishes as a sheet: it is checked, shown as differences, and proposed from there."""
    versions = dict(
        MappingRule.objects.filter(pk__in=[line.rule_id for line in lines if line.rule_id]).values_list("pk", "version")
    )
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t")
    writer.writerow(HEADINGS.values())
    writer.writerows(_cells(line, versions) for line in lines)
    sheet = sheets.store_sheet(
        text.getvalue().encode(), by=request.user, name=name, kind="", default_from=on, is_pasted=True
    )
    if len(sheet.content) <= sheets.AT_ONCE:
        sheets.carry_sheet(sheet.pk)
    else:
        tasks.nudge_sheet(sheet.pk)
    return redirect("mappings:sheet_detail", sheet.pk)


def _cells(line: Line, versions: dict[int, int]) -> Iterable[str]:
    is_change = line.rule_id is not None
    cells = {
        "rule": f"{line.rule_id}.{versions[line.rule_id]}" if line.rule_id is not None else "", "kind": line.kind,
        "key": line.key, "value": line.value, "connection": line.connection, "legal_entity": line.legal_entity,
        "currency": line.currency, "region": line.region, "product_line": line.product_line,
        "conditions": write_conditions(line.conditions), "is_fallback": "yes" if line.is_fallback else "",
        "effective_from": "" if is_change else line.effective_from.isoformat(),
        "effective_to": line.effective_to.isoformat() if line.effective_to else "",
        "change_from": line.effective_from.isoformat() if is_change else "",
    }  # fmt: skip
    return [harmless(cells.get(name, "")) for name in NAMES]
