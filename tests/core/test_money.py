"""Minor units against ISO 4217's own list, rounding, and cents that are never lost."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from q2c.core.money import allocate, decimals, from_minor, round_money, spoken_money, to_minor

AMOUNTS = st.decimals(min_value=-(10**9), max_value=10**9, places=2)


@pytest.mark.parametrize(
    ("currency", "places"),
    [("GBP", 2), ("USD", 2), ("EUR", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("BHD", 3), ("CLF", 4), ("MGA", 2)],
)
def test_decimals_are_those_of_iso_4217(currency, places):
    assert decimals(currency) == places


@pytest.mark.parametrize(
    ("amount", "currency", "rounded"),
    [
        ("0.005", "GBP", "0.01"),
        ("-0.005", "GBP", "-0.01"),
        ("2.675", "GBP", "2.68"),
        ("0.5", "JPY", "1"),
        ("1.0005", "KWD", "1.001"),
        ("0.004999", "GBP", "0.00"),
    ],
)
def test_halves_are_rounded_away_from_zero(amount, currency, rounded):
    assert str(round_money(Decimal(amount), currency)) == rounded


@pytest.mark.parametrize(
    ("amount", "currency", "said"),
    [
        ("0.0", "USD", "USD 0.00"),
        ("1234.500000", "GBP", "GBP 1,234.50"),
        ("1E+3", "JPY", "JPY 1,000"),
        ("-20", "KWD", "KWD -20.000"),
        ("100.004000", "GBP", "GBP 100.004"),  # not as if it were 100.00
    ],
)
def test_a_sentence_says_an_amount_with_its_currencys_places_and_hides_none(amount, currency, said):
    assert spoken_money(Decimal(amount), currency) == said


@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [(1999, "GBP", "19.99"), (1999, "JPY", "1999"), (1999, "KWD", "1.999"), (-1, "USD", "-0.01")],
)
def test_minor_units_go_there_and_back(minor, currency, amount):
    assert from_minor(minor, currency) == Decimal(amount)
    assert to_minor(Decimal(amount), currency) == minor


@pytest.mark.scenario(40)
@pytest.mark.parametrize("coin", ["BTC", "XBT", "ETH", "USX"])
def test_units_of_what_is_no_currency_are_refused_since_nobody_knows_how_small_they_are(coin):
    with pytest.raises(ValueError, match=f"{coin} isn't a currency of ISO 4217"):
        from_minor(150, coin)
    with pytest.raises(ValueError, match=coin):
        to_minor(Decimal("1.50"), coin)


def test_an_amount_with_more_decimals_than_its_currency_is_refused():
    with pytest.raises(ValueError, match="more decimals than JPY"):
        to_minor(Decimal("1.5"), "JPY")


def test_the_cent_that_is_left_goes_to_the_largest_remainder_and_then_to_the_first():
    thirds = allocate(Decimal("100.00"), [Decimal(1)] * 3, "GBP")
    assert thirds == [Decimal("33.34"), Decimal("33.33"), Decimal("33.33")]
    assert allocate(Decimal("-100"), [Decimal(1)] * 3, "JPY") == [Decimal(-33), Decimal(-33), Decimal(-34)]


def test_nothing_can_be_split_by_weights_of_zero():
    with pytest.raises(ValueError, match="zero"):
        allocate(Decimal(1), [Decimal(0)], "GBP")


@given(AMOUNTS, st.lists(st.decimals(min_value=1, max_value=10**6, places=3), min_size=1, max_size=20))
def test_parts_always_sum_to_the_whole(amount, weights):
    parts = allocate(amount, weights, "GBP")
    assert sum(parts) == amount
    assert all(part == round_money(part, "GBP") for part in parts)


@given(AMOUNTS)
def test_minor_units_lose_nothing(amount):
    assert from_minor(to_minor(amount, "GBP"), "GBP") == amount
