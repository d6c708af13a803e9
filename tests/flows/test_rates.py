"""Which exchange rate a posting takes: the ERP's while it's young, else one by hand while that is."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from types import SimpleNamespace

import pytest

from q2c.core.problems import Problem
from q2c.flows.steps.dates import choose_rate, read_policy
from q2c.posting.facts import Book, Policy, RateUse

BOOK = Book(
    code="GB01", name="UK", country="GB", currency="GBP", time_zone="Europe/London", connection="erp", erp_id="4"
)
NOON = dt.date(2026, 11, 20)


def day(ago):
    return NOON - dt.timedelta(days=ago)


def choose(currency="KWD", *, erp_ago=None, hand_ago=0, until=None):
    rates = {} if erp_ago is None else {f"{currency}/GBP": {"attributes": {"date": day(erp_ago).isoformat()}}}
    rule = SimpleNamespace(value="2.43", effective_from=day(hand_ago), effective_to=until)
    return choose_rate(
        SimpleNamespace(currency=currency), BOOK, NOON, Policy(),
        SimpleNamespace(resolve=lambda *a, **k: rule), SimpleNamespace(reference=lambda *a: rates),
    )  # fmt: skip


def test_the_books_own_currency_needs_none():
    assert choose("GBP") == RateUse()


@pytest.mark.parametrize("ago", [0, 7])
def test_the_erps_rate_counts_for_seven_days(ago):
    assert choose(erp_ago=ago) == RateUse(pair="KWD/GBP", source="erp", rate_date=day(ago))


@pytest.mark.scenario(47)
@pytest.mark.parametrize("ago", [0, 7])
def test_a_rate_by_hand_stands_in_for_an_older_one_and_says_of_which_day_it_is(ago):
    expected = RateUse(pair="KWD/GBP", source="manual", rate=Decimal("2.43"), rate_date=day(ago))
    assert choose(erp_ago=8, hand_ago=ago) == expected


def test_a_rate_by_hand_grows_old_too():
    with pytest.raises(Problem, match="The newest rate of KWD/GBP is of 2026-11-12, older than 7 days") as raised:
        choose(erp_ago=8, hand_ago=8)
    assert (raised.value.code, raised.value.subject["key"]) == ("rate_missing", "KWD/GBP")


def test_a_rate_that_people_approved_up_to_a_day_counts_until_then():
    used = choose(hand_ago=300, until=NOON + dt.timedelta(days=1))
    assert (used.source, used.rate_date) == ("manual", NOON)


def test_from_when_on_a_rate_is_too_old_is_the_entitys_policy():
    def says(**rules: str) -> Policy:
        answers = SimpleNamespace(get=lambda _kind, name, default, **_asked: rules.get(name, default))
        return read_policy(BOOK, NOON, answers, SimpleNamespace())

    assert (says().rate_days_max, says(rate_days_max="2").rate_days_max) == (7, 2)
    with pytest.raises(Problem, match="that of a rate's age counts days"):
        says(rate_days_max="a week")
