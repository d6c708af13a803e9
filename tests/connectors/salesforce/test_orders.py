"""Salesforce's own orders in our words."""

import datetime as dt
from decimal import Decimal

import pytest

from connectors.salesforce.inbound_orders import months_of, signed_order

ORDER = {
    "Id": "8015g000000ORD1", "OrderNumber": "00001042", "AccountId": "0015g00000ABCDE", "StatusCode": "Activated",
    "EffectiveDate": "2026-03-01", "EndDate": "2027-02-28", "TotalAmount": 10000.0, "PoNumber": "PO-77",
    "CurrencyIsoCode": "USD", "OpportunityId": None,
}  # fmt: skip
ITEM = {
    "Id": "8025g000000OI01", "Quantity": 10.0, "UnitPrice": 1000.0, "ListPrice": 1100.0, "TotalPrice": 10000.0,
    "ServiceDate": "2026-03-01", "EndDate": "2027-02-28", "Product2": {"Name": "Platform", "ProductCode": "PLAT-1"},
}  # fmt: skip


def order(items=(ITEM,), settings=None, **changes):
    return signed_order({**ORDER, **changes}, connection="salesforce", items=items, settings=settings or {})


def test_an_order_is_sold_with_its_own_number_term_and_products():
    sold = order()
    assert (sold.source.object_type, sold.source.object_id) == ("Order", "8015g000000ORD1AAO")
    assert (sold.number, sold.po_number, sold.currency, sold.amount) == ("00001042", "PO-77", "USD", Decimal(10000))
    assert (sold.start_date, sold.term_months, sold.customer_id) == (dt.date(2026, 3, 1), 12, "0015g00000ABCDEAA5")
    assert (sold.opportunity_id, sold.quote_status, sold.legal_entity) == ("", "", "")
    (line,) = sold.lines
    assert (line.sku, line.quantity, line.unit_price, line.list_price) == ("PLAT-1", 10, 1000, 1100)
    assert (line.service_start, line.service_end) == (dt.date(2026, 3, 1), dt.date(2027, 2, 28))


@pytest.mark.parametrize(
    ("changes", "unit_price", "frequency"),
    [
        ({"PricebookEntry": {"ProductSellingModel": {"PricingTermUnit": "Months"}}}, "1000", "monthly"),
        ({"SBQQ__BillingFrequency__c": "Annual"}, "1000", "annual"),
        ({"SBQQ__BillingFrequency__c": "Monthly", "TotalPrice": 24000.0}, "200", "monthly"),
        ({"SBQQ__BillingFrequency__c": "Quarterly", "SBQQ__ChargeType__c": "Recurring"}, "250", "quarterly"),
        ({"SBQQ__ChargeType__c": "One-Time", "TotalPrice": 500.0, "Quantity": 1.0}, "500", "one_time"),
        ({"SBQQ__BillingFrequency__c": "Monthly", "EndDate": "2026-08-31", "TotalPrice": 6000.0}, "100", "monthly"),
    ],
)
def test_what_cpq_made_says_what_the_term_costs_and_other_products_what_a_period_does(changes, unit_price, frequency):
    (line,) = order([{**ITEM, **changes}]).lines
    assert (line.unit_price, line.billing_frequency) == (Decimal(unit_price), frequency)


@pytest.mark.parametrize(
    ("changes", "opportunity"),
    [
        ({"OpportunityId": "0065g00000XYZAB"}, "0065g00000XYZABAA5"),
        ({"SBQQ__Quote__c": "a0q5g000000QUO1", "SBQQ__Quote__r": {"SBQQ__Opportunity2__c": "0065g00000XYZABAA5"}},
         "0065g00000XYZABAA5"),
        ({"SBQQ__Quote__c": "a0q5g000000QUO1", "SBQQ__Quote__r": {"SBQQ__Opportunity2__c": None}}, ""),
    ],
)  # fmt: skip
def test_the_opportunity_that_is_sold_is_named_by_the_order_or_its_quote(changes, opportunity):
    assert order(**changes).opportunity_id == opportunity


def test_an_order_of_a_quote_that_names_no_opportunity_might_be_sold_already():
    with pytest.raises(ValueError, match="names no opportunity"):
        order(QuoteId="0Q05g000000QUO1")


def test_an_order_without_an_end_lasts_as_its_quote_says_or_the_settings_do():
    quoted = {"SBQQ__SubscriptionTerm__c": 24, "SBQQ__PaymentTerms__c": "Net 45", "SBQQ__Opportunity2__c": None}
    sold = order(EndDate=None, SBQQ__Quote__r=quoted)
    assert (sold.term_months, sold.payment_terms) == (24, "Net 45")
    assert order(EndDate=None, settings={"term_months": "6"}).term_months == 6


def test_the_seller_stands_on_the_account():
    account = {"Legal_Entity__c": "GB01"}
    assert order(Account=account, settings={"legal_entity_field": "Legal_Entity__c"}).legal_entity == "GB01"


@pytest.mark.parametrize(
    ("first", "last", "months"),
    [("2026-03-01", "2027-02-28", 12), ("2026-01-31", "2026-02-27", 1), ("2026-01-31", "2026-03-30", 2),
     ("2026-11-15", "2026-12-14", 1), ("2027-12-31", "2028-02-28", 2)],
)  # fmt: skip
def test_a_term_is_counted_in_whole_months(first, last, months):
    assert months_of(dt.date.fromisoformat(first), dt.date.fromisoformat(last)) == months


@pytest.mark.parametrize("last", ["2026-03-15", "2026-02-28", "2027-03-01"])
def test_a_term_of_broken_months_is_for_a_person(last):
    with pytest.raises(ValueError, match="whole months"):
        months_of(dt.date(2026, 3, 1), dt.date.fromisoformat(last))
