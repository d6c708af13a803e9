"""What is said of a held document on records outside: which field, what is wrong in it and what would be right.

The one place where that text is built. It's made of the kind's own words and of values that are no personal data (a
SKU, a code, a period, an amount); what a problem says of customers, and its sentence, which may name them, stay inside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from exceptions.kinds import kind_of
from mappings.kinds import BY_CODE as MAPPINGS
from q2c.core.templatetags.words import spoken

MESSAGE_MAX = 255  # what a plain text field of a CRM holds
_PERSONAL = frozenset({"customer"})  # kinds of mapping whose keys are people or name them
_CODE = re.compile(r"[\w#][\w#.:+/-]{0,59}")  # a code, a number, a date; no name of several words, no mailbox
_WORDS = re.compile(r"[\w#][\w#.,:+/ -]{0,79}")  # the same of several words, for what is ours: fields, right values
_DECIMAL = re.compile(r"-?\d+\.\d+")
_OURS = ("missing", "listed", "open_period", "term", "order_term")
# Of kinds whose field isn't a mapping's key: its name, the part of the problem with the wrong value (empty: it's
# missing), and what would be right.
_FIELDS: Mapping[str, tuple[str, str, str]] = {
    "period_closed": ("posting period", "period", "{open_period}"),
    "price_differs": ("price of {sku}", "price", "{listed}"),
    "negative_price": ("price of {sku}", "price", "0 or more"),
    "revenue_treatment": ("service period of {sku}", "", "a first and a last day"),
    "rounding_over_limit": ("sum of the lines", "difference", "the document’s total"),
    "order_incomplete": ("{missing}", "", ""),
    "line_term_differs": ("term of {sku}", "term", "{order_term}"),
    "customer_without_name": ("customer’s name", "", ""),
    "customer_without_address": ("customer’s billing country", "", ""),
    "account_hierarchy": ("parent account", "", "an account that isn’t below it"),
    "unknown_feed_prefix": ("prefix of the number", "", ""),
    "vendor_refused": ("“{field}”", "", ""),
    "vendor_reference_refused": ("“{field}”", "", ""),
}


@dataclass(frozen=True)
class Held:
    """A document that something holds, as it's told outside."""

    number: str
    code: str  # of the problem
    subject: Mapping[str, str]
    case: int
    queue: str
    known: Mapping[str, str] = field(default_factory=dict)  # what would be right, where we know it


def message_of(held: Sequence[Held]) -> str:
    """The sentence on a record: of the first document, and how many more there are; at most `MESSAGE_MAX` long."""
    first = held[0]
    number = f"{first.number}: " if _CODE.fullmatch(first.number) and re.search(r"\d", first.number) else ""
    parts = [f"{number}{kind_of(first.code).title}.", *_field_says(first)]
    end = f"With {spoken(first.queue).lower()} as EX-{first.case}."
    if len(held) > 1:
        end += f" {len(held) - 1} more."
    said = " ".join(parts)
    room = MESSAGE_MAX - len(end) - 1
    return f"{said if len(said) <= room else said[: room - 1].rstrip() + '…'} {end}"


def _field_says(held: Held) -> list[str]:
    """ "SKU is “NEW-1”; right would be one that is mapped." Nothing where the kind names no field."""
    label, wrong, right = _field_of(held)
    if not label:
        return []
    is_ = f"is “{wrong}”" if wrong else "was refused" if held.code.startswith("vendor_") else "is missing"
    return [f"{label[:1].upper()}{label[1:]} {is_}{f'; right would be {right}' if right else ''}."]


def _field_of(held: Held) -> tuple[str, str, str]:
    """Name of the field, its wrong value and the right one, as far as they are known and may be told."""
    given = {**held.subject, **held.known}.items()
    values = {name: value for name, value in given if (_WORDS if name in _OURS else _CODE).fullmatch(value)}
    mapping = MAPPINGS.get(held.subject.get("kind", ""))
    if mapping is not None and held.code == mapping.missing_code:
        if mapping.code in _PERSONAL:
            return mapping.key_fields[0].replace("_", " "), "", ""
        label = mapping.key_fields[0].replace("_", " ")
        label = label.upper() if label == "sku" else label
        return label, values.get("key", ""), held.known.get("right", "one that is mapped")
    label, wrong, right = _FIELDS.get(held.code, ("", "", ""))
    try:
        label = label.format_map(values)
    except KeyError:  # what the label needs isn't known, or may not be told
        return "", "", ""
    if wrong and wrong not in values:
        return "", "", ""
    try:
        right = right.format_map(values)
    except KeyError:
        right = ""
    value = values.get(wrong, "")
    return label, value.rstrip("0").rstrip(".") if _DECIMAL.fullmatch(value) else value, right
