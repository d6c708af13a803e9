"""What an order may sell at, and that two people's word lets exactly what they saw pass."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from types import SimpleNamespace

import pytest

from q2c.canonical.base import Source
from q2c.canonical.contract import Order, OrderLine
from q2c.core.problems import Problem
from q2c.flows.steps.orders import check_order
from q2c.flows.steps.prices import check_price

BOOK = SimpleNamespace(code="GB01")


def line(sku="A", price="0", listed="10", frequency="annual", **more):
    return OrderLine(line_id=sku, sku=sku, quantity=Decimal(1), unit_price=Decimal(price), billing_frequency=frequency,
                     list_price=None if listed is None else Decimal(listed), **more)  # fmt: skip


def order(*lines: OrderLine, object_id="006A", **more) -> Order:
    source = Source(connection="salesforce", object_type="Opportunity", object_id=object_id)
    given = {"currency": "GBP", "term_months": 12, "customer_id": "001A", **more}
    return Order(source=source, number="O-1", start_date=dt.date(2026, 11, 1), lines=lines, **given)


def entry(price, currency="GBP", frequency="annual", is_active=True):
    return {"unit_price": price, "currency": currency, "billing_frequency": frequency, "is_active": is_active}


def check(sold: Order, *entries, policy=None, accepted=()):
    """Passes, or raises what the price book says against it."""
    rules = SimpleNamespace(get=lambda kind, key, default, **asked: policy or default)
    links = SimpleNamespace(prices=lambda sku: list(entries))
    txn = SimpleNamespace(accepts=lambda problem: problem.subject in accepted)
    return check_price(sold, BOOK, rules, links, txn)


def fault(sold: Order, *entries, **more) -> str:
    with pytest.raises(Problem) as held:
        check(sold, *entries, **more)
    assert held.value.code == "price_differs"
    return held.value.summary


def test_a_gift_passes_only_where_two_people_accepted_this_very_gift():
    accepted: list[dict[str, str]] = []
    gifts = order(line("A"), line("B"))
    for sku in ("A", "B"):
        with pytest.raises(Problem) as held:
            check(gifts, accepted=accepted)
        assert (held.value.code, held.value.subject["sku"]) == ("price_differs", sku)
        accepted.append(held.value.subject)
    assert check(gifts, accepted=accepted) == "as the price book says"
    with pytest.raises(Problem):
        check(order(line("C")), accepted=accepted)


def test_another_price_than_the_accepted_one_asks_again():
    with pytest.raises(Problem) as held:
        check(order(line(price="1")))
    accepted = [held.value.subject]
    check(order(line(price="1")), accepted=accepted)
    assert fault(order(line(price="2")), accepted=accepted)


@pytest.mark.parametrize("price", ["80", "100", "120"])
def test_a_price_within_the_tolerance_passes(price):
    assert check(order(line(price=price)), entry("100")) == "as the price book says"


@pytest.mark.parametrize(
    ("price", "said"),
    [("79.99", "79.99"), ("120.01", "120.01"), ("1000", "1,000.00"), ("10.5", "10.50"), ("0.0042", "0.0042")],
)
def test_a_price_off_the_price_book_is_held(price, said):
    assert fault(order(line(price=price)), entry("100")) == f"O-1 sells A at GBP {said}; the price book says 100.00"


def test_the_price_book_counts_before_what_the_deal_says_of_it():
    assert fault(order(line(price="10", listed="10")), entry("100"))


def test_the_tolerance_is_a_policy():
    assert check(order(line(price="50")), entry("100"), policy="50")
    assert fault(order(line(price="99")), entry("100"), policy="0")


def test_a_currency_that_the_price_book_lacks_is_held():
    said = fault(order(line(price="100")), entry("100", "USD"), entry("90", "EUR"))
    assert said == "O-1 sells A in GBP, which the price book doesn't offer (it says EUR, USD)"


def test_the_entry_of_the_same_billing_period_counts():
    entries = entry("100", frequency="annual"), entry("10", frequency="monthly")
    assert check(order(line(price="10", frequency="monthly")), *entries)
    assert fault(order(line(price="100", frequency="monthly")), *entries)
    assert check(order(line(price="100", frequency="quarterly")), *entries)  # no entry of its period: any


def test_an_entry_that_is_not_sold_any_more_prices_nothing():
    assert fault(order(line(price="10", listed="100")), entry("10", is_active=False))


def test_a_sku_without_any_price_is_held_unless_an_api_priced_it():
    assert fault(order(line(price="5", listed=None))) == "O-1 sells A at GBP 5.00, and no price book knows it"
    assert check(order(line(price="5", listed=None), object_id="api-1"))


def test_a_price_below_zero_is_no_difference_but_refused():
    with pytest.raises(Problem) as held:
        check(order(line(price="-1")), entry("100"))
    assert held.value.code == "negative_price"


@pytest.mark.parametrize("status", ["Draft", "In Review", "Presented", "Rejected"])
def test_a_quote_that_nobody_approved_or_accepted_is_no_order(status):
    with pytest.raises(Problem) as held:
        check_order(order(line(), quote_status=status))
    assert held.value.summary == f"O-1 was won without an approved quote (it is {status})"


@pytest.mark.parametrize("status", ["", "Approved", "Accepted"])
def test_an_approved_quote_or_none_at_all_is_an_order(status):
    assert check_order(order(line(), quote_status=status)) == "complete"


def test_a_term_that_is_no_whole_number_of_periods_is_held():
    with pytest.raises(Problem) as held:
        check_order(order(line(), line("B", frequency="monthly"), term_months=18))
    assert held.value.summary == "O-1 was won without a term of whole periods of 12 months (it is 18)"
    assert check_order(order(line("B", frequency="monthly"), line("C", frequency="one_time"), term_months=5))
