"""Taxes on Stripe's lines and documents, as Stripe or its tax engine computed them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from connectors.fields import decimal, dig
from connectors.stripe.money import from_minor
from q2c.canonical import billing

# Reasons under which no tax is due; one tax rate may stand for several of them, so each is a tax code of its own.
# Source: `taxability_reason` of the API reference 2026-10-28.
UNTAXED = frozenset({
    "customer_exempt", "not_collecting", "not_subject_to_tax", "not_supported", "product_exempt",
    "product_exempt_holiday", "portion_product_exempt", "reverse_charge", "zero_rated",
})  # fmt: skip


def tax_details(line: Mapping[str, Any], currency: str) -> tuple[billing.TaxDetail, ...]:
    """Every tax of a line, in today's shape or that before 2025."""
    return tuple(_tax_detail(tax, currency) for tax in line.get("taxes") or line.get("tax_amounts") or ())


def tax_total(document: Mapping[str, Any], currency: str) -> Decimal:
    """The tax of an invoice or credit note, inclusive ones too."""
    taxes = document.get("total_taxes") or document.get("total_tax_amounts")
    if taxes:
        return sum((from_minor(tax["amount"], currency) for tax in taxes), Decimal(0))
    return from_minor(document.get("tax") or 0, currency)


def _tax_detail(raw: Mapping[str, Any], currency: str) -> billing.TaxDetail:
    """Its code is the tax rate's id; where no tax is due, with the reason behind it (`txr_1:reverse_charge`)."""
    given = dig(raw, "tax_rate_details.tax_rate") or raw.get("tax_rate")
    rate: Mapping[str, Any] = given if isinstance(given, Mapping) else {"id": given}
    code, reason = str(rate.get("id") or ""), str(raw.get("taxability_reason") or "")
    if reason in UNTAXED:
        code = f"{code}:{reason}" if code else reason
    return billing.TaxDetail(
        tax_code=code or str(raw.get("type") or "tax"),
        amount=from_minor(raw["amount"], currency),
        base=from_minor(raw.get("taxable_amount") or 0, currency),
        rate=decimal(rate.get("percentage") or 0),
        jurisdiction=str(rate.get("jurisdiction") or ""),
        is_inclusive=raw.get("tax_behavior") == "inclusive" or raw.get("inclusive") is True,
        reason=reason,
    )
