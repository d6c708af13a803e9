"""Held documents tried under other rules, and new ones before they are carried: their reading steps run in memory, and
nothing is sent or stored.

The steps are the flows' own, read by the machine's own reader; only the rules differ. What can't be told without asking
a system is said so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils import timezone

from connectors import registry
from mappings.resolve import Snapshot
from q2c import ports
from q2c.core.ids import uuid7
from q2c.core.problems import Category, Problem
from q2c.flows import catalog
from q2c.flows.steps.summary import BY_ITSELF_OR_IN_SUMMARY
from q2c.transactions import machine, resuming
from q2c.transactions.batch import Ending, Run
from q2c.transactions.claims import Claim
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.reading import read_forward
from q2c.transactions.steps import Write

AT_ONCE = 500
POSTS, WAITS, HELD, ENDS = "posts", "waits", "held", "ends"  # what would become of a document
_ASKS = "asks_system"
_NOTHING: Mapping[UUID, dict[str, Any]] = {}
_PREPARED = "posting"  # the fact that every flow to the ERP builds
_IN_SUMMARY = BY_ITSELF_OR_IN_SUMMARY[0].name


@dataclass(frozen=True)
class Tried:
    """What would become of one document: it posts, waits for something, is held by its next problem, or ends."""

    transaction_id: UUID
    outcome: str
    code: str = ""  # of the problem that would hold it
    says: str = ""
    legal_entity: str = ""
    period: str = ""
    step: str = ""
    prepared: Any = None  # what would be sent
    writes: tuple[Any, ...] = ()  # all that is still to be sent, as far as it's built
    target: str = ""  # the connection's code
    rules: tuple[tuple[int, int], ...] = ()  # that it rests on, with their versions


class TrialContext(ports.BatchContext):
    """A batch's view of the world under a draft's rules. It reaches no system."""

    def port(self, name: str, run: Run) -> Any:
        """Rules, lists and records as ever. Raises Problem `asks_system` where a step would ask a system itself."""
        if name in ports.FAMILY_OF:
            return _Named(self.system(name, run))
        return super().port(name, run)


class _Named:
    """A system by its code and its manifest only: what a reading step may know of it without asking."""

    def __init__(self, code: str) -> None:
        connection = ports.connections()[code]
        self.connection_code = code
        self.name = connection.name
        self.undo = registry.manifest(connection.vendor).undo

    def __getattr__(self, verb: str) -> Any:
        raise Problem(_ASKS, Category.INTERNAL, f"{self.name} is asked before more can be said")


def try_held(
    transaction_ids: Sequence[UUID],
    snapshot: Snapshot,
    *,
    told: Callable[[int], object] = lambda _count: None,
    chosen: Mapping[UUID, dict[str, Any]] = _NOTHING,
) -> list[Tried]:
    """Read these held documents again, under these rules, up to the write that would be due. Stores nothing.

    A batch of one flow costs the same few queries whatever its size. `told` hears how many are done; `chosen` is what
    people would choose for each, beside what they have chosen already.
    """
    found: list[Tried] = []
    rows = BusinessTransaction.objects.filter(pk__in=transaction_ids, state="held").order_by("flow", "pk")
    by_flow: dict[str, list[Claim]] = {}
    for transaction_id, flow, intent in rows.values_list("pk", "flow", "open_intent").iterator(chunk_size=2000):
        claim = Claim(transaction_id, 0, intent, (intent or {}).get("generation", 0), 0, 0, 1, "", False)
        by_flow.setdefault(flow, []).append(claim)
    for code, claims in by_flow.items():
        for start in range(0, len(claims), AT_ONCE):
            found += _try(code, claims[start : start + AT_ONCE], snapshot, chosen)
            told(len(found))
    return found


def try_new(transaction_ids: Sequence[UUID], snapshot: Snapshot) -> list[Tried]:
    """What would become of documents that have only just come in, up to the write that would be due. Stores nothing."""
    rows = BusinessTransaction.objects.filter(pk__in=transaction_ids).order_by("flow", "pk")
    by_flow: dict[str, list[Claim]] = {}
    for transaction_id, flow in rows.values_list("pk", "flow"):
        by_flow.setdefault(flow, []).append(Claim(transaction_id, 0, None, 0, 0, 0, 0, "", False))
    found = []
    for code, claims in by_flow.items():
        for start in range(0, len(claims), AT_ONCE):
            runs = resuming.load_runs(catalog.BY_CODE[code], claims[start : start + AT_ONCE])
            read_forward([run for run in runs if run.ending is None], TrialContext(runs, snapshot))
            found += [_tried(run) for run in runs]
    return found


def _try(
    flow_code: str, claims: list[Claim], snapshot: Snapshot, chosen: Mapping[UUID, dict[str, Any]]
) -> Iterable[Tried]:
    return [_tried(run) for run in read_in_memory(flow_code, claims, snapshot, chosen=chosen)]


def read_in_memory(
    flow_code: str, claims: list[Claim], snapshot: Snapshot, *, chosen: Mapping[UUID, dict[str, Any]] = _NOTHING
) -> list[Run]:
    """What the reading steps of these documents would give under these rules, up to the write that would be due."""
    runs = resuming.load_runs(catalog.BY_CODE[flow_code], claims)

    def choices(ids: list[UUID]) -> dict[UUID, dict[str, Any]]:
        made = ports.choices_of(ids)
        return {i: {**made.get(i, {}), **chosen.get(i, {})} for i in ids}

    machine.take_decisions(runs, accepted=ports.accepted_problems, chosen=choices)
    for run in runs:
        run.attempt += 1  # as a repost's
    looks = [run for run in runs if run.intent is not None and run.ending is None]
    read_forward([run for run in runs if run.intent is None and run.ending is None], TrialContext(runs, snapshot))
    for run in looks:
        run.ending = Ending.INTENT
    return runs


def _tried(run: Run) -> Tried:
    place: dict[str, Any] = {"legal_entity": run.legal_entity_code, "period": run.period_code, "step": run.problem_step}
    if run.ending is Ending.HELD and run.problem is not None:
        outcome = WAITS if run.problem.code == _ASKS else HELD
        return Tried(run.id, outcome, code=run.problem.code, says=run.problem.summary, **place)
    if run.ending is Ending.CANCELLED:
        return Tried(run.id, ENDS, says=run.why_cancelled, **place)
    if run.ending is Ending.WAITING and run.problem_step != _IN_SUMMARY:
        says = run.awaits.summary if run.awaits else run.problem.summary if run.problem else ""
        return Tried(run.id, WAITS, says=says, **place)
    says = "with the day's summary" if run.ending is Ending.WAITING else ""
    used = {(int(rule), int(version)) for row in run.rows for rule, version in (row.used or {}).get("rules", ())}
    return Tried(
        run.id, POSTS, says=says, prepared=run.facts.get(_PREPARED), writes=_still_to_send(run),
        target=run.target_connection, rules=tuple(sorted(used)), **place,
    )  # fmt: skip


def _still_to_send(run: Run) -> tuple[Any, ...]:
    """What its writes that aren't done yet would send, each once; of those ways that exclude one another, the one that
    is to be gone."""
    facts = run.facts
    due = [
        step.prepared for step in run.flow.steps
        if isinstance(step, Write) and step.gives not in facts and not (step.unless and facts.get(step.unless))
    ]  # fmt: skip
    return tuple(facts[name] for name in dict.fromkeys(due) if facts.get(name) is not None)


def read_fact(flow_code: str, document: Any, snapshot: Snapshot, **facts: Any) -> Run:
    """What the reading steps of a fact that isn't a transaction yet would give, up to the write that would be due.
    `facts` are those of a transaction that differ from empty (`source_connection`, `number`, ...)."""
    flow = catalog.BY_CODE[flow_code]
    empty: dict[str, Any] = {
        field.name: "" for field in dataclasses.fields(Run)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }  # fmt: skip
    counts = ("token", "attempt", "line_count", "generation", "wait_count", "probe_count", "step_count")
    empty |= dict.fromkeys(counts, 0)
    empty |= {"id": uuid7(), "flow": flow, "created_at": timezone.now()}
    empty |= {"amount": None, "document_date": None, "intent": None, **facts}
    run = Run(**empty)
    run.facts[flow.starts_with[0]] = document
    read_forward([run], TrialContext([run], snapshot))
    return run
