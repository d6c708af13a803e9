"""Which account of a hierarchy is billed, and that a hierarchy that goes round is for a person."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from q2c.core.problems import Problem
from q2c.flows.steps.payers import choose_payer
from q2c.links import Links
from tests.flows.test_prices import BOOK, line, order

KEY = "salesforce:Account:"
GROUP = {"001A": "001B", "001B": "001C"}


def choose(parents, policy=None, buyer="001A"):
    links = Links()
    links.parents = {KEY + child: KEY + parent for child, parent in parents.items()}
    rules = SimpleNamespace(get=lambda kind, key, default, **asked: policy or default)
    return choose_payer(order(line(), customer_id=buyer), BOOK, rules, links)


@pytest.mark.parametrize(
    ("parents", "policy", "payer"),
    [(GROUP, None, "001A"), (GROUP, "own", "001A"), (GROUP, "parent", "001B"), (GROUP, "top", "001C"),
     ({}, "top", "001A"), ({}, "parent", "001A"), ({"001A": "001X"}, "top", "001X")],
)  # fmt: skip
def test_policy_says_who_is_billed_and_without_parents_it_is_the_buyer(parents, policy, payer):
    assert choose(parents, policy) == KEY + payer


def test_an_order_of_our_api_names_its_buyer_by_record_key():
    assert choose(GROUP, "top", buyer=KEY + "001B") == KEY + "001C"


@pytest.mark.parametrize("policy", ["own", "top"])
@pytest.mark.parametrize("parents", [{"001A": "001A"}, {"001A": "001B", "001B": "001A"}, {**GROUP, "001C": "001B"}])
def test_accounts_that_go_round_hold_the_order(parents, policy):
    with pytest.raises(Problem) as held:
        choose(parents, policy)
    assert (held.value.code, held.value.subject) == (
        "account_hierarchy",
        {"connection": "salesforce", "account": "001A"},
    )


def test_a_policy_of_another_word_is_named():
    with pytest.raises(Problem) as held:
        choose(GROUP, "grandparent")
    assert (held.value.code, held.value.subject["key"]) == ("missing_posting_policy", "billed_account")
