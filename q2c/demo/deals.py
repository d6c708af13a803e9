"""Closed-won opportunities of the demo: the n-th is always the same, with the dirt that the data has. Pure."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from typing import Any

from q2c.demo.company import ENTITY_CURRENCY, Buyer, Price, list_buyers, list_prices, list_unpriced_skus

FIRST_DEALS = 24
ROTATION = ("GB01", "US01", "JP01", "US01", "GB01", "DE01", "JP01", "CA01", "US01", "GB01", "AU01", "CH01")
NO_ITEM, NO_PRICE, NO_LINES, NO_ADDRESS, ZERO_PRICE, OTHER_CURRENCY, NO_CODE, OFF_PRICE = (
    "no_item", "no_price", "no_lines", "no_address", "zero_price", "other_currency", "no_code", "off_price",
)  # fmt: skip
DIRT = {
    3: NO_ITEM,
    5: OFF_PRICE,
    6: NO_LINES,
    10: NO_ADDRESS,
    13: ZERO_PRICE,
    17: OTHER_CURRENCY,
    19: NO_PRICE,
    22: NO_CODE,
}
CODELESS = "9999999"
ONLY_AT_HOME = frozenset({"TEST-SUB"})  # finance has it in the American books alone
SINGLE = "One-Time"
PERIOD_MONTHS = {"Monthly": 1, "Annual": 12}  # what a price of that rhythm covers


def find_dirt(number: int) -> str:
    """What is wrong with the n-th deal; '' for three of four."""
    return DIRT.get(number % FIRST_DEALS, "")


def deal_key(number: int) -> str:
    """The external id of the n-th deal; sorts as the numbers do."""
    return f"DEAL-{number:08d}"


def build_deal(number: int, today: dt.date) -> dict[str, Any]:
    """The n-th won opportunity with its products and, two times of three, its primary quote, for the control door."""
    chance = random.Random(f"deal {number}")
    dirt = find_dirt(number)
    entity = "" if dirt == NO_ADDRESS else ROTATION[number % len(ROTATION)]
    buyer = chance.choice(list_buyers()[entity])
    currency = ENTITY_CURRENCY.get(entity, "USD")
    if dirt == OTHER_CURRENCY:
        currency = chance.choice([each for each in ("CHF", "AUD", "CAD") if each != currency])
    prices = choose_prices(chance, currency, dirt)
    term = chance.choice((12, 12, 24, 36))
    start = today if chance.random() < 0.6 else (today.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
    lines = [build_product(chance, price, start) for price in prices]
    if dirt == OFF_PRICE:  # nobody approved so much
        lines[0]["UnitPrice"] = str((prices[0].unit_price * Decimal("0.4")).quantize(_places(currency)))
    deal: dict[str, Any] = {
        "Ext_Id__c": deal_key(number),
        "Name": f"{buyer.name} {prices[0].name if prices else 'renewal'}"[:120],
        "Account": {"Ext_Id__c": buyer.key},
        "StageName": "Closed Won",
        "CloseDate": today.isoformat(),
        "CurrencyIsoCode": currency,
        "Type": "New Business",
        "Legal_Entity__c": entity or None,
    }
    if not lines:
        deal["Amount"] = chance.randrange(1, 90) * 100
        return deal
    deal["OpportunityLineItems"] = lines
    if number % 3 or dirt in {NO_PRICE, NO_CODE}:
        deal["SBQQ__Quotes2__r"] = [build_quote(buyer, lines, prices, start, term, currency, dirt)]
    return deal


def order_key(number: int) -> str:
    """The external id of the order of the n-th tick."""
    return f"ORDER-{number:08d}"


def build_order(number: int, today: dt.date, *, is_alone: bool) -> dict[str, Any] | None:
    """The draft order in which the n-th deal is written down, or one of the same products that stands alone; None for
    a deal with dirt."""
    if find_dirt(number):
        return None
    deal = build_deal(number, today)
    return {
        "Ext_Id__c": order_key(number),
        "Account": deal["Account"],
        **({} if is_alone else {"Opportunity": {"Ext_Id__c": deal_key(number)}}),
        "Status": "Draft",
        "EffectiveDate": deal["OpportunityLineItems"][0]["ServiceDate"],
        "CurrencyIsoCode": deal["CurrencyIsoCode"],
        "PoNumber": f"PO-{number:05d}",
        "OrderItems": deal["OpportunityLineItems"],
    }


def choose_prices(chance: random.Random, currency: str, dirt: str) -> list[Price]:
    """A subscription in a currency, often with more of the same rhythm or with single sales; one more for the dirt."""
    if dirt == NO_LINES:
        return []
    offered = [price for price in list_prices() if price.currency == currency]
    rare = set(list_rare_skus())
    unusual = rare if currency == "USD" else rare | ONLY_AT_HOME
    priced = [price for price in offered if price.unit_price > 0 and price.sku not in unusual]
    first = chance.choice([price for price in priced if price.kind != SINGLE])
    same = [price for price in priced if price.kind.rpartition(" ")[2] == first.kind.rpartition(" ")[2]]
    single = [price for price in priced if price.kind == SINGLE]
    chosen = {first.sku: first}
    for _ in range(chance.randint(0, 2)):
        price = chance.choice(same if chance.random() < 0.6 else single)
        chosen.setdefault(price.sku, price)
    if dirt == ZERO_PRICE:
        free = chance.choice([price for price in offered if price.unit_price == 0])
        chosen[free.sku] = free
    if dirt == NO_ITEM:
        odd = chance.choice([price for price in offered if price.sku in rare])
        chosen[odd.sku] = odd
    return list(chosen.values())


def list_rare_skus() -> list[str]:
    """Every twentieth priced SKU: sold now and then, and not known to finance yet."""
    return sorted({price.sku for price in list_prices()})[9::20]


def build_product(chance: random.Random, price: Price, start: dt.date) -> dict[str, Any]:
    """A product line at list price, or up to 15 % below."""
    discount = Decimal(chance.choice((0, 0, 0, 5, 10, 15)))
    unit = (price.unit_price * (100 - discount) / 100).quantize(_places(price.currency))
    return {
        "PricebookEntry": {"Ext_Id__c": price.key},
        "Quantity": chance.choice((1, 1, 2, 3, 5, 10, 25)),
        "UnitPrice": str(unit),
        "ServiceDate": start.isoformat(),
        "Description": price.name,
    }


def _places(currency: str) -> Decimal:
    return Decimal(1) if currency == "JPY" else Decimal("0.01")


def build_quote(
    buyer: Buyer, lines: list[dict], prices: list[Price], start: dt.date, term: int, currency: str, dirt: str
) -> dict[str, Any]:
    """The accepted primary quote over the same products; it may hold a product that no price book knows."""
    quote_lines = [_build_quote_line(line, price, term) for line, price in zip(lines, prices, strict=True)]
    if dirt in {NO_PRICE, NO_CODE}:
        sku = CODELESS if dirt == NO_CODE else list_unpriced_skus()[1 + len(buyer.name) % 60]
        quote_lines.append({"SBQQ__Product__r": {"Ext_Id__c": sku}, "SBQQ__Quantity__c": 1})
    return {
        "SBQQ__Account__r": {"Ext_Id__c": buyer.key},
        "SBQQ__Primary__c": True,
        "SBQQ__Status__c": "Accepted",
        "SBQQ__Type__c": "Quote",
        "SBQQ__StartDate__c": start.isoformat(),
        "SBQQ__SubscriptionTerm__c": term,
        "SBQQ__PaymentTerms__c": "Net 30",
        "SBQQ__BillingFrequency__c": "Monthly" if any("Monthly" in price.kind for price in prices) else "Annual",
        "SBQQ__Ordered__c": True,
        "CurrencyIsoCode": currency,
        "SBQQ__LineItems__r": quote_lines,
    }


def _build_quote_line(line: dict[str, Any], price: Price, term: int) -> dict[str, Any]:
    """CPQ's net total covers the whole term: so many periods of the price."""
    rhythm = price.kind.rpartition(" ")[2]
    is_single = price.kind == SINGLE
    return {
        "SBQQ__Product__r": {"Ext_Id__c": price.sku},
        "SBQQ__Quantity__c": line["Quantity"],
        "SBQQ__ListPrice__c": str(price.unit_price),
        "SBQQ__NetPrice__c": line["UnitPrice"],
        "SBQQ__ChargeType__c": "One-Time" if is_single else "Recurring",
        "SBQQ__BillingType__c": "Advance",
        "SBQQ__BillingFrequency__c": "Invoice Plan" if is_single else rhythm,
        "SBQQ__ProrateMultiplier__c": None if is_single else term // PERIOD_MONTHS[rhythm],
        "SBQQ__SubscriptionType__c": "One-time" if is_single else "Renewable",
    }


def build_account_change(number: int) -> tuple[str, dict[str, Any]]:
    """An account that moved or changed its telephone: its external id and the changed fields."""
    chance = random.Random(f"account {number}")
    buyer = chance.choice(list_buyers()[chance.choice(("GB01", "US01", "JP01"))])
    if chance.random() < 0.5:
        return buyer.key, {"Phone": f"{chance.randrange(200, 999)}-555-{chance.randrange(100, 9999):04d}"}
    return buyer.key, {"BillingStreet": f"{chance.randrange(1, 999)} {chance.choice(('Mill', 'Park', 'Station'))} Road"}
