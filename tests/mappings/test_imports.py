"""Sheets come in: every mistake is named by row and column with what is right, and nothing else is lost."""

from __future__ import annotations

import datetime as dt
import io
import zipfile

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from openpyxl import Workbook

from connectors.models import ReferenceEntry
from mappings import workbooks
from mappings.columns import read_date
from mappings.tables import read_table
from mappings.workbooks import Unreadable
from tests import factories
from tests.mappings.rules import make_rule
from tests.mappings.sheet_rows import TODAY, check, faults

pytestmark = pytest.mark.django_db


@pytest.fixture
def maker(maker):
    factories.make_entity("GB01")
    return maker


def test_of_200_pasted_rows_three_mistakes_are_named_and_197_are_right(maker):
    rows = [f"SKU-{n}\t10482\tGB01" for n in range(200)]
    rows[16], rows[80], rows[150] = "SKU-16\t1O391\tGB01", "SKU-80\t10482\tGB10", "SKU-79\t10482\tGB01"
    report = check("SKU\tBecomes\tEntity\n" + "\n".join(rows), maker)
    assert (report.total, len(report.lines), report.wrong_rows) == (200, 197, 3)
    assert faults(report) == [
        (18, "Becomes", "NetSuite has no item 1O391. Did you mean 10391 · GTX-MNT-L · Wall mount L?"),
        (82, "Entity", "isn’t known here. Did you mean GB01?"),
        (152, "Key", "says the same as row 81. Leave one of them out."),
    ]
    assert {(line.value, line.label, line.effective_from) for line in report.lines} == {("10482", "Router 5G", TODAY)}


def test_a_target_may_be_its_id_its_code_its_name_or_what_the_screen_shows(maker):
    sheet = "Key,Becomes\nA,10482\nB,gtx-5g-rtr\nC,router 5g\nD,10482 · GTX-5G-RTR · Router 5G\nE,Twin\nF,GONE\n"
    report = check(sheet, maker)
    assert [line.value for line in report.lines] == ["10482"] * 4
    assert faults(report) == [
        (6, "Becomes", "is what 2 entries are called: 10500 · TWIN-1 · Twin, 10501 · TWIN-2 · Twin. Write the id."),
        (7, "Becomes", "Taken out is inactive in NetSuite."),
    ]


def test_what_a_spreadsheet_does_to_cells_is_named(maker):
    make_rule("item", "0815", "10482", connection="netsuite")
    sheet = (
        "Key;Becomes;From\n815;10482;\nA;77;\nB;=VLOOKUP(A1,B:C,2);\nC;#N/A;\n8.8E+12;10482;\n"
        "D;10482;01/10/2026\nE;10482;46296\n"
    )
    assert faults(check(sheet, maker)) == [
        (2, "Key", "has lost its leading zeros in the spreadsheet. Write 0815, in a column of text."),
        (3, "Becomes", "has lost its leading zeros in the spreadsheet. Write 00077, in a column of text."),
        (4, "Becomes", "is a formula. Copy the cells and paste them as values."),
        (5, "Becomes", "is an error of the spreadsheet. Mend the cell’s formula, or write the value itself."),
        (
            6,
            "Key",
            "is a long number that the spreadsheet has shortened. Format the column as text and write it in full.",
        ),
        (7, "From", "means two things. Write 2026-01-10 or 2026-10-01."),
        (8, "From", "isn’t how dates are written here. Write 2026-10-01."),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("13/10/2026", "isn’t how dates are written here. Write 2026-10-13."),
        ("1.10.2026", "isn’t how dates are written here. Write 2026-10-01."),
        ("20261001", "isn’t how dates are written here. Write 2026-10-01."),
        ("2026-02-30", "is no date. Write it as 2026-10-01 or 1 Oct 2026."),
        ("1026-02-03", "is no date of the years 1971 to 2999."),
    ],
)
def test_dates_in_other_forms_say_what_to_write(text, said):
    with pytest.raises(ValueError) as refused:
        read_date(text)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (b"\xef\xbb\xbfKey,Becomes\nA,10482\n", "Read as UTF-8; the mark at its beginning was left out."),
        ("Key\tBecomes\nA\t10482\n".encode("utf-16"), "Read as UTF-16; the mark at its beginning was left out."),
        (
            "Key;Becomes\nCaf\xe9 cr\xe8me;10482\n".encode("cp1252"),
            "The file isn’t UTF-8 (row 2)",
        ),
        (b"Key\tBecomes\nA\t10482\n", "Read with tabs between its cells."),
    ],
)
def test_encodings_and_separators_are_told(maker, content, note):
    report = check(content, maker)
    assert (len(report.lines), report.faults) == (1, [])
    assert any(said.startswith(note) for said in report.notes)


def test_an_unknown_column_is_named_with_the_one_that_was_meant(maker):
    report = check("Key,Becomes,Entitty,Colour\nA,10482,GB01,red\n", maker)
    assert faults(report)[0] == (0, "Entitty", "there is no column of this name. Did you mean “Entity”?")
    assert faults(report)[1][1] == "Colour"
    assert report.wrong_rows == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "nothing in it"),
        (b"Key,Becomes\n", "no row below"),
        (b"\xd0\xcf\x11\xe0old", "old .xls"),
        (b"PK\x03\x04broken", "damaged"),
        (b"a,b,c\n1,2,3\n", "first row isn’t headings"),
        (b"\x00\x01\x02", "neither text nor a spreadsheet"),
        (b"Key,Becomes\n" + b"x" * 20_000_001, "up to 20 MB"),
    ],
)
def test_what_cant_be_used_says_what_to_do(maker, content, said):
    with pytest.raises(Unreadable, match=said):
        check(content, maker)


def package(**parts: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in {"xl/workbook.xml": b"<workbook/>", **parts}.items():
            made.writestr(name.replace("__", "/"), content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (package(xl__vbaProject_bin=b"x").replace(b"vbaProject_bin", b"vbaProject.bin"), "macros"),
        (package(big=b"0" * 30_000_000), "far more than a sheet"),
        (package(**{"xl/workbook.xml": b'<!DOCTYPE a [<!ENTITY b "c">]><workbook/>'}), "entities"),
        (package(), "no sheet that is shown"),
    ],
)
def test_macros_bombs_and_entities_are_refused(content, said):
    with pytest.raises(Unreadable, match=said):
        read_table(content, None)


def sheet_of(rows: bytes, **parts: bytes) -> bytes:
    """A package with one sheet of these rows."""
    links = b'<Relationships><Relationship Id="r1" Target="worksheets/s.xml"/></Relationships>'
    book = b'<workbook><sheets><sheet name="S" r:id="r1"/></sheets></workbook>'
    return package(**{
        "xl/workbook.xml": book, "xl/_rels/workbook.xml.rels": links, **parts,
        "xl/worksheets/s.xml": b"<worksheet><sheetData>" + rows + b"</sheetData></worksheet>",
    })  # fmt: skip


def flipped(content: bytes) -> bytes:
    """With bits of the packed sheet turned, as a bad disk does."""
    with zipfile.ZipFile(io.BytesIO(content)) as made:
        at = made.getinfo("xl/worksheets/s.xml").header_offset + 30 + len("xl/worksheets/s.xml") + 4
    return content[:at] + bytes(255 - byte for byte in content[at : at + 8]) + content[at + 8 :]


LINES = b"".join(b'<row r="%d"><c r="A%d"><v>%d</v></c></row>' % (n, n, n * 7919) for n in range(1, 200))
DATES = b'<styleSheet><cellXfs><xf numFmtId="14"/></cellXfs></styleSheet>'


@pytest.mark.parametrize(
    "content",
    [
        sheet_of(b'<row r="1"><c r="A1" s="0"><v>20261001</v></c></row>', **{"xl/styles.xml": DATES}),  # no such day
        sheet_of(b'<row r="1"><c r="A1" t="s"><v>7</v></c></row>'),  # of no shared text
        sheet_of(b'<row r="1048577"><c r="A1048577"><v>1</v></c></row>'),
        flipped(sheet_of(LINES)),
    ],
)
def test_a_damaged_workbook_is_refused(content):
    with pytest.raises(Unreadable, match="Save it again"):
        list(read_table(content, None).rows)


def test_rows_that_were_never_written_cost_nothing_and_the_others_keep_their_numbers():
    """A small file may name many rows far apart: a row for each gap would keep a server busy for hours."""
    far = b"".join(b'<row r="%d"><c r="A%d"><v>7</v></c></row>' % (n, n) for n in range(1_000, 1_000_001, 1_000))
    with zipfile.ZipFile(io.BytesIO(sheet_of(far))) as made:
        rows = list(workbooks.read_sheet(made, "xl/worksheets/s.xml"))
    assert (len(rows), rows[0], rows[-1]) == (1_000, (1_000, ["7"]), (1_000_000, ["7"]))


def test_a_workbook_is_read_as_its_cells_are_shown(maker):
    book = Workbook()
    sheet = book.active
    sheet.append(["SKU", "Becomes", "From", "Fallback"])
    sheet.append([22423, "10482", dt.date(2026, 10, 1), True])
    sheet.append(["B", "=A2", None, None])
    sheet.append([])
    sheet.append(["C", 10391.0, None, None])
    file = io.BytesIO()
    book.save(file)
    report = check(file.getvalue(), maker)
    assert [(line.key, line.value, line.effective_from, line.is_fallback) for line in report.lines] == [
        ("22423", "10482", dt.date(2026, 10, 1), True),
        ("C", "10391", TODAY, False),
    ]
    assert faults(report) == [(3, "Becomes", "is a formula. Copy the cells and paste them as values.")]


def test_rows_that_say_what_holds_change_nothing_and_others_change_retire_or_end_it(maker):
    for key in ("SAME", "OTHER", "OUT", "ENDS"):
        make_rule("item", key, "10482", connection="netsuite", on=dt.date(2026, 1, 1))
    report = check(
        "Key,Becomes,System,Until,Act\nSAME,10482,NetSuite,,\nOTHER,10391,netsuite,,\nOUT,,netsuite,,retire\n"
        "ENDS,10482,netsuite,2027-01-01,\n",
        maker,
    )
    assert report.faults == []
    assert (report.same, [(line.key, line.act, line.effective_from.isoformat()) for line in report.lines]) == (
        1,
        [("OTHER", "change", "2026-11-21"), ("OUT", "retire", "2026-11-21"), ("ENDS", "retire", "2027-01-01")],
    )


def test_the_number_of_queries_doesnt_grow_with_the_rows(maker):
    def queries(count: int) -> int:
        with CaptureQueriesContext(database) as asked:
            check("Key,Becomes\n" + "".join(f"K{n},10482\n" for n in range(count)), maker)
        return len(asked)

    queries(1)  # whose roles these are is read once
    assert queries(500) == queries(5)


def test_a_person_of_one_entity_proposes_for_no_other(maker):
    own = factories.make_person("mapping_admin", entities=("GB01",))
    factories.make_entity("DE01")
    report = check("Key,Becomes,Entity\nA,10482,GB01\nB,10482,DE01\nC,10482,\n", own)
    assert faults(report) == [
        (3, "Entity", "your role proposes no SKU to ERP item for DE01."),
        (4, "Entity", "your role proposes no SKU to ERP item for every entity."),
    ]


def test_what_only_looks_the_same_is_meant_before_what_is_spelled_alike(maker):
    for number in ("16", "106", "1060"):
        ReferenceEntry.objects.create(
            connection=factories.make_connection("netsuite"), list_name="items", external_id=number, code=f"C-{number}",
            name=f"Item {number}", read_at=timezone.now(),
        )  # fmt: skip
    (fault,) = check("SKU\tBecomes\nA\t1O6\n", maker).faults
    assert fault.text == "NetSuite has no item 1O6. Did you mean 106 · C-106 · Item 106?"
