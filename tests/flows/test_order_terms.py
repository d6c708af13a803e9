"""An order's term is read, never guessed, and a line that is sold for another one isn't billed for the order's."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.salesforce import inbound, inbound_orders
from q2c.canonical.contract import Order
from q2c.canonical.schema import to_builtins
from q2c.core.problems import Problem
from q2c.flows.steps.orders import check_order

OPPORTUNITY = {
    "Id": "0065g00000XYZAB", "Name": "Northwind platform", "AccountId": "0015g00000ABCDE", "CloseDate": "2025-12-20",
    "CurrencyIsoCode": "GBP",
}  # fmt: skip
QUOTE = {
    "Id": "a0q5g000000QUO1", "Name": "Q-00042", "SBQQ__Status__c": "Accepted", "SBQQ__StartDate__c": "2026-01-01",
    "SBQQ__SubscriptionTerm__c": 12, "SBQQ__BillingFrequency__c": "Monthly",
}  # fmt: skip
LINE = {
    "Id": "a0r5g000000QLI1", "SBQQ__ProductCode__c": "PLAT-1", "SBQQ__Quantity__c": 1, "SBQQ__NetTotal__c": 1200.0,
    "SBQQ__ChargeType__c": "Recurring",
}  # fmt: skip
SHORT = {**LINE, "Id": "a0r5g000000QLI2", "SBQQ__ProductCode__c": "SEAT-1", "SBQQ__NetTotal__c": 600.0}


def quoted(*lines, settings=None, **changes) -> Order:
    return inbound.order(
        OPPORTUNITY, connection="salesforce", lines=(), quote={**QUOTE, **changes}, quote_lines=lines or (LINE,),
        settings=settings or {},
    )  # fmt: skip


def signed(*items, settings=None, **changes) -> Order:
    order = {
        "Id": "8015g000000ORD1", "OrderNumber": "00001042", "AccountId": "0015g00000ABCDE", "StatusCode": "Activated",
        "EffectiveDate": "2026-01-01", "EndDate": "2026-12-31", "CurrencyIsoCode": "GBP", **changes,
    }  # fmt: skip
    item = {
        "Id": "8025g000000OI01", "Quantity": 1, "UnitPrice": 100, "ServiceDate": "2026-01-01", "EndDate": "2026-12-31",
        "Product2": {"ProductCode": "PLAT-1"},
    }  # fmt: skip
    return inbound_orders.signed_order(
        order, connection="salesforce", items=[{**item, **each} for each in items or ({},)], settings=settings or {}
    )


def held(order: Order) -> Problem:
    with pytest.raises(Problem) as refused:
        check_order(order)
    return refused.value


RAMP = [
    {**LINE, "SBQQ__EffectiveStartDate__c": "2026-01-01", "SBQQ__EffectiveEndDate__c": "2026-12-31"},
    {**SHORT, "SBQQ__EffectiveStartDate__c": "2027-01-01", "SBQQ__EffectiveEndDate__c": "2027-12-31"},
]


@pytest.mark.parametrize(
    ("order", "says"),
    [
        (quoted(LINE, {**SHORT, "SBQQ__SubscriptionTerm__c": 6}),
         "Q-00042 is for 12 months from 1 January 2026, but SEAT-1 is sold for 6 months"),
        (quoted({**SHORT, "SBQQ__EffectiveStartDate__c": "2026-07-01"}), "SEAT-1 is sold from 2026-07-01"),
        (quoted({**SHORT, "SBQQ__StartDate__c": "2026-07-01"}), "SEAT-1 is sold from 2026-07-01"),
        (quoted({**SHORT, "SBQQ__EffectiveEndDate__c": "2026-06-30"}), "SEAT-1 is sold to 2026-06-30"),
        (quoted({**SHORT, "SBQQ__EndDate__c": "2026-06-30"}), "SEAT-1 is sold to 2026-06-30"),
        (quoted(*RAMP, SBQQ__SubscriptionTerm__c=24),
         "Q-00042 is for 24 months from 1 January 2026, but PLAT-1 is sold to 2026-12-31 "
         "and SEAT-1 is sold from 2027-01-01"),
        (signed({}, {"ServiceDate": "2026-03-01"}), "PLAT-1 is sold from 2026-03-01"),
        (signed({"EndDate": "2026-06-30", "SBQQ__BillingFrequency__c": "Monthly"}), "PLAT-1 is sold to 2026-06-30"),
    ],
)  # fmt: skip
def test_a_line_that_is_sold_for_another_term_than_its_order_is_held(order, says):
    problem = held(order)
    assert (problem.code, problem.subject["sku"]) == ("line_term_differs", says.split(" is sold")[0].split()[-1])
    assert says in problem.summary


def test_its_case_names_the_line_its_term_and_the_orders():
    problem = held(quoted(LINE, {**SHORT, "SBQQ__SubscriptionTerm__c": 6, "SBQQ__EndDate__c": "2026-06-30"}))
    assert problem.subject == {
        "connection": "salesforce", "document": "0065g00000XYZABAA5", "line": "a0r5g000000QLI2AAO", "sku": "SEAT-1",
        "term": "for 6 months to 2026-06-30", "order_term": "12 months from 2026-01-01",
    }  # fmt: skip


WHOLE = {"SBQQ__EffectiveStartDate__c": "2026-01-01", "SBQQ__EffectiveEndDate__c": "2026-12-31"}


@pytest.mark.parametrize(
    "order",
    [
        quoted(),
        quoted({**LINE, **WHOLE, "SBQQ__SubscriptionTerm__c": 12}),
        quoted({**LINE, "SBQQ__EffectiveEndDate__c": "2026-02-27"},
               SBQQ__StartDate__c="2026-01-31", SBQQ__SubscriptionTerm__c=1),  # the month has no 31st
        quoted(LINE, {**SHORT, "SBQQ__ChargeType__c": "One-Time", "SBQQ__SubscriptionTerm__c": 6,
                      "SBQQ__StartDate__c": "2026-03-01", "SBQQ__EndDate__c": "2026-03-01"}),
        signed(),
        signed({"ServiceDate": None, "EndDate": None}),
    ],
)  # fmt: skip
def test_a_line_that_is_sold_as_its_order_is_or_once_passes(order):
    assert check_order(order) == "complete"


def test_a_line_carries_only_a_term_of_its_own_so_that_no_order_we_hold_changes_by_it():
    (line,) = quoted({**LINE, "SBQQ__SubscriptionTerm__c": 12}).lines
    assert "term_months" not in to_builtins(line)
    (line,) = quoted({**SHORT, "SBQQ__SubscriptionTerm__c": 6}).lines
    assert (line.term_months, line.unit_price) == (6, Decimal(100))


@pytest.mark.parametrize(
    ("changes", "months"),
    [
        ({"SBQQ__SubscriptionTerm__c": None, "SBQQ__EndDate__c": "2026-11-30"}, 11),
        ({"SBQQ__SubscriptionTerm__c": 12, "SBQQ__EndDate__c": "2026-11-30"}, 11),  # the end supersedes, as in CPQ
        ({"SBQQ__SubscriptionTerm__c": 12, "SBQQ__EndDate__c": "2026-12-31"}, 12),
        ({"SBQQ__SubscriptionTerm__c": None, "settings": {"term_months": "24"}}, 24),
        ({"SBQQ__SubscriptionTerm__c": 6, "settings": {"term_months": "24"}}, 6),
    ],
)
def test_a_quotes_term_is_its_end_or_its_number_or_what_a_person_set(changes, months):
    order = quoted(**changes)
    assert (order.term_months, check_order(order)) == (months, "complete")
    (line,) = order.lines
    assert abs(line.unit_price * months - 1200) < Decimal("0.0001")


@pytest.mark.parametrize(
    "order",
    [
        quoted(SBQQ__SubscriptionTerm__c=None),
        quoted(SBQQ__SubscriptionTerm__c=None, settings={"term_months": ""}),
        signed({"ServiceDate": None, "EndDate": None}, EndDate=None),
        signed({"EndDate": None, "SBQQ__BillingFrequency__c": "Monthly"}, EndDate=None, SBQQ__Quote__r={}),
    ],
)
def test_a_term_that_nobody_names_is_missing_and_not_twelve_months(order):
    problem = held(order)
    assert (problem.code, problem.subject["missing"]) == ("order_incomplete", "a term")


def test_an_order_without_an_end_lasts_until_its_quote_ends():
    quote = {"SBQQ__EndDate__c": "2026-11-30", "SBQQ__SubscriptionTerm__c": 12, "SBQQ__Opportunity2__c": None}
    assert signed({"EndDate": None}, EndDate=None, SBQQ__Quote__r=quote).term_months == 11


def test_a_quote_that_ends_within_a_month_is_for_a_person():
    with pytest.raises(ValueError, match="aren't whole months"):
        quoted(SBQQ__SubscriptionTerm__c=None, SBQQ__EndDate__c="2026-11-15")
