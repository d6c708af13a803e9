"""Rules as a sheet: CSV of any length, or a workbook with drop-downs, locked keys and a signature.

Rows are read in pieces and written to a file on disk: memory stays the same for 100 rows and for 200,000.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

from django.db.models import QuerySet
from openpyxl.worksheet.datavalidation import DataValidation

from mappings import suggestions
from mappings.columns import HEADINGS, NAMES, write_conditions
from mappings.kinds import BY_CODE, FREE
from mappings.known import KnownRule
from mappings.models import MappingRule
from mappings.workbooks import Unreadable
from q2c.core import exports
from q2c.core.models import LegalEntity, Person

WORKBOOK_ROWS_MAX = 20_000
NEW_ROWS = 200  # empty rows below, open and with the same drop-downs
SEAL_SHEET, LISTS_SHEET = "Signature", "Lists"
QUERY = exports.Query("rules", "Mappings", " ".join(NAMES) + " of the filtered rules by kind, key and id")
_OPEN = frozenset({"act", "value", "effective_to", "change_from"})
_PIECE = 2000
_WIDTHS = {"key": 26, "value": 24, "label": 32, "rule": 11, "kind": 16, "conditions": 22}
_FORMAT = "1"
_PURPOSE = "mapping rules"


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
    """The rules as CSV, in a file on disk, and how many."""
    about = exports.About(QUERY, asked, by)
    cells = (list(cells_of(rule).values()) for rule in _in_pieces(rules))
    return exports.write_csv(about, list(HEADINGS.values()), cells, subject="mapping_rules"), about.rows


def write_workbook(rules: QuerySet[MappingRule], *, by: Person, asked: Mapping[str, str]) -> tuple[IO[bytes], int]:
    """The rules as a workbook, in a file on disk, and how many.

    Raises ValueError for more than a workbook is good for: narrow the filter, or take the CSV.
    """
    if rules[WORKBOOK_ROWS_MAX : WORKBOOK_ROWS_MAX + 1]:
        raise ValueError(
            f"A workbook takes up to {WORKBOOK_ROWS_MAX:,} rules. Narrow the filters, or take the CSV, which takes all."
        )
    given: list[str] = []
    targets: set[tuple[str, str, str, str]] = set()

    def rows() -> Iterator[list[str]]:
        for rule in _in_pieces(rules):
            cells = cells_of(rule)
            given.append(cells["rule"])
            key = rule.key if suggestions.names_entity(BY_CODE[rule.kind]) else ""
            targets.add((rule.kind, rule.connection_code, rule.legal_entity_code, key))
            yield list(cells.values())

    def finish(book: Any, sheet: Any) -> None:
        for _ in range(NEW_ROWS):
            sheet.append([exports.write_cell(sheet, "", is_open=True) for _ in NAMES])
        lists, seal = book.create_sheet(LISTS_SHEET), book.create_sheet(SEAL_SHEET)
        lists.sheet_state = seal.sheet_state = "veryHidden"
        _add_lists(sheet, lists, targets, len(given) + 1 + NEW_ROWS)
        at, name = about.as_of.isoformat(timespec="seconds"), by.get_username()
        for row in ([_FORMAT, at, name, sign(at, name, given)], *([text] for text in given)):
            seal.append(row)

    about = exports.About(QUERY, asked, by)
    file = exports.write_workbook(
        about, list(HEADINGS.values()), rows(), subject="mapping_rules", name="Rules", finish=finish, frozen="E2",
        is_open=lambda place: NAMES[place] in _OPEN, widths=[_WIDTHS.get(name, 13) for name in NAMES],
    )  # fmt: skip
    return file, about.rows


def sign(at: str, username: str, given: Iterable[str]) -> str:
    """The signature over which rules in which versions a sheet was given, when and to whom."""
    return exports.seal(_PURPOSE, _signed(at, username, given))


def _signed(at: str, username: str, given: Iterable[str]) -> str:
    return "\n".join((_FORMAT, at, username, *given))


def read_seal(rows: list[list[str]]) -> dict[int, int]:
    """The rules that a sheet was given, with their versions. Raises Unreadable when the signature isn't ours."""
    head = [*rows[0], "", "", "", ""] if rows else [""] * 4
    given = [row[0] for row in rows[1:] if row]
    if head[0] != _FORMAT or not exports.is_sealed(_PURPOSE, _signed(head[1], head[2], given), head[3]):
        raise Unreadable(
            "The signature of this workbook isn’t ours: its hidden sheet was changed. Export the rules again."
        )
    pairs = [text.partition(".") for text in given]
    return {int(number): int(version) for number, _, version in pairs}


def _add_lists(sheet: Any, lists: Any, targets: set[tuple[str, str, str, str]], last: int) -> None:
    """The hidden sheet of what may be chosen, and the drop-downs that look there."""
    values: dict[str, None] = {}
    holders, read = suggestions.Holders(), set()
    for code, connection, entity, key in sorted(targets):
        kind = BY_CODE[code]
        for system in holders.of(kind, connection, entity, key) or [""]:
            if kind.target != FREE and (kind.target, system) not in read:
                read.add((kind.target, system))
                values |= dict.fromkeys(target.text for target in suggestions.entries(kind, connection=system))
    entities = [entity.code for entity in LegalEntity.objects.filter(is_active=True)]
    columns = {"value": list(values), "legal_entity": entities, "act": ["retire"]}
    for row in range(max(map(len, columns.values()))):
        lists.append(
            [exports.text_cell(lists, column[row]) if row < len(column) else None for column in columns.values()]
        )
    for place, (name, column) in enumerate(columns.items()):
        if column:
            letter, target = exports.letter(place), exports.letter(NAMES.index(name))
            rule = DataValidation(
                type="list", formula1=f"{LISTS_SHEET}!${letter}$1:${letter}${len(column)}", allow_blank=True,
                showErrorMessage=False,  # an id or a code may be typed; the portal says what is wrong with it
            )  # fmt: skip
            rule.add(f"{target}2:{target}{last}")
            sheet.data_validations.append(rule)


def _in_pieces(rules: QuerySet[MappingRule]) -> Iterator[MappingRule]:
    ordered = rules.select_related(None).order_by("kind", "key", "id")
    return ordered.iterator(chunk_size=_PIECE)
