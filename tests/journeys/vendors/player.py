"""What the journeys must know of a vendor: how its own log names our writes, how they're made to fail, and the verbs of
the people who work in it. One declaration per connector, `tests/journeys/vendors/<code>.py`, with `PLAYER`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from connectors import registry
from connectors.families import Family

Counts = Mapping[str, int]  # by what became of a write at the vendor's door: done, refused, replayed


@dataclass(frozen=True)
class Trace:
    """The last write of a scene as its vendor sees it: the entry in its log, and the request."""

    record: str  # the log's word for what is made
    effect: str = "created"
    method: str = "POST"
    path: str = ""  # where the request is made to fail, a glob
    door: str = ""  # where it arrives, a glob; empty: the same
    look: str = ""  # the path by which a look-up asks; empty where there's nothing to look up
    again: str = ""  # there it's sent again after an answer that nobody heard, and this becomes of it
    refusal: Any = None  # the body of a refusal that isn't the vendor's first guess
    needed: tuple[str, ...] = ()  # without one of these fields, what is read back proves nothing
    # What arrives at most while the vendor still works on the first, and somebody hurries us.
    works: Counts = field(default_factory=lambda: {"done": 1, "refused": 1})
    # What arrives where the answer was lost, two look-ups failed, and two said that nothing is there: only these may be
    # followed by another sending, which the target refuses or answers as the first one.
    unseen: Counts = field(default_factory=lambda: {"done": 1, "refused": 2})

    @property
    def arrives_at(self) -> str:
        """Where it arrives."""
        return self.door or self.path


class Player:
    """One vendor's part in the journeys. `code` is its connection's: another one for a second account."""

    vendor: ClassVar[str]  # the package in connectors/
    traces: ClassVar[Mapping[str, Trace]] = {}  # by the scene's name, which is its flow's
    absent: ClassVar[Mapping[str, Any]] = {"status": 404}  # how it answers a look-up of what isn't there
    may_be_absent: ClassVar[tuple[str, ...]] = ()  # fields of its answers whose absence says something
    kept_refusal: ClassVar[Any] = None  # a refusal that it keeps under our key, where it keeps any

    def __init__(self, code: str = "") -> None:
        self.code = code or self.vendor

    @property
    def families(self) -> tuple[Family, ...]:
        """The roles that it can play."""
        return registry.manifest(self.vendor).families

    @property
    def sends_webhooks(self) -> bool:
        """Whether it tells us of what happens."""
        return registry.manifest(self.vendor).webhook is not None

    def tells_of_write(self, method: str, verb: str) -> bool:
        """Whether such an answer says that a write was made: its own, what is read back at once, or a look-up."""
        return verb.startswith(("read_", "find_"))

    def undelivered(self, house: Any) -> set[str]:
        """The keys of messages that it knows the portal hasn't taken yet; empty where it doesn't say."""
        return set()


class PlaysErp(Player):
    """What the ERP's own people do, and what its books show."""

    def lock_receivables(self, house: Any) -> Any:
        """The controller closes the UK entity's receivables of this month, not its ledger. Returns what `unlock`
        takes."""
        raise NotImplementedError

    def unlock(self, house: Any, locked: Any) -> None:
        """And opens them again."""
        raise NotImplementedError

    def this_month(self) -> dict[str, str]:
        """The body of the fault `close_period`: the UK entity's period of today."""
        raise NotImplementedError

    def open_month(self, house: Any) -> None:
        """The controller opens that period."""
        raise NotImplementedError

    def items_on(self, house: Any, record: str, key: str) -> set[str]:
        """The codes of the items on a document's lines."""
        raise NotImplementedError

    def customer_name(self, house: Any, key: str) -> str:
        """What a customer is called there."""
        raise NotImplementedError


class PlaysBilling(Player):
    """What billing's own people do. Amounts in minor units."""

    subscriptions: ClassVar[tuple[str, ...]] = ("subscription",)  # the log's words for what an order becomes

    def customer(self, house: Any, **changes: Any) -> str:
        """A customer of the UK entity; `entity` names another one."""
        raise NotImplementedError

    def rename(self, house: Any, customer: str, name: str) -> None:
        """The customer is called otherwise."""
        raise NotImplementedError

    def invoices(self, house: Any, customer: str, count: int, *, sku: str, amount: int, **changes: Any) -> list[str]:
        """So many finalised invoices of one line; `entity` names whose."""
        raise NotImplementedError

    def credit(self, house: Any, invoice: str, **changes: Any) -> str:
        """A credit note; `entity` names whose, where it isn't its invoice's."""
        raise NotImplementedError

    def void(self, house: Any, invoice: str) -> None:
        """An invoice is void."""
        raise NotImplementedError

    def void_credit(self, house: Any, credit_note: str) -> None:
        """A credit note is void: its invoice is owed again."""
        raise NotImplementedError


class PlaysPayments(Player):
    """What happens at the gateway."""

    def pay(self, house: Any, invoice: str) -> str:
        """A payment of what an invoice leaves open."""
        raise NotImplementedError

    def refund(self, house: Any, payment: str, amount: int) -> str:
        """Part of it is given back."""
        raise NotImplementedError

    def dispute(self, house: Any, payment: str) -> str:
        """The cardholder's bank takes it back."""
        raise NotImplementedError

    def payout(self, house: Any, currency: str) -> str:
        """All that it has in a currency is paid out."""
        raise NotImplementedError


class PlaysCrm(Player):
    """What sales does."""

    def account(self, house: Any, **changes: Any) -> str:
        """An account in the UK that can be billed; its `name` and `number`."""
        raise NotImplementedError

    def win(self, house: Any, account: str, *, sku: str, price: str, currency: str, **changes: Any) -> str:
        """A sale of one product."""
        raise NotImplementedError

    def sign(self, house: Any, account: str, *, sku: str, price: str, currency: str, **changes: Any) -> str:
        """An order of one product; `sale` names the sale that it writes down."""
        raise NotImplementedError

    def sell_more(self, house: Any, sale: str, quantity: int) -> None:
        """A sale is changed after it was won."""
        raise NotImplementedError
