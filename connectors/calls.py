"""What a call is made of: for whom it goes out, over which line, what is recorded, and the reply that came whole."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar
from uuid import UUID

import msgspec
from yarl import URL

from connectors.fields import UNREADABLE, noting, read_json
from connectors.lanes import NORMAL
from connectors.rows import say_unreadable
from q2c.core.problems import Category, NotAnswered, Problem


@dataclass(frozen=True, slots=True)
class Outgoing:
    """For whom a call is made: the machine sets it around each awaitable, so verbs keep finance-only signatures.

    `deadline` is by the machine's own clock (`clocks.since_boot`): after it nothing may leave (law 3, ARCHITECTURE
    section 3), whatever somebody sets its wall clock to. `customer` is (connection code, customer id there): under that
    customer's key the exchange is sealed.
    """

    transaction_id: UUID | None = None
    step: str = ""
    correlation_id: str = ""
    deadline: float | None = None
    customer: tuple[str, str] | None = None
    lane: int = NORMAL
    object_type: str = ""  # what is sent, for its own breaker; "" of polls, tests and tokens


# What reading an answer of another shape than its vendor's documentation's ends in; arithmetic is Decimal's.
UNREADABLE_ANSWER = (*UNREADABLE, ArithmeticError)
T = TypeVar("T")
_heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)
outgoing: ContextVar[Outgoing] = ContextVar("outgoing", default=Outgoing())  # noqa: B039 (frozen)


@dataclass(frozen=True)
class Line:
    """What the telephone and a client know of a connection. `allows_private` only for a sandbox in demo or test."""

    code: str
    vendor: str
    name: str
    base_url: str
    settings: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    at_once: int = 8
    allows_private: bool = False


def account_of(code: str, base_url: str, *, is_by_address: bool) -> str:
    """What a connection's calls are counted under: the account's address, where it is one account's, else its own."""
    address = URL(base_url.rstrip("/")).authority
    return address if is_by_address else f"{code}@{address}"


@dataclass(slots=True)
class Recorded:
    """A request and its answer as they were, before redaction. `status` None: no answer."""

    connection: str
    method: str
    url: str
    verb: str
    at: dt.datetime
    about: Outgoing
    request_headers: Mapping[str, str]
    request_body: bytes
    took_ms: int = 0
    status: int | None = None
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: bytes = b""
    failure: str = ""

    def leave_out_answer(self) -> None:
        """Keep only size and hash of an answer that speaks of many, whom no one customer's key covers."""
        digest = hashlib.sha256(self.response_body).hexdigest()
        self.about = replace(self.about, customer=None)
        self.response_body = f"[{len(self.response_body)} bytes, SHA-256 {digest}: not kept]".encode()


class Auth(Protocol):
    """Puts credentials on a request. `forget` drops the token that was sent with one and refused, and says whether
    another can be had: of many calls at once the others may have one already."""

    async def authorize(
        self,
        headers: dict[str, str],
        *,
        method: str,
        url: str,
        query: Sequence[tuple[str, str]],
        telephone: Any,
    ) -> None: ...

    def forget(self, sent: Mapping[str, str]) -> bool: ...


@dataclass(frozen=True)
class Reply:
    """An answer that came whole. `is_write` remembers what was asked, so that a strange answer becomes the right
    Problem."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    connection: str
    is_write: bool

    def json(self, *needs: str) -> Any:
        """The decoded body (numbers as Decimal). Raises as `strange` does when it isn't JSON or lacks a needed
        field (null is none)."""
        if (heard := _heard.get()) is not None:
            heard.append(self.connection)
        try:
            value = read_json(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.strange("no JSON") from error
        if needs and not isinstance(value, dict):
            raise self.strange("no JSON object")
        for name in needs:
            if value.get(name) is None:  # of null, `str` would make an id "None"
                raise self.strange(f"{name} is missing")
        return value

    def read(self, read: Callable[[Any], T], *needs: str) -> T:
        """What `read` makes of the decoded body. Raises as `strange` does, naming the field that can't be read."""
        try:
            return read(self.json(*needs))
        except UNREADABLE_ANSWER as error:
            with noting() as noted:  # the same once more, to learn where
                try:
                    read(self.json(*needs))
                except UNREADABLE_ANSWER:
                    raise self.strange(say_unreadable(error, noted.path)) from error
            raise

    def expect(self, status: int, why: str) -> None:
        """Raises the Problem of a strange answer unless it has the only status that the vendor says it by."""
        if self.status != status:
            raise self.strange(why)

    def strange(self, why: str) -> Problem:
        """The Problem of an answer that isn't understood: for a write the outcome is unknown (law 4)."""
        says = f"{self.connection} answered {self.status} with something we don't understand ({why})"
        if self.is_write:
            return NotAnswered(says, connection=self.connection)
        return Problem(
            "answer_not_understood",
            Category.AVAILABILITY,
            says,
            connection=self.connection,
            evidence={"body": self.body[:2000].decode("utf-8", "replace")},
        )


def reading_answers(verb: Any) -> Any:
    """A verb of a client whose answers may be of another shape than it can read: then nobody knows what was done (law
    4), and it raises NotAnswered. Before it heard any answer the fault is ours, and goes as it came."""
    if not inspect.iscoroutinefunction(verb):
        return verb

    @functools.wraps(verb)
    async def asked(*args: Any, **more: Any) -> Any:
        heard: list[str] = []
        token = _heard.set(heard)
        try:
            return await verb(*args, **more)
        except UNREADABLE_ANSWER as error:
            if not heard:
                raise
            where = traceback.extract_tb(error.__traceback__)[-1]
            raise NotAnswered(
                f"{heard[-1]} answered with something we don't understand ({say_unreadable(error, '')})",
                connection=heard[-1],
                evidence={"message": str(error)[:500], "at": f"{where.filename}:{where.lineno}"},
            ) from error
        finally:
            _heard.reset(token)

    return asked
