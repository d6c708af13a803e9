"""The company in the account: legal entities, chart of accounts, items and lists, out of data/salesforce_revenue_cloud.

Ids of reference data are the same in every sandbox. Account numbers and period months are external ids too, and so
are the entities' codes (GB01) and the currencies' (GBP).
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[3] / "data" / "salesforce_revenue_cloud"
# A currency's name is its users' own; "USA" as in Oracle's sample, {"id": "1", "refName": "USA"}
CURRENCIES = (
    ("USD", "USA", 2),
    ("GBP", "British Pound", 2),
    ("CAD", "Canadian Dollar", 2),
    ("EUR", "Euro", 2),
    ("AUD", "Australian Dollar", 2),
    ("CHF", "Swiss Franc", 2),
    ("JPY", "Japanese Yen", 0),
    ("KWD", "Kuwaiti Dinar", 3),
)
# code, name in the data, country, currency, standard tax rate, name of the tax
ENTITIES = (
    ("US01", "Default Legal Entity - US", "US", "USD", 8.625, "US Sales Tax"),
    ("CA01", "Default Legal Entity - Canada", "CA", "CAD", 13.0, "CA GST/HST"),
    ("DE01", "Default Legal Entity - EU", "DE", "EUR", 19.0, "DE VAT"),
    ("GB01", "Default Legal Entity - UK", "GB", "GBP", 20.0, "GB VAT"),
    ("AU01", "Default Legal Entity - Australia", "AU", "AUD", 10.0, "AU GST"),
    ("CH01", "Default Legal Entity - Switzerland", "CH", "CHF", 8.1, "CH VAT"),
    ("JP01", "Default Legal Entity - Japan", "JP", "JPY", 10.0, "JP Consumption Tax"),
)
# Taxes of a state and of a county beside it: external id, country, name, rate, account of their own
LOCAL_TAXES = (
    ("US-CA", "US", "California State Tax", 7.25, "2400"),
    ("US-CA-LA", "US", "Los Angeles County Tax", 2.5, "2410"),
)
TAX_KINDS = (("S", "standard"), ("Z", "zero-rated"), ("E", "exempt"), ("R", "reverse charge"))
MORE_ACCOUNTS = (
    ("1020", "Stripe Clearing GBP", "OthCurrAsset"),
    ("1021", "Stripe Clearing USD", "OthCurrAsset"),
    ("1022", "Stripe Clearing EUR", "OthCurrAsset"),
    ("1023", "Stripe Clearing JPY", "OthCurrAsset"),
    ("1024", "Stripe Clearing CAD", "OthCurrAsset"),
    ("1025", "Stripe Clearing AUD", "OthCurrAsset"),
    ("1026", "Stripe Clearing CHF", "OthCurrAsset"),
    ("1027", "Stripe Clearing KWD", "OthCurrAsset"),
    ("1050", "Undeposited Funds", "OthCurrAsset"),
    ("1060", "Gateway Reserves", "OthCurrAsset"),
    ("1070", "Payouts in Transit", "OthCurrAsset"),
    ("1105", "Receivables Control", "OthCurrAsset"),
    ("4150", "Merchandise Revenue", "Income"),
    ("4160", "Postage and Carriage Recovered", "Income"),
    ("6100", "Merchant Fees", "Expense"),
    ("6110", "Disputes and Chargebacks", "Expense"),
    ("8900", "Rounding Difference", "OthExpense"),
)
ACCOUNT_TYPES = (
    (r"10\d\d", "Bank"),
    (r"1110", "UnbilledRec"),
    (r"1100|1120|1140|1190|1240", "AcctRec"),
    (r"13\d\d", "FixedAsset"),
    (r"1\d\d\d", "OthCurrAsset"),
    (r"2000", "AcctPay"),
    (r"22\d\d", "DeferRevenue"),
    (r"2\d\d\d", "OthCurrLiab"),
    (r"3\d\d\d", "Equity"),
    (r"4500|46\d\d", "OthIncome"),
    (r"4\d\d\d", "Income"),
    (r"50\d\d", "COGS"),
    (r"85\d\d", "OthExpense"),
    (r"\d+", "Expense"),
)
FAMILIES = (
    ("software", "Software", "4300"),
    ("hardware", "Hardware", "4100"),
    ("services", "Services", "4200"),
    ("third-party", "3rd Party Software", "4100"),
    ("bundle", "Bundle", "4300"),
    ("other", "Other", "4400"),
    ("retail", "Retail", "4150"),
)
RULES = (
    ("straight-line", "Straight-line by service dates", "STRAIGHTLINE"),
    ("prorate", "Straight-line, prorated first and last period", "STRAIGHTLINEPRORATE"),
    ("point-in-time", "At the date of the source", "POINTINTIME"),
)
TERMS = (("due-on-receipt", "Due on receipt", 0), ("net30", "Net 30", 30), ("net45", "Net 45", 45))
RETAIL_ITEMS = (
    ("RETAIL-GOODS", "Retail goods", "4150"),
    ("POST", "Postage", "4160"),
    ("DOT", "Dotcom postage", "4160"),
    ("C2", "Carriage", "4160"),
    ("M", "Manual entry", "4150"),
    ("D", "Discount", "8200"),
    ("S", "Samples", "4150"),
    ("BANK CHARGES", "Bank charges", "6100"),
    ("AMAZONFEE", "Amazon fee", "6100"),
    ("GIFT-VOUCHER", "Gift voucher", "4150"),
    ("ROUNDING", "Rounding difference", "8900"),
    ("WRITE-OFF", "Bad debt written off", "8100"),
    ("DIFFERENCE", "Small difference", "8400"),
)
ONLY_US = frozenset({"TEST-SUB"})  # not available to the other subsidiaries


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of a table; `#N/A` is empty."""
    with (DATA / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
        return [{key: "" if value == "#N/A" else value for key, value in row.items()} for row in csv.DictReader(file)]


def list_left_out_skus() -> list[str]:
    """The dozen of priced SKUs that have no item in this account, so that the gap happens in the demo."""
    return sorted({row["Product2.StockKeepingUnit"] for row in read_table("qb-pricing/PricebookEntry")})[9::20]


def make_external_id(text: str) -> str:
    """Text as an external id: letters, digits, underscore and hyphen only."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)


def describe_company() -> Iterator[tuple[str, dict[str, Any]]]:
    """(record type, record without id) of all lists and master data, in an order that lets references be resolved.

    References are external ids: `{"id": "eid:…"}`.
    """
    for code, name, precision in CURRENCIES:
        fields = {"symbol": code, "name": name, "currencyPrecision": precision, "isBaseCurrency": code == "USD"}
        yield "currency", {"externalId": code, **fields, "exchangeRate": 1.0 if code == "USD" else None}
    for code, name, country, currency, *_ in ENTITIES:
        parent = None if code == "US01" else _eid("US01")
        names = {"name": name, "legalName": f"QuantumBit {country}"}
        more = {"currency": _eid(currency), "country": {"id": country}, "parent": parent, "isElimination": False}
        yield "subsidiary", {"externalId": code, **names, **more}
    yield from _describe_accounts()
    for external_id, name, days in TERMS:
        yield "term", {"externalId": external_id, "name": name, "daysUntilNetDue": days}
    for external_id, name, method in RULES:
        yield "revenueRecognitionRule", {"externalId": external_id, "name": name, "recognitionMethod": {"id": method}}
    yield from _describe_taxes()
    for external_id, name, _ in FAMILIES:
        everywhere = {"includeChildren": True, "subsidiary": {"items": [{"id": "1"}]}}
        yield "department", {"externalId": external_id, "name": name, **everywhere}
        yield "classification", {"externalId": external_id, "name": name, **everywhere}
    cities = {row["Name"]: row["LegalEntityCity"] for row in read_table("qb-tax/LegalEntity")}
    for number, (code, name, *_) in enumerate(ENTITIES, start=1):
        only = {"includeChildren": False, "subsidiary": {"items": [{"id": str(number)}]}}
        yield "location", {"externalId": code, "name": cities[name], **only}
    yield from _describe_items()


def _eid(external_id: str) -> dict[str, str]:
    return {"id": f"eid:{external_id}"}


def _describe_accounts() -> Iterator[tuple[str, dict[str, Any]]]:
    found = {row["AccountingCode"]: row["AccountingName"] for row in read_table("qb-billing/GeneralLedgerAccount")}
    rows = [(number, name, next(kind for pattern, kind in ACCOUNT_TYPES if re.fullmatch(pattern, number)))
            for number, name in found.items()]  # fmt: skip
    for number, name, kind in sorted([*rows, *MORE_ACCOUNTS]):
        yield "account", {"externalId": number, "acctNumber": number, "acctName": name, "acctType": {"id": kind}}


def _describe_taxes() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "taxSchedule", {"externalId": "taxable", "name": "Taxable"}
    for _, _, country, _, rate, name in ENTITIES:
        yield (
            "taxType",
            {"externalId": country, "name": name, "country": {"id": country}, "payablesAccount": _eid("2400")},
        )
        for letter, kind in TAX_KINDS:
            yield (
                "salesTaxItem",
                {
                    "externalId": f"{country}-{letter}",
                    "itemId": f"{name} {kind}",
                    "rate": rate if letter == "S" else 0.0,
                    "taxType": _eid(country),
                    "taxAccount": _eid("2400"),
                },
            )
    local = {"externalId": "2410", "acctNumber": "2410", "acctName": "Local Sales Tax Payable"}
    yield "account", {**local, "acctType": {"id": "OthCurrLiab"}}
    for code, country, name, rate, account in LOCAL_TAXES:
        more = {"country": {"id": country}, "payablesAccount": _eid(account)}
        yield "taxType", {"externalId": code, "name": name, **more}
        item = {"externalId": f"{code}-S", "itemId": name, "rate": rate}
        yield "salesTaxItem", {**item, "taxType": _eid(code), "taxAccount": _eid(account)}


def _describe_items() -> Iterator[tuple[str, dict[str, Any]]]:
    prices = read_table("qb-pricing/PricebookEntry")
    recurring = {
        row["Product2.StockKeepingUnit"]
        for row in prices
        if not row["ProductSellingModel.$$Name$SellingModelType"].endswith("OneTime")
    }
    sold = {row["Product2.StockKeepingUnit"] for row in prices} - set(list_left_out_skus())
    families = {name: (external_id, account) for external_id, name, account in FAMILIES}
    for row in read_table("qb-pcm/Product2"):
        sku = row["StockKeepingUnit"]
        if sku not in sold:
            continue
        external_id, account = families.get(row["Family"], families["Other"])
        item: dict[str, Any] = {
            "externalId": make_external_id(sku),
            "itemId": sku,
            "displayName": row["Name"],
            "incomeAccount": _eid("4300" if sku in recurring else account),
            "class": _eid(external_id),
            "department": _eid(external_id),
            "taxSchedule": _eid("taxable"),
            "subsidiary": {"items": [{"id": "1"}]},
            "includeChildren": sku not in ONLY_US,
        }
        if sku in recurring:
            deferred = "2210" if row["Family"] == "Services" else "2200"
            item |= {"deferredRevenueAccount": _eid(deferred), "revenueRecognitionRule": _eid("straight-line")}
            item |= {"createRevenuePlansOn": {"id": "-3"}}
        yield "serviceSaleItem", item
    for code, name, account in RETAIL_ITEMS:
        yield (
            "serviceSaleItem",
            {
                "externalId": code
                if code.startswith(("RETAIL", "ROUND", "GIFT", "WRITE", "DIFFERENCE"))
                else f"RETAIL-{make_external_id(code)}",
                "itemId": code,
                "displayName": name,
                "incomeAccount": _eid(account),
                "class": _eid("retail"),
                "department": _eid("retail"),
                "taxSchedule": _eid("taxable"),
                "subsidiary": {"items": [{"id": "1"}]},
                "includeChildren": True,
            },
        )
