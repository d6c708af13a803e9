"""Creates, changes, deletes, reads and transforms records: what the record API and the control door have in common."""

import re
from collections.abc import Callable
from typing import Any

from connectors.netsuite.sandbox.applying import is_applied_to, undo_applications
from connectors.netsuite.sandbox.books import Books
from connectors.netsuite.sandbox.errors import build_error, invalid_content, no_permission, user_error
from connectors.netsuite.sandbox.fields import ITEMS, RECORDS, Record
from connectors.netsuite.sandbox.journals import save_journal
from connectors.netsuite.sandbox.ledger import forget_transaction
from connectors.netsuite.sandbox.masters import forget_name, save_customer, save_item, save_other
from connectors.netsuite.sandbox.payments import save_payment, save_refund
from connectors.netsuite.sandbox.sales import save_sale
from connectors.netsuite.sandbox.transactions import LEDGER, overlay, require_open
from connectors.sandbox.request import Refusal

ROOT = "/services/rest/record/v1"
EXTERNAL_ID = re.compile(r"[A-Za-z0-9_-]{1,150}")
SAVERS: dict[str, Callable[[Books, Record, dict, dict | None], None]] = {
    "customer": save_customer,
    **dict.fromkeys(ITEMS, save_item),
    **dict.fromkeys(("invoice", "creditMemo", "salesOrder"), save_sale),
    "customerPayment": save_payment,
    "customerRefund": save_refund,
    "journalEntry": save_journal,
}
OWN = frozenset({"accountingPeriodSubsidiary"})  # not a record of the vendor's API
READ_ONLY = frozenset(
    {
        "subsidiary",
        "account",
        "accountingPeriod",
        "currency",
        "taxType",
        "salesTaxItem",
        "taxSchedule",
        "revenueRecognitionRule",
    }
)
COPIED = {
    "creditMemo": (
        "entity",
        "subsidiary",
        "currency",
        "exchangeRate",
        "department",
        "class",
        "location",
        "item",
        "taxDetails",
    ),
    "invoice": ("entity", "subsidiary", "currency", "department", "class", "location", "otherRefNum", "memo", "item"),
    "customerPayment": ("subsidiary", "currency"),
}
TRANSFORMS = {("invoice", "creditMemo"), ("invoice", "customerPayment"), ("salesOrder", "invoice")}


def find_record(type: str) -> Record:
    """The definition of a record type of the API; 404 for an unknown one."""
    record = RECORDS.get(type)
    if record is None or type in OWN:
        raise Refusal(build_error(404, "NOT_FOUND", f"Record type '{type}' does not exist."))
    return record


def create(books: Books, record: Record, given: Any, *, strict: bool = False, external_id: str | None = None) -> dict:
    """Make a record out of a body; what is stored. `external_id` is the address's own."""
    body = books.check_body(record, given, strict=strict)
    if external_id is not None:
        body["externalId"] = external_id
    known = body.get("externalId")
    if known is not None and books.find_id(record.space, known) is not None:
        raise user_error("This record already exists", path="externalId")
    obj = books.merge(record, {}, body, frozenset())
    obj |= {"id": books.next_id(record), "createdDate": books.now(), "lastModifiedDate": books.now()}
    SAVERS.get(record.name, save_other)(books, record, obj, None)
    return obj


def update(
    books: Books, record: Record, old: dict, given: Any, *, strict: bool = False, replace: frozenset[str] = frozenset()
) -> dict:
    """Change a record: properties overwritten, lines merged or added unless their sublist is replaced."""
    body = books.check_body(record, given, strict=strict)
    obj = books.merge(record, old, body, replace)
    obj |= {"id": old["id"], "createdDate": old["createdDate"], "lastModifiedDate": books.now()}
    SAVERS.get(record.name, save_other)(books, record, obj, old)
    return obj


def delete(books: Books, record: Record, obj: dict) -> None:
    """Delete a record that nothing depends on; a posted transaction only while its period is open."""
    if record.transaction_code is not None:
        if is_applied_to(books, obj["id"]):
            raise user_error("This transaction cannot be deleted because it is linked to by one or more transactions.")
        require_open(books, obj, LEDGER.get(record.name, "ar"))
        undo_applications(books, obj["id"])
        forget_transaction(books, record, obj)
    elif record.name == "customer" and _has_transactions(books, obj["id"]):
        raise user_error("This customer cannot be deleted because it has child records.")
    forget_name(books, record, obj)
    books.remove(record, obj)


def transform(books: Books, source: Record, obj: dict, target: Record, given: Any, *, strict: bool = False) -> dict:
    """Make a transaction out of another one; the body overrides what is copied."""
    if (source.name, target.name) not in TRANSFORMS:
        detail = f"The transformation from '{source.name}' to '{target.name}' is not supported."
        raise Refusal(build_error(400, "INVALID_REQUEST", detail))
    shown = overlay(books, source, obj)
    copied = {name: obj[name] for name in COPIED[target.name] if name in obj}
    copied["createdFrom"] = {"id": obj["id"]}
    if "taxDetails" in copied:
        copied["taxDetailsOverride"] = True
    if "item" in copied:
        copied["item"] = {"items": [{**line, "line": None} for line in obj["item"]["items"]]}
    if source.name == "invoice":
        if shown["amountRemaining"] <= 0 and target.name == "customerPayment":
            raise user_error("You cannot initialize customerpayment: invalid reference. The invoice is already paid.")
        line = {"doc": {"id": obj["id"]}, "apply": True}
        copied["apply"] = {"items": [line]}
    if target.name == "customerPayment":
        copied |= {"customer": {"id": obj["entity"]["id"]}, "payment": shown["amountRemaining"]}
    elif source.name == "invoice" and shown["amountRemaining"] <= 0:
        copied["apply"] = {"items": []}
    merged = {**copied, **(given if isinstance(given, dict) else {})}
    return create(books, target, merged, strict=strict)


def check_role(books: Books, record: Record, act: str) -> None:
    """Refuse what the integration's role may not do."""
    if books.preferences["administrator"]:
        return
    if act == "delete" and not books.preferences["may_delete"]:
        raise no_permission(f"delete records of type {record.name}")
    if act != "view" and record.name in READ_ONLY:
        raise no_permission(f"{act} records of type {record.name}")


def check_external_id(external_id: str) -> str:
    """An external id as an address may carry it; others are refused."""
    if EXTERNAL_ID.fullmatch(external_id) is None:
        raise invalid_content(f"Invalid external ID '{external_id}'.")
    return external_id


def show(
    books: Books, record: Record, obj: dict, root: str, *, expand: bool, fields: frozenset[str], simple: bool
) -> dict:
    """A record as REST shows it: sublists are links unless they're expanded; enums plain when `simple`."""
    if record.transaction_code is not None:
        obj = overlay(books, record, obj)
    self_url = f"{root}{ROOT}/{record.name}/{obj['id']}"
    shown: dict[str, Any] = {"links": [{"rel": "self", "href": self_url}]}
    for name, value in obj.items():
        if fields and name not in fields and name != "id":
            continue
        if name == "approvalStatus" and not books.preferences["shows_approval"]:
            continue
        if name in record.lists:
            shown[name] = show_lines(value["items"], f"{self_url}/{name}", expand=expand)
        elif simple and isinstance(value, dict) and record.fields.get(name) == "enum":
            shown[name] = value["id"]
        else:
            shown[name] = value
    return shown


def show_lines(lines: list[dict], url: str, *, expand: bool) -> dict:
    """A sublist: its link, and its lines when expanded."""
    links = [{"rel": "self", "href": url}]
    if not expand:
        return {"links": links}
    more = {"count": len(lines), "hasMore": False, "offset": 0, "totalResults": len(lines)}
    return {"links": links, "items": lines, **more}


def _has_transactions(books: Books, id: str) -> bool:
    found = books.store.db.execute("SELECT 1 FROM ns_transaction WHERE entity=? LIMIT 1", (id,)).fetchone()
    return found is not None
