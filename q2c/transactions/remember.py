"""The machine's commits: intents before the first send, answers in small groups. Few statements for the whole group.

Every commit is fenced: only rows whose token is still ours are written; exchanges are written even when fenced out,
since an answer is a fact. A group that the database refuses is halved down to the one run at fault, which is held as
internal.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from collections.abc import Iterable
from typing import Any, cast

from django.conf import settings
from django.db import connection
from django.db.transaction import atomic

from q2c.core import stats
from q2c.core.databases import is_away
from q2c.core.problems import Category, Problem
from q2c.transactions.batch import Ending, HeldStep, Run, problem_facts
from q2c.transactions.counting import count_round
from q2c.transactions.external_ids import claim_external_ids, settle_external_ids, wait_for_external_id
from q2c.transactions.seals import previous_seal, row_key, seal_of, step_proof
from q2c.transactions.tools import Tools
from q2c.transactions.waits import release_waiting, store_waits
from q2c.transactions.workers import WorkerProcess

_STEP_COLUMNS = (
    "transaction_id, sequence, step, kind, state, attempt, used, gave, output, problem, external_id, idempotency_key,"
    " content_hash, supersedes, change_set, at, took_us"
)
_RECONNECT_SECONDS = 60.0
_ENDED = (Ending.COMPLETED, Ending.HELD, Ending.CANCELLED)


def commit_intents(runs: list[Run], *, postings: Iterable[tuple], worker: WorkerProcess, tools: Tools) -> list[Run]:
    """Make the intents of the due writes durable, with the reads they rest on. Returns the runs that we still hold."""
    now = dt.datetime.now(dt.UTC)
    blocked: set[Any] = set()

    def commit(runs_given: list[Run], _exchanges: list[Any]) -> None:
        with atomic(), connection.cursor() as cursor:
            blocked.difference_update(r.id for r in runs_given)
            blocked.update(claim_external_ids(cursor, runs_given, worker.id))
            group = [r for r in runs_given if r.id not in blocked]
            cursor.execute(
                "UPDATE transactions_workitem w SET intent = x.intent::jsonb, step_count = x.steps,"
                " intent_free_at = now() + x.free * interval '1 second', generation = x.generation, crash_group = 0"
                " FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::float8[], %s::int[], %s::int[])"
                " AS x(id, token, intent, free, steps, generation) WHERE w.transaction_id = x.id"
                " AND w.token = x.token AND w.worker = %s RETURNING w.transaction_id, w.intent_free_at",
                [
                    [r.id for r in group],
                    [r.token for r in group],
                    [json.dumps(r.intent) for r in group],
                    [r.free_seconds for r in group],
                    [r.step_count for r in group],
                    [r.generation for r in group],
                    worker.id,
                ],
            )
            ours = dict(cursor.fetchall())
            for run in group:
                if run.id in ours:
                    run.due_intent["free_at"] = ours[run.id].isoformat()  # what a repost asks of a held one
                else:
                    run.ending = Ending.LOST
            kept = [r for r in group if r.id in ours]
            _copy_steps(cursor, kept, worker)
            ids = {r.id for r in kept}
            _copy_postings(cursor, [p for p in postings if p[0] in ids], now)

    _with_halving(runs, commit, [], worker, tools)
    for run in (r for r in runs if r.id in blocked):
        wait_for_external_id(run)
    remember([r for r in runs if r.id in blocked], worker=worker, tools=tools)
    kept = [r for r in runs if r.ending is Ending.INTENT]
    for run in kept:
        run.rows = []
    return kept


def remember(runs: list[Run], *, worker: WorkerProcess, tools: Tools) -> None:
    """Commit how these runs ended this round, with steps, lineage, cross-references, events, problems and cases."""
    exchanges = tools.take_exchanges()
    if not runs and not exchanges:
        return
    lost: set[Any] = set()

    def commit(group: list[Run], group_exchanges: list[Any]) -> None:
        with atomic(), stats.gathering(), connection.cursor() as cursor:
            ours = _fence(cursor, group, worker)
            lost.difference_update(ours)
            lost.update(r.id for r in group if r.id not in ours)
            kept = [r for r in group if r.id in ours]
            count_round(kept)
            _copy_steps(cursor, kept, worker)
            settle_external_ids(cursor, kept)
            _update_transactions(cursor, [r for r in kept if r.ending is not Ending.WRITTEN])
            store_waits(cursor, [r for r in kept if r.ending is Ending.WAITING and r.awaits is not None])
            if group_exchanges:
                tools.write_exchanges(group_exchanges, lost)
            held = [r for r in kept if r.ending is Ending.HELD]
            if held:
                tools.on_problem([_held_step(r, worker) for r in held])
            completed = [r for r in kept if r.ending is Ending.COMPLETED]
            if completed:
                tools.on_done(completed)
                release_waiting(cursor, completed, tools)
            cancelled = [r for r in kept if r.ending is Ending.CANCELLED]
            if cancelled:
                tools.on_cancelled(cancelled)
                release_waiting(cursor, cancelled, tools)
            waiting = [r for r in kept if r.ending is Ending.WAITING]
            if waiting:
                tools.on_wait(waiting)  # last: what it proposes is audited, and that lock is held until the commit

    _with_halving(runs, commit, exchanges, worker, tools)
    for run in runs:
        run.rows = []
        if run.id in lost:
            run.ending = Ending.LOST
    worker.carried_count += sum(r.ending is Ending.COMPLETED for r in runs)


def _with_halving(runs: list[Run], commit: Any, exchanges: list[Any], worker: WorkerProcess, tools: Tools) -> None:
    """Commit the group; on a lost database try again for a minute, on a refusal halve down to the run at fault.

    A commit whose answer was lost with the connection isn't made twice.
    """
    was_lost = False
    give_up_at = time.monotonic() + _RECONNECT_SECONDS
    while True:
        try:
            if not (was_lost and _has_landed(runs)):
                before = worker.new_seal
                commit(runs, exchanges)
                if worker.new_seal != before:  # else it wrote none (fenced out), and the one before may not stand
                    worker.keep_seal()
            return
        except Exception as refusal:
            if is_away(refusal):
                was_lost = True
                connection.close()
                if time.monotonic() > give_up_at:
                    raise  # the intents stand in the database: whoever takes over looks before it makes
                time.sleep(0.25)
                continue
            if was_lost and _has_landed(runs):
                return  # the first try landed meanwhile, so the second found its rows there
            if len(runs) > 1:
                middle = len(runs) // 2
                _with_halving(runs[:middle], commit, exchanges, worker, tools)
                _with_halving(runs[middle:], commit, [], worker, tools)
                return
            if not runs or (runs[0].problem and runs[0].problem.evidence.get("refusal")):
                raise  # even the note that it was refused is refused: let the operator see the stack
            _hold_refused(runs[0], refusal)
            remember(runs, worker=worker, tools=tools)
            return


def _has_landed(runs: list[Run]) -> bool:
    """Whether the commit of these runs stands: one of the rows that only it could have written."""
    rows = [(run.id, row.sequence, row.at) for run in runs for row in run.rows[:1]]
    if not rows:
        return False
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM transactions_steprun s"
            " JOIN unnest(%s::uuid[], %s::int[], %s::timestamptz[]) AS x (id, sequence, at)"
            " ON s.transaction_id = x.id AND s.sequence = x.sequence AND s.at = x.at)",
            [list(column) for column in zip(*rows, strict=True)],
        )
        return bool(cursor.fetchone()[0])


def _hold_refused(run: Run, refusal: BaseException) -> None:
    """The database refused what this run would write: held as internal, its raw answer kept in the step's evidence. Or
    another room did, and says by a Problem of its own why it can't be stored: held by that.

    A write that was made meanwhile keeps its intent open, so that a repost looks before it makes (laws 3 and 4).
    """
    rows = [{"step": r.step, "output": (r.output or b"").decode(errors="replace")[:4000]} for r in run.rows]
    step = run.flow.steps[min(run.position, len(run.flow.steps) - 1)]
    if run.intent and run.ending is Ending.INTENT and not run.intent.get("is_open"):
        run.intent = None  # its intent wasn't committed, so nothing was sent
    elif run.intent and any(r.step == run.intent["step"] and r.state == "done" for r in run.rows):
        run.intent, run.drops_intent = {**run.intent, "is_open": True}, False
        step = run.flow.step(run.intent["step"])
    run.step_count -= len(run.rows)
    run.rows = []
    evidence = {"refusal": str(refusal)[:1000], "rows": json.dumps(rows)[:8000]}
    if isinstance(refusal, Problem):
        refusal.evidence = {**refusal.evidence, **evidence}
        run.fail(step, refusal)
        return
    run.fail(
        step,
        Problem(
            "unexpected_error",
            Category.INTERNAL,
            f"The database refused what “{step.sentence}” would write",
            flow=run.flow.code,
            step=step.name,
            error=type(refusal).__name__,
            evidence=evidence,
        ),
    )


def _fence(cursor: Any, group: list[Run], worker: WorkerProcess) -> set[Any]:
    ended = [r for r in group if r.ending in _ENDED]
    others = [r for r in group if r.ending not in _ENDED]
    ours: set[Any] = set()
    if ended:
        cursor.execute(
            "DELETE FROM transactions_workitem w USING unnest(%s::uuid[], %s::bigint[]) AS x(id, token)"
            " WHERE w.transaction_id = x.id AND w.token = x.token AND w.worker = %s RETURNING w.transaction_id",
            [[r.id for r in ended], [r.token for r in ended], worker.id],
        )
        ours |= {row[0] for row in cursor.fetchall()}
    if others:
        cursor.execute(
            "UPDATE transactions_workitem w SET worker = x.worker,"
            " available_at = greatest(now() + x.wait * interval '1 second', x.not_before),"
            " intent_free_at = CASE WHEN x.intent IS NULL THEN NULL ELSE w.intent_free_at END,"
            " intent = x.intent::jsonb, step_count = x.steps, generation = x.generation, crash_group = 0,"
            " death_count = 0, wait_count = w.wait_count + x.waits,"
            " probe_count = least(x.probes, 30000), unanswered_count = x.unanswered,"
            " parked_at = x.parked_at FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::float8[],"
            " %s::timestamptz[], %s::text[], %s::int[], %s::int[], %s::int[], %s::int[], %s::int[], %s::text[])"
            " AS x(id, token, worker, wait, not_before, intent, steps, generation, waits, probes, unanswered,"
            " parked_at)"
            " WHERE w.transaction_id = x.id AND w.token = x.token AND w.worker = %s RETURNING w.transaction_id",
            [
                [r.id for r in others],
                [r.token for r in others],
                [worker.id if r.ending is Ending.WRITTEN else "" for r in others],
                [0.0 if r.ending is Ending.WRITTEN else _wait_seconds(r) for r in others],
                [None if r.ending is Ending.WRITTEN or r.awaits is None else r.awaits.not_before for r in others],
                [None if r.intent is None or r.drops_intent else json.dumps(r.intent) for r in others],
                [
                    r.step_count if r.ending is Ending.WRITTEN or _keeps_reads(r) else r.step_count - len(r.rows)
                    for r in others
                ],
                [r.generation for r in others],
                [int(r.ending is Ending.WAITING and r.problem is not None and r.counts) for r in others],
                [r.probe_count + int(r.ending is Ending.UNKNOWN or r.awaits is not None) for r in others],
                [r.unanswered_count for r in others],
                [r.parked_at for r in others],
                worker.id,
            ],
        )
        ours |= {row[0] for row in cursor.fetchall()}
        for run in others:
            if run.ending is Ending.WAITING and not _keeps_reads(run):
                run.rows = []  # reads since the last write run again with fresh knowledge
    return ours


def _keeps_reads(run: Run) -> bool:
    return bool(run.intent or run.parked_at)


def _wait_seconds(run: Run) -> float:
    if run.awaits is not None:
        return 0.0 if run.awaits.not_before is not None else min(60.0, 1.0 * 1.7 ** min(run.probe_count, 10))
    return run.available_in


def _copy_steps(cursor: Any, runs: list[Run], worker: WorkerProcess) -> None:
    """The finished steps by COPY, and one seal over them that names the worker's previous one."""
    rows = [(run, row) for run in runs for row in run.rows]
    if not rows:
        return
    proof, keys = hashlib.sha256(), bytearray()
    with cursor.copy(f"COPY transactions_steprun ({_STEP_COLUMNS}) FROM STDIN") as copy:
        for run, row in rows:
            copy.write_row(
                (
                    run.id, row.sequence, row.step, row.kind, row.state, row.attempt,
                    json.dumps(row.used) if row.used else None, row.gave, row.output,
                    json.dumps(row.problem) if row.problem else None, row.external_id, row.idempotency_key,
                    row.content_hash, row.supersedes, row.change_set, row.at, row.took_us,
                )
            )  # fmt: skip
            proof.update(step_proof(run.id, row))
            keys += row_key(run.id, row.sequence)
    previous = previous_seal(cursor, worker)
    seal = seal_of(previous, proof.digest(), settings.VAULT_KEYS[-1])
    cursor.execute(
        "INSERT INTO transactions_seal (worker, at, row_count, previous, seal, row_keys)"
        " VALUES (%s, now(), %s, %s, %s, %s)",
        [worker.id, len(rows), previous, seal, bytes(keys)],
    )
    worker.new_seal = seal


def _copy_postings(cursor: Any, postings: list[tuple], now: dt.datetime) -> None:
    if not postings:
        return
    columns = (
        "transaction_id, sequence, step, legal_entity_code, external_id, currency, posting_date, period_code, accounts,"
        " debits, credits, at"
    )
    with cursor.copy(f"COPY transactions_preparedposting ({columns}) FROM STDIN") as copy:
        for posting in postings:
            copy.write_row((*posting, now))


def _update_transactions(cursor: Any, runs: list[Run]) -> None:
    if not runs:
        return
    cursor.execute(
        "UPDATE transactions_businesstransaction t SET state = x.state, state_at = now(), held_step = x.held_step,"
        " waits_for = x.waits_for, problem_code = x.problem_code, problem = x.problem::jsonb,"
        " open_intent = x.open_intent::jsonb, target_connection = x.target_connection, target_type = x.target_type,"
        " target_id = x.target_id, target_number = x.target_number, legal_entity_code = x.entity,"
        " period_code = x.period, document_date = coalesce(x.document_date, t.document_date),"
        " service_end = coalesce(x.service_end, t.service_end)"
        " FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],"
        " %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::date[], %s::date[])"
        " AS x(id, state, held_step, waits_for, problem_code, problem, open_intent, target_connection, target_type,"
        " target_id, target_number, entity, period, document_date, service_end) WHERE t.id = x.id",
        [list(column) for column in zip(*(_transaction_values(r) for r in runs), strict=True)],
    )


def _transaction_values(run: Run) -> tuple:
    problem = run.problem if run.ending in (Ending.HELD, Ending.UNKNOWN, Ending.WAITING) else None
    waits_for = ""
    if run.ending is Ending.WAITING:
        waits_for = (run.awaits.summary if run.awaits else run.problem.summary if run.problem else "")[:300]
    if run.ending is Ending.CANCELLED:
        waits_for = run.why_cancelled[:300]
    target = run.target
    return (
        run.id,
        cast(Ending, run.ending).value,
        run.problem_step if run.ending in (Ending.HELD, Ending.UNKNOWN, Ending.WAITING) else "",
        waits_for,
        problem.code if problem else "",
        json.dumps(problem_facts(problem)) if problem else None,
        json.dumps({**run.intent, "is_open": True})
        if run.ending is Ending.HELD and run.intent and not run.drops_intent
        else None,
        run.target_connection,
        getattr(target, "document_type", "")[:60],
        getattr(target, "id", "")[:120],
        getattr(target, "number", "")[:80],
        run.legal_entity_code,
        run.period_code,
        run.document_date,
        run.service_end,
    )


def _held_step(run: Run, worker: WorkerProcess) -> HeldStep:
    return HeldStep(
        transaction_id=run.id,
        flow=run.flow.code,
        step=run.problem_step,
        attempt=run.attempt,
        problem=cast(Problem, run.problem),
        number=run.number or run.source_id,
        legal_entity_code=run.legal_entity_code,
        amount=run.amount,
        currency=run.currency,
        period_code=run.period_code,
        connection_code=run.target_connection or run.source_connection,
        at=dt.datetime.now(dt.UTC),
        worker=worker.id,
        customers=tuple(name for name in (run.customer_id, run.customer_name) if name),
    )
