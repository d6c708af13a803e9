"""Rules go out as CSV and as workbooks and come back with nothing lost; what others changed meanwhile is named."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import itertools

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook

from mappings import approvals, drafts, exports
from mappings.columns import HEADINGS
from mappings.models import MappingRule
from mappings.tables import read_table
from mappings.workbooks import Unreadable
from q2c.core.exports import harmless, unguarded
from q2c.core.models import AuditEntry
from tests import factories
from tests.mappings.rules import make_rule
from tests.mappings.sheet_rows import check, faults

pytestmark = pytest.mark.django_db
WRITERS = {"csv": exports.write_csv, "xlsx": exports.write_workbook}
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
NASTY = st.sampled_from(["=1+1", "@SUM", "-1", "+2", "'", "'=", "007", "1E5", "2026-01-01", "a,b;c", 'x"y', "TRUE"])
NUMBERS = itertools.count(1)
WORDS = (TEXT | NASTY).map(lambda text: " ".join(text.split())).filter(bool)
DAYS = st.dates(dt.date(1990, 1, 1), dt.date(2100, 1, 1))
ROWS = st.tuples(WORDS, WORDS, WORDS, DAYS, st.booleans())


def exported(form: str, by) -> bytes:
    file, _ = WRITERS[form](MappingRule.objects.filter(known_to__isnull=True), by=by, asked={"Kind": "item"})
    with file:
        return file.read()


def back(content: bytes, by, **facts):
    table = read_table(content, None, seal_sheet=exports.SEAL_SHEET)
    sealed = exports.read_seal(table.seal) if table.seal else None
    return check(content, by, kind="", sealed=sealed, **facts)


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
@given(
    rows=st.lists(
        st.tuples(WORDS, WORDS, WORDS, DAYS, st.booleans()), min_size=1, max_size=6, unique_by=lambda row: row[0]
    )
)
def test_a_round_trip_loses_nothing(maker, form, rows):
    number = next(NUMBERS)
    MappingRule.objects.filter(known_to__isnull=True).update(known_to=number)  # of the example before
    for key, value, line, on, is_ended in rows:
        until = on + dt.timedelta(days=400) if is_ended else None
        conditions = {"charge_type": [value]} if is_ended else {}
        make_rule(
            "item", key.replace("*", "x"), value, on=on, until=until, product_line=line, conditions=conditions,
            connection="netsuite", number=number,
        )  # fmt: skip
    report = back(exported(form, maker), maker)
    assert (faults(report), report.lines, report.same) == ([], [], len(rows))


@given(TEXT | NASTY)
def test_no_cell_begins_a_formula_and_each_comes_back(text):
    written = harmless(text)
    assert written[0] not in "=+-@\t\r"
    assert unguarded(written) == text


def edited(content: bytes, **cells: str) -> bytes:
    """The workbook with some cells written over: `B2="x"`."""
    book = load_workbook(io.BytesIO(content))
    for place, text in cells.items():
        book["Rules"][place] = text
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_a_workbook_has_drop_downs_locked_keys_and_comes_back_as_its_differences(maker):
    for key in ("A", "B", "C"):
        make_rule("item", key, "10482", connection="netsuite")
    content = exported("xlsx", maker)
    book = load_workbook(io.BytesIO(content))
    sheet = book["Rules"]
    assert [cell.value for cell in sheet[1]] == list(HEADINGS.values())
    assert (sheet.protection.sheet, sheet["D2"].protection.locked, sheet["E2"].protection.locked) == (True, True, False)
    assert {book[name].sheet_state for name in ("Lists", "Signature")} == {"veryHidden"}
    assert [rule.formula1 for rule in sheet.data_validations.dataValidation] == ["Lists!$A$1:$A$5", "Lists!$C$1:$C$1"]
    report = back(edited(content, E3="GTX-MNT-L", B4="retire"), maker)
    assert faults(report) == []
    assert report.same == 1
    assert [(d.row, d.act, d.key, d.old, d.new) for d in report.differences] == [
        (3, "change", "B", "10482", "10391 Wall mount L"),
        (4, "retire", "C", "10482", ""),
    ]


def test_what_others_changed_meanwhile_is_named_and_never_overwritten(maker):
    checker = factories.make_person("controller")
    ben = factories.make_person("billing_ops", display_name="Ben Okafor")
    make_rule("item", "A", "10482", connection="netsuite")
    content = exported("xlsx", maker)
    wish = drafts.line_for(
        drafts.Line(kind="item", key="A", value="10391", connection="netsuite", effective_from=dt.date(2026, 1, 1))
    )
    change_set = drafts.save_draft("Other mount", "it moved", lines=[wish], by=ben)
    approvals.propose_change_set(change_set, by=ben)
    approvals.sign_change_set(change_set, by=checker, approve=True, alarm=print)
    ((row, column, said),) = faults(back(edited(content, E2="10500"), maker))
    assert (row, column) == (2, "Rule")
    assert said.startswith("was changed meanwhile by Ben Okafor on")
    assert said.endswith("Other mount). Nothing is overwritten: export it again.")


def test_a_key_that_was_unlocked_and_changed_or_a_rule_that_wasnt_given_is_refused(maker):
    make_rule("item", "A", "10482", connection="netsuite")
    make_rule("item", "B", "10482", connection="netsuite")
    content = exported("csv", maker).decode("utf-8-sig").replace(",A,", ",Z,")
    assert faults(back(content.encode(), maker))[0][:2] == (2, "Key")
    workbook = exported("xlsx", maker)
    stranger = make_rule("item", "C", "10482", connection="netsuite")
    report = back(edited(workbook, A2=f"{stranger.pk}.1"), maker)
    assert faults(report) == [
        (2, "Rule", "isn’t among the rules that this sheet was given. Leave it empty for a new rule.")
    ]


def test_a_changed_signature_sheet_is_refused(maker):
    make_rule("item", "A", "10482", connection="netsuite")
    book = load_workbook(io.BytesIO(exported("xlsx", maker)))
    book["Signature"]["A2"] = "1.7"
    file = io.BytesIO()
    book.save(file)
    with pytest.raises(Unreadable, match="signature"):
        back(file.getvalue(), maker)


def test_an_export_says_what_it_is_and_the_audit_trail_keeps_the_same(maker):
    make_rule("item", "A", "10482", connection="netsuite")
    lines = exported("csv", maker).decode("utf-8-sig").splitlines()
    entry = AuditEntry.objects.get(verb="export")
    assert (entry.actor, entry.subject_id) == ("mira", "csv")
    assert (entry.data["rows"], entry.data["filters"]) == (1, {"Kind": "item"})
    told = hashlib.sha256(lines[1].replace(",", "\x1f").encode() + b"\n").hexdigest()
    assert entry.data["hash"] == told
    assert lines[2:4] == ["# Report,Mappings", "# Parameters,Kind: item"]
    assert lines[5] == "# Rows,1"
    assert lines[8:] == [f"# Hash,sha256:{told}", "# Taken by,mira"]
