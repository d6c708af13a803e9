"""What all transactions have in common: subsidiary, currency, rate, date, period, number, approval, and being saved."""

from collections.abc import Callable
from decimal import Decimal

from connectors.netsuite.sandbox.books import Books
from connectors.netsuite.sandbox.errors import OUTSIDE_PERIOD, invalid_value, missing_value, user_error
from connectors.netsuite.sandbox.fields import Record
from connectors.netsuite.sandbox.ledger import (
    Impact,
    account_id,
    is_pending,
    read_impact,
    read_row,
    write_impact,
    write_row,
)
from connectors.netsuite.sandbox.periods import choose_period, find_period, is_open, read_status
from connectors.netsuite.sandbox.rates import find_rate
from connectors.netsuite.sandbox.values import round_money, to_decimal

NUMBER_PREFIXES = {
    "invoice": "INV",
    "creditMemo": "CM",
    "customerPayment": "PYMT",
    "customerRefund": "RFND",
    "journalEntry": "JE",
    "salesOrder": "SO",
}
NEEDS_APPROVAL = frozenset({"invoice", "creditMemo", "journalEntry"})
APPROVAL_NAMES = {"1": "Pending Approval", "2": "Approved", "3": "Rejected"}
LEDGER = {"journalEntry": "gl"}


def fill_party(books: Books, record: Record, obj: dict, old: dict | None, *, party: str) -> dict:
    """Check the customer that the property `party` names, take from it what the body left out; the customer.

    Completes the header too. Changes `obj`.
    """
    if obj.get(party) is None:
        raise missing_value("Customer", path=party)
    customer = books.at("customer", obj[party]["id"])
    if customer.get("isInactive") and old is None:
        raise user_error(f"Invalid {party} reference key {customer['id']}.", path=party)
    if obj.get("subsidiary") is None:
        obj["subsidiary"] = customer["subsidiary"]
    if obj["subsidiary"]["id"] not in subsidiaries_of(books, customer):
        key = obj["subsidiary"]["id"]
        raise user_error(f"Invalid subsidiary reference key {key} for entity {customer['id']}.", path="subsidiary")
    if obj.get("currency") is None:
        obj["currency"] = customer["currency"]
    if obj["currency"]["id"] not in currencies_of(customer):
        key = obj["currency"]["id"]
        raise user_error(f"Invalid currency reference key {key} for entity {customer['id']}.", path="currency")
    fill_header(books, record, obj, old)
    return customer


def fill_header(books: Books, record: Record, obj: dict, old: dict | None) -> None:
    """Complete date, rate, number and approval, and check them. Changes `obj`."""
    if obj.get("subsidiary") is None:
        raise missing_value("Subsidiary", path="subsidiary")
    subsidiary = books.at("subsidiary", obj["subsidiary"]["id"])
    if obj.get("currency") is None:
        obj["currency"] = subsidiary["currency"]
    for name in ("currency", "subsidiary"):
        if old is not None and old[name]["id"] != obj[name]["id"]:
            raise user_error(f"You cannot change the {name} of a transaction.", path=name)
    obj.setdefault("tranDate", books.today().isoformat())
    _fill_rate(books, obj, old, subsidiary)
    if books.preferences["numbers_itself"] and old is None:
        obj.pop("tranId", None)
    if "tranId" not in obj:
        number = books.store.next_number(f"number {record.name}", first=10001)
        obj["tranId"] = f"{NUMBER_PREFIXES[record.name]}{number}"
    _fill_approval(books, record, obj, old)
    for name in ("department", "class", "location"):
        if name in obj:
            check_dimension(books, name, obj[name], obj["subsidiary"]["id"], name)


def _fill_rate(books: Books, obj: dict, old: dict | None, subsidiary: dict) -> None:
    currency = books.at("currency", obj["currency"]["id"])
    base = books.at("currency", subsidiary["currency"]["id"])
    same_day = old is not None and old["tranDate"] == obj["tranDate"]
    if obj.get("exchangeRate") is None or (
        old is not None and not same_day and obj["exchangeRate"] == old["exchangeRate"]
    ):
        obj["exchangeRate"] = float(find_rate(books, currency, base, obj["tranDate"]))
    if obj["exchangeRate"] <= 0 or (currency["id"] == base["id"] and obj["exchangeRate"] != 1):
        raise invalid_value(obj["exchangeRate"], "exchangerate", path="exchangeRate")


def _fill_approval(books: Books, record: Record, obj: dict, old: dict | None) -> None:
    if not books.preferences["approval"] or record.name not in NEEDS_APPROVAL:
        status = "2"
    elif old is not None and not books.preferences["may_approve"]:
        status = old["approvalStatus"]["id"]
    else:
        asked = obj.get("approvalStatus", {"id": "1"})
        asked = str(asked["id"] if isinstance(asked, dict) else asked)
        if asked not in APPROVAL_NAMES:
            raise invalid_value(asked, "approvalstatus", path="approvalStatus")
        status = asked if books.preferences["may_approve"] else "1"
    obj["approvalStatus"] = {"id": status, "refName": APPROVAL_NAMES[status]}


def subsidiaries_of(books: Books, customer: dict) -> set[str]:
    """The subsidiaries that may sell to a customer: its own and those of customerSubsidiaryRelationship."""
    more = books.cache.get(("subsidiaries", customer["id"]))
    if more is None:
        rows = books.store.find("customerSubsidiaryRelationship", entity=customer["id"])
        more = {row["id"]: row["subsidiary"]["id"] for row in rows}
        books.cache["subsidiaries", customer["id"]] = more
    return {customer["subsidiary"]["id"], *more.values()}


def currencies_of(customer: dict) -> set[str]:
    """The currencies in which a customer may be billed."""
    lines = customer.get("currencyList", {}).get("items", [])
    return {customer["currency"]["id"], *(line["currency"]["id"] for line in lines)}


def check_account(books: Books, reference: dict, path: str) -> None:
    """Refuse an inactive account; what stands on it already may still be changed."""
    if books.at("account", reference["id"]).get("isInactive"):
        raise user_error(f"Invalid {path.lower()} reference key {reference['id']}.", path=path)


def check_dimension(books: Books, name: str, reference: dict, subsidiary_id: str, path: str) -> None:
    """Refuse a department, class or location that the subsidiary may not use."""
    found = books.at("classification" if name == "class" else name, reference["id"])
    if found.get("isInactive") or not is_available(found, subsidiary_id):
        raise user_error(f"Invalid {name} reference key {reference['id']} for subsidiary {subsidiary_id}.", path=path)


def is_available(obj: dict, subsidiary_id: str) -> bool:
    """Whether a subsidiary may use an item or dimension: named itself, or by the root with its children."""
    allowed = obj.get("subsidiary", {}).get("items", [])
    if not allowed:
        return True
    return any(each["id"] == subsidiary_id or (obj.get("includeChildren") and each["id"] == "1") for each in allowed)


def save_transaction(
    books: Books,
    record: Record,
    obj: dict,
    old: dict | None,
    *,
    total: Decimal,
    impact: Callable[[Impact], None],
    paid: Decimal = Decimal(0),
) -> None:
    """Choose the period, write document, totals and ledger. An edit with ledger effect needs an open period too."""
    subsidiary = books.at("subsidiary", obj["subsidiary"]["id"])
    quantum = books.quantum(subsidiary["currency"]["id"])
    gathered = Impact(to_decimal(obj["exchangeRate"]), quantum)
    impact(gathered)
    rows = gathered.balance(account_id(books, "rounding"))
    if is_pending(obj) or record.name == "salesOrder":
        rows = []
    ledger = LEDGER.get(record.name, "ar")
    approved_now = old is not None and is_pending(old) and not is_pending(obj)
    if old is None or old["tranDate"] != obj["tranDate"] or _asked_other(old, obj) or approved_now:
        asked = obj.get("postingPeriod")
        if old is not None and not _asked_other(old, obj) and not approved_now:
            asked = None
        if old is not None:
            require_open(books, old, ledger)
        if record.name == "salesOrder":  # it isn't posted, so no period is closed to it
            period = find_period(books, obj["tranDate"])
            if period is None:
                raise user_error(OUTSIDE_PERIOD, path="tranDate")
        else:
            period = choose_period(books, obj["tranDate"], asked, subsidiary["id"], ledger)
        obj["postingPeriod"] = {"id": period["id"], "refName": period["periodName"]}
    elif read_impact(books, obj["id"]) != [(account, round(base, 3)) for account, base, _ in rows]:
        require_open(books, old, ledger)
    elif old is not None:
        require_editable(books, old)
    books.put(record, obj, old)
    base_total = round_money(total * gathered.rate, quantum)
    write_row(books, record, obj, total=total, base_total=base_total, paid=paid)
    write_impact(books, obj["id"], rows, new=old is None)


def _asked_other(old: dict, obj: dict) -> bool:
    return old["postingPeriod"]["id"] != obj.get("postingPeriod", old["postingPeriod"])["id"]


def require_open(books: Books, obj: dict, ledger: str) -> None:
    """Refuse to touch the ledger of a period that is closed."""
    period = books.at("accountingPeriod", obj["postingPeriod"]["id"])
    if not is_pending(obj) and not is_open(books, period, obj["subsidiary"]["id"], ledger):
        raise user_error(OUTSIDE_PERIOD, path="postingPeriod")


def require_editable(books: Books, obj: dict) -> None:
    """Refuse a change without effect on the ledger where the period is closed to those too (assumed wording)."""
    period = books.at("accountingPeriod", obj["postingPeriod"]["id"])
    if read_status(books, period, obj["subsidiary"]["id"])["closed"] and not period["allowNonGLChanges"]:
        raise user_error(OUTSIDE_PERIOD, path="postingPeriod")


def overlay(books: Books, record: Record, obj: dict) -> dict:
    """A stored transaction with what others did to it since: applied amounts, status, time of change."""
    row = read_row(books, obj["id"])
    if row is None:
        return obj
    total, paid = Decimal(repr(row["foreigntotal"])), Decimal(repr(row["paid"]))
    shown = {**obj, "lastModifiedDate": row["lastmodifieddate"]}
    if record.name == "invoice":
        shown |= {"amountPaid": float(paid), "amountRemaining": float(total - paid)}
        shown["status"] = _status(row["status"], {"A": "Open", "B": "Paid In Full"})
    elif record.name == "creditMemo":
        shown |= {"applied": float(paid), "unapplied": float(total - paid), "amountRemaining": float(total - paid)}
        shown["status"] = _status(row["status"], {"A": "Open", "B": "Fully Applied"})
    elif record.name == "customerPayment":
        shown |= {"applied": float(paid), "unapplied": float(total - paid)}
        shown["status"] = {"id": "C", "refName": "Deposited"}
    return shown


def _status(letter: str, names: dict[str, str]) -> dict[str, str]:
    name = names.get(letter) or {"D": "Pending Approval", "E": "Rejected"}[letter]
    return {"id": name, "refName": name}
