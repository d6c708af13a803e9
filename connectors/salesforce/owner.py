"""Whose a message of Salesforce is: the account that its record is, or hangs on. Pure."""

from __future__ import annotations

from connectors.fields import read_json
from connectors.salesforce.door import read_record
from connectors.salesforce.ids import full_id

_NAMED_BY = {"Account": "Id", "SBQQ__Quote__c": "SBQQ__Account__c", "SBQQ__Subscription__c": "SBQQ__Account__c"}


def customer_of(body: bytes) -> str:
    """The account whom a polled record or a notification is about; empty where it names none (a product, a price).

    Raises ValueError for what is neither.
    """
    kind, values = _polled(body) if body[:1] == b"{" else read_record(body)
    account = values.get(_NAMED_BY.get(kind, "AccountId"))
    return full_id(str(account)) if account else ""


def _polled(body: bytes) -> tuple[str, dict[str, object]]:
    row = read_json(body)
    attributes = row.get("attributes")
    if not isinstance(attributes, dict):
        raise ValueError("a polled record names its object in its attributes")
    return str(attributes.get("type") or ""), row
