"""The rules of CPQ quotes and their lines, as the package SBQQ brings them into an org."""

from datetime import date
from decimal import Decimal
from typing import Any

from connectors.salesforce.sandbox.parents import add_months, find_parent, save_parent
from connectors.salesforce.sandbox.values import as_decimal, round_to


def prepare_quote(records: Any, record: dict, before: dict | None, changes: dict) -> None:
    """Number and end of a CPQ quote; an opportunity has one primary quote."""
    if record["Name"] is None:
        record["Name"] = f"Q-{records.store.next_number('SBQQ__Quote__c'):05d}"
        for name in ("SBQQ__NetAmount__c", "SBQQ__ListAmount__c", "SBQQ__CustomerAmount__c"):
            record[name] = 0.0
        record["SBQQ__LineItemCount__c"] = 0
    if record["SBQQ__EndDate__c"] is None and record["SBQQ__StartDate__c"] and record["SBQQ__SubscriptionTerm__c"]:
        start = date.fromisoformat(record["SBQQ__StartDate__c"])
        record["SBQQ__EndDate__c"] = add_months(start, record["SBQQ__SubscriptionTerm__c"]).isoformat()
    if record["SBQQ__Primary__c"] and record["SBQQ__Opportunity2__c"]:
        for other in records.find("SBQQ__Quote__c", SBQQ__Opportunity2__c=record["SBQQ__Opportunity2__c"]):
            if other["Id"] != record["Id"] and other["SBQQ__Primary__c"]:
                other["SBQQ__Primary__c"] = False
                save_parent(records, "SBQQ__Quote__c", other)


def prepare_quote_line(records: Any, record: dict, before: dict | None, changes: dict) -> None:
    """A line of a CPQ quote: prices default from list to net, dates from the quote."""
    quote = find_parent(records, "SBQQ__Quote__c", record["SBQQ__Quote__c"], "SBQQ__Quote__c")
    if record["Name"] is None:
        record["Name"] = f"QL-{records.store.next_number('SBQQ__QuoteLine__c'):07d}"
        record["CurrencyIsoCode"] = quote["CurrencyIsoCode"]
    product = records.peek("Product2", record["SBQQ__Product__c"])
    record["SBQQ__ProductCode__c"] = product["ProductCode"] if product else None
    entry = records.peek("PricebookEntry", record["SBQQ__PricebookEntryId__c"])
    if record["SBQQ__ListPrice__c"] is None:
        record["SBQQ__ListPrice__c"] = entry["UnitPrice"] if entry else 0.0
    for name, default in (("Regular", "List"), ("Customer", "Regular"), ("Net", "Customer")):
        if record[f"SBQQ__{name}Price__c"] is None:
            record[f"SBQQ__{name}Price__c"] = record[f"SBQQ__{default}Price__c"]
    multiplier = (
        Decimal(1) if record["SBQQ__ProrateMultiplier__c"] is None else as_decimal(record["SBQQ__ProrateMultiplier__c"])
    )
    net = as_decimal(record["SBQQ__NetPrice__c"]) * as_decimal(record["SBQQ__Quantity__c"]) * multiplier
    record["SBQQ__NetTotal__c"] = round_to(net, 2)
    for name in ("Start", "End"):
        record[f"SBQQ__Effective{name}Date__c"] = record[f"SBQQ__{name}Date__c"] or quote[f"SBQQ__{name}Date__c"]


def roll_up_quote(records: Any, line: dict) -> None:
    """The quote's amounts are the sums of its lines."""
    quote = records.peek("SBQQ__Quote__c", line["SBQQ__Quote__c"])
    if quote is None or quote["IsDeleted"]:
        return
    lines = records.find("SBQQ__QuoteLine__c", SBQQ__Quote__c=quote["Id"])
    quote["SBQQ__LineItemCount__c"] = len(lines)
    quote["SBQQ__NetAmount__c"] = round_to(
        sum((as_decimal(each["SBQQ__NetTotal__c"]) for each in lines), Decimal(0)), 2
    )
    for amount, price in (("List", "List"), ("Customer", "Customer")):
        total = sum(
            (as_decimal(each[f"SBQQ__{price}Price__c"]) * as_decimal(each["SBQQ__Quantity__c"]) for each in lines),
            Decimal(0),
        )
        quote[f"SBQQ__{amount}Amount__c"] = round_to(total, 2)
    save_parent(records, "SBQQ__Quote__c", quote)
