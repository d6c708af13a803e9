"""The fields of a rule's form that say "only where": each a condition, as people tick or write it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from django import forms

from mappings import conditions
from mappings.kinds import Kind

PREFIX = "only_"
_HINTS = {
    "customer_country": "Two letters each, such as DE, FR: of the billing address.",
    "ship_to_country": "Two letters each. Without a shipping address it’s the billing address’s.",
    "payment_method": "As billing names it, such as card, sepa_debit.",
}
_BETWEEN = re.compile(r"[\s,;|]+")
_BETWEEN_WORDS = re.compile(r"\s*[,;|\n]\s*")  # a payment method is written "sepa debit" as well, as rules say it


def fields_for(kind: Kind, key: str) -> dict[str, forms.Field]:
    """A field for each fact that a rule of this kind may look at."""
    return {PREFIX + name: _field(kind, name) for name in kind.conditions_for(key)}


def _field(kind: Kind, name: str) -> forms.Field:
    label = conditions.LABELS[name]
    if name in ("document_type", "charge_type"):
        known = conditions.documents_of(kind) if name == "document_type" else conditions.charges_of(kind)
        choices = [(code, conditions.ONE[code]) for code in known]
        widget = forms.CheckboxSelectMultiple
        return forms.MultipleChoiceField(label=label, choices=choices, required=False, widget=widget)
    return forms.CharField(label=label, required=False, max_length=1000, help_text=_HINTS[name])


def read(data: Mapping[str, object]) -> dict[str, list[str]]:
    """The conditions that somebody ticked or wrote: what is left empty is none."""
    found: dict[str, object] = {}
    for name, value in data.items():
        if not name.startswith(PREFIX):
            continue
        values = _words(name.removeprefix(PREFIX), value) if isinstance(value, str) else value
        if values:
            found[name.removeprefix(PREFIX)] = values
    return conditions.tidy(found)


def _words(name: str, written: str) -> list[str]:
    """What stands between commas; a space ends a country's code, and within a payment method it's an underscore."""
    if name != "payment_method":
        return [word for word in _BETWEEN.split(written) if word]
    return ["_".join(word.split()) for word in _BETWEEN_WORDS.split(written) if word.strip()]
