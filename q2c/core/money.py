"""Money, minor units by ISO 4217, rounding, and the allocation of cents. Pure; amounts are Decimal in major units."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated

import msgspec

# ISO 4217 list one as published in datasets/currency-codes (PDDL).
_NO_DECIMALS = [
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV",
    "XAF", "XOF", "XPF",
]  # fmt: skip
_THREE_DECIMALS = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]
_FOUR_DECIMALS = ["CLF", "UYW"]
_TWO_DECIMALS = frozenset([
    "AED", "AFN", "ALL", "AMD", "ANG", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BMD", "BND",
    "BOB", "BOV", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHE", "CHF", "CHW", "CNY", "COP", "COU",
    "CRC", "CUC", "CUP", "CVE", "CZK", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL",
    "GHS", "GIP", "GMD", "GTQ", "GYD", "HKD", "HNL", "HRK", "HTG", "HUF", "IDR", "ILS", "INR", "IRR", "JMD", "KES",
    "KGS", "KHR", "KPW", "KYD", "KZT", "LAK", "LBP", "LKR", "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT",
    "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MXV", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "PAB",
    "PEN", "PGK", "PHP", "PKR", "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP",
    "SLE", "SLL", "SOS", "SRD", "SSP", "STD", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TOP", "TRY", "TTD",
    "TWD", "TZS", "UAH", "USD", "USN", "UYU", "UZS", "VED", "VES", "WST", "XAD", "XCD", "XCG", "YER", "ZAR", "ZMW",
    "ZWG", "ZWL",
])  # fmt: skip
_DECIMALS = dict.fromkeys(_NO_DECIMALS, 0) | dict.fromkeys(_THREE_DECIMALS, 3) | dict.fromkeys(_FOUR_DECIMALS, 4)

Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
ZERO = Decimal(0)


def decimals(currency: str) -> int:
    """How many decimals an amount of this currency has; two of a code that ISO 4217 doesn't have (`minor_decimals`
    refuses it)."""
    return _DECIMALS.get(currency, 2)


def minor_decimals(currency: str) -> int:
    """The decimals of a currency whose amounts are told in its smallest unit. Raises ValueError for a code that isn't
    ISO 4217's: of a coin that has eight decimals, two would be another amount."""
    if currency in _DECIMALS or currency in _TWO_DECIMALS:
        return decimals(currency)
    raise ValueError(f"{currency} isn't a currency of ISO 4217, so nobody knows how small its smallest unit is")


def round_money(amount: Decimal, currency: str) -> Decimal:
    """The amount rounded half up (away from zero) to the currency's minor unit."""
    return amount.quantize(Decimal(1).scaleb(-decimals(currency)), rounding=ROUND_HALF_UP)


def spoken_money(amount: Decimal, currency: str) -> str:
    """The amount as a sentence says it, with its currency's decimals: "GBP 1,234.50". One that has more is said as it
    is: two that differ never read alike."""
    return f"{currency} {spoken_amount(amount, currency)}"


def spoken_amount(amount: Decimal, currency: str) -> str:
    """As `spoken_money`, where the currency was said already: "1,234.50"."""
    rounded = round_money(amount, currency)
    return f"{rounded if rounded == amount else amount.normalize():,f}"


def from_minor(units: int | Decimal, currency: str) -> Decimal:
    """Minor units (cents, yen, fils) to an amount in major units."""
    return Decimal(units).scaleb(-minor_decimals(currency))


def to_minor(amount: Decimal, currency: str) -> int:
    """An amount in major units to minor units. Raises ValueError if it has more decimals than the currency."""
    minor = amount.scaleb(minor_decimals(currency))
    if minor != minor.to_integral_value():
        raise ValueError(f"{amount} has more decimals than {currency} allows")
    return int(minor)


def allocate(amount: Decimal, weights: Sequence[Decimal], currency: str) -> list[Decimal]:
    """Split an amount by weights so that the parts sum to it exactly (largest remainder, first one wins a tie).

    Raises ValueError when the weights sum to zero.
    """
    total = sum(weights, ZERO)
    if total == 0:
        raise ValueError("weights sum to zero")
    unit = Decimal(1).scaleb(-decimals(currency))
    exact = [amount * w / total for w in weights]
    parts = [e.quantize(unit, rounding="ROUND_FLOOR") for e in exact]
    missing = int((amount - sum(parts, ZERO)) / unit)
    order = sorted(range(len(parts)), key=lambda i: (-(exact[i] - parts[i]), i))
    for i in order[:missing]:
        parts[i] += unit
    return parts
