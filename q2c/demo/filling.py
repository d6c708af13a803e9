"""Fills Salesforce's sandbox with the company, once: what is there already isn't made again."""

from __future__ import annotations

from typing import Any

from q2c.demo import company

SALESFORCE = "salesforce"


def fill_company(door: Any) -> dict[str, int]:
    """Make what is missing of catalogue, prices, accounts and contacts; how many of each."""
    book = door.query_salesforce("SELECT Id FROM Pricebook2 WHERE IsStandard = true")[0]["Id"]
    builders = {
        "Product2": company.build_products,
        "ProductSellingModel": company.build_selling_models,
        "PricebookEntry": lambda: company.build_price_entries(book),
        "Account": company.build_accounts,
        "Contact": company.build_contacts,
    }
    made = {}
    for kind, build in builders.items():
        wanted = build()
        missing = wanted
        if door.call_salesforce("GET", f"query?q=SELECT+COUNT()+FROM+{kind}")["totalSize"]:
            known = {record.get("Ext_Id__c") for record in door.documents(SALESFORCE, kind)}
            missing = [record for record in wanted if record["Ext_Id__c"] not in known]
        door.make(SALESFORCE, kind, missing)
        made[kind] = len(missing)
    return made
