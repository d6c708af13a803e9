"""Our words in Salesforce's fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping

STATUS_FIELDS = {  # CONTRACTS section 3
    "status": "Q2C_Status__c",
    "invoice_status": "Q2C_Invoice_Status__c",
    "payment_status": "Q2C_Payment_Status__c",
    "link": "Q2C_Link__c",
}


HOLD_FIELDS = {"status": "Q2C_Hold__c", "message": "Q2C_Hold_Message__c", "case": "Q2C_Hold_Case__c"}


def hold_note(fields: Mapping[str, str]) -> dict[str, str | None]:
    """What holds a record, in fields of our own (text of 255 characters); an empty one is cleared."""
    return {HOLD_FIELDS[name]: value[:255] or None for name, value in fields.items()}


def order_status(fields: Mapping[str, str]) -> dict[str, str]:
    """The status fields of an opportunity. Raises ValueError for a field that isn't one of ours."""
    unknown = sorted(set(fields) - STATUS_FIELDS.keys() - set(STATUS_FIELDS.values()))
    if unknown:
        raise ValueError(f"Salesforce is told {', '.join(STATUS_FIELDS)}, not {', '.join(unknown)}")
    return {STATUS_FIELDS.get(name, name): value[:255] for name, value in fields.items()}
