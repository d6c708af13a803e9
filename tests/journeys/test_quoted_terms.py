"""A quote with a line of another term than its own: nothing of it is billed before a person has decided."""

from __future__ import annotations

import pytest

from exceptions.models import ExceptionCase
from tests.journeys.test_made_once import made_subscriptions
from tests.journeys.test_told_at_source import tell
from tests.sandboxes.salesforce import Caller

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_line_of_six_months_in_a_quote_of_twelve_is_held_and_billed_once_it_agrees(house):
    account, entry = house.account(), house.price("QB-API", "100.00")
    crm = Caller(house.sandboxes)
    (product,) = crm.names(f"SELECT Product2Id FROM PricebookEntry WHERE Id = '{entry}'")
    line = {
        "SBQQ__Product__c": product, "SBQQ__PricebookEntryId__c": entry, "SBQQ__Quantity__c": 1,
        "SBQQ__NetPrice__c": "100.00", "SBQQ__ChargeType__c": "Recurring", "SBQQ__BillingFrequency__c": "Monthly",
    }  # fmt: skip
    short = {**line, "SBQQ__SubscriptionTerm__c": 6, "SBQQ__ProrateMultiplier__c": 6}
    quote = {
        "SBQQ__Account__c": account, "SBQQ__Primary__c": True, "SBQQ__Status__c": "Accepted",
        "SBQQ__StartDate__c": "2026-11-01", "SBQQ__SubscriptionTerm__c": 12, "CurrencyIsoCode": "GBP",
        "SBQQ__LineItems__r": [{**line, "SBQQ__ProrateMultiplier__c": 12}, short],
    }  # fmt: skip
    order = house.win(account, SBQQ__Quotes2__r=[quote])
    house.carry(seconds=60)
    assert (house.held(), made_subscriptions(house)) == (["line_term_differs"], 0)
    case = ExceptionCase.objects.get()
    assert (case.queue, case.summary.partition(" is for ")[2]) == (
        "sales_ops", "12 months from 1 November 2026, but QB-API is sold for 6 months",
    )  # fmt: skip
    (short_id,) = crm.names("SELECT Id FROM SBQQ__QuoteLine__c WHERE SBQQ__SubscriptionTerm__c = 6")
    changed = {"Id": short_id, "SBQQ__SubscriptionTerm__c": 12, "SBQQ__ProrateMultiplier__c": 12}
    house.make("salesforce", "SBQQ__QuoteLine__c", [changed])
    house.make("salesforce", "Opportunity", [{"Id": order, "Name": "Northwind, mended"}])
    house.poll()
    house.carry()
    tell(house)
    assert (house.held(), made_subscriptions(house)) == ([], 1)
    (made,) = house.made("stripe", "subscription")
    items = house.ask_stripe(f"subscriptions/{made['id']}")["items"]["data"]
    assert [item["price"]["unit_amount"] for item in items] == [10_000, 10_000]
