"""What is asked of each Salesforce object, by what the connection's settings say that the org has. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ACCOUNT = (
    "Id,Name,AccountNumber,ParentId,Phone,BillingStreet,BillingCity,BillingState,BillingPostalCode,BillingCountry,"
    "ShippingStreet,ShippingCity,ShippingState,ShippingPostalCode,ShippingCountry,IsDeleted,SystemModstamp"
)
_OPPORTUNITY = "Id,Name,AccountId,StageName,Amount,CloseDate,IsWon,IsClosed,SystemModstamp"
_PRODUCT = "Id,Name,ProductCode,StockKeepingUnit,Family,IsActive,SystemModstamp"
_PRICE = "Id,ProductCode,Product2.ProductCode,Product2.StockKeepingUnit,UnitPrice,IsActive,SystemModstamp"
_PRICE_MODEL = "ProductSellingModel.SellingModelType,ProductSellingModel.PricingTermUnit"
_OF_PRODUCT = "Product2.Name,Product2.ProductCode,Product2.StockKeepingUnit"
_LINE = f"Id,Product2Id,ProductCode,Name,Quantity,UnitPrice,ListPrice,ServiceDate,{_OF_PRODUCT}"
_LINE_MODEL = "PricebookEntry.ProductSellingModel.SellingModelType,PricebookEntry.ProductSellingModel.PricingTermUnit"
_QUOTE = (
    "Id,Name,SBQQ__Status__c,SBQQ__StartDate__c,SBQQ__EndDate__c,SBQQ__SubscriptionTerm__c,SBQQ__PaymentTerms__c,"
    "SBQQ__BillingFrequency__c"
)
_QUOTE_LINE = (
    "Id,SBQQ__ProductCode__c,SBQQ__Quantity__c,SBQQ__ListPrice__c,SBQQ__NetPrice__c,SBQQ__NetTotal__c,SBQQ__StartDate__c,"
    "SBQQ__EndDate__c,SBQQ__EffectiveStartDate__c,SBQQ__EffectiveEndDate__c,SBQQ__SubscriptionTerm__c,"
    "SBQQ__SubscriptionType__c,SBQQ__BillingFrequency__c,SBQQ__ChargeType__c,SBQQ__Product__r.Name,"
    "SBQQ__Product__r.ProductCode,SBQQ__Product__r.StockKeepingUnit"
)
_ORDER = (
    "Id,OrderNumber,AccountId,OpportunityId,StatusCode,EffectiveDate,EndDate,PoNumber,TotalAmount,IsReductionOrder,"
    "OriginalOrderId,SystemModstamp"
)
_ORDER_QUOTE = (
    "SBQQ__Quote__c,SBQQ__Quote__r.SBQQ__Opportunity2__c,SBQQ__Quote__r.SBQQ__PaymentTerms__c,"
    "SBQQ__Quote__r.SBQQ__EndDate__c,SBQQ__Quote__r.SBQQ__SubscriptionTerm__c,"
    "SBQQ__Quote__r.SBQQ__BillingFrequency__c"
)
_ITEM = f"Id,Product2Id,Quantity,UnitPrice,ListPrice,TotalPrice,ServiceDate,EndDate,{_OF_PRODUCT}"
_ITEM_CPQ = "SBQQ__BillingFrequency__c,SBQQ__ChargeType__c"
FINAL = {
    "Opportunity": "IsWon = true",  # before that it isn't sold
    "Order": "StatusCode = 'Activated'",
    "MergedAccount": "IsDeleted = true AND MasterRecordId != null",
}
# What of the org's past can be read again; and of which object an id is, by its first three characters.
RANGES = {
    "Opportunity": "Opportunities that are won, by when they were last changed",
    "Order": "Orders that are activated, by when they were last changed",
    "Account": "Accounts, by when they were last changed",
}
OBJECT_OF = {"006": "Opportunity", "801": "Order", "001": "Account"}
OBJECTS = {"MergedAccount": "Account"}  # a stream's object, where it isn't its name
RESOURCES = {"MergedAccount": "queryAll"}  # the deleted ones too


def has(settings: Mapping[str, Any], what: str) -> bool:
    """Whether the org has it: several_currencies, cpq, selling_models, orders, quotes."""
    return str(settings.get(f"has_{what}", "yes")).lower() in ("yes", "true", "1")


def fields_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """The fields of each object, as SOQL names them."""
    currency = "CurrencyIsoCode" if has(settings, "several_currencies") else ""
    entity = str(settings.get("legal_entity_field") or "")
    of_account = f"Account.{entity}" if entity else ""
    cpq = has(settings, "cpq")
    models = has(settings, "selling_models")
    asked = {
        "Account": (_ACCOUNT, currency, entity),
        "Opportunity": (_OPPORTUNITY, currency, entity, of_account),
        "OpportunityLineItem": (_LINE, _LINE_MODEL if models else ""),
        "Order": (
            _ORDER,
            currency,
            of_account,
            _ORDER_QUOTE if cpq else "",
            "QuoteId" if has(settings, "quotes") else "",
        ),
        "OrderItem": (_ITEM, _LINE_MODEL if models else "", _ITEM_CPQ if cpq else ""),
        "MergedAccount": ("Id,MasterRecordId,SystemModstamp",),
        "Product2": (_PRODUCT,),
        "PricebookEntry": (_PRICE, currency, _PRICE_MODEL if models else ""),
        "SBQQ__Quote__c": (_QUOTE,),
        "SBQQ__QuoteLine__c": (_QUOTE_LINE,),
    }
    return {name: ",".join(part for part in parts if part) for name, parts in asked.items()}


def opportunity_queries(fields: Mapping[str, str], key: str, *, cpq: bool) -> dict[str, str]:
    """An opportunity with its lines, and its primary quote with its lines where the org has CPQ."""
    asked = {
        "opportunity": f"SELECT {fields['Opportunity']} FROM Opportunity WHERE Id = '{key}'",
        "lines": f"SELECT {fields['OpportunityLineItem']} FROM OpportunityLineItem WHERE OpportunityId = '{key}' "
        "ORDER BY Id",
    }
    if cpq:
        primary = f"SBQQ__Opportunity2__c = '{key}' AND SBQQ__Primary__c = true"
        of_quote = " AND ".join(f"SBQQ__Quote__r.{part}" for part in primary.split(" AND "))
        asked["quotes"] = f"SELECT {fields['SBQQ__Quote__c']} FROM SBQQ__Quote__c WHERE {primary} ORDER BY Id"
        lines = fields["SBQQ__QuoteLine__c"]
        asked["quote_lines"] = f"SELECT {lines} FROM SBQQ__QuoteLine__c WHERE {of_quote} ORDER BY Id"
    return asked


def order_queries(fields: Mapping[str, str], key: str) -> dict[str, str]:
    """An order with its products."""
    return {
        "order": f"SELECT {fields['Order']} FROM Order WHERE Id = '{key}'",
        "items": f"SELECT {fields['OrderItem']} FROM OrderItem WHERE OrderId = '{key}' ORDER BY Id",
    }
