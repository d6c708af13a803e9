"""Files that people take away: what they hash can be computed again from the file, and no spreadsheet runs a cell."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import load_workbook

from q2c.core import exports
from q2c.core.exports import About, Query, harmless, unguarded
from q2c.core.models import AuditEntry
from tests import factories

ACTIVE = "=+-@\t\r\n'＝＋－＠"
SIGNS = st.text(st.sampled_from([*ACTIVE, ";", '"', ",", "a", " ", "1"]), max_size=8)
CELLS = [
    ["=1+1", "a;=1+1", Decimal("12.500000"), "plain"],
    ["a\t@SUM(A1)", 'b;"=1+1;c', 3, "line\nbreak"],
    ["'already", "a;'=b", Decimal("-1"), ""],
]  # fmt: skip
COLUMNS = ("One", "Two", "Number", "Last")


def about():
    return About(Query("test", "Test"), {"Entity": "DE01"}, factories.make_person("controller", username="vera"))


def hashed(rows):
    return hashlib.sha256(b"".join("\x1f".join(row).encode() + b"\n" for row in rows)).hexdigest()


def rows_of(content):
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    told = {row[0]: row[1] for row in rows if row[0].startswith("# ")}
    return rows[1 : -len(told)], told


@pytest.mark.django_db
def test_a_csvs_hash_can_be_computed_again_from_the_file_also_where_a_cell_was_guarded():
    with exports.write_csv(about(), COLUMNS, CELLS, subject="test") as file:
        rows, told = rows_of(file.read())
    assert rows[0][:2] == ["'=1+1", "a;'=1+1"]
    assert told["# Hash"] == f"sha256:{hashed(rows)}"
    assert AuditEntry.objects.get(verb="export").data["hash"] == hashed(rows)
    assert [[unguarded(cell) for cell in row] for row in rows] == [[str(cell) for cell in row] for row in CELLS]


@pytest.mark.django_db
def test_a_workbooks_hash_is_of_the_text_that_it_holds():
    cells = [["a\x07b", "=1+1", 3, "x"]]
    with exports.write_workbook(about(), COLUMNS, cells, subject="test", name="Test") as file:
        book = load_workbook(io.BytesIO(file.read()))
    held = [[str(cell.value) for cell in row] for row in book["Test"].iter_rows(min_row=2)]
    told = {row[0].value: row[1].value for row in book["About"].iter_rows()}
    assert held == [["a\N{REPLACEMENT CHARACTER}b", "=1+1", "3", "x"]]
    assert told["Hash"] == f"sha256:{hashed(held)}"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"), ("a;=1+1", "a;'=1+1"), ("a;;-1", "a;;'-1"), ("a\t=1", "a\t'=1"), ("a\n@x", "a\n'@x"),
        ("\t=x", "'\t'=x"), ('a;"=1+1;b', 'a;\'"=1+1;b'), ("a;'=b", "a;''=b"), ("a; b", "a; b"), ("a-b", "a-b"),
        ("a;b", "a;b"), ("", ""), ("＝1", "'＝1"),
    ],
)  # fmt: skip
def test_what_would_begin_a_formula_is_written_after_an_apostrophe(text, written):
    assert harmless(text) == written
    assert unguarded(written) == text


@given(SIGNS)
def test_no_part_begins_a_formula_whatever_splits_it_and_each_text_comes_back(text):
    written = harmless(text)
    for part in re.split(r"[;\t\r\n]", written):
        bare = part.lstrip('"')
        assert bare[:1] not in [*"=+-@＝＋－＠"]
    assert unguarded(written) == text


@given(st.lists(SIGNS, min_size=2, max_size=4))
def test_a_line_split_at_semicolons_begins_no_formula(cells):
    """As a spreadsheet reads it that takes quotes off only where a cell of its own begins."""
    file = io.StringIO(newline="")
    csv.writer(file).writerow(["plain", *map(harmless, cells)])
    for line in re.split(r"[\r\n]", file.getvalue()):
        for part in line.split(";"):
            assert part.lstrip('"')[:1] not in [*"=+-@＝＋－＠"]
