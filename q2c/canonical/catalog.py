"""Products and prices."""

from __future__ import annotations

from decimal import Decimal

from q2c.canonical.base import Currency, Document, Source


class Product(Document):
    source: Source
    sku: str
    name: str
    family: str = ""
    is_active: bool = True


class Price(Document):
    source: Source
    sku: str
    currency: Currency
    unit_price: Decimal
    billing_frequency: str = ""  # monthly, annual, one_time
    is_active: bool = True
