"""That people take a posted document of ours back in the ERP, and post it there again where it's to stand otherwise."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Literal

from q2c.canonical.base import Currency, Document, Source
from q2c.canonical.posting import CashApplication


class SettledBy(Document):
    """What settles a part of a posted invoice: a document of the ERP by its id there, with how much, in the invoice's
    currency. One that `moves` is taken off first, and settles what is posted in the invoice's place."""

    kind: Literal["receipt", "credit_memo"]
    document: str
    amount: Decimal
    moves: bool
    number: str = ""


class Unwinding(Document):
    """A posted invoice is taken back by a credit memo over all of it, dated `on`; with `reposts` it's posted again in
    the same act by the mappings of then. `source` is the people's decision, `generation` counts those about one
    invoice, `erp_invoice` and `open_amount` are what the ERP had when they decided, and `agreed` the hash of the lines
    that they signed for (`q2c.posting.unwinding.lines_hash`). Amounts are in the invoice's currency."""

    source: Source
    generation: int
    invoice_id: str
    invoice_number: str
    customer_id: str
    customer_name: str
    legal_entity: str
    erp: str  # our connection's code
    erp_invoice: str
    currency: Currency
    total: Decimal
    open_amount: Decimal
    on: dt.date
    reposts: bool
    settled: tuple[SettledBy, ...] = ()
    agreed: str = ""
    reason: str = ""

    @property
    def moving(self) -> tuple[SettledBy, ...]:
        """What is taken off the invoice before it's taken back."""
        return tuple(row for row in self.settled if row.moves)

    @property
    def open_then(self) -> Decimal:
        """What is open of the invoice once that was taken off: the credit memo settles it."""
        return self.open_amount + sum((row.amount for row in self.moving), Decimal(0))

    @property
    def credit_left(self) -> Decimal:
        """What of the credit memo the invoice doesn't take: it was settled by what stays applied to it."""
        return self.total - self.open_then


class OrderUnwinding(Document):
    """What an order became in billing is ended there: a subscription, a plan of one, or an invoice of single sales.
    `source` is the people's decision, `status` what billing said of it when they decided, `customer_id` billing's own
    id. Nothing of it stands in an ERP by then."""

    source: Source
    generation: int
    order_id: str
    order_number: str
    customer_id: str
    customer_name: str
    legal_entity: str
    billing: str  # our connection's code
    subscription_id: str
    subscription_type: str
    on: dt.date
    status: str = ""
    currency: str = ""
    amount: Decimal | None = None
    reason: str = ""


class Settling(Document):
    """Applications of receipts and credit memos that are changed in one act, each of which may be asked for again."""

    external_id: str
    applications: tuple[CashApplication, ...]
