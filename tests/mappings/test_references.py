"""Cross-references: stored once, one to one, found from both sides."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from connectors.models import Connection
from mappings.models import CrossReference
from mappings.references import Reference, find_anywhere, find_records, find_references, references_of, store_references

pytestmark = pytest.mark.django_db
AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def netsuite():
    return Connection.objects.create(
        code="netsuite", name="NetSuite", vendor="netsuite", base_url="https://example.test"
    )


def invoice(key: str, external: str, **facts) -> Reference:
    return Reference("invoice", f"stripe:invoice:{key}", "netsuite", "invoice", external, **facts)


def test_five_hundred_references_take_one_statement_and_the_same_again_is_no_news():
    rows = [invoice(f"in_{n}", str(n)) for n in range(500)]
    with CaptureQueriesContext(database) as queries:
        assert store_references(rows, AT) == []
    assert (len(queries), CrossReference.objects.count()) == (1, 500)
    assert store_references(rows, AT) == []
    assert CrossReference.objects.count() == 500


def test_a_contradiction_is_returned_and_changes_nothing():
    store_references([invoice("in_1", "9001"), invoice("in_2", "9002")], AT)
    wrong = [invoice("in_1", "9005"), invoice("in_3", "9002"), invoice("in_4", "9004")]
    refused = store_references(wrong, AT)
    assert [(row.reference.external_id, row.problem.code) for row in refused] == [
        ("9002", "cross_reference_conflict"),
        ("9005", "cross_reference_conflict"),
    ]
    assert sorted(CrossReference.objects.values_list("record_key", "external_id")) == [
        ("stripe:invoice:in_1", "9001"),
        ("stripe:invoice:in_2", "9002"),
        ("stripe:invoice:in_4", "9004"),
    ]


def test_an_unknown_connection_is_refused():
    row = Reference("invoice", "stripe:invoice:in_1", "nowhere", "invoice", "1")
    assert [r.reference for r in store_references([row], AT)] == [row]


def test_look_ups_find_many_at_once_from_both_sides_and_by_any_text():
    store_references([invoice("in_1", "9001", number="INV-1"), invoice("in_2", "9002")], AT)
    with CaptureQueriesContext(database) as queries:
        found = find_references("invoice", ["stripe:invoice:in_1", "stripe:invoice:in_9"], connection="netsuite")
        back = find_records(["9002"], connection="netsuite", external_type="invoice")
    assert {key: row.external_id for key, row in found.items()} == {"stripe:invoice:in_1": "9001"}
    assert back["9002"].record_key == "stripe:invoice:in_2"
    assert len(queries) == 2
    assert [row.external_id for row in find_anywhere("INV-1")] == ["9001"]
    assert [row.external_id for row in references_of("stripe:invoice:in_2")] == ["9002"]
