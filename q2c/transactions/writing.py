"""Sending the writes of a batch side by side, as many as each connection takes at once, and reading the answers.

Runs on the worker's event loop; touches no database. Law 4: an answer that isn't understood, or never came, is neither
success nor failure, and law 3 made the intent durable before this begins.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import queue
import time
from typing import Any

from q2c.core import tracing
from q2c.core.ending import LOOKS_SECONDS, is_ending, is_impatient
from q2c.core.problems import (
    NOT_PERMITTED,
    AlreadyThere,
    Awaits,
    Category,
    NeverSent,
    NotAnswered,
    NotNeeded,
    Problem,
    Refrained,
)
from q2c.core.retries import DEFAULT
from q2c.transactions.batch import Ending, Run
from q2c.transactions.reading import settle_problem, settle_wait, unexpected
from q2c.transactions.steps import AWAITED_IN_ERP, Write, encode_output
from q2c.transactions.tools import Tools
from q2c.transactions.workers import WorkerProcess

GROUP_SIZE = 50
GROUP_SECONDS = 0.1
LARGE_SECONDS = 0.5  # of a batch that makes several groups: a commit costs nearly the same for ten as for fifty
SENT_AGAIN_MAX = 8  # sent again in vain while others are answered; with the waits between that is about two hours
_REFUSED_EARLY = frozenset({Category.RATE_LIMIT, Category.AUTHENTICATION})  # before a key is looked at: none is kept
KEYS_KEPT = dt.timedelta(hours=20)  # vendors keep idempotency keys 24 hours; we stop trusting them before


class Sending:
    """The writes of a batch on their way. More of them may be sent while others aren't answered yet, so that a target
    which takes few at once isn't left idle between one write of a transaction and the next."""

    def __init__(self, *, tools: Tools, worker: WorkerProcess) -> None:
        self.tools, self.worker = tools, worker
        self.open_count = 0
        self._answers: queue.SimpleQueue[Run] = queue.SimpleQueue()
        self._at_once: dict[str, int] = {}
        self._gates: dict[str, asyncio.Semaphore] = {}  # of the wire's loop

    def send(self, runs: list[Run]) -> None:
        """Send each run's due write."""
        if not runs:
            return
        self._at_once |= {run.target_connection: run.port.at_once for run in runs}
        self.open_count += len(runs)
        self.worker.submit(_send_all(runs, self._gates, dict(self._at_once), self.tools, self._answers))

    @property
    def has_room(self) -> bool:
        """Whether the targets take more calls than are left once the next group has been answered."""
        return self.open_count < GROUP_SIZE + sum(self._at_once.values())

    def next_group(self) -> list[Run]:
        """Wait for answered runs, to be remembered together: 50, or what there is after 100 ms, where many are on their
        way after half a second. Call it while any is open."""
        group: list[Run] = []
        since = time.monotonic()
        patience = GROUP_SECONDS if self.open_count <= GROUP_SIZE else LARGE_SECONDS
        while self.open_count and len(group) < GROUP_SIZE:
            left = patience - (time.monotonic() - since)
            if group and left <= 0:
                break
            try:
                run = self._answers.get(timeout=left if group else 60.0)
            except queue.Empty:
                continue
            if not group:
                since = time.monotonic()
            group.append(run)
            self.open_count -= 1
        return group


async def _send_all(
    runs: list[Run], gates: dict[str, asyncio.Semaphore], at_once: dict[str, int], tools: Tools,
    answers: queue.SimpleQueue[Run],
) -> None:  # fmt: skip
    async def one(run: Run) -> None:
        step, is_begun = run.due_write, False
        try:
            gate = gates.get(run.target_connection)
            if gate is None:
                gate = gates[run.target_connection] = asyncio.Semaphore(at_once[run.target_connection])
            async with gate:
                if is_ending():
                    raise _EndedFirst
                is_begun = True
                what = f"{run.flow.code} {step.name}"
                with tracing.span(what, correlation_id=run.correlation_id, attempt=run.attempt):
                    await _write(run, step, tools)
        except (asyncio.CancelledError, _EndedFirst):
            _abandon(run, step, is_begun=is_begun)
        except BaseException as error:  # whatever happens, the main thread must hear of this run
            run.fail(step, unexpected(run, step, error))
        answers.put(run)

    tasks = [asyncio.ensure_future(one(run)) for run in runs]
    while (await asyncio.wait(tasks, timeout=LOOKS_SECONDS))[1]:
        if is_impatient():
            for task in tasks:
                task.cancel()


class _EndedFirst(Exception):
    """The process is ending, and this write hasn't begun."""


def _abandon(run: Run, step: Write, *, is_begun: bool) -> None:
    """The process ends: a write that hasn't begun waits for another worker; of one that has, nobody knows (law 4)."""
    if is_begun:
        _unknown(run, step, NotAnswered("The worker was ended before the answer came"), run.port)
        return
    if not run.due_intent.get("is_open"):
        run.drops_intent = True
    settle_problem(run, step, NeverSent("The worker was ended", counts=False))


async def _write(run: Run, step: Write, tools: Tools) -> None:
    started = time.perf_counter()
    run.ending = None
    intent = run.due_intent
    tools.dial(run, step.name, run.send_until)
    port = run.port
    looks_first = port.repeats.looks_first or run.is_after_restore
    overwrites = step.upsert and step.equal is None and not run.is_linked  # being there says nothing of its content
    looks = intent.get("is_open") or run.is_linked or intent.get("looks") or (looks_first and not step.upsert)
    if overwrites and intent.get("spent"):
        _renew(run)
        return
    try:
        if looks and not overwrites:
            found = await _look(run, step, port)
            if found is not None:
                _accept(run, step, found, started, was_found=True)
                return
            if run.ending is not None:
                return
        try:
            given = await step.create(**run.create_with)
        except AlreadyThere as refusal:
            given = None if overwrites else await step.find(**run.find_with)
            if given is None and port.repeats.reads_own_writes and not intent.get("is_open"):
                raise _not_ours(run, refusal, port, is_looked_up=not overwrites) from refusal
            if given is None:
                said = (
                    "and whether it took this change nobody can say" if overwrites else "but a look-up doesn't find it"
                )
                raise NotAnswered(f"{refusal.summary}, {said}", external_id=intent["external_id"]) from refusal
            _accept(run, step, given, started, was_found=True)
            return
        _accept(run, step, given, started, was_found=False)
    except NotAnswered as silence:
        _unanswered(run, step, silence, port)
    except Awaits as wait:
        _refrain(run, port)
        settle_wait(run, step, wait, started=started)
    except NotNeeded as end:
        _end_unsent(run, step, end, port)
    except Refrained as problem:
        _refrain(run, port)
        settle_problem(run, step, problem, started=started)
    except NeverSent as problem:
        if not intent.get("is_open"):
            run.drops_intent = True
        settle_problem(run, step, problem, started=started)
    except Problem as problem:
        if problem.category is Category.AVAILABILITY:  # it answered, but not that it refused: maybe it did it
            unanswered = NotAnswered(problem.summary, **problem.subject)
            unanswered.is_replayed = problem.is_replayed
            _unanswered(run, step, unanswered, port)
            return
        if not intent.get("is_open"):
            run.drops_intent = True  # an understood refusal: nothing was made
        if port.repeats.idempotency_header and problem.category not in _REFUSED_EARLY:
            _spend(run)
        settle_problem(run, step, problem, started=started)
    except Exception as error:
        run.fail(step, unexpected(run, step, error), started=started)  # the intent stays open: a repost looks first


def _spend(run: Run) -> None:
    """The target may have kept its refusal under this key: what is sent next has another one. While an earlier attempt
    is in doubt, not before a look-up has proved that it made nothing."""
    if run.due_intent.get("is_open"):
        run.intent = {**run.due_intent, "spent": True}
    else:
        run.generation, run.probe_count, run.unanswered_count = run.generation + 1, 0, 0


def _renew(run: Run) -> None:
    """A new key, made durable before anything is sent under it."""
    run.generation += 1
    run.ending, run.drops_intent = Ending.WAITING, True


def _refrain(run: Run, port: Any) -> None:
    """It asked first and sent nothing. An earlier attempt's intent ends too where the look-up before has proved that it
    made nothing: what is decided meanwhile is read again."""
    if not run.due_intent.get("is_open") or port.repeats.reads_own_writes:
        run.drops_intent = True


def _end_unsent(run: Run, step: Write, end: NotNeeded, port: Any) -> None:
    """It was about to be sent, and isn't wanted any more. While an earlier attempt is in doubt it goes on looking."""
    _refrain(run, port)
    if run.drops_intent:
        run.ending, run.why_cancelled = Ending.CANCELLED, end.summary
    else:
        _unknown(run, step, NotAnswered(end.summary, connection=port.connection_code), port)


def _not_ours(run: Run, refusal: Problem, port: Any, *, is_looked_up: bool) -> Problem:
    """The target holds something of that name, and it isn't under our external id: sending again can't help. A change
    isn't looked up: it was refused for what another record has."""
    why = "What is there isn't ours" if is_looked_up else "This change wasn't made"
    return Problem(
        "document_exists",
        Category.CONFLICT,
        f"{port.name} refuses {run.called}: {refusal.summary}. {why}",
        connection=port.connection_code,
        document=run.number or run.source_id,
        external_id=run.due_intent["external_id"],
    )


def _unanswered(run: Run, step: Write, silence: Problem, port: Any) -> None:
    """Sent, and nobody knows. After many times of being sent again in vain a person must look; while the target answers
    nobody, nothing is wrong with this document, and it waits as all others do."""
    _unknown(run, step, silence, port)
    if port.is_away(run.flow.lane_type):
        return
    run.unanswered_count += 1
    if run.unanswered_count > SENT_AGAIN_MAX:
        run.fail(
            step,
            Problem(
                "outcome_unknown",
                Category.UNKNOWN_OUTCOME,
                f"{port.name} never answers for {run.called}: {silence.summary}",
                evidence=silence.evidence,
                connection=port.connection_code,
                document=run.number or run.source_id,
                external_id=run.due_intent["external_id"],
            ),
        )


async def _look(run: Run, step: Write, port: Any) -> Any:
    """The document an earlier attempt made, or None when we may send. Sets an ending when neither is known."""
    intent = run.due_intent
    try:
        found = await run.look_of(step)(**run.find_with)
    except NotAnswered as silence:
        _unknown(run, step, silence, port)
        return None
    except Problem as problem:
        if intent.get("is_open") and problem.code != NOT_PERMITTED:
            _unknown(run, step, problem, port)  # a look-up that fails decides nothing
        else:  # one that we may not make is held, its intent open: a repost looks again
            settle_problem(run, step, problem)
        return None
    if found is not None or not intent.get("is_open") or step.upsert:
        return found
    repeats = port.repeats
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(intent["opened_at"])
    is_key_good = repeats.idempotency_header and age < KEYS_KEPT and not intent.get("spent")
    if repeats.refuses_existing or is_key_good:
        return None
    if repeats.reads_own_writes:
        _renew(run)  # absence is proved
        return None
    run.fail(
        step,
        Problem(
            "outcome_unknown",
            Category.UNKNOWN_OUTCOME,
            f"{port.name} doesn't show {run.called}, and its look-up is no proof that it never will",
            connection=port.connection_code,
            external_id=intent["external_id"],
        ),
    )
    return None


def _accept(run: Run, step: Write, given: Any, started: float, *, was_found: bool) -> None:
    """The target holds a document of ours: compare it with what we asked for, and see that its ledger has it (law
    5). A difference that two people have accepted for this document passes."""
    run.target = given
    used: dict[str, Any] = {"found": True} if was_found else {}
    if step.equal is not None:
        is_anothers = was_found and not run.due_intent.get("was_answered")
        problem = step.equal(given, run.facts[step.prepared], is_anothers)
        if problem is not None and run.accepts(problem):
            used["accepted"] = problem.code
        elif problem is not None:
            _keep_open(run, is_ours=not is_anothers)  # a repost looks again, and passes once both agree
            run.fail(step, problem, started=started)
            return
    if not getattr(given, "is_in_ledger", True):
        _keep_open(run, is_ours=not was_found or run.due_intent.get("was_answered", False))
        run.ending, run.problem_step = Ending.WAITING, step.name
        run.awaits = Awaits("", AWAITED_IN_ERP, patience_seconds=30 * 86400)
        return
    run.facts[step.gives] = given
    run.note_step(
        step,
        encode_output(given),
        started=started,
        used=used or None,
        external_id=run.due_intent["external_id"],
        idempotency_key=run.due_intent["key"],
        content_hash=run.due_intent["hash"],
    )
    run.drops_intent, run.unanswered_count = True, 0
    run.position += 1
    run.ending = Ending.WRITTEN


def _keep_open(run: Run, *, is_ours: bool) -> None:
    """The next look-up finds it again: as our own making, where we saw our create answered."""
    run.intent = {**run.due_intent, "is_open": True, **({"was_answered": True} if is_ours else {})}


def _unknown(run: Run, step: Write, problem: Problem, port: Any) -> None:
    if not run.due_intent.get("is_open") and not run.generation:
        run.probe_count = 0  # until it was sent it counted looks for a parent
    run.ending, run.problem, run.problem_step = Ending.UNKNOWN, problem, step.name
    run.intent = {**run.due_intent, "is_open": True}
    if problem.is_replayed:  # an error that it keeps: under this key it will never do it
        run.intent["spent"] = True
    settles = port.repeats.settles_after_seconds
    run.available_in = DEFAULT.stray(min(settles * 2 ** min(run.probe_count, 6), max(settles, 900.0)))
