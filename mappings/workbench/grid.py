"""The keyboard grid of one kind: a page of rules as cells. What is typed becomes a sheet, and is checked like one.

Each row carries its rule and version, so that nothing of others is overwritten. It's a plain form: the script of the
page only saves keys.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from connectors.models import Connection
from mappings import choices, drafts, hints, sheets, suggestions
from mappings.columns import HEADINGS, NAMES
from mappings.days import rules_today
from mappings.exports import cells_of
from mappings.imports import Report, check_table
from mappings.kinds import BY_CODE, KINDS, OWN_LISTS, Kind
from mappings.models import MappingRule
from mappings.selectors import RULE_ORDER
from mappings.tables import Table
from mappings.workbench.rules import RuleFilter, rules_visible_to
from q2c.core.access import PersonRequest, requires
from q2c.core.exports import harmless
from q2c.core.htmx import Page, paginate
from q2c.core.ids import digest

SIZE = 30
NEW_ROWS = 10
ROWS_MAX = 200  # rows of one form: a page, and what is pasted below it
OPEN = ("value", "effective_to", "change_from")


@dataclass
class Cell:
    """One cell of the grid."""

    column: str
    text: str
    is_open: bool
    fault: str = ""
    is_changed: bool = False


@dataclass
class GridRow:
    """One row: of a rule, or (rule "") a new one."""

    place: int
    rule: str
    cells: list[Cell]
    says: str = ""  # the name of what it becomes, or what is wrong with the row
    is_told: bool = False  # that something is wrong with it
    is_retired: bool = False
    was: str = ""
    only: str = ""  # for which documents alone the rule holds
    sent: dict[str, str] = field(default_factory=dict)


@require_http_methods(["GET", "POST"])
@requires("mappings.propose_rule")
def grid(request: PersonRequest) -> HttpResponse:
    """The rules of one kind to type in; what was typed goes on as a sheet once nothing in it is wrong."""
    kind = BY_CODE.get(request.GET.get("kind", ""), KINDS[0])
    columns = columns_of(kind)
    if request.method == "POST":
        sent = _sent(request.POST, columns)
        touched = [row for row in sent if _is_touched(row)]
        if touched:
            report = _check(touched, columns, kind, request)
            if not report.faults and report.lines:
                content = _as_text(touched, columns)
                sheet = sheets.store_sheet(
                    content.encode(), by=request.user, name=f"Grid of {kind.title}", kind=kind.code,
                    default_from=timezone.localdate(), is_pasted=True,
                )  # fmt: skip
                sheets.carry_sheet(sheet.pk)
                _note_choices(touched, report, request)
                return redirect("mappings:sheet_detail", sheet.pk)
            _mark(sent, report)
        _name(sent)
        return _render(request, kind, columns, sent, None, said="" if touched else "Nothing was changed.", status=422)
    query = request.GET.copy()
    query["kind"] = kind.code
    found = RuleFilter(query, rules_visible_to(request.user), request=request)
    page = paginate(request, found.qs, order=RULE_ORDER, size=SIZE)
    rows = [_row_of(place, rule, columns) for place, rule in enumerate(page.rows)]
    first = {name: request.GET.get(name, "")[:250] for name in columns}
    rows += [
        _new_row(len(rows) + n, columns, first if n == 0 and "new" in request.GET else {}) for n in range(NEW_ROWS)
    ]
    return _render(request, kind, columns, rows, page, filter_=found)


def _note_choices(touched: list[GridRow], report: Report, request: PersonRequest) -> None:
    """Keep what was suggested beside what was typed, of the rows for which somebody asked."""
    lines = dict(zip(report.rows, report.lines, strict=True))
    for row in touched:
        offered, _, reason = request.POST.get(f"offered-{row.place}", "")[:280].rpartition(" ")
        line = lines.get(row.place + 1)
        if offered and line is not None and reason in hints.REASONS:
            choices.note_choice(line, offered=offered[:250], reason=reason, by=request.user)


def columns_of(kind: Kind) -> tuple[str, ...]:
    """The columns of a kind's grid: key, where it may hold, what it becomes, dates."""
    entity = tuple(name for name in kind.scope if name == "legal_entity")
    rest = tuple(name for name in kind.scope if name != "legal_entity")
    fallback = ("is_fallback",) if kind.allows_fallback else ()
    return ("key", *entity, "value", "effective_from", "effective_to", "change_from", *rest, *fallback)


def _row_of(place: int, rule: MappingRule, columns: tuple[str, ...]) -> GridRow:
    texts = cells_of(rule)
    row = GridRow(place, texts["rule"], [Cell(name, texts[name], name in OPEN) for name in columns])
    row.was = _fingerprint({name: texts[name] for name in OPEN})
    row.says, row.only = rule.value_label, rule.only
    return row


def _new_row(place: int, columns: tuple[str, ...], texts: Mapping[str, str]) -> GridRow:
    row = GridRow(place, "", [Cell(name, texts.get(name, ""), True) for name in columns])
    row.was = _fingerprint({})
    return row


def _sent(posted: Any, columns: tuple[str, ...]) -> list[GridRow]:
    count = posted.get("rows", "")
    rows = []
    for place in range(min(int(count), ROWS_MAX) if count.isdecimal() and len(count) < 6 else 0):
        rule = posted.get(f"rule-{place}", "")[:40]
        texts = {name: posted.get(f"{name}-{place}", "")[:250].strip() for name in columns}
        row = GridRow(place, rule, [Cell(name, texts[name], not rule or name in OPEN) for name in columns])
        row.is_retired, row.was = posted.get(f"retire-{place}") == "yes", posted.get(f"was-{place}", "")
        row.sent = {**texts, "rule": rule, "act": "retire" if row.is_retired else ""}
        rows.append(row)
    return rows


def _is_touched(row: GridRow) -> bool:
    if row.rule:
        return row.is_retired or _fingerprint({name: row.sent.get(name, "") for name in OPEN}) != row.was
    return any(row.sent[name] for name in row.sent if name != "rule")


def _fingerprint(texts: Mapping[str, str]) -> str:
    return digest(*(f"{name}={text}" for name, text in texts.items() if text))[:16]


def _rows_for(touched: Iterable[GridRow]) -> Iterable[tuple[int, list[str]]]:
    for row in touched:
        yield row.place + 1, [row.sent.get(name, "") for name in NAMES]


def _check(touched: list[GridRow], columns: tuple[str, ...], kind: Kind, request: PersonRequest) -> Report:
    table = Table(iter(list(_rows_for(_with_locked(touched, kind, columns)))), list(HEADINGS.values()))
    return check_table(table, by=request.user, default_from=timezone.localdate(), kind=kind.code)


def _with_locked(touched: list[GridRow], kind: Kind, columns: tuple[str, ...]) -> list[GridRow]:
    """What a rule is, from the rule itself: conditions and the like have no column here, and stay as they are."""
    numbers = [int(row.rule.partition(".")[0]) for row in touched if row.rule.partition(".")[0].isdecimal()]
    rules = MappingRule.objects.filter(kind=kind.code).in_bulk([n for n in numbers if n < 1 << 62])
    for row in touched:
        rule = rules.get(int(row.rule.partition(".")[0])) if row.rule.partition(".")[0].isdecimal() else None
        if rule is not None:
            own = cells_of(rule)
            row.sent = {**own, **{name: row.sent.get(name, "") for name in (*OPEN, "rule", "act")}}
        row.sent["kind"] = kind.code
    return touched


def _as_text(touched: list[GridRow], columns: tuple[str, ...]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t")
    writer.writerow(HEADINGS.values())
    writer.writerows([harmless(cell) for cell in cells] for _, cells in _rows_for(touched))
    return text.getvalue()


def _mark(rows: list[GridRow], report: Report) -> None:
    """Each fault beside its cell; a rule that others changed meanwhile shows as it is now, with what was typed."""
    by_heading = {heading: name for name, heading in HEADINGS.items()}
    faults: dict[int, dict[str, str]] = {}
    for fault in report.faults:
        faults.setdefault(fault.row, {})[by_heading.get(fault.column, fault.column)] = fault.text
    for row in rows:
        row.cells = [
            Cell(cell.column, cell.text, cell.is_open, faults.get(row.place + 1, {}).get(cell.column, ""))
            for cell in row.cells
        ]
        shown = {cell.column for cell in row.cells}
        rest = [text for name, text in faults.get(row.place + 1, {}).items() if name not in shown]
        row.says, row.is_told = " ".join(text[:1].upper() + text[1:] for text in rest), bool(rest)
        if row.rule and "rule" in faults.get(row.place + 1, {}):
            _show_newer(row)


def _name(rows: list[GridRow]) -> None:
    """What each rule becomes by name, beside what was typed."""
    numbers = [(row, row.rule.partition(".")[0]) for row in rows if row.rule and not row.is_told]
    asked = [(row, int(number)) for row, number in numbers if number.isdecimal() and len(number) < 18]
    known = MappingRule.objects.in_bulk({number for _, number in asked})
    for row, number in asked:
        if number in known:
            row.says, row.only = known[number].value_label, known[number].only


def _show_newer(row: GridRow) -> None:
    number = row.rule.partition(".")[0]
    old = MappingRule.objects.filter(pk=number).first() if number.isdecimal() and len(number) < 18 else None
    if old is None or old.known_to is None:
        return
    same = drafts.rules_by_identity([(old.kind, old.key, old.legal_entity_code)]).get(drafts.identity_of(old), [])
    newer = drafts.in_force(same, rules_today(old.legal_entity_code)) or next(iter(same), None)
    if newer is not None:
        texts = cells_of(newer)
        row.rule, row.was = texts["rule"], _fingerprint({name: texts[name] for name in OPEN})
        row.says += f" It becomes {newer.value} now; your text is kept. Check again to put yours in its place."


def _render(
    request: PersonRequest, kind: Kind, columns: tuple[str, ...], rows: list[GridRow], page: Page | None, *,
    filter_: Any = None, said: str = "", status: int = 200,
) -> HttpResponse:  # fmt: skip
    headings = dict(HEADINGS) | (
        {"key": kind.key_fields[0].replace("_", " ").capitalize().replace("Sku", "SKU")}
        if len(kind.key_fields) == 1
        else {}
    )
    context = {
        "kind": kind, "kinds": KINDS, "columns": [(name, headings[name]) for name in columns], "rows": rows,
        "page": page, "filter": filter_, "said": said, "wrong": sum(bool(c.fault) for r in rows for c in r.cells),
        "told": sum(row.is_told for row in rows),
        "names": dict(Connection.objects.values_list("code", "name")),
        "has_list": kind.target in OWN_LISTS or bool(suggestions.Holders().of(kind, "", "")),
        "new_from": len(rows) - NEW_ROWS,
    }  # fmt: skip
    return render(request, "mappings/grid.html", context, status=status)
