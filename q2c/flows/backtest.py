"""Posted documents derived again in memory under other rules: what would have come out differently, to the cent.

Only steps that ask rules, and what rests on a changed answer, run again; everything else is as it was posted. A step's
answer counts as changed only where the rules of today and those under test differ, so that neither a newer list of the
ERP nor an earlier change is told as an effect of this one. Nothing is sent or stored, and no posting is changed.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

from mappings.resolve import Snapshot
from q2c import ports
from q2c.core.problems import Awaits, NotNeeded, Problem
from q2c.flows import catalog
from q2c.flows.trial import TrialContext
from q2c.links import Links
from q2c.posting.facts import Book
from q2c.transactions import resuming
from q2c.transactions.batch import Run
from q2c.transactions.claims import Claim
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.reading import arguments, fetch_wants
from q2c.transactions.steps import Flow, Read, Write, parameters

AT_ONCE = 500
DIFFERS, HELD = "differs", "held"
SUMS_UP = frozenset({"summary_to_erp"})  # its documents are derived, so the sum of them isn't


class Cell(NamedTuple):
    """Where an amount stands in the ledger."""

    account: str
    department: str
    class_: str
    location: str


@dataclass(frozen=True)
class Changed:
    """A posted document that would have come out differently. `moves` are net debits, in its currency."""

    transaction_id: UUID
    outcome: str  # differs, or held: it wouldn't have been posted
    says: str
    number: str
    legal_entity: str
    period: str
    currency: str
    moves: dict[Cell, Decimal]


@dataclass
class BackTest:
    """What was derived again, and what of it would have come out differently."""

    document_count: int = 0
    line_count: int = 0
    changed: list[Changed] = field(default_factory=list)


def derive_again(
    transaction_ids: Sequence[UUID],
    *,
    before: Snapshot,
    after: Snapshot,
    told: Callable[[int], object] = lambda _count: None,
) -> BackTest:
    """Derive these completed documents under both rules. A batch costs the same few queries whatever its size."""
    found = BackTest()
    for flow, runs in _posted(transaction_ids):
        needed = _steps_to(flow, flow_prepares(flow))
        for run, news, problem in _derive(runs, needed, before, after):
            stored = run.facts.get(flow_prepares(flow))
            found.document_count += 1
            found.line_count += len(_lines(stored))
            change = _compare(run, stored, news.get(flow_prepares(flow), stored), problem)
            if change is not None:
                found.changed.append(change)
        told(found.document_count)
    return found


def flow_prepares(flow: Flow) -> str:
    """The name of the fact that a flow's first write sends; empty for a flow without one."""
    return next((step.prepared for step in flow.steps if isinstance(step, Write)), "")


def ledger_flows() -> list[str]:
    """The flows whose documents stand in the ledger by a double entry of their own."""
    return [flow.code for flow in catalog.FLOWS if flow.code not in SUMS_UP and _has_entry(flow)]


@cache
def _has_entry(flow: Flow) -> bool:
    wanted = flow_prepares(flow)
    kinds = [step.output_type for step in flow.steps if step.gives == wanted]
    kinds = [part for kind in kinds for part in (kind, *get_args(kind))]  # of a union, each
    names = {name for kind in kinds for name in getattr(kind, "__struct_fields__", ())}
    return "journal" in names or {"lines", "posting_date"} <= names


def _posted(transaction_ids: Sequence[UUID]) -> Iterator[tuple[Flow, list[Run]]]:
    """The documents with all that their steps gave, flow by flow, in batches."""
    rows = BusinessTransaction.objects.filter(pk__in=transaction_ids, state="completed", flow__in=ledger_flows())
    by_flow: dict[str, list[UUID]] = {}
    for transaction_id, code in rows.order_by("flow", "pk").values_list("pk", "flow").iterator(chunk_size=5000):
        by_flow.setdefault(code, []).append(transaction_id)
    for code, ids in by_flow.items():
        flow = catalog.BY_CODE[code]
        for start in range(0, len(ids), AT_ONCE):
            claims = [Claim(i, 0, None, 0, 0, 0, 1, "", False) for i in ids[start : start + AT_ONCE]]
            yield flow, [run for run in resuming.load_runs(flow, claims) if run.ending is None]


@cache
def _steps_to(flow: Flow, wanted: str) -> tuple[Read, ...]:
    """The reading steps on which a fact rests, in order."""
    needed = {wanted}
    found: list[Read] = []
    for step in reversed(flow.steps):
        if isinstance(step, Read) and step.gives in needed:
            needed.update(parameters(step.run))
            found.insert(0, step)
    return tuple(found)


def _derive(
    runs: list[Run], steps: Iterable[Read], before: Snapshot, after: Snapshot
) -> Iterator[tuple[Run, dict[str, Any], Exception | None]]:
    """Each run with the facts that would be others, or the problem that would have held it."""
    old, new = _Then(runs, before), _Then(runs, after)
    tries = [_Try(run) for run in runs]
    for step in steps:
        due = [t for t in tries if t.problem is None and t.is_due(step)]
        fetch_wants(step, [t.trial for t in due], new)
        moved = [(t, now) for t in due if (now := _outcome(step, t.trial, new)) != t.run.facts.get(step.gives)]
        asks = "mappings" in parameters(step.run)
        if asks:
            fetch_wants(step, [t.stored for t, _ in moved], old)
        for each, now in moved:
            each.take(step, _outcome(step, each.stored, old) if asks else each.run.facts.get(step.gives), now)
    for each in tries:
        yield each.run, each.news, each.problem


class _Then(TrialContext):
    """The world as it is, but the clock stands at each document's own posting."""

    def port(self, name: str, run: Run) -> Any:
        """As ever; the calendar's clock is the document's, and the document itself isn't posted yet."""
        if name == "links":
            return _Before(super().port(name, run), run.id)
        return _Clock(run) if name == "calendar" else super().port(name, run)


class _Before:
    """What was known of other records: that a document stands in an ERP doesn't tell where it would have gone."""

    def __init__(self, links: Links, transaction_id: UUID) -> None:
        self._links, self._itself = links, transaction_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._links, name)

    def systems(self, record_type: str, record_key: str) -> list[str]:
        """As ever, without what this document became."""
        return self._links.systems(record_type, record_key, without=self._itself)


class _Clock(ports.Calendar):
    def __init__(self, run: Run) -> None:
        self._day = run.facts.get("posting_date")
        self._at = run.created_at

    def local_now(self, legal_entity: str) -> dt.datetime:
        """Noon of the day on which it was posted."""
        zone = ZoneInfo(ports.entities()[legal_entity].time_zone)
        if isinstance(self._day, dt.date):
            return dt.datetime.combine(self._day, dt.time(12), tzinfo=zone)
        return self._at.astimezone(zone)


class _Elsewhere(NotNeeded):
    def __init__(self, erp: str) -> None:
        super().__init__(f"it would have gone to {ports.connections()[erp].name}")


class _Try:
    """One posted document: as it was, and as it would be."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.stored, self.trial = copy.copy(run), copy.copy(run)
        self.stored.facts, self.trial.facts = dict(run.facts), dict(run.facts)
        self.news: dict[str, Any] = {}
        self.problem: Exception | None = None

    def is_due(self, step: Read) -> bool:
        names = parameters(step.run)
        return "mappings" in names or any(name in self.news for name in names)

    def take(self, step: Read, then: Any, now: Any) -> None:
        """Note an answer that isn't the stored one. `then`: what the rules of today answer."""
        stored = self.run.facts.get(step.gives)
        if isinstance(now, Exception):
            if not isinstance(then, Exception):
                self.problem = now
            return
        given = now if isinstance(then, Exception) else _merged(stored, then, now)
        if isinstance(given, Book) and isinstance(stored, Book) and given.connection != stored.connection:
            self.problem = _Elsewhere(given.connection)  # its ids are others there: it would leave this ledger whole
        elif given != stored:
            self.news[step.gives] = self.trial.facts[step.gives] = given


def _outcome(step: Read, run: Run, context: _Then) -> Any:
    try:
        return step.run(**arguments(step.run, run, context))
    except (Problem, Awaits, NotNeeded) as problem:
        return problem


def _merged(stored: Any, then: Any, now: Any) -> Any:
    """What would have been given: the stored answer, but where today's rules and those under test differ. Answers by
    key (items, tax codes) are compared key by key."""
    if then == now:
        return stored
    if isinstance(stored, dict) and isinstance(now, dict):
        return {key: stored[key] if key in stored and then.get(key) == now[key] else now[key] for key in now}
    return now


def _compare(run: Run, stored: Any, new: Any, problem: Exception | None) -> Changed | None:
    if problem is None and new == stored:
        return None
    moves: dict[Cell, Decimal] = {}
    for sign, lines in ((-1, _lines(stored)), (1, () if problem is not None else _lines(new))):
        for line in lines:
            cell = Cell(line.account, line.department, line.class_, line.location)
            moves[cell] = moves.get(cell, Decimal(0)) + sign * (line.debit - line.credit)
    return Changed(
        transaction_id=run.id,
        outcome=DIFFERS if problem is None or isinstance(problem, _Elsewhere) else HELD,
        says="" if problem is None else getattr(problem, "summary", str(problem)),
        number=run.number or run.source_id,
        legal_entity=run.legal_entity_code,
        period=run.period_code,
        currency=getattr(stored, "currency_code", run.currency),
        moves={cell: amount for cell, amount in sorted(moves.items()) if amount},
    )


def _lines(posting: Any) -> Sequence[Any]:
    """The double entry of a posting."""
    lines = getattr(posting, "journal", None) or getattr(posting, "lines", None) or ()
    return lines if lines and hasattr(lines[0], "debit") else ()
