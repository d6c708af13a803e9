"""Rules as a sheet: CSV of any length, or a workbook with drop-downs, locked keys and a signature.

Rows are read in pieces and written to a file on disk: memory stays the same for 100 rows and for 200,000.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import hmac
import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from django.conf import settings
from django.db.models import QuerySet
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font, PatternFill, Protection
from openpyxl.worksheet.datavalidation import DataValidation

from mappings import suggestions
from mappings.columns import HEADINGS, NAMES, harmless, write_conditions
from mappings.kinds import BY_CODE, FREE
from mappings.known import KnownRule
from mappings.models import MappingRule
from mappings.workbooks import Unreadable
from q2c.core import audit
from q2c.core.models import LegalEntity, Person

WORKBOOK_ROWS_MAX = 20_000
NEW_ROWS = 200  # empty rows below, open and with the same drop-downs
SEAL_SHEET, LISTS_SHEET = "Signature", "Lists"
_OPEN = frozenset({"act", "value", "effective_to", "change_from"})
_PIECE = 2000
_WIDTHS = {"key": 26, "value": 24, "label": 32, "rule": 11, "kind": 16, "conditions": 22}
_FORMAT = "1"


def cells_of(rule: MappingRule | KnownRule) -> dict[str, str]:
    """A rule as the cells of its row, by column."""
    return {
        "rule": f"{rule.pk}.{rule.version}", "act": "", "kind": rule.kind, "key": rule.key, "value": rule.value,
        "label": rule.value_label, "connection": rule.connection_code, "legal_entity": rule.legal_entity_code,
        "currency": rule.currency, "region": rule.region, "product_line": rule.product_line,
        "conditions": write_conditions(rule.conditions), "is_fallback": "yes" if rule.is_fallback else "",
        "effective_from": rule.effective_from.isoformat(),
        "effective_to": rule.effective_to.isoformat() if rule.effective_to else "", "change_from": "",
    }  # fmt: skip


def write_csv(rules: QuerySet[MappingRule], *, by: Person, asked: Mapping[str, str]) -> tuple[IO[bytes], int]:
    """The rules as CSV (UTF-8 with its mark, which spreadsheets need), in a file on disk, and how many.

    The audit trail says who took how many, by which filters.
    """
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever sends it closes it
    text = io.TextIOWrapper(file, "utf-8-sig", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(HEADINGS.values())
    count = 0
    for rule in _in_pieces(rules):
        writer.writerow([harmless(cell) for cell in cells_of(rule).values()])
        count += 1
    text.flush()
    text.detach()
    _tell(by, "csv", count, asked)
    file.seek(0)
    return file, count


def write_workbook(rules: QuerySet[MappingRule], *, by: Person, asked: Mapping[str, str]) -> tuple[IO[bytes], int]:
    """The rules as a workbook, in a file on disk, and how many.

    Raises ValueError for more than a workbook is good for: narrow the filter, or take the CSV.
    """
    if rules[WORKBOOK_ROWS_MAX : WORKBOOK_ROWS_MAX + 1]:
        raise ValueError(
            f"A workbook takes up to {WORKBOOK_ROWS_MAX:,} rules. Narrow the filters, or take the CSV, which takes all."
        )
    book = Workbook(write_only=True)
    sheet, lists, seal = (book.create_sheet(name) for name in ("Rules", LISTS_SHEET, SEAL_SHEET))
    lists.sheet_state = seal.sheet_state = "veryHidden"
    sheet.freeze_panes = "E2"
    sheet.protection.sheet = True
    sheet.protection.formatColumns = sheet.protection.sort = sheet.protection.autoFilter = False
    for place, name in enumerate(NAMES):
        sheet.column_dimensions[_letter(place)].width = _WIDTHS.get(name, 13)
    sheet.append([_head(sheet, heading) for heading in HEADINGS.values()])
    given: list[str] = []
    targets: set[tuple[str, str]] = set()
    for rule in _in_pieces(rules):
        cells = cells_of(rule)
        given.append(cells["rule"])
        targets.add((rule.kind, rule.connection_code))
        sheet.append([_cell(sheet, text, is_open=name in _OPEN) for name, text in cells.items()])
    for _ in range(NEW_ROWS):
        sheet.append([_cell(sheet, "", is_open=True) for _ in NAMES])
    last = len(given) + 1 + NEW_ROWS
    _add_lists(sheet, lists, targets, last)
    at = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    for row in ([_FORMAT, at, by.get_username(), sign(at, by.get_username(), given)], *([text] for text in given)):
        seal.append(row)
    file = tempfile.TemporaryFile()  # noqa: SIM115
    book.save(file)
    _tell(by, "xlsx", len(given), asked)
    file.seek(0)
    return file, len(given)


def sign(at: str, username: str, given: Iterable[str], key: bytes | None = None) -> str:
    """The signature over which rules in which versions a sheet was given, when and to whom."""
    own = hashlib.sha256(b"q2c mapping sheet" + (key or settings.VAULT_KEYS[0])).digest()
    text = "\n".join((_FORMAT, at, username, *given))
    return hmac.new(own, text.encode(), hashlib.sha256).hexdigest()


def read_seal(rows: list[list[str]]) -> dict[int, int]:
    """The rules that a sheet was given, with their versions. Raises Unreadable when the signature isn't ours."""
    head = [*rows[0], "", "", "", ""] if rows else [""] * 4
    given = [row[0] for row in rows[1:] if row]
    hopes = (sign(head[1], head[2], given, key) for key in settings.VAULT_KEYS)
    if head[0] != _FORMAT or not any(hmac.compare_digest(hope, head[3]) for hope in hopes):
        raise Unreadable(
            "The signature of this workbook isn’t ours: its hidden sheet was changed. Export the rules again."
        )
    pairs = [text.partition(".") for text in given]
    return {int(number): int(version) for number, _, version in pairs}


def _add_lists(sheet: Any, lists: Any, targets: set[tuple[str, str]], last: int) -> None:
    """The hidden sheet of what may be chosen, and the drop-downs that look there."""
    values: dict[str, None] = {}
    for code, connection in sorted(targets):
        kind = BY_CODE[code]
        if kind.target != FREE:
            system = suggestions.target_connection(kind, connection)
            values |= dict.fromkeys(target.text for target in suggestions.entries(kind, connection=system))
    entities = [entity.code for entity in LegalEntity.objects.filter(is_active=True)]
    columns = {"value": list(values), "legal_entity": entities, "act": ["retire"]}
    for row in range(max(map(len, columns.values()))):
        lists.append([_text(lists, column[row]) if row < len(column) else None for column in columns.values()])
    for place, (name, column) in enumerate(columns.items()):
        if column:
            letter, target = _letter(place), _letter(NAMES.index(name))
            rule = DataValidation(
                type="list", formula1=f"{LISTS_SHEET}!${letter}$1:${letter}${len(column)}", allow_blank=True,
                showErrorMessage=False,  # an id or a code may be typed; the portal says what is wrong with it
            )  # fmt: skip
            rule.add(f"{target}2:{target}{last}")
            sheet.data_validations.append(rule)


def _in_pieces(rules: QuerySet[MappingRule]) -> Iterator[MappingRule]:
    ordered = rules.select_related(None).order_by("kind", "key", "id")
    return ordered.iterator(chunk_size=_PIECE)


def _text(sheet: Any, text: str) -> Any:
    """A cell of text, whatever it looks like: nothing in it is run, no zero is lost."""
    cell = WriteOnlyCell(sheet, value="")
    cell.value = text or None
    if text:
        cell.data_type = "s"
    cell.number_format = "@"
    return cell


def _cell(sheet: Any, text: str, *, is_open: bool) -> Any:
    cell = _text(sheet, text)
    if is_open:
        cell.protection = _UNLOCKED
    else:
        cell.fill = _GREY
    return cell


def _head(sheet: Any, text: str) -> Any:
    cell = _text(sheet, text)
    cell.font = Font(bold=True)
    return cell


_UNLOCKED = Protection(locked=False)
_GREY = PatternFill("solid", fgColor="ECEFF2")


def _letter(place: int) -> str:
    return chr(ord("A") + place)


def _tell(by: Person, form: str, count: int, asked: Mapping[str, str]) -> None:
    audit.record(by, "export", "mapping_rules", form, data={"rows": count, "filters": dict(asked)})
