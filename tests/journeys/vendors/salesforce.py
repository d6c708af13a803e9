"""Salesforce in the journeys."""

from __future__ import annotations

import datetime as dt
from typing import Any

from tests.journeys.vendors.player import PlaysCrm, Trace
from tests.sandboxes.salesforce import Caller

LOCKED = [{"errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "Locked by sales", "fields": []}]


def _of(record: str, **more: Any) -> Trace:
    path = f"*/sobjects/{record}/*"
    return Trace(record, effect="updated", method="PATCH", path=path, again="done", refusal=LOCKED, **more)


class Salesforce(PlaysCrm):
    vendor = "salesforce"
    traces = {
        "order_to_sale": _of("Order"),
        "status_to_crm": _of("Opportunity", works={"done": 3}, unseen={"done": 3}),  # written again, as it was
    }

    def tells_of_write(self, method, verb):
        return method == "POST" or verb.startswith("find_")

    def account(self, house, **changes):
        said = {"name": "Name", "number": "AccountNumber"}
        changes = {said.get(field, field): value for field, value in changes.items()}
        given = {
            "Name": "Northwind Ltd",
            "BillingCountry": "United Kingdom",
            "BillingCity": "Leeds",
            "BillingStreet": "1 High St",
            "BillingPostalCode": "LS1 1AA",
            "CurrencyIsoCode": "GBP",
            "AccountNumber": "NW-1",
            **changes,
        }
        return house.make(self.vendor, "Account", [given])[0]

    def win(self, house, account, *, sku, price, currency, **changes):
        entry = self.price(house, sku, price, currency)
        given = {
            "Name": "Northwind platform",
            "AccountId": account,
            "StageName": "Closed Won",
            "CurrencyIsoCode": currency,
            "CloseDate": dt.datetime.now(dt.UTC).date().isoformat(),
            "Legal_Entity__c": "GB01",
            "OpportunityLineItems": [{"PricebookEntryId": entry, "Quantity": 2, "UnitPrice": price}],
            **changes,
        }
        return house.make(self.vendor, "Opportunity", [given])[0]

    def sign(self, house, account, *, sku, price, currency, **changes):
        if "sale" in changes:
            changes["OpportunityId"] = changes.pop("sale")
        entry = self.price(house, sku, price, currency)
        given = {
            "AccountId": account,
            "Status": "Draft",
            "EffectiveDate": dt.datetime.now(dt.UTC).date().isoformat(),
            "CurrencyIsoCode": currency,
            "OrderItems": [{"PricebookEntryId": entry, "Quantity": 2, "UnitPrice": price}],
            **changes,
        }
        order = house.make(self.vendor, "Order", [given])[0]
        house.make(self.vendor, "Order", [{"Id": order, "Status": "Activated"}])
        return order

    def price(self, house: Any, sku: str, price: str, currency: str) -> str:
        """A price book entry of a SKU in a currency, made once."""
        if (sku, currency) not in house.prices:
            books = house.sandboxes.control("GET", "salesforce/documents/Pricebook2?limit=50")["items"]
            book = next(b["Id"] for b in books if b["IsStandard"])
            given = {"Name": sku, "ProductCode": sku, "StockKeepingUnit": sku, "IsActive": True}
            product = house.make(self.vendor, "Product2", [given])[0]
            entry = {
                "Pricebook2Id": book,
                "Product2Id": product,
                "UnitPrice": price,
                "IsActive": True,
                "CurrencyIsoCode": currency,
            }
            house.prices[sku, currency] = house.make(self.vendor, "PricebookEntry", [entry])[0]
        found: str = house.prices[sku, currency]
        return found

    def sell_more(self, house, sale, quantity):
        caller = Caller(house.sandboxes)
        (line,) = caller.query(f"SELECT Id FROM OpportunityLineItem WHERE OpportunityId = '{sale}'")
        caller.call("PATCH", f"sobjects/OpportunityLineItem/{line['Id']}", {"Quantity": quantity})
        assert caller.status == 204
        caller.call("PATCH", f"sobjects/Opportunity/{sale}", {"NextStep": "Signed"})  # so that a poll sees it


PLAYER = Salesforce()
