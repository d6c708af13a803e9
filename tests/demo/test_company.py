"""The demo's company and its deals, built from the data as it is."""

import datetime as dt
from collections import defaultdict
from decimal import Decimal

from q2c.canonical.base import Source
from q2c.canonical.contract import Order, OrderLine
from q2c.demo import company, deals
from q2c.flows.steps.prices import find_fault

TODAY = dt.date(2026, 11, 20)


def test_the_catalogue_keeps_its_dirt():
    products = {each["Ext_Id__c"]: each for each in company.build_products()}
    assert len(products) == 314
    assert products["9999999"]["ProductCode"] is None
    assert sum(each["ProductCode"] is None for each in products.values()) == 1
    assert len(company.list_unpriced_skus()) == 69
    assert "9999999" in company.list_unpriced_skus()


def test_prices_stand_in_seven_currencies_and_some_are_zero():
    prices = company.list_prices()
    assert len(prices) == len({each.key for each in prices}) == 1862
    assert {each.currency for each in prices} == {"USD", "GBP", "EUR", "AUD", "CAD", "CHF", "JPY"}
    assert sum(each.unit_price == 0 for each in prices) == 84
    assert all(each.unit_price == each.unit_price.to_integral_value() for each in prices if each.currency == "JPY")
    entry = company.build_price_entries("01s000000000001")[0]
    assert (entry["Product2"], entry["UnitPrice"]) == ({"Ext_Id__c": "QB-API"}, "2000")


def test_accounts_are_847_with_parents_first_and_duplicates_below_them():
    accounts = company.build_accounts()
    keys = [each["Ext_Id__c"] for each in accounts]
    assert len(keys) == len(set(keys)) == 847
    children = [each for each in accounts if "Parent" in each]
    assert len(children) == 408
    assert all(keys.index(each["Parent"]["Ext_Id__c"]) < keys.index(each["Ext_Id__c"]) for each in children)
    assert sum("BillingCountry" not in each for each in accounts) == 440
    emails = [each["Email"] for each in company.build_contacts()]
    assert len(emails) - len(set(emails)) == 407


def test_every_entity_sells_and_an_account_without_country_has_none():
    buyers = company.list_buyers()
    assert set(buyers) == {*company.ENTITY_CURRENCY, ""}
    assert {entity: len(found) for entity, found in buyers.items()}[""] == 440
    assert all(len(buyers[entity]) >= 10 for entity in ("GB01", "US01", "JP01", "DE01", "CA01", "AU01", "CH01"))


def test_a_deal_is_always_the_same():
    assert deals.build_deal(17, TODAY) == deals.build_deal(17, TODAY)
    assert deals.build_deal(17, TODAY) != deals.build_deal(41, TODAY)


def test_the_first_deals_hold_each_kind_of_dirt_once_and_are_clean_otherwise():
    made = {number: deals.build_deal(number, TODAY) for number in range(1, deals.FIRST_DEALS + 1)}
    assert sorted(filter(None, map(deals.find_dirt, made))) == sorted(
        ["no_item", "no_price", "no_lines", "no_address", "zero_price", "other_currency", "no_code", "off_price"]
    )
    by_dirt = {deals.find_dirt(number): deal for number, deal in made.items()}
    assert "OpportunityLineItems" not in by_dirt["no_lines"]
    assert by_dirt["no_address"]["Legal_Entity__c"] is None
    zero = [Decimal(each["UnitPrice"]) for each in by_dirt["zero_price"]["OpportunityLineItems"]]
    assert Decimal(0) in zero
    assert (
        by_dirt["other_currency"]["CurrencyIsoCode"]
        != company.ENTITY_CURRENCY[by_dirt["other_currency"]["Legal_Entity__c"]]
    )
    unpriced = by_dirt["no_price"]["SBQQ__Quotes2__r"][0]["SBQQ__LineItems__r"][-1]["SBQQ__Product__r"]["Ext_Id__c"]
    assert unpriced in company.list_unpriced_skus()
    rare = set(deals.list_rare_skus())
    odd = [each["PricebookEntry"]["Ext_Id__c"].partition(";")[0] for each in by_dirt["no_item"]["OpportunityLineItems"]]
    assert rare & set(odd)


def test_a_deal_has_one_rhythm_and_its_quote_covers_the_whole_term():
    for number in range(1, 100):
        deal = deals.build_deal(number, TODAY)
        kinds = {line["PricebookEntry"]["Ext_Id__c"].split(";")[1] for line in deal.get("OpportunityLineItems", ())}
        rhythms = {kind.rpartition(" ")[2] for kind in kinds if kind != "One-Time"}
        if deals.find_dirt(number) in {"", "no_price"}:
            assert len(rhythms) == 1
        for quote in deal.get("SBQQ__Quotes2__r", ()):
            months = {"Monthly": 1, "Annual": 12}
            for line in quote["SBQQ__LineItems__r"]:
                if line.get("SBQQ__ChargeType__c") == "Recurring":
                    periods = line["SBQQ__ProrateMultiplier__c"] * months[line["SBQQ__BillingFrequency__c"]]
                    assert periods == quote["SBQQ__SubscriptionTerm__c"]


def test_clean_deals_sell_known_items_at_a_price_in_the_entitys_currency():
    for number in range(1, 200):
        deal = deals.build_deal(number, TODAY)
        if deals.find_dirt(number):
            continue
        currency = company.ENTITY_CURRENCY[deal["Legal_Entity__c"]]
        assert deal["CurrencyIsoCode"] == currency
        for line in deal["OpportunityLineItems"]:
            key = line["PricebookEntry"]["Ext_Id__c"]
            assert key.endswith(f";{currency}")
            assert Decimal(line["UnitPrice"]) > 0
            assert key.partition(";")[0] not in deals.list_rare_skus()


def test_the_price_book_agrees_with_every_deal_but_those_that_nobody_approved():
    rhythms = {"Monthly": "monthly", "Annual": "annual", "One-Time": "one_time"}
    entries = defaultdict(list)
    for price in company.list_prices():
        entries[price.sku].append({"unit_price": str(price.unit_price), "currency": price.currency,
                                   "billing_frequency": rhythms.get(price.kind.rpartition(" ")[2], "")})  # fmt: skip
    for number in range(1, 200):
        deal, faults = deals.build_deal(number, TODAY), []
        for sold in deal.get("OpportunityLineItems", ()):
            sku, kind, currency = sold["PricebookEntry"]["Ext_Id__c"].split(";")
            line = OrderLine(line_id="1", sku=sku, quantity=Decimal(1), unit_price=Decimal(sold["UnitPrice"]),
                             billing_frequency=rhythms[kind.rpartition(" ")[2]])  # fmt: skip
            source = Source(connection="salesforce", object_type="Opportunity", object_id="006A")
            order = Order(source=source, number="O", customer_id="001A", currency=deal["CurrencyIsoCode"],
                          start_date=TODAY, term_months=12, lines=(line,))  # fmt: skip
            faults.append(find_fault(order, line, entries[sku], tolerance=Decimal("0.2")))
        assert bool(any(faults)) is (deals.find_dirt(number) == "off_price"), (number, faults)
