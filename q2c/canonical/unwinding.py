"""That people take a posted document of ours back in the ERP, and post it there again where it's to stand otherwise."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Literal

from q2c.canonical.base import Currency, Document, Later, Source
from q2c.canonical.posting import CashApplication, Journal


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

    later_is = Later.VERSION

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

    later_is = Later.VERSION

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


class Reversed(Document):
    """A journal of the ERP (its id and number there) and the opposite that takes it back, line by line."""

    document: str
    number: str
    opposite: Journal


class Reversal(Document):
    """A posted journal is taken back by its opposite, dated `on`; with `again` it's posted anew in the same act, as the
    mappings said when it was proposed. `source` is the people's decision, `transaction` ours that posted the journal,
    `record_type` and `record_key` the cross-reference under which it stands. `made_of_it` is what the ERP itself made
    of it (the entry that takes an accrual back). Of a dispute, `payment_id` is what was disputed and `disputed` how
    much of it, in the payment's currency; negative where the money had come back. What is signed is what posts: the
    journals stand here whole."""

    later_is = Later.VERSION

    source: Source
    generation: int
    transaction: str
    flow: str
    object_type: str  # of the source, with its id: what the journal stands for
    object_id: str
    record_type: str
    record_key: str
    name: str  # what people call it
    legal_entity: str
    erp: str  # our connection's code
    currency: Currency
    amount: Decimal
    on: dt.date
    journal: Reversed
    made_of_it: Reversed | None = None
    again: Journal | None = None
    movement: str = ""
    payment_id: str = ""
    disputed: Decimal = Decimal(0)
    disputed_currency: str = ""
    reason: str = ""

    @property
    def document_date(self) -> dt.date:
        """A reversal is dated with the day that was agreed."""
        return self.on

    @property
    def reposts(self) -> bool:
        """Whether it's posted anew."""
        return self.again is not None


class Settling(Document):
    """Applications of receipts and credit memos that are changed in one act, each of which may be asked for again."""

    external_id: str
    applications: tuple[CashApplication, ...]
