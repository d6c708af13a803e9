"""The taxes that the demo's billing charges, and the rules that say which of the ERP's tax codes they are."""

from __future__ import annotations

from typing import Any

from connectors.models import ReferenceEntry
from connectors.sandbox.remote import ControlDoor

# What billing charges for the states: code, name, percent, inclusive, country, jurisdiction, and the ERP's tax code.
TAX_RATES = (
    ("gb-vat", "VAT", 20.0, False, "GB", "United Kingdom", "GB VAT standard"),
    ("gb-vat-inclusive", "VAT", 20.0, True, "GB", "United Kingdom", "GB VAT standard"),
    ("gb-zero", "VAT", 0.0, False, "GB", "United Kingdom", "GB VAT zero-rated"),
    ("jp-consumption", "Consumption tax", 10.0, False, "JP", "Japan", "JP Consumption Tax standard"),
    ("us-ca", "Sales tax", 7.25, False, "US", "California", "California State Tax"),
    ("us-ca-la", "Sales tax", 2.5, False, "US", "Los Angeles County", "Los Angeles County Tax"),
)
# What an entity charges on services: the tax rates of its country.
CHARGED = {"GB01": ("gb-vat",), "JP01": ("jp-consumption",), "US01": ("us-ca", "us-ca-la")}
# Why no tax is due, and which of the ERP's codes of the country says so.
UNTAXED = {"zero_rated": "zero-rated", "product_exempt": "exempt", "customer_exempt": "exempt",
           "reverse_charge": "reverse charge"}  # fmt: skip


def make_tax_rates(door: ControlDoor) -> dict[str, str]:
    """The ids of billing's tax rates by their code; those that are missing are made."""
    known = door.call_stripe("GET", "/v1/tax_rates", {"limit": 100})["data"]
    found = {each["metadata"]["code"]: each["id"] for each in known if each["metadata"].get("code")}
    missing = [row for row in TAX_RATES if row[0] not in found]
    wanted = [
        {"display_name": name, "percentage": percent, "inclusive": inclusive, "country": country,
         "jurisdiction": place, "metadata": {"code": code}}
        for code, name, percent, inclusive, country, place, _ in missing
    ]  # fmt: skip
    made = door.make("stripe", "tax_rate", wanted) if wanted else []
    return found | dict(zip((row[0] for row in missing), made, strict=True))


def list_tax_rules(tax_codes: list[ReferenceEntry], rates: dict[str, str]) -> list[dict[str, Any]]:
    """Billing's tax rates as the ERP's tax codes, and those of each country under which nothing is due."""
    named = {entry.code: entry for entry in tax_codes}
    rows = []
    for code, *_, erp_code in TAX_RATES:
        wanted = {rates[code]: erp_code}
        base = erp_code.rpartition(" ")[0]
        wanted |= {f"{rates[code]}:{why}": f"{base} {kind}" for why, kind in UNTAXED.items()}
        rows += [
            {"kind": "tax_code", "key": key, "value": named[known].external_id, "label": named[known].name}
            for key, known in wanted.items()
            if known in named
        ]
    return rows
