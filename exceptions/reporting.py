"""Amounts in the group's reporting currency, for ranking: by the newest rates of the ERPs' own tables.

A document's amount at risk is frozen when it joins its case: a rate that moves never reorders a queue. Books are kept
by other rates, so these figures are shown beside the document's own amount, never instead of it.
"""

from __future__ import annotations

import time
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

from django.conf import settings
from django.db import connection as database

KEPT_SECONDS = 300.0
_CENT = Decimal("0.01")
_LEAST, _MOST = Decimal("0.000001"), Decimal(1_000_000)
_HIGHEST = Decimal(10) ** 15  # what a case's column holds, however many documents join it
_kept: tuple[float, dict[tuple[str, str], Decimal]] | None = None
_READ = """
    SELECT DISTINCT ON (external_id) external_id, attributes->>'rate' FROM connectors_referenceentry
     WHERE list_name = 'rates' AND is_active AND external_id LIKE '___/___'
     ORDER BY external_id, attributes->>'date' DESC, id
"""


def at_risk(amount: Decimal | None, currency: str) -> Decimal | None:
    """The size of an amount in the reporting currency, to two places; None where no rate leads there."""
    if amount is None:
        return None
    rate = rate_of(currency)
    return None if rate is None else min(abs(amount) * rate, _HIGHEST).quantize(_CENT, ROUND_HALF_EVEN)


def rate_of(currency: str) -> Decimal | None:
    """How much of the reporting currency one unit is: by a rate of the pair, its inverse, or two against one base."""
    to = settings.REPORTING_CURRENCY
    if currency == to:
        return Decimal(1)
    rates = _rates()
    direct = _between(rates, currency, to)
    if direct is not None:
        return direct
    for base in sorted({pair[1] for pair in rates} | {pair[0] for pair in rates}):
        first, second = _between(rates, currency, base), _between(rates, base, to)
        if first is not None and second is not None:
            return first * second
    return None


def forget_rates() -> None:
    """Read the rates afresh (after a change in this process, and between tests)."""
    global _kept
    _kept = None


def _between(rates: dict[tuple[str, str], Decimal], one: str, other: str) -> Decimal | None:
    if (one, other) in rates:
        return rates[one, other]
    inverse = rates.get((other, one))
    return 1 / inverse if inverse else None


def _read_rate(text: str | None) -> Decimal | None:
    """None for what can't be a rate: no document may fail to be held because of a figure in a list."""
    try:
        rate = Decimal(text or "")
    except InvalidOperation:
        return None
    return rate if rate.is_finite() and _LEAST < rate < _MOST else None


def _rates() -> dict[tuple[str, str], Decimal]:
    global _kept
    if _kept is None or time.monotonic() - _kept[0] > KEPT_SECONDS:
        with database.cursor() as cursor:
            cursor.execute(_READ)
            rows = cursor.fetchall()
        _kept = (time.monotonic(), {(pair[:3], pair[4:]): rate for pair, text in rows if (rate := _read_rate(text))})
    return _kept[1]
