"""Where bill runs stand: judged by beat from what was added up, never by counting documents.

A run is complete when what came is what billing's register holds (or what billing told with the run), by count and
amount, and nothing more is to come. Each reason why it isn't has words.
"""

from __future__ import annotations

import datetime as dt
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db.transaction import atomic
from django.utils import timezone

from mappings.bill_runs import ITSELF, RunPolicy
from q2c import ports
from q2c.core.money import round_money, spoken_money
from q2c.flows.bill_runs import policy_of
from q2c.transactions.bill_run_counts import roll_up
from q2c.transactions.bill_runs import BillRun, BillRunPart

State = BillRun.State
NOUNS = {"invoice": "invoice", "credit_memo": "credit memo"}
USUAL_RUNS, USUAL_LEAST = 8, 3
OPEN_MOST = 2_000  # runs that are judged at once
FIGURES = ("document_type", "currency", "expected_count", "expected_amount", "received_count", "received_amount",
           "ignored_count", "posted_count", "given_up_count")  # fmt: skip


@dataclass(frozen=True)
class Sum:
    """A run's documents of one currency, or of all: how many there are in each place."""

    received: int
    posted: int
    given_up: int
    held: int
    waiting: int

    @property
    def open(self) -> int:
        """Those that haven't come to an end."""
        return self.held + self.waiting


def sum_of(parts: Iterable[BillRunPart]) -> Sum:
    """All parts together."""
    rows = list(parts)
    received, posted, given_up, held = (
        sum(getattr(part, f"{name}_count") for part in rows) for name in ("received", "posted", "given_up", "held")
    )
    return Sum(received, posted, given_up, held, sum(part.waiting_count for part in rows))


def why_incomplete(run: BillRun, parts: Sequence[BillRunPart], policy: RunPolicy, now: dt.datetime) -> list[str]:
    """Why a run may still gather documents; nothing where it's complete."""
    found = [words for part in parts if (words := _difference(run, part))]
    received = sum_of(parts).received
    if received < int(policy.least):
        found.append(f"It has {many(received, 'document')}; a run has {int(policy.least):,} at least.")
    if found or (run.is_named and all(part.expected_count is not None for part in parts)):
        return found
    if not parts:
        return ["Nothing of it is here yet."]
    last = max((part.last_at for part in parts if part.last_at is not None), default=run.first_at)
    if policy.quiet is None:
        ends_at = _end_of(run)
        if now < ends_at:
            return [f"Its day isn’t over in {run.legal_entity_code}."]
        since = ends_at
    else:
        if now < last + policy.quiet:
            return [f"Its last document came less than {policy.complete_after[:-1]} minutes ago."]
        since = last
    if any(part.expected_at is None or part.expected_at < since for part in parts):
        return ["Its source hasn’t been asked since its last document, or its day’s end. That follows within minutes."]
    return []


def why_not_by_itself(
    run: BillRun, parts: Sequence[BillRunPart], policy: RunPolicy, usual: dict[tuple[str, str], list[BillRunPart]]
) -> list[str]:
    """What speaks against releasing a complete run without a person."""
    found, total = [], sum_of(parts)
    share = Decimal(100) * total.held / total.received if total.received else Decimal(0)
    if share > policy.problem_limit:
        what, verb = f"{many(total.held, 'document')} of {total.received:,}", "is" if total.held == 1 else "are"
        found.append(f"{what} {verb} held by a case: {share:.1f} of 100, and {policy.problem_share} may be.")
    if policy.variance_limit is not None:
        found += [words for part in parts if (words := _variance(part, policy.variance_limit, usual))]
    return found


def usual_of(run: BillRun) -> dict[tuple[str, str], list[BillRunPart]]:
    """The parts of the last runs of the same kind that posted, by document type and currency."""
    before = BillRun.objects.filter(
        connection_code=run.connection_code, legal_entity_code=run.legal_entity_code, addition=0, is_named=run.is_named,
        state=State.POSTED, day__lt=run.day,
    )  # fmt: skip
    found: dict[tuple[str, str], list[BillRunPart]] = defaultdict(list)
    for part in BillRunPart.objects.filter(run__in=list(before.order_by("-day", "-id")[:USUAL_RUNS])):
        found[part.document_type, part.currency].append(part)
    return found


def figures_of(parts: Iterable[BillRunPart]) -> list[dict[str, object]]:
    """What is signed of a run: what was expected, what came, and what came to an end; in order."""
    rows = sorted(parts, key=lambda part: (part.document_type, part.currency))
    return [
        {name: format(value.normalize(), "f") if isinstance(value := getattr(part, name), Decimal) else value
         for name in FIGURES}
        for part in rows
    ]  # fmt: skip


def judge(run: BillRun, parts: Sequence[BillRunPart], *, now: dt.datetime) -> tuple[str, list[str]]:
    """Where a run stands, and the reasons: why it isn't complete, or why a person must look at it."""
    if run.state == State.REJECTED:
        return State.REJECTED, []
    total, policy = sum_of(parts), policy_of(run)
    is_over = State.POSTED if total.open == 0 and total.received else State.POSTING
    if run.is_released:
        return is_over, []
    missing = why_incomplete(run, parts, policy, now)
    if run.stopped_by:
        return State.HELD, [f"{run.stopped_by} holds it: {run.stopped_why}", *missing]
    if missing:
        return State.GATHERING, missing
    if not run.holds:
        return is_over, []
    if policy.release == ITSELF:
        against = why_not_by_itself(run, parts, policy, usual_of(run) if policy.variance_limit is not None else {})
        return (State.HELD if against else State.COMPLETE), against
    return State.COMPLETE, []


def add_up() -> set[int]:
    """Add up what documents came to, and say anew where the runs stand that it's about, and those that are open.
    Returns the runs that are complete and may be released by themselves."""
    touched = roll_up()
    rows = BillRun.objects.exclude(state__in=(State.POSTED, State.REJECTED)).order_by("id")
    ids = {*rows.values_list("pk", flat=True)[:OPEN_MOST], *touched}
    if not ids:
        return set()
    return {run_id for run_id in sorted(ids) if _say_anew(run_id)}


def _say_anew(run_id: int) -> bool:
    """Store where a run stands. Whether it may be released without a person."""
    with atomic():
        run = BillRun.objects.select_for_update(no_key=True).filter(pk=run_id).first()
        if run is None:
            return False
        parts = list(run.parts.all())
        state, reasons = judge(run, parts, now=timezone.now())
        is_again = state == State.REJECTED and not run.work and sum_of(parts).open > 0
        if is_again:  # taken up again by a person, or in a worker's hands when the others were cancelled
            run.work, run.carried_to = BillRun.Work.REJECT, None
        if is_again or (state, reasons) != (run.state, run.reasons):
            run.state_at = timezone.now() if state != run.state else run.state_at
            run.state, run.reasons = state, reasons
            run.save(update_fields=["state", "state_at", "reasons", "work", "carried_to"])
        return state == State.COMPLETE and policy_of(run).release == ITSELF


def money(amount: Decimal, currency: str) -> str:
    """An amount in words."""
    return spoken_money(round_money(amount, currency), currency)


def _difference(run: BillRun, part: BillRunPart) -> str:
    noun, currency = NOUNS.get(part.document_type, part.document_type), part.currency
    if part.expected_count is None or part.expected_amount is None:
        asked = "Billing hasn’t told" if run.is_named else "The source hasn’t been asked"
        return f"{asked} how many {noun}s in {currency} it has."
    count, amount = part.expected_count - part.here_count, part.expected_amount - part.here_amount
    if count > 0:
        verb = "is" if count == 1 else "are"
        return f"{many(count, noun)} over {money(amount, currency)} {verb} missing."
    if count < 0:
        return f"{many(-count, noun)} over {money(-amount, currency)} more came than were expected."
    return f"The {noun}s came to {money(-amount, currency)} more than expected." if amount else ""


def _variance(part: BillRunPart, limit: Decimal, usual: dict[tuple[str, str], list[BillRunPart]]) -> str:
    noun, known = NOUNS.get(part.document_type, part.document_type), usual.get((part.document_type, part.currency), [])
    if len(known) < USUAL_LEAST:
        return f"Fewer than {USUAL_LEAST} earlier runs had {noun}s in {part.currency}: nothing to compare with."
    count = statistics.median(p.received_count for p in known)
    amount = statistics.median(p.received_amount for p in known)
    off = max(_away(Decimal(part.received_count), Decimal(count)), _away(part.received_amount, amount))
    if off <= limit:
        return ""
    return (
        f"{many(part.received_count, noun)} over {money(part.received_amount, part.currency)} are {off:.1f} per cent"
        f" away from the usual {int(count):,} over {money(amount, part.currency)}; {limit} may be."
    )


def _away(now: Decimal, usual: Decimal) -> Decimal:
    """How far from the usual, in per cent of it."""
    return abs(now - usual) * 100 / abs(usual) if usual else Decimal(100 if now else 0)


def _end_of(run: BillRun) -> dt.datetime:
    entity = ports.entities().get(run.legal_entity_code)
    zone = ZoneInfo(entity.time_zone if entity is not None else "UTC")
    return dt.datetime.combine(run.day + dt.timedelta(days=1), dt.time(), zone)


def many(count: int, noun: str) -> str:
    """So many of something, in words."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
