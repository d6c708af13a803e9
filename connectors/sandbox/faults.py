"""Faults that a test orders through the control door: what shall go wrong, and when."""

import asyncio
import random
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

REQUEST_KINDS = frozenset(
    {
        "status",
        "delay",
        "lose_answer",
        "reset_before",
        "truncate",
        "html_200",
        "rate_limit",
        "expire_token",
        "close_period",
    }
)
WEBHOOK_KINDS = frozenset({"webhook_duplicate", "webhook_reorder", "webhook_lose", "webhook_delay"})
KINDS = REQUEST_KINDS | WEBHOOK_KINDS
WHEN = {"method": str, "path": str, "nth": int, "times": int, "probability": (int, float), "external_id": str}
FIELDS = {
    "status": int,
    "headers": dict,
    "body": (dict, list, str, int, float, bool),
    "seconds": (int, float),
    "seed": int,
    "kept": bool,
}


@dataclass
class Fault:
    """One ordered fault. `nth` counts what matches (1 is the first), `times` how often it strikes from there on.

    With `nth` alone it strikes once; without `nth` and `times` it strikes whenever it matches.
    """

    id: int
    do: str
    method: str | None = None
    path: str | None = None
    nth: int | None = None
    times: int | None = None
    probability: float | None = None
    external_id: str | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    seconds: float | None = None
    seed: int | None = None
    kept: bool | None = None  # of `status`: under the request's idempotency key, as the answer of its first execution
    matched: int = 0
    hits: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.is_taken_back = asyncio.Event()
        if self.times is None and self.nth is not None:
            self.times = 1

    def strikes(self, method: str, path: str, text: Any) -> bool:
        """Whether it happens now. `text` is asked (a function) only when an external id has to be looked for."""
        if self.times is not None and self.hits >= self.times:
            return False
        if self.method is not None and self.method != method:
            return False
        if self.path is not None and not fnmatchcase(path, self.path):
            return False
        if self.external_id is not None and self.external_id not in text():
            return False
        self.matched += 1
        if self.nth is not None and self.matched < self.nth:
            return False
        if self.probability is not None and self.random.random() >= self.probability:
            return False
        self.hits += 1
        return True

    async def wait(self) -> None:
        """As long as it says, or until it's taken back."""
        try:
            async with asyncio.timeout(self.seconds or 0):
                await self.is_taken_back.wait()
        except TimeoutError:
            pass

    def describe(self) -> dict:
        """As `GET /_control/<vendor>/faults` shows it."""
        when = {name: getattr(self, name) for name in WHEN if getattr(self, name) is not None}
        rest = {name: getattr(self, name) for name in FIELDS if getattr(self, name) not in (None, {})}
        return {"id": self.id, "do": self.do, "when": when, **rest, "matched": self.matched, "hits": self.hits}


class Faults:
    """The faults of one vendor."""

    def __init__(self) -> None:
        self.last = 0
        self.ordered: list[Fault] = []

    def add(self, order: dict) -> Fault:
        """Accept an order as CONTRACTS describes it. Raises ValueError naming what's wrong with it."""
        when = order.get("when") or {}
        unknown = sorted((set(order) - {"do", "when", *FIELDS}) | {f"when.{name}" for name in set(when) - set(WHEN)})
        if unknown:
            raise ValueError(f"unknown: {', '.join(unknown)}")
        if order.get("do") not in KINDS:
            raise ValueError(f"do must be one of {', '.join(sorted(KINDS))}")
        given = {name: value for name, value in {**when, **order}.items() if name not in {"do", "when"}}
        for name, value in given.items():
            kind: Any = WHEN.get(name) or FIELDS[name]
            if value is not None and (
                not isinstance(value, kind) or (isinstance(value, bool) and name not in ("body", "kept"))
            ):
                raise ValueError(f"{name} has the wrong type")
        self.last += 1
        fault = Fault(id=self.last, do=order["do"], **{k: v for k, v in given.items() if v is not None})
        if fault.method is not None:
            fault.method = fault.method.upper()
        self.ordered.append(fault)
        return fault

    def clear(self, id: int | None = None) -> None:
        """Take back one fault, or all: what they delay goes on."""
        for fault in self.ordered:
            if id in (None, fault.id):
                fault.is_taken_back.set()
        self.ordered = [fault for fault in self.ordered if id is not None and fault.id != id]

    def strike(self, kinds: frozenset[str], method: str, path: str, text: Any) -> list[Fault]:
        """The faults of these kinds that happen to this request or delivery, in the order they were given."""
        if not self.ordered:
            return []
        return [fault for fault in self.ordered if fault.do in kinds and fault.strikes(method, path, text)]
