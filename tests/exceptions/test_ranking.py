"""The queue's order: amount at risk times nearness of the close, page by page the same as a plain sort of all."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal as D

import pytest
from django.test import RequestFactory
from django.utils import timezone

from connectors.models import ReferenceEntry
from exceptions import cases, ranking, reporting
from exceptions.closes import closes_of, next_close, weight_of
from exceptions.models import CaseTally, ExceptionCase, Occurrence
from exceptions.ranking import Rank, rank
from exceptions.rolling import roll_up
from exceptions.workbench.queue import ranked_page
from q2c.core.models import AccountingPeriod
from tests import factories
from tests.exceptions.problems import held, missing_item

pytestmark = pytest.mark.django_db
UTC = dt.UTC


@pytest.fixture
def rates(settings):
    """The reporting currency is the euro; the ERP keeps its rates against the pound."""
    settings.REPORTING_CURRENCY = "EUR"
    netsuite = factories.make_connection("netsuite")
    for pair, rate in (("EUR/GBP", "0.8"), ("USD/GBP", "0.6")):
        ReferenceEntry.objects.create(
            connection=netsuite, list_name="rates", external_id=pair, code=pair, name=pair, read_at=timezone.now(),
            attributes={"rate": rate, "date": "2026-11-02"},
        )  # fmt: skip
    reporting.forget_rates()
    yield
    reporting.forget_rates()


def case_of(problem: str) -> ExceptionCase:
    return ExceptionCase.objects.get(subject__key=problem)


@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [("10", "EUR", "10.00"), ("-8", "GBP", "10.00"), ("12", "USD", "9.00"), ("1", "KWD", None), (None, "EUR", None)],
)
def test_an_amount_at_risk_is_in_reporting_currency_without_its_sign(rates, amount, currency, said):
    found = reporting.at_risk(D(amount) if amount else None, currency)
    assert found == (D(said) if said else None)


@pytest.mark.parametrize("rate", ["n/a", "", "NaN", "0", "-1", "1e30", None])
def test_a_rate_that_cannot_be_read_holds_no_document_up(rates, rate):
    ReferenceEntry.objects.filter(external_id="USD/GBP").update(attributes={"rate": rate})
    reporting.forget_rates()
    cases.open_for_steps([held(missing_item("A"), amount="12", currency="USD")])
    case = case_of("A")
    assert (case.document_count, case.amount_at_risk) == (1, D(0))
    assert reporting.at_risk(D("1e18"), "GBP") == D("1e15")


def test_what_joined_at_one_rate_leaves_at_that_rate(rates):
    row = held(missing_item("A"), amount=D("8"), currency="GBP", period_code="2026-10")
    cases.open_for_steps([row, held(missing_item("A"), amount=D("-4"), currency="GBP", period_code="2026-11")])
    case = case_of("A")
    assert (case.document_count, case.amount_at_risk) == (2, D("15.00"))
    ReferenceEntry.objects.filter(external_id="EUR/GBP").update(attributes={"rate": "0.5", "date": "2026-11-03"})
    reporting.forget_rates()
    cases.open_for_steps([held(missing_item("A"), amount=D("1"), currency="GBP", period_code="2026-11")])
    cases.close_for_transactions([row.transaction_id], "completed")
    assert (roll_up(), roll_up()) == (1, 0)
    case.refresh_from_db()
    assert (case.document_count, case.amount_at_risk) == (2, D("7.00"))  # 5 at the rate of then, 2 at that of now
    assert (case.blocks_entity, case.blocks_period) == ("GB01", "2026-11")
    assert set(Occurrence.objects.values_list("amount_at_risk", flat=True)) == {D(10), D(5), D(2)}
    assert CaseTally.objects.filter(is_rolled=False).count() == 0


def test_a_case_blocks_the_close_that_most_of_it_is_of_and_documents_without_a_period_block_none(rates):
    facts = {"currency": "EUR", "problem": missing_item("A")}
    cases.open_for_steps([
        held(**facts, amount=D(900), period_code=""),
        held(**facts, amount=D(5), period_code="2026-09"),
        held(**facts, amount=D(6), period_code="2026-10"),
    ])  # fmt: skip
    roll_up()
    assert (case_of("A").blocks_entity, case_of("A").blocks_period) == ("GB01", "2026-10")


def test_an_amount_weighs_more_the_nearer_its_close_is():
    factories.make_period("GB01", "2026-10")
    close = closes_of([("GB01", "2026-10"), ("GB01", "1999-01"), ("", "2026-10")])
    assert list(close) == [("GB01", "2026-10")]
    found = close["GB01", "2026-10"]
    assert found.closes_at == dt.datetime(2026, 11, 4, 18, tzinfo=UTC)  # WD3
    weights = [
        weight_of(found, at=found.closes_at - dt.timedelta(hours=hours)) for hours in (1000, 720, 100, 10, 1, 0, -99)
    ]
    assert weights == [D("0.001389"), D("0.001389"), D("0.010000"), D("0.100000"), D(1), D(1), D(1)]
    assert weight_of(None, at=found.closes_at) == D("0.001389")


def test_the_clock_shows_the_nearest_close_to_come_of_an_open_period():
    for code in ("2026-09", "2026-10", "2026-11", "2026-12"):
        factories.make_period("GB01", code)
    found = next_close(AccountingPeriod.objects.all(), now=dt.datetime(2026, 11, 3, tzinfo=UTC))
    assert (found.entity, found.period) == ("GB01", "2026-10")
    found = next_close(AccountingPeriod.objects.all(), now=dt.datetime(2026, 11, 5, tzinfo=UTC))
    assert (found.entity, found.period) == ("GB01", "2026-11")
    assert next_close(AccountingPeriod.objects.none(), now=timezone.now()) is None


@pytest.mark.parametrize("total", [0, None], ids=["sorted", "merged"])
def test_pages_forwards_and_backwards_are_those_of_a_plain_sort(total):
    random.seed(7)
    for code in ("2026-09", "2026-10", "2026-11"):
        factories.make_period("GB01", code)
    amounts = [D(0), D("0.01"), D("0.03"), D(10), D(10), D("99.99"), D(1000)]
    for n in range(60):
        factories.make_case(
            fingerprint=f"{n}", amount_at_risk=random.choice(amounts),
            blocks_entity=random.choice(["GB01", "DE01", ""]),
            blocks_period=random.choice(["2026-09", "2026-10", "2026-11", ""]),
        )  # fmt: skip
    rows = ExceptionCase.objects.all()
    whole = rank(rows, size=100, total=total)
    assert len(whole) == 60
    closes = closes_of({(case.blocks_entity, case.blocks_period) for case, _ in whole})
    as_of = whole[0][1].as_of
    plain = sorted(
        rows, reverse=True,
        key=lambda c: (c.amount_at_risk * weight_of(closes.get((c.blocks_entity, c.blocks_period)), at=as_of), c.pk),
    )  # fmt: skip
    order = [case.pk for case in plain]
    assert [case.pk for case, _ in whole] == order
    for size in (1, 7, 60):
        seen: list[int] = []
        place = None
        while found := rank(rows, size=size, place=place, total=total):
            seen += [case.pk for case, _ in found]
            place = Rank.read(found[-1][1].write())
            assert place == found[-1][1]
        assert seen == order
    back = rank(rows, size=7, place=whole[30][1], backwards=True, total=total)
    assert [case.pk for case, _ in back] == order[23:30]


@pytest.mark.parametrize(
    ("total", "of", "group_count", "sorts"),
    [
        (20_000, 1_000_000, 48, True), (21_000, 1_000_000, 48, False), (6000, 91_000, 48, True),
        (7000, 91_000, 48, False), (1000, 1000, 1, True), (1001, 1001, 1, False), (3000, 0, 48, False),
    ],
)  # fmt: skip
def test_what_is_cheaper_to_sort_than_to_look_for_is_sorted(total, of, group_count, sorts):
    assert ranking._is_few(total, of=of, size=51, group_count=group_count) == sorts


def test_the_pages_addresses_lead_on_and_back_and_nonsense_is_the_start():
    for n in range(5):
        factories.make_case(fingerprint=f"{n}", amount_at_risk=D(n))
    rows = ExceptionCase.objects.order_by("pk")
    ids = [case.pk for case in rows][::-1]

    def page(address: str):
        return ranked_page(RequestFactory().get(address), rows, size=2)

    first = page("/")
    assert ([c.pk for c in first], first.previous_url, first.first, first.total) == (ids[:2], "", 1, 5)
    second = page(f"/{first.next_url}")
    assert ([c.pk for c in second], second.first) == (ids[2:4], 3)
    third = page(f"/{second.next_url}")
    assert ([c.pk for c in third], third.next_url, third.last) == (ids[4:], "", 5)
    assert [c.pk for c in page(f"/{third.previous_url}")] == ids[2:4]
    for nonsense in ("x", "1_2", "1_nan_5", "1_1_0", "9" * 40 + "_1_1", "1_-1_1"):
        assert [c.pk for c in page(f"/?after={nonsense}")] == ids[:2]


def test_only_what_is_asked_for_is_ranked():
    mine = factories.make_case(fingerprint="1", amount_at_risk=D(1), queue="platform")
    factories.make_case(fingerprint="2", amount_at_risk=D(2))
    factories.make_case(
        fingerprint="3", amount_at_risk=D(3), queue="platform", state="resolved", closed_at=timezone.now()
    )
    assert [case for case, _ in rank(ExceptionCase.objects.filter(queue="platform"), size=5)] == [mine]
