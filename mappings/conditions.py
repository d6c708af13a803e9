"""What a rule's conditions may say, and how people read them: "only invoices to customers in DE, FR". Pure.

A condition names a fact of the document and the values that it admits. Each kind says which facts its documents really
have (`Kind.conditions`): a condition on another could never hold, so it's refused when it's drafted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from mappings.kinds import CONDITION_FIELDS, Kind
from mappings.scope import allowed

# Our words for documents, with what several of them are called.
DOCUMENTS = {
    "invoice": "invoices", "credit_memo": "credit memos", "write_off": "write-offs", "payment": "payments",
    "refund": "refunds", "payout": "payouts", "dispute": "disputes", "customer": "customers",
}  # fmt: skip
CHARGES = {"recurring": "recurring charges", "one_time": "one-time charges", "usage": "usage charges"}
ONE = {code: code.replace("_", " ").capitalize() for code in (*DOCUMENTS, *CHARGES)} | {
    "write_off": "Write-off", "one_time": "One-time",
}  # fmt: skip
LABELS = {
    "document_type": "Document is", "customer_country": "Customer’s country is",
    "ship_to_country": "Ship-to country is", "charge_type": "Charge is", "payment_method": "Payment method is",
}  # fmt: skip
_SAID = {  # the same inside a sentence
    "document_type": "document", "customer_country": "customer’s country", "ship_to_country": "ship-to country",
    "charge_type": "charge", "payment_method": "payment method",
}  # fmt: skip
# The documents that ask each kind: what no document of this sort is, no rule of the kind can wait for.
_BILLED = ("invoice", "credit_memo", "write_off")
_ASKED_BY: dict[str, tuple[str, ...]] = {
    "account": (*_BILLED, "payment", "refund", "payout", "dispute", "customer"),
    "customer": ("invoice", "credit_memo"),
}
_COUNTRY, _METHOD = re.compile("[A-Z]{2}"), re.compile(r"[a-z0-9_.-]{1,60}")
_MEANT = {"UK": "GB", "EL": "GR"}  # codes that people write for another


def documents_of(kind: Kind) -> dict[str, str]:
    """The documents that ask a kind, with what several of them are called."""
    return {name: DOCUMENTS[name] for name in _ASKED_BY.get(kind.code, _BILLED)}


def charges_of(kind: Kind) -> dict[str, str]:
    """The charges of the documents that ask a kind: an order sells no usage."""
    return {name: said for name, said in CHARGES.items() if kind.code != "billing_product" or name != "usage"}


def faults(kind: Kind, key: str, conditions: Mapping[str, object]) -> Iterator[str]:
    """What is wrong with the conditions of a rule, each with the way out."""
    may = kind.conditions_for(key)
    for name, value in conditions.items():
        if name not in CONDITION_FIELDS:
            continue  # told by `scope.conditions_key`
        if name not in may:
            yield _not_said(kind, key, name, may)
            continue
        values = allowed(value)
        if not values or not all(v.strip() for v in values):
            yield f"say which {_SAID[name]}, or leave the condition out"
        elif not isinstance(value, str | list | tuple):
            yield f"the condition on the {_SAID[name]} holds no list of values"
        else:
            yield from filter(None, (_value_fault(kind, name, v) for v in values))


def _not_said(kind: Kind, key: str, name: str, may: tuple[str, ...]) -> str:
    which = f"{kind.title} “{key}”" if may != kind.conditions else kind.title
    if not may:
        return f"{which} isn't asked with a document; a rule of it has no conditions"
    others = ", ".join(_SAID[other] for other in may)
    return f"no document that asks for {which} says its {_SAID[name]}, so it could never hold; it may look at {others}"


def _value_fault(kind: Kind, name: str, value: str) -> str:
    if name in ("customer_country", "ship_to_country"):
        meant = _MEANT.get(value.upper()) or (value.upper() if _COUNTRY.fullmatch(value.upper()) else "")
        if meant == value:
            return ""
        return f"{value} isn’t a country’s two letters; " + (f"write {meant}" if meant else "write them such as DE")
    if name == "payment_method":
        said = "isn’t a payment method as billing names it; write it such as card or sepa_debit"
        return "" if _METHOD.fullmatch(value) else f"{value} {said}"
    known = documents_of(kind) if name == "document_type" else charges_of(kind)
    if value in known:
        return ""
    noun = "document" if name == "document_type" else "charge"
    return f"no {noun} that asks for {kind.title} is {value}; write one of {', '.join(known)}"


def tidy(conditions: Mapping[str, object]) -> dict[str, list[str]]:
    """Conditions as they are stored: each with its values once, sorted, as people write them in whatever letters."""
    found = {}
    for name, value in conditions.items():
        turn = str.upper if name.endswith("_country") else str.lower
        found[name] = sorted({turn(text.strip()) for text in allowed(value)})
    return found


def say(conditions: Mapping[str, object]) -> str:
    """Conditions as a sentence's end: "only invoices to customers in DE, FR"; empty where there are none."""
    values = {name: allowed(conditions[name]) for name in CONDITION_FIELDS if name in conditions}
    charges = _joined(CHARGES.get(v, v) for v in values.get("charge_type", ()))
    documents = _joined(DOCUMENTS.get(v, v) for v in values.get("document_type", ()))
    what = f"{charges} of {documents}" if charges and documents else charges or documents
    rest = []
    if countries := ", ".join(values.get("customer_country", ())):
        rest.append(f"{'to' if what else 'for'} customers in {countries}")
    if countries := ", ".join(values.get("ship_to_country", ())):
        rest.append(f"{'' if what or rest else 'for what is '}shipped to {countries}")
    if methods := _joined(v.replace("_", " ") for v in values.get("payment_method", ())):
        rest.append(f"{'' if what or rest else 'for what is '}paid by {methods}")
    said = " ".join(filter(None, [what, *rest]))
    return f"only {said}" if said else ""


def why_not(conditions: Mapping[str, object], document: Mapping[str, str]) -> str:
    """Why a document isn't one that a rule with these conditions waits for: what it would have to be, and what it
    is."""
    missed = [name for name in conditions if document.get(name, "") not in allowed(conditions[name])]
    has = ", ".join(f"{_SAID.get(name, name)} {document.get(name) or 'unknown'}" for name in missed)
    return f"{say(conditions)}; here: {has}"


def _joined(words: Iterator[str]) -> str:
    return " or ".join(words)
