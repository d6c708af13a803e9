"""One transaction's run in a worker's memory, and what its round ended with. Knows no flow, no vendor, no case."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, cast
from uuid import UUID

from q2c.core.ids import MACHINE_ID
from q2c.core.money import spoken_money
from q2c.core.problems import Awaits, Problem
from q2c.core.retries import Retry
from q2c.transactions.steps import Flow, Step, Write

LINK = "link"  # what a choice of the target's own document is about


class Ending(StrEnum):
    """How a round ended for a transaction."""

    COMPLETED = "completed"
    HELD = "held"
    WAITING = "waiting"
    CANCELLED = "cancelled"  # nothing to carry any more
    UNKNOWN = "unknown"
    WRITTEN = "written"  # a write is remembered, further steps follow
    INTENT = "intent"  # a write is due
    LOST = "lost"  # another worker has it


@dataclass
class StepRow:
    """A step row to be written."""

    sequence: int
    step: str
    kind: str
    state: str
    attempt: int
    used: dict[str, Any] | None = None
    gave: str = ""
    output: bytes | None = None
    problem: dict[str, Any] | None = None
    external_id: str = ""
    idempotency_key: str = ""
    content_hash: str = ""
    supersedes: int | None = None
    change_set: int | None = None
    at: dt.datetime | None = None
    took_us: int = 0


@dataclass
class Run:
    """A claimed transaction on its way. `facts` hold what earlier steps gave, by name."""

    id: UUID
    flow: Flow
    token: int
    business_key: str
    lane: str
    correlation_id: str
    attempt: int
    created_at: dt.datetime
    source_connection: str
    source_type: str
    source_id: str
    number: str
    legal_entity_code: str
    customer_id: str
    customer_name: str
    currency: str
    amount: Decimal | None
    line_count: int
    feed: str
    feed_type: str
    target_connection: str
    period_code: str
    document_date: dt.date | None
    intent: dict[str, Any] | None
    generation: int
    wait_count: int
    probe_count: int
    step_count: int
    parked_at: str  # the Wait at which its reads stand while it waits
    service_end: dt.date | None = None  # as the steps read it in the entity's zone
    facts: dict[str, Any] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)  # finished steps of this run: name -> sequence
    earlier: dict[str, int] = field(default_factory=dict)  # of former runs: what a new row supersedes
    rows: list[StepRow] = field(default_factory=list)  # to be written with the next commit
    position: int = 0
    lacks: list[Step] = field(default_factory=list)  # before its position, that an older release hadn't
    newer: str = ""  # what a newer release knows of it and this one doesn't: it's left alone
    ending: Ending | None = None
    problem: Problem | None = None
    problem_step: str = ""
    awaits: Awaits | None = None
    why_cancelled: str = ""
    available_in: float = 0.0
    counts: bool = True
    target: Any = None  # the document of the last write
    drops_intent: bool = False
    since: dt.datetime | None = None  # since when it's carried: begun, or reposted
    known_at: int | None = None  # a repost by the mappings of then: the change set that knew them
    retry_of: Callable[[Problem, str], Retry] | None = None  # the policy of a problem of a connection, from memory
    priority: int = 5
    unanswered_count: int = 0  # how often the due write was sent in vain while others were answered
    stops: dict[str, str] = field(default_factory=dict)  # entities of which its flow is paused, and why
    bill_run: int | None = None  # the bill run that it is of
    lane_sequence: int = 0  # 1: the first of its document; 0: nobody says
    is_after_restore: bool = False  # the target may hold what a restored database has forgotten: look before you make
    patience: dict[str, dt.datetime] = field(default_factory=dict)  # until when, by key, of waits that lasted a while
    accepted: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # problems that two people let pass
    chosen: dict[str, Any] = field(default_factory=dict)  # what people chose for it: posting_date, ... (a repost's)
    send_until: float | None = None  # by this machine's own clock: after it the due write may not leave
    free_seconds: float = 0.0  # from the commit of its intent until another worker may look after it
    port: Any = (
        None  # what the due write is sent to, and its arguments: gathered before the wire, which touches no database
    )
    create_with: dict[str, Any] = field(default_factory=dict)
    find_with: dict[str, Any] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """What people call the document, inside a sentence: its number, else whose it is, else what it amounts to."""
        if self.number and not MACHINE_ID.fullmatch(self.number):
            return self.number
        noun = f"the {self.flow.lane_type or 'document'}".replace("_", " ")
        if self.customer_name:
            return f"{noun} of {self.customer_name}"
        return f"{noun} of {spoken_money(self.amount, self.currency)}" if self.amount is not None else noun

    @property
    def due_intent(self) -> dict[str, Any]:
        """The intent of the due write, once the machine has fixed it."""
        return cast("dict[str, Any]", self.intent)

    @property
    def due_write(self) -> Write:
        """The step where it stands, when that is a write (its ending is INTENT)."""
        return cast(Write, self.flow.steps[self.position])

    @property
    def is_linked(self) -> bool:
        """Whether people said which document of the target it is: it's looked up there, and never sent."""
        return LINK in self.chosen

    def accepts(self, problem: Problem) -> bool:
        """Whether two people let this transaction pass this very problem: its code, and each word of its subject."""
        return (problem.code, problem.subject) in self.accepted

    def look_of(self, step: Write) -> Callable[..., Any]:
        """How this write is looked for: as what is there, where two people let pass what the target was seen to make of
        it; they agreed to that, so it isn't sent again."""
        if step.there is None or not self.due_intent.get("was_answered"):
            return step.find
        name = self.due_intent["external_id"]
        is_passed = any(subject.get("number") == name for _, subject in self.accepted)
        return step.there if name and is_passed else step.find

    def note_step(
        self, step: Step, output: bytes | None, *, started: float, used=None, change_set=None, **more: Any
    ) -> None:
        """Remember a finished step; it is written with the next commit."""
        row = StepRow(
            sequence=self.step_count,
            step=step.name,
            kind=step.kind,
            state="done",
            attempt=self.attempt,
            used=used,
            gave=step.gives,
            output=output,
            supersedes=self.earlier.get(step.name),
            change_set=change_set,
            at=dt.datetime.now(dt.UTC),
            took_us=int((time.perf_counter() - started) * 1e6),
            **more,
        )
        self.step_count += 1
        self.done[step.name] = row.sequence
        self.rows.append(row)

    def fail(self, step: Step | None, problem: Problem, *, started: float | None = None) -> None:
        """The run is held by this problem: a failed step row and the ending."""
        self.ending = Ending.HELD
        self.problem = problem
        self.problem_step = step.name if step else ""
        if step is not None:
            self.rows.append(
                StepRow(
                    sequence=self.step_count,
                    step=step.name,
                    kind=step.kind,
                    state="failed",
                    attempt=self.attempt,
                    problem=problem_facts(problem),
                    at=dt.datetime.now(dt.UTC),
                    took_us=int((time.perf_counter() - started) * 1e6) if started else 0,
                )
            )
            self.step_count += 1


def problem_facts(problem: Problem) -> dict[str, Any]:
    """A problem as plain JSON: code, category, sentence, subject and (redacted later, at the screen's door)
    evidence."""
    return {
        "code": problem.code,
        "category": problem.category.value,
        "summary": problem.summary,
        "subject": problem.subject,
        "evidence": {k: v if isinstance(v, int | bool) else str(v) for k, v in problem.evidence.items()},
    }


@dataclass(frozen=True)
class HeldStep:
    """What the exceptions room is told of a held transaction."""

    transaction_id: UUID
    flow: str
    step: str
    attempt: int
    problem: Problem
    number: str
    legal_entity_code: str
    amount: Decimal | None
    currency: str
    period_code: str
    connection_code: str
    at: dt.datetime
    worker: str
    customers: tuple[str, ...] = ()  # id and name of whose document it is
