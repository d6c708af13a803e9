"""Salesforce's records in our words."""

import datetime as dt
from decimal import Decimal

import pytest

from connectors.manifest import Context, Means
from connectors.salesforce import inbound
from connectors.salesforce.countries import iso_country
from connectors.salesforce.events import EVENTS
from connectors.salesforce.outbound import order_status

OPPORTUNITY = {
    "Id": "0065g00000XYZAB", "Name": "Northwind platform", "AccountId": "0015g00000ABCDE", "Amount": 10000.0,
    "CloseDate": "2026-02-27", "IsWon": True, "CurrencyIsoCode": "USD",
    "SystemModstamp": "2026-02-27T16:04:11.000+0000",
}  # fmt: skip
LINE = {
    "Id": "00k5g000000LIN1", "ProductCode": "PLAT-1", "Quantity": 10.0, "UnitPrice": 1000.0, "ListPrice": 1100.0,
    "ServiceDate": None, "Product2": {"Name": "Platform"},
}  # fmt: skip
QUOTE = {
    "Id": "a0q5g000000QUO1", "Name": "Q-00042", "SBQQ__Status__c": "Accepted", "SBQQ__StartDate__c": "2026-03-01",
    "SBQQ__SubscriptionTerm__c": 24, "SBQQ__PaymentTerms__c": "Net 30", "SBQQ__BillingFrequency__c": "Monthly",
}  # fmt: skip
QUOTE_LINE = {
    "Id": "a0r5g000000QLI1", "SBQQ__ProductCode__c": "PLAT-1", "SBQQ__Quantity__c": 10.0, "SBQQ__NetPrice__c": 2400.0,
    "SBQQ__NetTotal__c": 24000.0, "SBQQ__ListPrice__c": 1300.0, "SBQQ__EffectiveStartDate__c": "2026-03-01",
    "SBQQ__EffectiveEndDate__c": "2028-02-28", "SBQQ__ChargeType__c": "Recurring",
}  # fmt: skip


def order(lines=(LINE,), *, quote=None, quote_lines=(), settings=None, **changes):
    return inbound.order(
        {**OPPORTUNITY, **changes}, connection="salesforce", lines=lines, quote=quote, quote_lines=quote_lines,
        settings=settings or {},
    )  # fmt: skip


def test_an_opportunity_without_a_quote_sells_its_own_lines():
    sold = order()
    assert (sold.source.object_id, sold.customer_id) == ("0065g00000XYZABAA5", "0015g00000ABCDEAA5")
    assert (sold.currency, sold.amount, sold.term_months) == ("USD", Decimal(10000), 12)
    assert (sold.start_date, sold.number) == (dt.date(2026, 2, 27), "Northwind platform")
    (line,) = sold.lines
    assert (line.sku, line.quantity, line.unit_price, line.list_price) == ("PLAT-1", 10, 1000, 1100)
    assert (line.billing_frequency, line.description) == ("annual", "Platform")


@pytest.mark.parametrize(
    ("model", "frequency"),
    [
        ({"SellingModelType": "TermDefined", "PricingTermUnit": "Months"}, "monthly"),
        ({"SellingModelType": "Evergreen", "PricingTermUnit": "Quarterly"}, "quarterly"),
        ({"SellingModelType": "OneTime", "PricingTermUnit": None}, "one_time"),
        (None, "annual"),
    ],
)
def test_a_selling_model_says_how_often_a_line_is_billed(model, frequency):
    (line,) = order([{**LINE, "PricebookEntry": {"ProductSellingModel": model}}]).lines
    assert line.billing_frequency == frequency


def test_a_primary_quote_is_the_contract():
    sold = order(quote=QUOTE, quote_lines=[QUOTE_LINE])
    assert (sold.number, sold.quote_status, sold.payment_terms) == ("Q-00042", "Accepted", "Net 30")
    assert (sold.start_date, sold.term_months, sold.billing_frequency) == (dt.date(2026, 3, 1), 24, "monthly")
    (line,) = sold.lines
    assert (line.unit_price, line.quantity, line.billing_frequency) == (Decimal(100), 10, "monthly")
    assert (line.service_start, line.service_end) == (dt.date(2026, 3, 1), dt.date(2028, 2, 28))


def test_a_one_time_quote_line_is_charged_whole():
    once = {**QUOTE_LINE, "SBQQ__ChargeType__c": "One-Time", "SBQQ__NetTotal__c": 500.0, "SBQQ__Quantity__c": 1.0}
    (line,) = order(quote=QUOTE, quote_lines=[once]).lines
    assert (line.unit_price, line.billing_frequency) == (Decimal(500), "one_time")


def test_numbers_are_exact():
    (line,) = order([{**LINE, "UnitPrice": Decimal("1999.99")}]).lines
    assert line.unit_price == Decimal("1999.99")


def test_an_org_with_one_currency_says_it_in_its_settings():
    assert order(settings={"currency": "EUR"}, CurrencyIsoCode=None).currency == "EUR"


def test_the_seller_stands_on_the_opportunity_or_its_account():
    settings = {"legal_entity_field": "Legal_Entity__c"}
    assert order(settings=settings, Legal_Entity__c="GB01").legal_entity == "GB01"
    assert order(settings=settings, Account={"Legal_Entity__c": "JP01"}).legal_entity == "JP01"
    assert order(Legal_Entity__c="GB01").legal_entity == ""


def test_an_order_without_lines_is_an_order_without_lines():
    assert order([]).lines == ()


@pytest.mark.parametrize(
    ("name", "code"),
    [("United Kingdom", "GB"), ("UK", "GB"), ("United States", "US"), ("usa", "US"), ("Deutschland", ""), ("DE", "DE"),
     ("Japan", "JP"), ("EIRE", "IE"), ("Namibia", "NA"), ("", ""), ("Greece", "GR"), ("Korea", "KR")],
)  # fmt: skip
def test_countries_as_people_write_them(name, code):
    assert iso_country(name) == code


def test_an_account_keeps_its_address_and_parent():
    raw = {
        "Id": "0015g00000ABCDE", "Name": " Northwind Ltd ", "ParentId": "0015g00000ABCDD", "BillingCountry": "UK",
        "BillingStreet": "1 High St\r\nUnit 2\nFloor 3", "BillingCity": "Leeds", "CurrencyIsoCode": "GBP",
    }  # fmt: skip
    customer = inbound.customer(raw, connection="salesforce", settings={})
    assert (customer.name, customer.parent_id) == ("Northwind Ltd", "0015g00000ABCDDAA5")
    assert (customer.bill_to.line1, customer.bill_to.line2, customer.bill_to.country) == (
        "1 High St",
        "Unit 2, Floor 3",
        "GB",
    )
    assert customer.crm_id == customer.source.object_id == "0015g00000ABCDEAA5"


def context(fetched=None, event_type="Opportunity"):
    return Context(
        "salesforce", {}, event_type, "0065g00000XYZABAA5", dt.datetime(2026, 11, 21, tzinfo=dt.UTC), fetched
    )


def translate(body, given):
    meaning = EVENTS[given.event_type]
    assert isinstance(meaning, Means)
    return meaning.translate(body, given)


def test_a_notification_is_a_hint_and_the_record_decides():
    assert translate(b"<notifications/>", context()) == []
    (event,) = translate(b"<notifications/>", context(order()))
    assert (event.order.number, event.occurred_at) == ("Northwind platform", dt.datetime(2026, 11, 21, tzinfo=dt.UTC))


def test_a_polled_record_says_when_it_changed():
    (event,) = translate(b'{"SystemModstamp": "2026-02-27T16:04:11.000+0000"}', context(order()))
    assert event.occurred_at == dt.datetime(2026, 2, 27, 16, 4, 11, tzinfo=dt.UTC)


def test_a_product_is_read_from_the_poll_itself():
    body = (
        b'{"Id":"01t5g000000PRD1","Name":"Platform","ProductCode":"PLAT-1","IsActive":true,'
        b'"SystemModstamp":"2026-02-27T16:04:11.000+0000"}'
    )
    (event,) = translate(body, context(event_type="Product2"))
    assert (event.product.sku, event.product.name) == ("PLAT-1", "Platform")


def test_status_is_told_in_the_fields_that_are_agreed():
    assert order_status({"status": "Active", "link": "https://x"}) == {
        "Q2C_Status__c": "Active",
        "Q2C_Link__c": "https://x",
    }
    assert order_status({"Q2C_Invoice_Status__c": "Paid"}) == {"Q2C_Invoice_Status__c": "Paid"}
    with pytest.raises(ValueError, match="StageName"):
        order_status({"StageName": "Closed Lost"})
