"""What Salesforce itself works out or refuses when opportunities, orders, price books or contracts change.

BEFORE functions complete and check a record before it's stored, AFTER functions carry the change to its parents. Each
takes the records, the record as it will be, the record as it was (None when new), and what the caller set.
"""

from datetime import date
from decimal import Decimal
from typing import Any

from connectors.salesforce.sandbox.cpq import prepare_quote, prepare_quote_line, roll_up_quote
from connectors.salesforce.sandbox.errors import integrity, missing_fields, refusal
from connectors.salesforce.sandbox.parents import add_months, find_parent, save_parent
from connectors.salesforce.sandbox.schema import STAGES
from connectors.salesforce.sandbox.values import as_decimal, format_moment, round_to

CASCADES = {  # what goes with a record into the recycle bin
    "Account": (("Contact", "AccountId"), ("Opportunity", "AccountId")),
    "Opportunity": (("OpportunityLineItem", "OpportunityId"),),
    "Order": (("OrderItem", "OrderId"),),
    "SBQQ__Quote__c": (("SBQQ__QuoteLine__c", "SBQQ__Quote__c"),),
    "Product2": (("PricebookEntry", "Product2Id"),),
    "Pricebook2": (("PricebookEntry", "Pricebook2Id"),),
}


def find_duplicates(records: Any, kind: str, record: dict) -> list[dict]:
    """Accounts of the same name, street and postal code: what the standard duplicate rule reports."""
    if kind != "Account" or not record["BillingStreet"] or not record["BillingPostalCode"]:
        return []
    same = ("Name", "BillingStreet", "BillingPostalCode")
    key = [str(record[name]).lower() for name in same]
    candidates = records.find("Account", BillingPostalCode=record["BillingPostalCode"])
    return [each for each in candidates if [str(each[name]).lower() for name in same] == key]


def prepare_account(records: Any, record: dict, before: dict | None, changes: dict) -> None:
    """A hierarchy has no circles."""
    seen, parent = {record["Id"]}, record["ParentId"]
    while parent:
        if parent in seen:
            raise integrity("This account is its own ancestor", "ParentId")
        seen.add(parent)
        parent = (records.peek("Account", parent) or {}).get("ParentId")


def prepare_contact(records: Any, record: dict, before: dict | None, changes: dict) -> None:
    """The full name."""
    record["Name"] = " ".join(part for part in (record["FirstName"], record["LastName"]) if part) or None


def prepare_opportunity(records: Any, record: dict, before: dict | None, changes: dict) -> None:
    """Stage decides closed, won and forecast; with products the amount is theirs, and currency and price book stay."""
    probability, closed, won, forecast = STAGES.get(record["StageName"], (0, False, False, "Pipeline"))
    if "StageName" in changes and "Probability" not in changes:
        record["Probability"] = float(probability)
    record["IsClosed"], record["IsWon"], record["ForecastCategoryName"] = closed, won, forecast
    if before is not None and before["HasOpportunityLineItem"]:
        record["Amount"] = before["Amount"]
        for name in ("CurrencyIsoCode", "Pricebook2Id"):
            if record[name] != before[name]:
                raise integrity(f"{name} can't change while the opportunity has products", name)


def prepare_line(records: Any, record: dict, before: dict | None, changes: dict) -> None:
    """A product of the opportunity: its price book entry must be of the same price book and currency."""
    opportunity = find_parent(records, "Opportunity", record["OpportunityId"], "OpportunityId")
    if before is None:
        if record["PricebookEntryId"] is None and record["Product2Id"] is None:
            raise missing_fields(["PricebookEntryId"])
        entry = choose_entry(records, opportunity, record)
        _take_price_book(records, "Opportunity", opportunity, entry)
        record["PricebookEntryId"], record["Product2Id"] = entry["Id"], entry["Product2Id"]
        record["ProductCode"], record["ListPrice"] = entry["ProductCode"], entry["UnitPrice"]
        record["CurrencyIsoCode"], record["Name"] = (
            opportunity["CurrencyIsoCode"],
            f"{opportunity['Name']} {entry['Name']}"[:376],
        )
    quantity = as_decimal(record["Quantity"])
    if record["Quantity"] is None:
        raise missing_fields(["Quantity"])
    if quantity == 0:
        raise integrity("Quantity can't be zero", "Quantity")
    share = 1 - as_decimal(record["Discount"]) / 100
    if record["UnitPrice"] is None or ("TotalPrice" in changes and "UnitPrice" not in changes):
        if record["TotalPrice"] is None:
            raise missing_fields(["UnitPrice"])
        if share == 0:
            raise integrity("a total and a discount of 100 % leave the price open", "Discount")
        record["UnitPrice"] = round_to(as_decimal(record["TotalPrice"]) / quantity / share, 2)
    record["Subtotal"] = round_to(as_decimal(record["UnitPrice"]) * quantity, 2)
    if "TotalPrice" not in changes or "UnitPrice" in changes:
        record["TotalPrice"] = round_to(as_decimal(record["Subtotal"]) * share, 2)


def roll_up_opportunity(records: Any, line: dict) -> None:
    """The opportunity's amount is the sum of its products."""
    opportunity = records.peek("Opportunity", line["OpportunityId"])
    if opportunity is None or opportunity["IsDeleted"]:
        return
    lines = records.find("OpportunityLineItem", OpportunityId=opportunity["Id"])
    opportunity["HasOpportunityLineItem"] = bool(lines)
    if lines:
        opportunity["Amount"] = round_to(sum((as_decimal(each["TotalPrice"]) for each in lines), Decimal(0)), 2)
    save_parent(records, "Opportunity", opportunity)


def choose_entry(records: Any, parent: dict, line: dict) -> dict:
    """The price book entry that a product line names, by id or by product. Raises Refusal when it doesn't fit."""
    if line["PricebookEntryId"] is None:
        book = parent["Pricebook2Id"] or _standard_book(records)
        entries = [
            each
            for each in records.find("PricebookEntry", Product2Id=line["Product2Id"])
            if each["Pricebook2Id"] == book
            and each["CurrencyIsoCode"] == parent["CurrencyIsoCode"]
            and each["IsActive"]
        ]
        if not entries:
            raise integrity("the price book has no active entry for this product in this currency", "Product2Id")
        return min(entries, key=lambda each: each["Id"])
    entry = find_parent(records, "PricebookEntry", line["PricebookEntryId"], "PricebookEntryId")
    if line["Product2Id"] not in (None, entry["Product2Id"]):
        raise integrity("pricebook entry is for another product", "Product2Id")
    if parent["Pricebook2Id"] not in (None, entry["Pricebook2Id"]):
        raise integrity(
            "pricebook entry is in a different pricebook than the one assigned to the parent", "PricebookEntryId"
        )
    if entry["CurrencyIsoCode"] != parent["CurrencyIsoCode"]:
        message = f"pricebook entry currency {entry['CurrencyIsoCode']} isn't the parent's {parent['CurrencyIsoCode']}"
        raise integrity(message, "PricebookEntryId")
    if not entry["IsActive"]:
        raise integrity("pricebook entry is inactive", "PricebookEntryId")
    return entry


def prepare_entry(records: Any, record: dict, before: dict | None, changes: dict) -> None:
    """A price: one per book, product, selling model and currency; the standard price comes first."""
    product = find_parent(records, "Product2", record["Product2Id"], "Product2Id")
    book = find_parent(records, "Pricebook2", record["Pricebook2Id"], "Pricebook2Id")
    record["Name"], record["ProductCode"] = product["Name"], product["ProductCode"]
    same = [
        each
        for each in records.find("PricebookEntry", Product2Id=product["Id"])
        if each["CurrencyIsoCode"] == record["CurrencyIsoCode"]
        and each["ProductSellingModelId"] == record["ProductSellingModelId"]
        and each["Id"] != record["Id"]
    ]
    if any(each["Pricebook2Id"] == book["Id"] for each in same):
        raise refusal("DUPLICATE_VALUE", "This price definition already exists in this price book")
    standard = [each for each in same if each["Pricebook2Id"] == _standard_book(records)]
    if not book["IsStandard"] and not standard:
        raise refusal("STANDARD_PRICE_NOT_DEFINED", "No standard price defined for this product")
    if record["UseStandardPrice"] and standard:
        record["UnitPrice"] = standard[0]["UnitPrice"]


def prepare_contract(records: Any, record: dict, before: dict | None, changes: dict) -> None:
    """Number, end and status of a contract; it begins as a draft."""
    if record["ContractNumber"] is None:
        record["ContractNumber"] = f"{records.store.next_number('ContractNumber', first=100):08d}"
    if record["StartDate"] and record["ContractTerm"]:
        record["EndDate"] = add_months(date.fromisoformat(record["StartDate"]), record["ContractTerm"]).isoformat()
    _activate(records, record, before)
    record["StatusCode"] = {"In Approval Process": "InApproval"}.get(record["Status"], record["Status"])


def prepare_order(records: Any, record: dict, before: dict | None, changes: dict) -> None:
    """Number and status of an order; it begins as a draft and isn't activated without products."""
    if record["OrderNumber"] is None:
        record["OrderNumber"] = f"{records.store.next_number('OrderNumber', first=100):08d}"
        record["TotalAmount"] = 0.0
    is_activated = before is not None and before["Status"] == "Draft" and record["Status"] == "Activated"
    if is_activated and not records.find("OrderItem", OrderId=record["Id"]):
        raise refusal("FAILED_ACTIVATION", "An order must have at least one product.", fields=["Status"])
    _activate(records, record, before)
    record["StatusCode"] = record["Status"]


def prepare_order_item(records: Any, record: dict, before: dict | None, changes: dict) -> None:
    """A product of an order, which must still be a draft."""
    order = find_parent(records, "Order", record["OrderId"], "OrderId")
    if order["Status"] != "Draft":
        raise integrity("the products of an activated order can't change", "OrderId")
    if before is None:
        if record["PricebookEntryId"] is None:
            raise missing_fields(["PricebookEntryId"])
        entry = choose_entry(records, order, record)
        _take_price_book(records, "Order", order, entry)
        record["Product2Id"], record["ListPrice"] = entry["Product2Id"], entry["UnitPrice"]
        record["CurrencyIsoCode"] = order["CurrencyIsoCode"]
        record["OrderItemNumber"] = f"{records.store.next_number('OrderItemNumber'):010d}"
    record["AvailableQuantity"] = record["Quantity"]
    record["TotalPrice"] = round_to(as_decimal(record["UnitPrice"]) * as_decimal(record["Quantity"]), 2)


def roll_up_order(records: Any, item: dict) -> None:
    """The order's total is the sum of its products."""
    order = records.peek("Order", item["OrderId"])
    if order is not None and not order["IsDeleted"]:
        items = records.find("OrderItem", OrderId=order["Id"])
        order["TotalAmount"] = round_to(sum((as_decimal(each["TotalPrice"]) for each in items), Decimal(0)), 2)
        save_parent(records, "Order", order)


def refuse_won_account(records: Any, record: dict) -> None:
    """An account with won opportunities, orders or contracts stays."""
    won = [each["Id"] for each in records.find("Opportunity", AccountId=record["Id"]) if each["IsWon"]]
    others = [each["Id"] for kind in ("Order", "Contract") for each in records.find(kind, AccountId=record["Id"])]
    if won or others:
        message = f"Your attempt to delete {record['Name']} could not be completed because it is associated with: "
        raise refusal("DELETE_FAILED", message + ", ".join(won + others))


def _activate(records: Any, record: dict, before: dict | None) -> None:
    if before is None and record["Status"] == "Activated":
        raise integrity("Choose a valid status: a new record is a draft", "Status")
    if before is not None and before["Status"] != "Activated" and record["Status"] == "Activated":
        record["ActivatedDate"] = format_moment(records.clock.time())


def _take_price_book(records: Any, kind: str, parent: dict, entry: dict) -> None:
    if parent["Pricebook2Id"] is None:
        parent["Pricebook2Id"] = entry["Pricebook2Id"]
        save_parent(records, kind, parent)


def _standard_book(records: Any) -> str | None:
    found = records.store.setting("standard_price_book")
    return str(found) if found else None


BEFORE = {
    "Account": prepare_account,
    "Contact": prepare_contact,
    "Opportunity": prepare_opportunity,
    "OpportunityLineItem": prepare_line,
    "PricebookEntry": prepare_entry,
    "Contract": prepare_contract,
    "Order": prepare_order,
    "OrderItem": prepare_order_item,
    "SBQQ__Quote__c": prepare_quote,
    "SBQQ__QuoteLine__c": prepare_quote_line,
}
AFTER = {
    "OpportunityLineItem": roll_up_opportunity,
    "OrderItem": roll_up_order,
    "SBQQ__QuoteLine__c": roll_up_quote,
}
BEFORE_DELETE = {"Account": refuse_won_account}
