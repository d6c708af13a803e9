"""The queue as people ask for it: by blocked close, by currency, amount, age and words. Nobody sees more."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D

import pytest
from django.http import QueryDict
from django.test import RequestFactory
from django.utils import timezone

from exceptions import counting, tallies
from exceptions.models import CaseTally, ExceptionCase, OpenChange
from exceptions.resolving import snoozes
from exceptions.workbench.filters import CaseFilter
from tests import factories

pytestmark = pytest.mark.django_db
OCTOBER, NOVEMBER = "2026-10", "2026-11"


def make(name: str, entity: str, period: str, amount: int, **fields) -> ExceptionCase:
    """A case of one document."""
    shared = fields.pop("shared", ())
    case = factories.make_case(
        name, legal_entity_code="" if shared else entity, blocks_entity=entity, blocks_period=period,
        amount_at_risk=D(amount), document_count=1, **fields,
    )  # fmt: skip
    for code, own in shared or ((entity, amount),):
        CaseTally.objects.create(
            case=case, legal_entity_code=code, period_code=period, currency="EUR" if code == "DE01" else "GBP",
            document_count=1, amount=D(own), amount_at_risk=D(own),
        )  # fmt: skip
    return case


@pytest.fixture
def queue():
    for entity in ("GB01", "DE01"):
        factories.make_period(entity, OCTOBER, is_open=entity == "DE01")
        factories.make_period(entity, NOVEMBER)
    make("NetSuite has no item for SKU GTX-1 in DE01", "DE01", OCTOBER, 100)
    make("Wingtip Toys has no billing country", "GB01", NOVEMBER, 50, opened_at=timezone.now() - dt.timedelta(days=9))
    make("A price differs", "GB01", OCTOBER, 7)  # October is closed there: it's blocked no more
    make("An order lacks something", "GB01", "", 3)
    make("NetSuite refuses our credentials", "DE01", NOVEMBER, 900, shared=[("DE01", 600), ("GB01", 300)])


def blocked(person) -> list[tuple[str, str, int, D]]:
    return [
        (row.close.entity, row.close.period, row.case_count, row.amount_at_risk)
        for row in tallies.closes_blocked(person)
    ]


def test_each_open_close_is_told_with_its_cases_and_amount_the_nearest_first(queue):
    assert blocked(factories.make_person("controller")) == [
        ("DE01", OCTOBER, 1, D(100)), ("DE01", NOVEMBER, 1, D(600)), ("GB01", NOVEMBER, 2, D(350)),
    ]  # fmt: skip


def test_the_sums_follow_every_change_before_and_after_they_are_added_up(queue):
    person = factories.make_person("controller")
    before = blocked(person)
    assert OpenChange.objects.count() > 0
    assert counting.add_up() > 0
    assert (blocked(person), OpenChange.objects.count()) == (before, 0)
    case = ExceptionCase.objects.get(amount_at_risk=100)
    ExceptionCase.objects.filter(pk=case.pk).update(amount_at_risk=130, blocks_period=NOVEMBER)
    ExceptionCase.objects.filter(pk=case.pk).update(summary="The same for as much")
    after = [("DE01", NOVEMBER, 2, D(730)), ("GB01", NOVEMBER, 2, D(350))]
    assert blocked(person) == after
    assert OpenChange.objects.count() == 2  # taken from one place, added to another; other words change no sum
    counting.add_up()
    assert blocked(person) == after
    ExceptionCase.objects.filter(pk=case.pk).update(closed_at=timezone.now())
    assert blocked(person) == [("DE01", NOVEMBER, 1, D(600)), ("GB01", NOVEMBER, 2, D(350))]


def test_a_person_of_one_entity_is_told_of_its_closes_and_amounts_alone(queue):
    person = factories.make_person("controller", entities=("GB01",))
    assert blocked(person) == [("GB01", NOVEMBER, 2, D(350))]
    shared = ExceptionCase.objects.get(legal_entity_code="")
    assert tallies.totals_of(person, [shared])[shared.pk].at_risk == D(300)


@pytest.mark.parametrize(
    ("asked", "amounts"),
    [
        ("blocks=any", {100, 50, 7, 900}),
        ("blocks=DE01", {100, 900}),
        ("blocks=GB01:2026-11", {50}),
        ("blocks=GB01:", {50, 7}),
        ("currency=eur", {100, 900}),
        ("currency=KWD", set()),
        ("at_least=50", {100, 50, 900}),
        ("age=7", {50}),
        ("q=netsuite", {100, 900}),
        ("q=sku has GTX", {100}),
        ("q=Toys%20gtx", set()),
        ("q=%26%7C%21%3A%2A", set()),
        ("q=gt", {100}),
    ],
)
def test_each_filter_finds_what_it_says(queue, asked, amounts):
    found = CaseFilter(QueryDict(asked), ExceptionCase.objects.all())
    assert {int(case.amount_at_risk) for case in found.qs} == amounts
    assert found.form.errors == {}


@pytest.mark.parametrize("asked", ["at_least=much", "at_least=-1", "currency=EURO", "age=2"])
def test_a_filter_that_cannot_be_read_is_named_and_the_list_shows_without_it(queue, asked):
    found = CaseFilter(QueryDict(asked), ExceptionCase.objects.all())
    assert (found.qs.count(), list(found.form.errors)) == (5, [asked.partition("=")[0]])


def asked(person, query: str) -> set[int]:
    """What the list shows of it, by amount."""
    request = RequestFactory().get(f"/exceptions/cases/?{query}")
    request.user = person
    return {
        int(c.amount_at_risk) for c in CaseFilter(request.GET, tallies.cases_visible_to(person), request=request).qs
    }


@pytest.mark.parametrize(
    ("entities", "blocking", "of_open", "in_november"),
    [((), {100, 50, 900}, 5, {50, 900}), (("GB01",), {50, 900}, 4, {50, 900}), (("DE01",), {100, 900}, 2, set())],
)
def test_so_many_cases_block_a_close_as_the_list_behind_it_shows(
    queue, client, entities, blocking, of_open, in_november
):
    """One that blocks two closes is one case, one of a finished close blocks none, one left alone waits for nobody."""
    make("Left alone until Monday", "GB01", NOVEMBER, 11, snoozed_at=timezone.now())
    person = factories.make_person("controller", entities=entities)
    assert asked(person, "blocks=any") == blocking
    assert asked(person, "blocks=GB01:2026-11") == in_november
    client.force_login(person)
    for query in ("", "?blocks=any"):
        context = client.get(f"/exceptions/cases/{query}").context
        assert context["counts"]["blocking"] == (len(blocking), True)
        assert context["counts"]["open"] == (of_open, True)
    assert (context["page"].total, {int(c.amount_at_risk) for c in context["cases"]}) == (len(blocking), blocking)
    said = f"{len(blocking)} of {of_open} open cases block a close"
    assert said in client.get("/exceptions/cases/").content.decode()


@pytest.mark.parametrize("entities", [(), ("GB01",)])
def test_the_number_beside_a_close_is_what_its_list_shows_also_of_what_is_snoozed(queue, entities):
    person = factories.make_person("controller", entities=entities)
    shared = [("DE01", 20), ("GB01", 10)]
    for case in (make("Alone", "GB01", NOVEMBER, 11), make("Of several", "GB01", NOVEMBER, 30, shared=shared)):
        assert_numbers_are_lists(person)
        snoozes.snooze(case, by=person, reason="they answer later", until="count", count=5)
        assert_numbers_are_lists(person)
        counting.add_up()
        assert_numbers_are_lists(person)
    snoozes.wake(case, by=person, reason="they called")
    assert_numbers_are_lists(person)
    assert {row[:2]: row[2:] for row in blocked(person)}["GB01", NOVEMBER] == (3, D(360))


def assert_numbers_are_lists(person):
    for entity, period, count, _ in blocked(person):
        assert count == len(asked(person, f"blocks={entity}:{period}")), (entity, period)
