"""Customers, items, rates and lists: what is checked before such a record is kept."""

from connectors.netsuite.sandbox.books import Books
from connectors.netsuite.sandbox.errors import invalid_value, missing_value, user_error
from connectors.netsuite.sandbox.fields import ITEMS, Record
from connectors.netsuite.sandbox.rates import keep_manual_rate

ENTITY_TAKEN = "This entity already exists."
REQUIRED = {
    "customerSubsidiaryRelationship": (("entity", "Customer"), ("subsidiary", "Subsidiary")),
    "currencyRate": (
        ("baseCurrency", "Base Currency"),
        ("transactionCurrency", "Currency"),
        ("exchangeRate", "Exchange Rate"),
        ("effectiveDate", "Effective Date"),
    ),
    "currency": (("symbol", "Symbol"), ("name", "Name")),
    "account": (("acctNumber", "Number"), ("acctName", "Name"), ("acctType", "Type")),
    "accountingPeriod": (("periodName", "Period Name"), ("startDate", "Start Date"), ("endDate", "End Date")),
    "salesTaxItem": (("itemId", "Name"), ("taxType", "Tax Type"), ("taxAccount", "Tax Account")),
}


def save_customer(books: Books, record: Record, obj: dict, old: dict | None) -> None:
    """Complete, check and store a customer. Its name (entityId) is unique in the account."""
    name = obj.get("companyName")
    if obj.get("isPerson"):
        if not obj.get("lastName"):
            raise missing_value("Last Name", path="lastName")
        name = f"{obj.get('firstName', '')} {obj['lastName']}".strip()
    elif not name:
        raise missing_value("Company Name", path="companyName")
    if obj.get("subsidiary") is None:
        raise missing_value("Primary Subsidiary", path="subsidiary")
    obj.setdefault("entityId", name)
    obj.setdefault("isPerson", False)
    obj.setdefault("isInactive", False)
    if "currency" not in obj:
        obj["currency"] = books.at("subsidiary", obj["subsidiary"]["id"])["currency"]
    if old is None or old["entityId"] != obj["entityId"]:
        if books.find_id("entity name", obj["entityId"].lower()):
            raise user_error(ENTITY_TAKEN, path="entityId")
        if old is not None:
            books.store.db.execute("DELETE FROM ns_external WHERE space='entity name' AND id=?", (obj["id"],))
        row = ("entity name", obj["entityId"].lower(), record.name, obj["id"])
        books.store.db.execute("INSERT INTO ns_external VALUES (?,?,?,?)", row)
    for number, line in enumerate(obj.get("addressbook", {}).get("items", [])):
        country = line.get("addressBookAddress", {}).get("country")
        if isinstance(country, dict) and len(str(country.get("id", ""))) != 2:
            path = f"addressbook.items[{number}].addressBookAddress.country"
            raise invalid_value(country.get("id"), "country", path=path)
    currencies = obj.get("currencyList", {}).get("items", [])
    if obj["currency"]["id"] not in {line["currency"]["id"] for line in currencies if "currency" in line}:
        obj["currencyList"] = {"items": [{"currency": obj["currency"]}, *currencies]}
    books.put(record, obj, old)


def save_item(books: Books, record: Record, obj: dict, old: dict | None) -> None:
    """Complete, check and store an item. Its name (itemId) is unique in the account."""
    if not obj.get("itemId"):
        raise missing_value("Item Name/Number", path="itemId")
    if obj.get("incomeAccount") is None:
        raise missing_value("Income Account", path="incomeAccount")
    if "deferredRevenueAccount" in obj and "revenueRecognitionRule" not in obj:
        raise missing_value("Revenue Recognition Rule", path="revenueRecognitionRule")
    for number, line in enumerate(obj.get("subsidiary", {}).get("items", [])):
        if books.get("subsidiary", str(line.get("id"))) is None:
            raise invalid_value(line.get("id"), "subsidiary", path=f"subsidiary.items[{number}]")
    obj.setdefault("isInactive", False)
    if old is None or old["itemId"] != obj["itemId"]:
        if books.find_id("item name", obj["itemId"].lower()):
            raise user_error("Uniqueness error: An item with this name already exists.", path="itemId")
        if old is not None:
            books.store.db.execute("DELETE FROM ns_external WHERE space='item name' AND id=?", (obj["id"],))
        row = ("item name", obj["itemId"].lower(), record.name, obj["id"])
        books.store.db.execute("INSERT INTO ns_external VALUES (?,?,?,?)", row)
    books.put(record, obj, old)


def save_other(books: Books, record: Record, obj: dict, old: dict | None) -> None:
    """Check what is mandatory, and store a list entry or a relationship."""
    for name, label in REQUIRED.get(record.name, (("name", "Name"),) if "name" in record.fields else ()):
        if obj.get(name) in (None, ""):
            raise missing_value(label, path=name)
    if record.name == "currencyRate":
        if obj["exchangeRate"] <= 0:
            raise invalid_value(obj["exchangeRate"], "exchangerate", path="exchangeRate")
        keep_manual_rate(books, obj)
    if record.name == "currency":
        obj.setdefault("currencyPrecision", 2)
    if record.name == "customerSubsidiaryRelationship" and old is None:
        books.cache.pop(("subsidiaries", obj["entity"]["id"]), None)
        known = books.store.find(record.name, entity=obj["entity"]["id"])
        taken = {
            books.at("customer", obj["entity"]["id"])["subsidiary"]["id"],
            *(row["subsidiary"]["id"] for row in known),
        }
        if obj["subsidiary"]["id"] in taken:
            raise user_error("This record already exists")
        obj.setdefault("isPrimarySub", False)
    books.put(record, obj, old)


def forget_name(books: Books, record: Record, obj: dict) -> None:
    """Free the unique name of a deleted customer or item."""
    if record.name == "customer" or record.name in ITEMS:
        books.store.db.execute(
            "DELETE FROM ns_external WHERE space IN ('entity name', 'item name') AND type=? AND id=?",
            (record.name, obj["id"]),
        )
