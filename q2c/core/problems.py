"""One vocabulary of failure: a Problem has a code, a category of a closed set, a sentence and a subject.

Pure. Every code raised anywhere has a row in `exceptions.kinds` (a test compares).
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Any


class Category(StrEnum):
    """What sort of failure it is. Decides whether the machine waits, holds or looks first."""

    VALIDATION = "validation"
    MAPPING = "mapping"
    AUTHENTICATION = "authentication"
    RATE_LIMIT = "rate_limit"
    AVAILABILITY = "availability"
    CONFLICT = "conflict"
    PERIOD_CLOSED = "period_closed"
    UNKNOWN_OUTCOME = "unknown_outcome"
    DRIFT = "drift"
    INTERNAL = "internal"


HEALS_BY_ITSELF = frozenset({Category.RATE_LIMIT, Category.AVAILABILITY})
CREDENTIALS_REFUSED, NOT_PERMITTED = "credentials_refused", "vendor_permission"


class Problem(Exception):
    """Why a step can't go on, in words a controller understands.

    `subject` holds what it is about as plain text values (`sku="GTX-1"`, `subsidiary="GB01"`); the kind's `same_when`
    picks the fingerprint from it. `wait_seconds` is the target's own wish. `is_passing` says of one problem what
    `HEALS_BY_ITSELF` says of a category: a record that is busy. `evidence` is for the technical view and is redacted
    before it is stored.
    """

    is_replayed = False  # the answer that the target had kept of an earlier request under the same key

    def __init__(
        self,
        code: str,
        category: Category,
        summary: str,
        *,
        wait_seconds: float | None = None,
        is_passing: bool = False,
        evidence: dict[str, Any] | None = None,
        **subject: object,
    ) -> None:
        super().__init__(summary)
        self.code = code
        self.category = Category(category)
        self.summary = summary
        self.wait_seconds = wait_seconds
        self.is_passing = is_passing
        self.evidence = evidence or {}
        self.subject = {name: str(value) for name, value in subject.items() if value is not None}

    @property
    def heals_by_itself(self) -> bool:
        """Whether waiting can mend it."""
        return self.is_passing or self.category in HEALS_BY_ITSELF

    @property
    def pauses_connection(self) -> bool:
        """Whether its connection as a whole is at fault: nothing is asked of it until a person has renewed what it
        signs in with. A single thing that it may not do (`vendor_permission`) is held like any other refusal."""
        return self.code == CREDENTIALS_REFUSED

    def __repr__(self) -> str:
        return f"Problem({self.code!r}, {self.category.value!r}, {self.summary!r}, {self.subject!r})"


class NotAnswered(Problem):
    """A write left the house and no answer came that we understand: neither success nor failure (law 4)."""

    def __init__(self, summary: str, **subject: Any) -> None:
        super().__init__("outcome_unknown", Category.UNKNOWN_OUTCOME, summary, **subject)


class NeverSent(Problem):
    """The request provably never left: refused connection, open breaker, or a send deadline that had passed.

    `counts` is False while the connection's breaker is open or it is paused: such a wait isn't an attempt.
    """

    def __init__(self, summary: str, *, wait_seconds: float | None = None, counts: bool = True, **subject: Any) -> None:
        super().__init__("system_unavailable", Category.AVAILABILITY, summary, wait_seconds=wait_seconds, **subject)
        self.counts = counts


class AlreadyThere(Problem):
    """The target refused a create since a document with our external id exists: the machine looks it up and
    compares."""

    def __init__(self, summary: str, **subject: Any) -> None:
        super().__init__("document_exists", Category.CONFLICT, summary, **subject)


class Refrained(Problem):
    """A write asked its target first and was then not sent, since what it was about to ask for isn't right there."""


class NotNeeded(Exception):
    """Not a failure either: there's nothing to carry (any more). The transaction is cancelled, with this sentence."""

    def __init__(self, summary: str) -> None:
        super().__init__(summary)
        self.summary = summary


class Awaits(Exception):
    """Not a failure: a step must wait for something.

    `key` names a parent whose completion releases the wait; `not_before` is an instant before which there's no use in
    looking again; `asks` is what a person is asked to approve meanwhile (`kind`, `title`, `content`); `needs` is a fact
    whose own flow brings what is awaited; `brings` is what the waiting transaction leaves with others, and `joins` what
    it becomes a part of, both stored in the commit that makes it wait.
    """

    def __init__(
        self,
        key: str,
        summary: str,
        *,
        patience_seconds: float = 4 * 3600,
        not_before: dt.datetime | None = None,
        asks: dict[str, Any] | None = None,
        needs: Any = None,
        brings: Any = None,
        joins: Any = None,
    ) -> None:
        super().__init__(summary)
        self.key = key
        self.summary = summary
        self.patience_seconds = patience_seconds
        self.not_before = not_before
        self.asks = asks
        self.needs = needs
        self.brings = brings
        self.joins = joins
