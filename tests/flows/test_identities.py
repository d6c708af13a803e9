"""What a flow's end stores of ids, beside what people or merges stored meanwhile."""

from __future__ import annotations

import datetime as dt
import time
from types import SimpleNamespace

import pytest
from django.db.transaction import atomic

from exceptions.models import ExceptionCase
from mappings.models import CrossReference
from mappings.references import Reference
from q2c.core.ids import uuid7
from q2c.core.problems import Problem
from q2c.flows import identities
from q2c.records.models import GoldenRecord
from tests import factories
from tests.exceptions.test_adjustments import ORDERS, at_once
from tests.records.test_merging import merge, see

pytestmark = pytest.mark.django_db
AT = dt.datetime(2026, 11, 1, 12, 0, tzinfo=dt.UTC)
ONE, TWO, OTHER = (f"salesforce:Account:001{letter}" for letter in "WLX")


@pytest.fixture(autouse=True)
def systems():
    for code, name in (("salesforce", "Salesforce"), ("stripe", "Stripe"), ("netsuite", "NetSuite")):
        factories.make_connection(code, name=name)


def stored(record: str, external_id: str, **facts) -> None:
    connection = factories.make_connection(facts.pop("connection", "stripe"))
    values = {"record_type": "customer", "external_type": "customer", "at": AT} | facts
    CrossReference.objects.create(record_key=record, external_id=external_id, connection=connection, **values)


def merged(kept: str, gone: str) -> None:
    for key, into, sources in ((kept, "", {kept: {}, gone: {"is_gone": True}}), (gone, kept, {})):
        GoldenRecord.objects.create(record_type="customer", record_key=key, merged_into=into, sources=sources,
                                    content={}, changed_at=AT)  # fmt: skip


def run_of(*, accepts: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        id=uuid7(), accepts=lambda problem: accepts, customer_name="Blue Ltd", customer_id="cus_L", called="O-1",
        number="O-1", source_id="006", legal_entity_code="GB01", flow=SimpleNamespace(code="order_to_subscription"),
    )  # fmt: skip


def end(*made: tuple[str, str], accepts: bool = False, record_type: str = "customer", moved: str = "") -> list[str]:
    """Runs end that made these; what was made beside what is stored."""
    runs = [run_of(accepts=accepts) for _ in made]
    found = [
        Reference(record_type, record, "stripe", "customer", external_id, transaction_id=run.id)
        for (record, external_id), run in zip(made, runs, strict=True)
    ]
    moves = [(row, moved) for row in found] if moved else []
    beside = identities.keep([] if moved else found, moves, runs, AT)
    identities.tell(beside)
    return [row.made.external_id for row in beside]


def ids() -> dict[str, str]:
    return dict(CrossReference.objects.order_by("record_key").values_list("record_key", "external_id"))


def test_what_is_new_or_the_same_is_stored_and_nothing_is_said():
    assert end((ONE, "cus_W")) == end((ONE, "cus_W")) == []
    assert (ids(), ExceptionCase.objects.count()) == ({ONE: "cus_W"}, 0)


def test_what_people_said_stays_and_a_case_names_both():
    stored(ONE, "cus_W", is_linked=True)
    assert end((ONE, "cus_L")) == ["cus_L"]
    case = ExceptionCase.objects.get()
    assert (ids(), case.kind, case.legal_entity_code) == ({ONE: "cus_W"}, "made_beside", "GB01")
    assert case.summary == (
        "Another customer was made in Stripe for Blue Ltd, who by people’s word or a merge is cus_W there"
    )
    end((ONE, "cus_L"))
    assert ExceptionCase.objects.count() == 1


@pytest.mark.parametrize(
    ("record", "external_id", "facts", "says"),
    [
        (ONE, "cus_W", {}, "it’s cus_W there already"),  # made by another run of ours
        (ONE, "cus_W", {"record_type": "order", "is_linked": True}, "it’s cus_W there already"),
        (OTHER, "cus_L", {}, "that is salesforce:Account:001X already"),
        (OTHER, "cus_L", {"is_linked": True}, "that is salesforce:Account:001X already"),
    ],
)
def test_what_people_must_decide_is_held_by_name_and_passes_once_they_let_it(record, external_id, facts, says):
    stored(record, external_id, **facts)
    before, record_type = ids(), facts.get("record_type", "customer")
    with pytest.raises(Problem, match=says) as held:
        end((ONE, "cus_L"), record_type=record_type)
    assert (held.value.code, held.value.subject["external_id"]) == ("cross_reference_conflict", "cus_L")
    assert end((ONE, "cus_L"), record_type=record_type, accepts=True) == []
    assert ids() == before


@pytest.mark.parametrize(("stands", "is_held"), [("cus_W", False), ("cus_L", False), ("cus_Z", True), ("", True)])
def test_a_document_that_became_another_one_moves_only_from_what_it_was(stands, is_held):
    if stands:
        stored(ONE, stands, record_type="invoice")
    if not is_held:
        assert end((ONE, "cus_L"), record_type="invoice", moved="cus_W") == []
        assert ids() == {ONE: "cus_L"}
        return
    with pytest.raises(Problem, match="can't be customer cus_L of stripe") as held:
        end((ONE, "cus_L"), record_type="invoice", moved="cus_W")
    assert (held.value.code, held.value.subject["stands"]) == ("cross_reference_conflict", stands)
    assert ids() == ({ONE: stands} if stands else {})


@pytest.mark.parametrize(
    ("before", "made", "after", "beside"),
    [
        ({}, [(TWO, "cus_L")], {ONE: "cus_L", TWO: "cus_L"}, []),
        ({}, [(ONE, "cus_W")], {ONE: "cus_W", TWO: "cus_W"}, []),
        ({}, [(ONE, "cus_W"), (TWO, "cus_L")], {ONE: "cus_W", TWO: "cus_W"}, ["cus_L"]),
        ({ONE: ("cus_W", False)}, [(TWO, "cus_L")], {ONE: "cus_W", TWO: "cus_W"}, ["cus_L"]),
        ({TWO: ("cus_P", True)}, [(ONE, "cus_W")], {ONE: "cus_W", TWO: "cus_P"}, []),  # people said so since
    ],
)  # fmt: skip
def test_records_that_were_merged_meanwhile_lead_to_the_same(before, made, after, beside):
    merged(ONE, TWO)
    for record, (external_id, is_linked) in before.items():
        stored(record, external_id, is_linked=is_linked)
    assert end(*made) == beside
    assert ids() == after
    assert ExceptionCase.objects.count() == len(beside)


def test_a_merge_with_a_record_of_another_system_moves_nothing():
    merged(ONE, "stripe:customer:cus_W")
    assert end(("stripe:customer:cus_W", "5")) == []
    assert ids() == {"stripe:customer:cus_W": "5"}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.django_db(transaction=True)
def test_a_merge_in_the_very_moment_of_an_end_misses_nothing(order, systems):
    for key in (ONE, TWO):
        see(key)

    def join() -> None:
        with atomic():
            assert merge()
            time.sleep(0.3)  # whoever doesn't wait for it stores beside it

    def finish() -> None:
        with atomic():
            end((TWO, "cus_L"))
            time.sleep(0.3)

    assert at_once([join, finish], order) == ["", ""]
    assert ids() == {ONE: "cus_L", TWO: "cus_L"}
