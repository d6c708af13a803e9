"""Resolution: which rule wins, why, as known when, and what is said when none does."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection as database
from django.db import transaction
from django.db.utils import DatabaseError, IntegrityError, OperationalError
from django.test.utils import CaptureQueriesContext

from connectors.models import Connection
from mappings.models import MappingRule
from mappings.resolve import Snapshot, latest_change_set
from q2c.core.problems import Category, Problem
from tests.mappings.rules import make_rule, next_number

pytestmark = pytest.mark.django_db
ON = dt.date(2011, 3, 1)


@pytest.fixture
def netsuite():
    return Connection.objects.create(
        code="netsuite", name="NetSuite", vendor="netsuite", base_url="https://example.test"
    )


def resolve(kind, key, on=ON, **facts):
    return Snapshot.load([(kind, key, {})]).resolve(kind, key, on=on, **facts)


def test_the_exact_key_beats_a_pattern_even_a_narrower_scoped_one():
    make_rule("item", "GTX*", "pattern", legal_entity="GB01")
    exact = make_rule("item", "GTX-1", "exact")
    answer = resolve("item", "GTX-1", legal_entity="GB01")
    assert (answer.value, answer.rule_id, answer.why) == ("exact", exact.pk, "exact key")


def test_a_longer_pattern_beats_a_shorter_one_and_both_beat_the_fallback():
    make_rule("item", "*", "suspense", is_fallback=True)
    make_rule("item", "G*", "g")
    make_rule("item", "GTX*", "gtx")
    assert resolve("item", "GTX-9").value == "gtx"
    assert resolve("item", "G1").value == "g"
    fallback = resolve("item", "H1")
    assert (fallback.value, fallback.is_fallback, fallback.why) == ("suspense", True, "fallback")


def test_more_dimensions_beat_fewer_whatever_the_order_of_entry():
    make_rule("account", "receivables", "narrow", legal_entity="GB01", currency="GBP")
    make_rule("account", "receivables", "entity", legal_entity="GB01")
    make_rule("account", "receivables", "any")
    assert resolve("account", "receivables", legal_entity="GB01", currency="GBP").value == "narrow"
    assert resolve("account", "receivables", legal_entity="GB01", currency="EUR").value == "entity"
    assert resolve("account", "receivables", legal_entity="US01", currency="GBP").value == "any"


def test_two_rules_that_could_both_win_are_a_problem_that_names_them():
    a = make_rule("account", "receivables", "1", legal_entity="GB01")
    b = make_rule("account", "receivables", "2", currency="GBP")
    with pytest.raises(Problem) as raised:
        resolve("account", "receivables", legal_entity="GB01", currency="GBP")
    assert (raised.value.code, raised.value.category) == ("mapping_ambiguous", Category.MAPPING)
    assert raised.value.subject["rules"] == f"{a.pk}, {b.pk}"


def test_a_missing_item_names_system_key_and_entity(netsuite):
    with pytest.raises(Problem) as raised:
        resolve("item", "GTX-1", legal_entity="GB01", connection="netsuite", currency="GBP")
    problem = raised.value
    assert (problem.code, problem.category) == ("missing_item_mapping", Category.MAPPING)
    assert problem.summary == "NetSuite has no item for SKU GTX-1 in GB01, GBP"
    assert problem.subject == {
        "connection": "netsuite", "kind": "item", "key": "GTX-1", "legal_entity": "GB01", "currency": "GBP",
        "on": "2011-03-01",
    }  # fmt: skip


def test_a_kind_without_entity_scope_does_not_split_its_problem_by_entity(netsuite):
    with pytest.raises(Problem) as raised:
        resolve("currency", "KWD", legal_entity="GB01", connection="netsuite")
    assert "legal_entity" not in raised.value.subject
    assert raised.value.summary == "NetSuite has no currency for KWD"


def test_a_rule_is_in_force_from_its_first_day_until_the_day_before_its_end():
    make_rule("item", "A", "old", on=dt.date(2011, 1, 1), until=dt.date(2011, 2, 1))
    make_rule("item", "A", "new", on=dt.date(2011, 2, 1))
    assert resolve("item", "A", on=dt.date(2011, 1, 31)).value == "old"
    assert resolve("item", "A", on=dt.date(2011, 2, 1)).value == "new"
    with pytest.raises(Problem):
        resolve("item", "A", on=dt.date(2010, 12, 31))


def test_as_of_then_reproduces_an_answer_after_a_backdated_change():
    first = make_rule("item", "A", "then")
    then = latest_change_set()
    number = next_number()
    MappingRule.objects.filter(pk=first.pk).update(known_to=number)
    make_rule("item", "A", "now", number=number)
    assert Snapshot.load([("item", "A", {})], change_set=then).resolve("item", "A", on=ON).value == "then"
    assert resolve("item", "A").value == "now"


def test_a_whole_batch_costs_one_statement_for_rules_and_one_for_the_knowledge():
    for number in range(30):
        make_rule("item", f"SKU-{number}", str(number))
    make_rule("tax_code", "S", "5")
    wants = [("item", f"SKU-{n}", {}) for n in range(30)] + [("tax_code", "S", {})]
    with CaptureQueriesContext(database) as queries:
        snapshot = Snapshot.load(wants)
        values = [snapshot.resolve("item", f"SKU-{n}", on=ON).value for n in range(30)]
        assert snapshot.resolve("tax_code", "S", on=ON).value == "5"
    assert values == [str(n) for n in range(30)]
    assert len(queries) == 2
    assert snapshot.late_fetch_count == 0


def test_a_key_that_nobody_announced_is_fetched_as_known_at_the_same_change_set():
    snapshot = Snapshot.load([])
    make_rule("item", "A", "later")
    with pytest.raises(Problem):
        snapshot.resolve("item", "A", on=ON)
    assert snapshot.late_fetch_count == 1


def test_conditions_narrow_a_rule_to_some_documents():
    make_rule("item", "A", "any")
    make_rule("item", "A", "credit", conditions={"document_type": ["credit_memo"]})
    snapshot = Snapshot.load([("item", "A", {})])
    assert snapshot.resolve("item", "A", on=ON, document={"document_type": "credit_memo"}).value == "credit"
    assert snapshot.resolve("item", "A", on=ON, document={"document_type": "invoice"}).value == "any"
    assert snapshot.resolve("item", "A", on=ON).value == "any"


def test_conditions_hold_too_when_the_key_was_not_announced():
    make_rule("item", "A", "credit", conditions={"document_type": "credit_memo"})
    assert Snapshot.load([]).resolve("item", "A", on=ON, document={"document_type": "credit_memo"}).value == "credit"


def test_each_document_notes_the_rules_that_it_used():
    a, b = make_rule("item", "A", "1"), make_rule("item", "B", "2")
    snapshot = Snapshot.load([("item", "A", {}), ("item", "B", {})])
    first, second = snapshot.for_document(), snapshot.for_document()
    first.resolve("item", "A", on=ON)
    first.resolve("item", "A", on=ON)
    second.resolve("item", "B", on=ON)
    assert (list(first.used), list(second.used)) == ([a.pk], [b.pk])


def test_find_gives_nothing_where_a_dimension_is_optional():
    assert Snapshot.load([]).find("department", "hardware", on=ON, legal_entity="GB01") is None


def test_explain_names_every_rule_and_why_it_lost():
    make_rule("item", "A", "us", legal_entity="US01")
    make_rule("item", "A", "old", on=dt.date(2010, 1, 1), until=dt.date(2010, 2, 1))
    make_rule("item", "*", "suspense", is_fallback=True)
    make_rule("item", "A", "gb", legal_entity="GB01")
    told = Snapshot.load([("item", "A", {})]).explain("item", "A", on=ON, legal_entity="GB01")
    assert [(c.rule.value, c.verdict) for c in told] == [
        ("gb", "won: exact key, for GB01"),
        ("us", "only for legal entity US01"),
        ("old", "in force until 2010-02-01"),
        ("suspense", "less specific"),
    ]


def test_a_pattern_over_two_fields_matches_field_by_field():
    make_rule("intercompany", "GB01|U*", "1500")
    assert resolve("intercompany", "GB01|US01").value == "1500"
    with pytest.raises(Problem):
        resolve("intercompany", "GB02|US01")


def test_the_database_refuses_rules_that_overlap():
    make_rule("item", "A", "1", until=dt.date(2012, 1, 1))
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        make_rule("item", "A", "2", on=dt.date(2011, 12, 31))
    assert refused.value.__cause__.diag.constraint_name == "mapping_rules_never_overlap"
    make_rule("item", "A", "2", on=dt.date(2012, 1, 1))
    assert MappingRule.objects.count() == 2


@pytest.mark.parametrize("change", [{"value": "9"}, {"effective_to": dt.date(2030, 1, 1)}, {"known_from": 9}])
def test_the_database_refuses_to_edit_a_rule(change):
    rule = make_rule("item", "A", "1")
    with pytest.raises(DatabaseError), transaction.atomic():
        MappingRule.objects.filter(pk=rule.pk).update(**change)
    with pytest.raises(DatabaseError), transaction.atomic():
        rule.delete()
    assert MappingRule.objects.get(pk=rule.pk).value == "1"


def test_what_ended_being_known_stays_ended():
    rule = make_rule("item", "A", "1")
    MappingRule.objects.filter(pk=rule.pk).update(known_to=5)
    with pytest.raises(DatabaseError), transaction.atomic():
        MappingRule.objects.filter(pk=rule.pk).update(known_to=None)


def test_the_rules_of_other_entities_are_not_fetched_until_somebody_asks_for_them():
    make_rule("item", "A", "1")
    make_rule("item", "A", "2", legal_entity="GB01")
    make_rule("item", "A", "3", legal_entity="FR01")
    snapshot = Snapshot.load([("item", "A", {"legal_entity": "GB01"})])
    assert snapshot.resolve("item", "A", on=ON, legal_entity="GB01").value == "2"
    assert [row.rule.value for row in snapshot.explain("item", "A", on=ON, legal_entity="GB01")] == ["2", "3", "1"]
    assert snapshot.resolve("item", "A", on=ON, legal_entity="FR01").value == "3"
    assert snapshot.resolve("item", "A", on=ON, legal_entity="DE01").value == "1"


def test_two_entities_ask_for_the_same_key_one_after_the_other():
    make_rule("item", "A", "1")
    make_rule("item", "A", "2", legal_entity="GB01")
    make_rule("item", "A", "3", legal_entity="FR01")
    snapshot = Snapshot.load([("item", "A", {"legal_entity": "GB01"})])
    snapshot.resolve("item", "A", on=ON, legal_entity="GB01")
    snapshot.fetch({("item", "A", "FR01"), ("item", "A", "GB01")})
    assert snapshot.resolve("item", "A", on=ON, legal_entity="FR01").value == "3"
    assert snapshot.late_fetch_count == 0
    assert len(snapshot.explain("item", "A", on=ON, legal_entity="FR01")) == 3


def test_what_a_lost_connection_did_not_bring_is_asked_for_again():
    make_rule("item", "A", "1", legal_entity="GB01")
    make_rule("item", "B*", "2")
    snapshot = Snapshot.load([])

    def lost(*_):
        raise OperationalError("the connection is lost")

    for wishes in ({("item", "A", "GB01")}, {("item", "A")}):
        with database.execute_wrapper(lost), pytest.raises(OperationalError):
            snapshot.fetch(wishes)
    assert snapshot.resolve("item", "A", on=ON, legal_entity="GB01").value == "1"
    assert snapshot.resolve("item", "B1", on=ON, legal_entity="GB01").value == "2"
