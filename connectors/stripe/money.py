"""Stripe's amounts: integers of what Stripe calls a currency's minor unit, which isn't ISO 4217's everywhere. Pure.

Source: docs.stripe.com/currencies, sections zero-decimal, three-decimal and special cases (read 2026-11-20), and
support.stripe.com/questions/deprecation-of-fractional-isk-charges-and-refunds ("an ISK amount of 100 will continue to
represent 1 króna").
"""

from __future__ import annotations

from decimal import Decimal

from q2c.core.money import minor_decimals

# Krona and Ugandan shilling have no decimals any more, but keep two in the API; an ariary has none there.
_OWN_DECIMALS = {"ISK": 2, "UGX": 2, "MGA": 0}
_WHOLE_ONLY = frozenset({"ISK", "UGX"})  # "charged amounts must be evenly divisible by 100"
_ENDS_IN_ZERO = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})  # "the least-significant digit must be 0"


def decimals(currency: str) -> int:
    """How many decimals Stripe's integers of this currency (ISO code in capitals) have. Raises ValueError for a code
    that isn't ISO 4217's."""
    own = _OWN_DECIMALS.get(currency)
    return minor_decimals(currency) if own is None else own


def from_minor(units: int, currency: str) -> Decimal:
    """A document's amount in major units. Raises ValueError for a part of a krona or Ugandan shilling."""
    if currency in _WHOLE_ONLY and units % 100:
        raise ValueError(f"{units} isn't a whole amount in {currency}, whose parts Stripe doesn't charge")
    return price_from_minor(Decimal(units), currency)


def price_from_minor(units: Decimal, currency: str) -> Decimal:
    """A price, which may have parts of the minor unit, in major units."""
    return units.scaleb(-decimals(currency))


def price_to_minor(price: Decimal, currency: str) -> str:
    """A price in major units as Stripe's `*_decimal` fields take it: minor units with up to 12 decimals."""
    return format(price.scaleb(decimals(currency)).normalize() + 0, "f")


def check_chargeable(amount: Decimal, currency: str) -> None:
    """Raises ValueError for an amount (major units) that Stripe refuses to charge in this currency: a part of a krona
    or Ugandan shilling, a three-decimal amount that doesn't end in 0."""
    units = amount.scaleb(decimals(currency))
    step = 100 if currency in _WHOLE_ONLY else 10 if currency in _ENDS_IN_ZERO else 0
    if step and units % step:
        smallest = format(Decimal(step).scaleb(-decimals(currency)).normalize(), "f")
        raise ValueError(f"Stripe charges {currency} in steps of {smallest}, not {amount}")
