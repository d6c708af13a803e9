"""What a flow is made of: Read, Write and Wait steps. A flow with a hole can't be constructed.

A step's function is plain; it receives earlier facts and ports by parameter name and returns the one fact that its step
`gives`. Its return annotation is the type with which a stored output is read back after a restart.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec

from q2c.canonical.base import Later

# Ports that a flow may ask for by name; the business floor (q2c.ports) supplies them.
AWAITED_IN_ERP = "approval in the ERP"  # what waits for a target's own approval waits for
PORTS = frozenset(
    {"erp", "billing", "crm", "payments", "source", "mappings", "calendar", "records", "policy", "links", "txn"}
    | {"write"}
)


class FlowRefused(Exception):
    """The flow has a hole: a fact that nobody gives, or one given twice."""


@dataclass(frozen=True)
class Step:
    """A named step with one plain sentence."""

    name: str
    sentence: str
    gives: str
    kind: str = field(init=False, default="")
    quiet: bool = field(init=False, default=False)

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        """The functions whose parameters must be supplied."""
        raise NotImplementedError

    @property
    def output_type(self) -> Any:
        """The type of what it gives, from the annotation of the function that gives it."""
        return _returned(self.functions[0])


@cache
def _returned(function: Callable[..., Any]) -> Any:
    hints = typing.get_type_hints(function)
    return hints.get("return", Any)


@dataclass(frozen=True)
class Read(Step):
    """Looks something up or computes it; runs in memory. `wants(facts...)` names look-up keys that the machine
    fetches for
    a whole batch with one query each: it returns an iterable of (fetcher name, key). A `quiet` one that gives None
    leaves no row, unless it gave something before a repost: it only asks whether others let the transaction go on, and
    mostly nobody says anything."""

    run: Callable[..., Any] = field(kw_only=True)
    wants: Callable[..., Iterable[tuple[str, Any]]] | None = field(kw_only=True, default=None)

    def __init__(
        self, name: str, sentence: str, run: Callable[..., Any], *, gives: str,
        wants: Callable[..., Iterable[tuple[str, Any]]] | None = None, quiet: bool = False,
    ) -> None:  # fmt: skip
        _set(self, name=name, sentence=sentence, gives=gives, run=run, wants=wants, quiet=quiet, kind="read")

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return (self.run,) if self.wants is None else (self.run, self.wants)


@dataclass(frozen=True)
class Write(Step):
    """Changes something outside.

    `create(...)` returns an awaitable of the document; `find(...)` an awaitable of the document or None. `prepared`
    names
    the fact that will be sent (None: nothing to write): its content is hashed, and its `external_id` stored, before the
    first send. `unless` names a fact that, when it is there, leaves nothing to write (it was written elsewhere).
    `equal(document, prepared, was_found)` returns None or the Problem that says how they differ. `port` names the port
    that is written to. With `upsert` a repeat is harmless by itself (master data): what wasn't answered is sent again,
    since that the record is there doesn't say that it has the change (`equal` may). `there(...)` is for a target that
    keeps no id of ours, where `find` finds only what is as asked: once two people accepted what it made of this, that
    is looked at instead and nothing is sent. What an older release carried past a `quiet` one, which it hadn't, goes on
    without it.
    """

    find: Callable[..., Any] = field(kw_only=True)
    create: Callable[..., Any] = field(kw_only=True)
    prepared: str = field(kw_only=True)
    port: str = field(kw_only=True)
    equal: Callable[..., Any] | None = field(kw_only=True, default=None)
    undo: Callable[..., Any] | None = field(kw_only=True, default=None)
    upsert: bool = field(kw_only=True, default=False)
    unless: str = field(kw_only=True, default="")
    there: Callable[..., Any] | None = field(kw_only=True, default=None)

    def __init__(
        self, name: str, sentence: str, *, find: Callable[..., Any], create: Callable[..., Any], gives: str,
        prepared: str, port: str, equal: Callable[..., Any] | None = None, undo: Callable[..., Any] | None = None,
        upsert: bool = False, unless: str = "", quiet: bool = False, there: Callable[..., Any] | None = None,
    ) -> None:  # fmt: skip
        _set(
            self,
            name=name,
            sentence=sentence,
            gives=gives,
            find=find,
            there=there,
            create=create,
            prepared=prepared,
            port=port,
            equal=equal,
            undo=undo,
            upsert=upsert,
            unless=unless,
            quiet=quiet,
            kind="write",
        )

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return (self.create, self.find, *((self.there,) if self.there is not None else ()))


@dataclass(frozen=True)
class Wait(Step):
    """Waits for a fact of somebody else: `until(...)` returns it, or raises Awaits with the key that releases the
    wait. With `parks`, what was read before it stands while it waits and isn't read again: the fact has gone on with
    it."""

    until: Callable[..., Any] = field(kw_only=True)
    patience_seconds: float = field(kw_only=True, default=4 * 3600)
    parks: bool = field(kw_only=True, default=False)

    wants: Callable[..., Iterable[tuple[str, Any]]] | None = field(kw_only=True, default=None)

    def __init__(
        self, name: str, sentence: str, *, until: Callable[..., Any], gives: str, patience_seconds: float = 4 * 3600,
        parks: bool = False, wants: Callable[..., Iterable[tuple[str, Any]]] | None = None,
    ) -> None:  # fmt: skip
        _set(
            self,
            name=name,
            sentence=sentence,
            gives=gives,
            until=until,
            patience_seconds=patience_seconds,
            parks=parks,
            wants=wants,
            kind="wait",
        )

    @property
    def functions(self) -> tuple[Callable[..., Any], ...]:
        return (self.until,) if self.wants is None else (self.until, self.wants)


def _set(step: Step, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(step, name, value)


@dataclass(frozen=True)
class Flow:
    """A table of contents: named steps in order. Refuses, at import time, a step that needs a fact nobody gave."""

    code: str
    title: str
    starts_with: tuple[str, ...]  # the fact's name (invoice, order, ...)
    fact_type: Any
    steps: tuple[Step, ...]
    owner: str  # the role that owns what can't be carried
    lane_type: str = ""  # what its lane is: invoice, customer, payment, ...
    completes: Callable[..., Iterable[str]] | None = None  # keys that its completion releases: (facts) -> keys
    links: Callable[..., Iterable[Any]] | None = None  # lineage and cross-references of the finished facts
    publishes: Callable[..., Iterable[tuple[str, str, dict[str, Any]]]] | None = None  # outbox events of its facts
    never_waived: str = ""  # why a held one can't be given up, and the ways instead, as a clause; empty: it can
    retired: tuple[str, ...] = ()  # steps that earlier releases had: documents on their way may have finished them

    def __post_init__(self) -> None:
        if not isinstance(getattr(self.fact_type, "later_is", None), Later):
            raise FlowRefused(f"{self.code}: its fact doesn't say what a later one is to it (`later_is`)")
        given = set(self.starts_with)
        names: set[str] = set()
        for step in self.steps:
            if step.name in names:
                raise FlowRefused(f"{self.code}: two steps are called {step.name}")
            names.add(step.name)
            for function in step.functions:
                missing = set(parameters(function)) - given - PORTS
                if missing:
                    raise FlowRefused(
                        f"{self.code}.{step.name} needs {', '.join(sorted(missing))}, which no earlier step gives"
                    )
            if isinstance(step, Write):
                for needed in filter(None, (step.prepared, step.unless)):
                    if needed not in given:
                        raise FlowRefused(f"{self.code}.{step.name} names {needed}, which no earlier step gives")
            if step.gives in given:
                raise FlowRefused(f"{self.code}.{step.name} gives {step.gives}, which is given already")
            given.add(step.gives)

    def step(self, name: str) -> Step:
        """The step of that name. Raises KeyError."""
        return next((s for s in self.steps if s.name == name), None) or _raise(
            KeyError(f"{self.code} has no step {name}")
        )


def _raise(error: Exception) -> Any:
    raise error


_parameters: dict[Callable[..., Any], tuple[str, ...]] = {}


def parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    """The parameter names of a step function, remembered."""
    known = _parameters.get(function)
    if known is None:
        known = _parameters[function] = tuple(inspect.signature(function).parameters)
    return known


# What `links.step_gave` says of a step that hasn't run, and of one that gave nothing, as a write that was left out.
NOTHING = (None, b"null")


def encode_output(value: Any) -> bytes:
    """How a step's output is stored."""
    return msgspec.json.encode(value)


def decode_output(body: bytes, kind: Any) -> Any:
    """A stored output with its type."""
    return _decoder(kind).decode(body)


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)
