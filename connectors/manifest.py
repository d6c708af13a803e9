"""The dataclasses that a vendor fills in: everything that is a fact about a vendor is data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from connectors.families import Family
from q2c.core.problems import Category


@dataclass(frozen=True)
class Setting:
    """A plain setting of a connection, shown on its screen."""

    name: str
    label: str = ""
    default: str = ""
    is_required: bool = True


@dataclass(frozen=True)
class Secret:
    """A credential: sealed, never shown again, never logged."""

    name: str
    label: str = ""
    is_required: bool = True


# Of a vendor whose records take our note of what holds them (`Manifest.notes_on`).
TELLS_HOLDS = Setting("tells_holds", "Write on its records what holds a document: yes or no", "yes", is_required=False)

# Ceilings below what the vendor allows; with its own concurrency they are what a connection is governed by.
GOVERNED = (
    Setting("per_second", "Calls a second at most; empty: as the vendor allows", is_required=False),
    Setting("per_day", "Calls a day at most, counted by the UTC day where the vendor doesn’t tell", is_required=False),
)


@dataclass(frozen=True)
class Limits:
    """The vendor's documented limits. `at_once` is what we keep in flight; a connection may lower it.

    `is_by_address`: an address is one account's, so all connections there share what it takes at once.
    """

    at_once: int
    per_second: float | None = None
    per_day: int | None = None
    timeout_seconds: float = 30.0
    connect_seconds: float = 5.0
    is_by_address: bool = False


@dataclass(frozen=True)
class Repeats:
    """How a repeated write is made harmless, and what a look-up proves.

    `idempotency_header`: the vendor replays by this header; an answer with `replay_header` is one that it had kept.
    `refuses_existing`: a create with a known external id is
    refused. With neither, the machine looks before a first attempt too. `reads_own_writes`: a look-up sees a committed
    write at once, so "absent" after `settles_after_seconds` is proof.
    """

    idempotency_header: str = ""
    replay_header: str = ""
    refuses_existing: bool = False
    reads_own_writes: bool = False
    settles_after_seconds: float = 120.0

    @property
    def looks_first(self) -> bool:
        """Whether a first attempt must look before it makes."""
        return not (self.idempotency_header or self.refuses_existing)


@dataclass(frozen=True)
class Context:
    """What a translation may know besides the message itself.

    `fetched` is the answer of the verb that `Means.refetch` names, called with `source_id` (None without a refetch).
    """

    connection: str  # our connection's code
    settings: Mapping[str, Any]
    event_type: str
    source_id: str
    received_at: dt.datetime
    fetched: Any = None


@dataclass(frozen=True)
class Means:
    """This event becomes canonical events: `translate(raw, context)` returns a list of them (pure).

    `raw` is the body as it came, as bytes (the vendor's package knows whether it's JSON or XML). Raises Problem, or
    ValueError (msgspec's errors are ones) for a message that can't be understood.
    """

    translate: Callable[..., list[Any]]
    refetch: str = ""  # a verb of the client whose answer is translated instead of the (possibly stale) snapshot
    refetch_when: Callable[[bytes], bool] | None = None  # asked of the body; None: always


@dataclass(frozen=True)
class Ignored:
    """We know this event and don't need it, for this reason."""

    reason: str


@dataclass(frozen=True)
class NotYet:
    """We know this event and don't carry it yet; what covers it meanwhile."""

    reason: str


@dataclass(frozen=True)
class When:
    """A row of the vendor's error table; the first match wins. All given fields must match.

    `detail` is a regular expression searched (case-insensitive) in the vendor's message. `code` may end in `*`.
    """

    category: Category
    problem: str  # the code of the Problem, a row of exceptions.kinds
    says: str  # a sentence; {detail}, {code}, {field} are filled in from the answer
    status: int | tuple[int, int] | None = None
    code: str = ""
    detail: str = ""
    wait_header: str = ""
    is_existing: bool = False  # "it exists already": a create then means found
    is_absent: bool = False  # a look-up then means "isn't there"; a write named what isn't there (`target_gone`)
    is_passing: bool = False  # waiting mends it, whatever its category says


class Undo(StrEnum):
    """How a posted document of ours is taken back: by a document of its own, in every state of the first one (period
    open or closed, applied or not, tax filed or not). Never by deleting: it had ledger effect."""

    CREDIT = "a credit memo that is applied to it"
    CHARGE = "an invoice to which it is moved"
    OPPOSITE = "an opposite journal"


@dataclass(frozen=True)
class WebhookDoor:
    """How the vendor's messages are let in: proof, acknowledgement, where the event's name and id stand."""

    verify: Callable[..., None]  # (body, headers, query, secrets, settings, now) -> None, or raises signatures.Refused
    acknowledge: tuple[int, str, str] = (200, "application/json", "{}")  # status, content type, body
    split: Callable[[bytes, Mapping[str, str]], list[Any]] | None = (
        None  # body -> [families.Polled]; one message may carry several
    )


@dataclass(frozen=True)
class Manifest:
    """One vendor, in facts."""

    code: str
    name: str
    families: tuple[Family, ...]
    settings: tuple[Setting | Secret, ...]
    limits: Limits
    repeats: Repeats
    errors: tuple[When, ...]
    events: Mapping[str, Means | Ignored | NotYet] = field(default_factory=dict)
    webhook: WebhookDoor | None = None
    read_errors: Callable[..., list[Any]] | None = None  # (status, headers, body) -> [errors.VendorError]
    # Whether a 2xx answer's body hides a failure (`success: false`, a refused part), which `read_errors` then reads.
    # Asked of every answer, so it's a cheap look.
    hides_errors: Callable[[bytes], bool] | None = None
    auth: Callable[..., Any] | None = None  # (http.Line) -> http.Auth; None: no credentials
    read_quota: Callable[..., tuple[int, int] | None] | None = None  # answer's headers -> (used, allowed) of the day
    # Whose message it is, of one that isn't translated: under that customer's key its body is sealed. "": nobody's.
    customer_of: Callable[[bytes], str] | None = None
    record_url: str = ""  # deep link: "{app_url}/app/accounting/transactions/transaction.nl?id={id}"
    record_pages: Mapping[str, str] = field(
        default_factory=dict
    )  # the same for document types with a page of their own
    undo: Mapping[str, Undo] = field(default_factory=dict)  # by our document type; one that's absent can't be
    # How the vendor tells ids to be the same (case, leading zeros, short and long form): an id's one spelling, as its
    # API gives it. Raises ValueError for what can't be an id of it.
    spell_id: Callable[[str], str] = str.strip
    # Under which key the inbox keeps a message that the vendor calls {id}.
    message_key: str = "{id}"
    # The kinds of records that take our note of what holds them, by the verb `publish_hold`.
    notes_on: tuple[str, ...] = ()
    # A poll brings the very messages that webhooks bring, under the same keys: one that only a poll brought is a
    # webhook that never came.
    polls_its_webhooks: bool = False
    # For people who compare: under which path of a message the record itself stands (the first that is one; "" is the
    # message), and where our fields stand in it, as it came.
    raw_roots: tuple[str, ...] = ("",)
    raw_fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sandbox_notes: str = ""
