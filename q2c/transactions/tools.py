"""What the machine is handed: it imports no flow, no vendor, no case, so everything of theirs comes as plain
functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from q2c.core.problems import Problem
from q2c.core.retries import Retry
from q2c.transactions.batch import HeldStep, Run


class Context(Protocol):
    """A batch's view of the world: one snapshot of rules and lists, fetched with one query per kind."""

    def change_set(self, run: Run) -> int | None:
        """The number of the rules' snapshot that this run sees."""

    def fetch(self, wants: dict[str, set[Any]]) -> None:
        """Fetch these look-up keys, by fetcher's name, for the whole batch."""

    def port(self, name: str, run: Run) -> Any:
        """The tool of that name for this transaction. Raises Problem when nobody plays the role."""

    def retry_of(self, problem: Problem, connection: str) -> Retry:
        """The policy by which a problem of a connection is tried again; from memory, so on the wire's loop too."""

    def used(self, run: Run) -> dict[str, Any] | None:
        """Which rules the last step of this run used, as plain JSON, and forget them."""


@dataclass(frozen=True)
class Tools:
    """The functions of other rooms, each called with the whole batch, inside the machine's own database transaction."""

    context: Callable[[list[Run]], Context]
    dial: Callable[[Run, str, float | None], None]  # sets the telephone's outgoing context for one write
    take_exchanges: Callable[[], list[Any]]  # what the telephone recorded since the last call
    write_exchanges: Callable[[list[Any], set[UUID]], object]  # stores them; the ids are of fenced-out (late) answers
    on_problem: Callable[[list[HeldStep]], object]
    on_done: Callable[[list[Run]], None]
    on_wait: Callable[[list[Run]], None]
    on_cancelled: Callable[[list[Run]], None]
    on_refused_credentials: Callable[[str, Problem], None]
    accepted: Callable[[list[UUID]], dict[UUID, list[tuple[str, dict[str, str]]]]]  # what people let pass, of reposts
    chosen: Callable[[list[UUID]], dict[UUID, dict[str, Any]]]  # what people chose for these, by what it's about
    nudge: Callable[[Iterable[str]], None]  # flows that have work
