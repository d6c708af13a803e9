"""What was sold: orders, subscriptions, amendments, renewals."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Literal

from q2c.canonical.base import Currency, Document, Later, Source

Frequency = Literal["one_time", "monthly", "quarterly", "semiannual", "annual"]


class OrderLine(Document):
    """`unit_price` is per billing period, in the order's currency; `list_price` what the price book said, if it said
    so. `term_months` is a term of the line's own, where it has another than the order."""

    line_id: str
    sku: str
    quantity: Decimal
    unit_price: Decimal
    description: str = ""
    list_price: Decimal | None = None
    billing_frequency: Frequency = "annual"
    service_start: dt.date | None = None
    service_end: dt.date | None = None
    term_months: int | None = None

    @property
    def charge_type(self) -> str:
        """How it's charged, as an invoice's line would say it."""
        return "one_time" if self.billing_frequency == "one_time" else "recurring"


class Order(Document):
    """A closed-won opportunity (or an activated order, or one of the API), complete with its lines."""

    later_is = Later.VERSION

    source: Source
    number: str
    customer_id: str  # the source system's account id
    currency: Currency
    start_date: dt.date
    term_months: int
    lines: tuple[OrderLine, ...]
    name: str = ""
    legal_entity: str = ""
    billing_frequency: Frequency = "annual"
    amount: Decimal | None = None  # what the CRM says the deal is worth
    quote_id: str = ""
    quote_status: str = ""
    payment_terms: str = ""
    po_number: str = ""
    opportunity_id: str = ""  # of an order that a sale was written down in: the opportunity that is sold, and carried


class Subscription(Document):
    source: Source
    order_id: str
    customer_id: str
    currency: Currency
    status: str
    start_date: dt.date
    is_active: bool
    schedule_id: str = ""  # billing's plan of a later start, under which it began


class Amendment(Document):
    source: Source
    subscription_id: str
    effective_date: dt.date
    lines: tuple[OrderLine, ...]


class Renewal(Document):
    source: Source
    subscription_id: str
    renewal_date: dt.date
    term_months: int


class HoldNote(Document):
    """What is written on the record of a held document, in the system that it came from or was sold in.

    `source` is the record; `message` holds neither payload nor personal data. Without a message the note is taken away.
    """

    later_is = Later.VERSION

    source: Source
    at: dt.datetime  # when it was said: of several notes on a record the newest counts
    status: str = ""
    message: str = ""
    link: str = ""  # to the case


class OrderStatus(Document):
    """What the CRM is told about an order: only the parts that this fact changes are set. `at` is the source's
    clock."""

    later_is = Later.VERSION

    source: Source  # the subscription, invoice or payment that says so
    order_id: str
    at: dt.datetime
    subscription_status: str = ""
    invoice_status: str = ""
    payment_status: str = ""
    number: str = ""
