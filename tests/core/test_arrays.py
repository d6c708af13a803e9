"""What our quick writing of arrays gives is what psycopg's own gives, for whatever stands in them."""

import datetime as dt
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import DataError, connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.django_db
TEXTS = st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), max_size=8)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(TEXTS)
def test_texts_come_back_as_they_were(values):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::text[]", [values])
        assert cursor.fetchone()[0] == values


@pytest.mark.parametrize(("kind", "values"), [
    ("text", ["", "NULL", "null", '"', "\\", '\\"', "{a,b}", " ", "é", "\n", None]),
    ("uuid", [UUID(int=1), None, UUID(int=2**127)]),
    ("bigint", [0, -1, 2**62, None]),
    ("numeric", [Decimal("1.10"), None, Decimal("-0.000001")]),
    ("date", [dt.date(2026, 11, 22), None]),
    ("timestamptz", [dt.datetime(2026, 11, 22, 4, 30, tzinfo=dt.UTC), None]),
    ("boolean", [True, False, None]),
    ("bytea", [b"\x00\xff", None]),
    ("text", []), ("uuid", [None]),
])  # fmt: skip
def test_each_kind_comes_back_as_it_was(kind, values):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT %s::{kind}[]", [values])
        found = cursor.fetchone()[0]
    assert [bytes(v) if isinstance(v, memoryview) else v for v in found] == values


def test_nested_lists_are_left_to_psycopg():
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::text[]", [[["a", "b"], ["c", None]]])
        assert cursor.fetchone()[0] == [["a", "b"], ["c", None]]


def test_a_text_that_postgresql_cant_hold_is_refused_in_psycopgs_words():
    with connection.cursor() as cursor, pytest.raises(DataError, match="NUL"):
        cursor.execute("SELECT %s::text[]", [["a\0b"]])
