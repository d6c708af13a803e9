"""Carrying runs through their Read and Wait steps in memory, column by column, until a write is due or they end."""

from __future__ import annotations

import datetime as dt
import time
import traceback
from types import SimpleNamespace
from typing import Any, cast

from q2c.core.databases import is_away
from q2c.core.ids import without_ids
from q2c.core.problems import Awaits, Category, NotNeeded, Problem
from q2c.core.retries import DEFAULT
from q2c.transactions.batch import Ending, Run
from q2c.transactions.restart import OVERDUE
from q2c.transactions.steps import PORTS, Read, Step, Wait, Write, encode_output, parameters
from q2c.transactions.tools import Context


def read_forward(runs: list[Run], context: Context) -> None:
    """Advance each run to its next due write (INTENT), its end (COMPLETED), a hold or a wait.

    Column by column, so that the look-up keys of the whole batch are united and each kind is fetched with one query.
    """
    if not runs:
        return
    steps = runs[0].flow.steps
    for run in runs:
        run.ending = None
    for index in range(min(run.position for run in runs), len(steps)):
        step = steps[index]
        here = [run for run in runs if run.position == index and run.ending is None]
        if not here:
            continue
        if isinstance(step, Read | Wait):
            fetch_wants(step, here, context)
        for run in here:
            _take_step(step, run, context)
    for run in runs:
        if run.ending is None:
            run.ending = Ending.COMPLETED


def read_lacking(runs: list[Run], context: Context) -> None:
    """Make up for steps that an older release, which carried these runs so far, hadn't: its reads are read now, its
    writes are left out, since what followed them was done without. Sets an ending where one can't go on."""
    for run in runs:
        position, lacks, run.lacks = run.position, run.lacks, []
        for step in lacks:
            if isinstance(step, Write):
                run.facts[step.gives] = None
                run.note_step(step, encode_output(None), started=time.perf_counter(), used={"skipped": "older release"})
                continue
            fetch_wants(cast("Read | Wait", step), [run], context)
            _take_step(step, run, context)
            if run.ending is not None:
                break
        run.position = position


def fetch_wants(step: Read | Wait, runs: list[Run], context: Context) -> None:
    """Fetch what a step wants to look up, for all these runs, with one query per kind."""
    if step.wants is None:
        return
    wants: dict[str, set[Any]] = {}
    for run in runs:
        try:
            for kind, key in step.wants(**arguments(step.wants, run, context)):
                wants.setdefault(kind, set()).add(key)
        except Exception as error:
            if is_away(error):
                raise  # of the batch: another worker, or this one in a moment, reads it
            continue  # the step itself says it better, with its own problem
    if wants:
        context.fetch(wants)


def _take_step(step: Step, run: Run, context: Context) -> None:
    started = time.perf_counter()
    if isinstance(step, Write):
        skipped = _why_skipped(step, run)
        if skipped:  # nothing to write under this policy
            run.facts[step.gives] = None
            run.note_step(step, encode_output(None), started=started, used={"skipped": skipped})
            run.position += 1
            return
        run.ending = Ending.INTENT
        return
    function = step.until if isinstance(step, Wait) else cast(Read, step).run
    try:
        given = function(**arguments(function, run, context))
        output = encode_output(given)
    except Awaits as wait:
        context.used(run)
        settle_wait(run, step, wait, started=started)
        return
    except NotNeeded as end:
        context.used(run)
        run.ending, run.why_cancelled = Ending.CANCELLED, end.summary
        return
    except Problem as problem:
        context.used(run)
        settle_problem(run, step, problem, started=started)
        return
    except Exception as error:
        if is_away(error):
            raise
        context.used(run)
        run.fail(step, unexpected(run, step, error), started=started)
        return
    run.facts[step.gives] = given
    if step.quiet and given is None and step.name not in run.earlier:
        run.position += 1
        return
    run.note_step(step, output, started=started, used=context.used(run), change_set=context.change_set(run))
    run.position += 1


def _why_skipped(step: Write, run: Run) -> str:
    if step.unless and run.facts[step.unless] is not None:
        return step.unless
    return step.prepared if run.facts[step.prepared] is None else ""


def settle_wait(run: Run, step: Step, wait: Awaits, *, started: float) -> None:
    """Waiting isn't a failure, until its patience is over: then somebody must see why the parent doesn't come."""
    until = run.patience.get(wait.key)
    if until is not None and dt.datetime.now(dt.UTC) > until:
        late = Problem(
            OVERDUE,
            Category.CONFLICT,
            f"{run.called[:1].upper()}{run.called[1:]} has waited too long for {without_ids(wait.summary)}",
            awaits=wait.key,
            flow=run.flow.code,
        )
        run.fail(step, late, started=started)
        return
    run.ending, run.awaits, run.problem_step = Ending.WAITING, wait, step.name
    run.parked_at = step.name if isinstance(step, Wait) and step.parks else ""


def arguments(function: Any, run: Run, context: Context) -> dict[str, Any]:
    """The facts and ports that a step function asks for by name."""
    return {name: _argument(name, run, context) for name in parameters(function) if name in run.facts or name in PORTS}


def _argument(name: str, run: Run, context: Context) -> Any:
    if name in run.facts:
        return run.facts[name]
    if name == "txn":
        return run
    return SimpleNamespace(**run.due_intent) if name == "write" else context.port(name, run)


def settle_problem(run: Run, step: Step, problem: Problem, *, started: float | None = None) -> None:
    """Wait for what heals by itself, as its policy says, and for a connection that this problem pauses; hold everything
    else. An open intent stays unknown meanwhile."""
    counts = getattr(problem, "counts", True) and not problem.pauses_connection
    waits = problem.pauses_connection or problem.heals_by_itself
    retry = run.retry_of(problem, run.target_connection) if waits and run.retry_of is not None else DEFAULT
    if not waits or (counts and run.wait_count >= retry.attempts):
        if waits:
            problem.evidence = {**problem.evidence, "retried": run.wait_count, "policy": retry.says}
            if retry.rule is not None:
                problem.evidence["policy_rule"] = retry.rule
        run.fail(step, problem, started=started)
        return
    is_open = bool(run.intent and run.intent.get("is_open"))
    run.ending = Ending.UNKNOWN if is_open else Ending.WAITING
    run.problem, run.problem_step, run.counts = problem, step.name, counts
    own = retry.wait(run.wait_count) if retry.attempts else DEFAULT.wait(run.wait_count)
    run.available_in = max(retry.stray(own), retry.stray_later(problem.wait_seconds or 0.0))


def unexpected(run: Run, step: Step, error: BaseException) -> Problem:
    """A bug is held too, as internal, owned by the platform team: nothing dies in a log."""
    where = traceback.extract_tb(error.__traceback__)[-1] if error.__traceback__ else None
    return Problem(
        "unexpected_error",
        Category.INTERNAL,
        f"{step.sentence}: {type(error).__name__}",
        flow=run.flow.code,
        step=step.name,
        error=f"{type(error).__name__} in {where.name if where else '?'}",
        evidence={"message": str(error)[:500], "at": f"{where.filename}:{where.lineno}" if where else ""},
    )
