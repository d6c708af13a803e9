"""The demo's company in Salesforce: catalogue, prices in seven currencies, accounts with their hierarchy, from `data/`.

The dirt of the data stays: products without a price, prices of zero, a product without a code, duplicate accounts,
accounts without an address.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2] / "data"
ENTITY_CURRENCY = {
    "US01": "USD",
    "GB01": "GBP",
    "JP01": "JPY",
    "DE01": "EUR",
    "CA01": "CAD",
    "AU01": "AUD",
    "CH01": "CHF",
}
COUNTRY_ENTITY = {"United States": "US01", "Canada": "CA01", "United Kingdom": "GB01"}
# Some customers of a big country buy from another of the company's entities: by the remainder of their number.
SPREAD = {"United States": (8, {1: "DE01", 3: "JP01", 6: "JP01"}), "Canada": (6, {1: "CH01", 4: "AU01"})}


@dataclass(frozen=True)
class Price:
    """One price book entry. `key` is its external id; `kind` the selling model: One-Time, Term Annual, …"""

    key: str
    sku: str
    kind: str
    currency: str
    unit_price: Decimal
    name: str


@dataclass(frozen=True)
class Buyer:
    """An account that buys: its external id, name and entity ('' where the data gives no country)."""

    key: str
    name: str
    entity: str


def read_table(folder: str, name: str) -> list[dict[str, str]]:
    """A CSV file below `data/`; `#N/A` is empty."""
    with (DATA / folder / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
        return [{key: "" if value == "#N/A" else value for key, value in row.items()} for row in csv.DictReader(file)]


@cache
def list_prices() -> tuple[Price, ...]:
    """All 1,862 price book entries."""
    return tuple(
        Price(
            key=row["$$Product2.StockKeepingUnit$ProductSellingModel.Name$CurrencyIsoCode"],
            sku=row["Product2.StockKeepingUnit"],
            kind=row["ProductSellingModel.$$Name$SellingModelType"].partition(";")[0],
            currency=row["CurrencyIsoCode"],
            unit_price=Decimal(row["UnitPrice"]),
            name=row["Name"],
        )
        for row in read_table("salesforce_revenue_cloud", "qb-pricing/PricebookEntry")
    )


@cache
def list_unpriced_skus() -> tuple[str, ...]:
    """The 69 SKUs of the catalogue that have no price, `9999999` among them."""
    priced = {price.sku for price in list_prices()}
    rows = read_table("salesforce_revenue_cloud", "qb-pcm/Product2")
    return tuple(sorted(row["StockKeepingUnit"] for row in rows if row["StockKeepingUnit"] not in priced))


def build_products() -> list[dict[str, Any]]:
    """Salesforce's Product2 records, found again by their SKU as external id."""
    return [
        {
            "Ext_Id__c": row["StockKeepingUnit"],
            "Name": row["Name"],
            "ProductCode": row["ProductCode"] or None,
            "StockKeepingUnit": row["StockKeepingUnit"],
            "Family": row["Family"] or None,
            "Description": row["Description"] or None,
            "QuantityUnitOfMeasure": row["QuantityUnitOfMeasure"] or None,
            "IsActive": row["IsActive"] == "true",
        }
        for row in read_table("salesforce_revenue_cloud", "qb-pcm/Product2")
    ]


def build_selling_models() -> list[dict[str, Any]]:
    """Once, for a term, or until cancelled; monthly to annual."""
    return [
        {
            "Ext_Id__c": row["Name"],
            "Name": row["Name"],
            "SellingModelType": row["SellingModelType"],
            "PricingTerm": int(row["PricingTerm"]) if row["PricingTerm"] else None,
            "PricingTermUnit": row["PricingTermUnit"] or None,
            "Status": row["Status"],
        }
        for row in read_table("salesforce_revenue_cloud", "qb-pcm/ProductSellingModel")
    ]


def build_price_entries(standard_book: str) -> list[dict[str, Any]]:
    """The price book: each entry names its product and selling model by their external ids."""
    return [
        {
            "Ext_Id__c": price.key,
            "Pricebook2Id": standard_book,
            "Product2": {"Ext_Id__c": price.sku},
            "ProductSellingModel": {"Ext_Id__c": price.kind},
            "CurrencyIsoCode": price.currency,
            "UnitPrice": str(price.unit_price),
            "IsActive": True,
        }
        for price in list_prices()
    ]


@cache
def group_customers() -> tuple[tuple[dict[str, str], ...], ...]:
    """The 847 customer rows by company; first in each the row that has an address, the company's real account."""
    addressed = {row["CustomerID"] for row in read_table("adventureworks_lt", "CustomerAddress")}
    companies: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in read_table("adventureworks_lt", "Customer"):
        companies[row["CompanyName"]].append(row)
    return tuple(
        tuple(sorted(rows, key=lambda row: (row["CustomerID"] not in addressed, int(row["CustomerID"]))))
        for rows in companies.values()
    )


@cache
def find_addresses() -> dict[str, dict[str, dict[str, str]]]:
    """Addresses by customer and kind (Main Office, Shipping)."""
    known = {row["AddressID"]: row for row in read_table("adventureworks_lt", "Address")}
    found: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for row in read_table("adventureworks_lt", "CustomerAddress"):
        found[row["CustomerID"]][row["AddressType"]] = known[row["AddressID"]]
    return found


def find_entity(customer_id: str) -> str:
    """The selling entity of a customer: by country, some spread by rule; '' without a country."""
    country = find_addresses().get(customer_id, {}).get("Main Office", {}).get("CountryRegion", "")
    entity = COUNTRY_ENTITY.get(country, "")
    divisor, elsewhere = SPREAD.get(country, (1, {}))
    return elsewhere.get(int(customer_id) % divisor, entity)


def build_accounts() -> list[dict[str, Any]]:
    """847 accounts, parents before children: the rows of a company that have no address hang on the one that has."""
    parents, children = [], []
    for company in group_customers():
        for number, row in enumerate(company):
            account = _build_account(row)
            if number == 0:
                parents.append(account)
            else:
                children.append({**account, "Parent": {"Ext_Id__c": account_key(company[0]["CustomerID"])}})
    return parents + children


def _build_account(row: dict[str, str]) -> dict[str, Any]:
    entity = find_entity(row["CustomerID"])
    account: dict[str, Any] = {
        "Ext_Id__c": account_key(row["CustomerID"]),
        "Name": row["CompanyName"],
        "AccountNumber": row["CustomerID"],
        "Phone": row["Phone"] or None,
        "Type": "Customer - Direct",
        "CurrencyIsoCode": ENTITY_CURRENCY.get(entity, "USD"),
        "Legal_Entity__c": entity or None,
    }
    for kind, prefix in (("Main Office", "Billing"), ("Shipping", "Shipping")):
        address = find_addresses().get(row["CustomerID"], {}).get(kind)
        if address:
            street = "\n".join(part for part in (address["AddressLine1"], address["AddressLine2"]) if part)
            account |= {
                f"{prefix}Street": street,
                f"{prefix}City": address["City"],
                f"{prefix}State": address["StateProvince"],
                f"{prefix}PostalCode": address["PostalCode"],
                f"{prefix}Country": address["CountryRegion"],
            }
    return account


def build_contacts() -> list[dict[str, Any]]:
    """One person for each customer row; 407 e-mail addresses occur twice."""
    return [
        {
            "Ext_Id__c": f"AWC-{row['CustomerID']}",
            "Account": {"Ext_Id__c": account_key(row["CustomerID"])},
            "Salutation": row["Title"] or None,
            "FirstName": row["FirstName"],
            "LastName": row["LastName"],
            "Email": row["EmailAddress"] or None,
            "Phone": row["Phone"] or None,
        }
        for company in group_customers()
        for row in company
    ]


def account_key(customer_id: str) -> str:
    """An account's external id."""
    return f"AW-{customer_id}"


@cache
def list_buyers() -> dict[str, tuple[Buyer, ...]]:
    """Accounts by entity; under '' those without a country, in the order of their numbers."""
    buyers: dict[str, list[Buyer]] = defaultdict(list)
    for company in group_customers():
        for row in company:
            entity = find_entity(row["CustomerID"])
            buyers[entity].append(Buyer(account_key(row["CustomerID"]), row["CompanyName"], entity))
    return {entity: tuple(sorted(found, key=lambda each: int(each.key[3:]))) for entity, found in buyers.items()}
