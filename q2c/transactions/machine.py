"""The machine: carries a batch of transactions of one flow as far as they will go. One transaction is a batch of one.

Claim, read in memory, commit the intents, send side by side, remember the answers in small groups (ARCHITECTURE
section 3).
It knows steps and knows no business: flows, vendors, cases and cross-references are handed to it (`tools.Tools`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any
from uuid import UUID

import structlog
from django.db import connection

from q2c.canonical import schema
from q2c.canonical.edits import EDIT, apply_edits
from q2c.core import ids
from q2c.core.clocks import since_boot
from q2c.core.problems import Category, NeverSent, Problem
from q2c.transactions import claims, pauses
from q2c.transactions.batch import Ending, Run
from q2c.transactions.newer import Newer, is_of_newer, leave, look_for_newer
from q2c.transactions.reading import arguments, read_forward, read_lacking, settle_problem, unexpected
from q2c.transactions.remember import commit_intents, remember
from q2c.transactions.steps import Flow, Write, decode_output
from q2c.transactions.tools import Context, Tools
from q2c.transactions.workers import WorkerProcess, this_worker
from q2c.transactions.writing import Sending

log = structlog.get_logger(__name__)

SEND_WITHIN = dt.timedelta(seconds=30)
DEATHS_MAX = 3
ALL_AT_ONCE = 200

_RUN_COLUMNS = (
    "id, business_key, lane, correlation_id, attempt, created_at, source_connection, source_type, source_id, number,"
    " legal_entity_code, customer_id, customer_name, currency, amount, line_count, feed, feed_type, target_connection,"
    " period_code, document_date, fact, state, bill_run_id"
)

# Outputs only where some are taken over: behind a finished write, an open intent or a parking wait.
_STEPS = """
SELECT transaction_id, sequence, step, kind, state,
       CASE WHEN transaction_id = ANY(%s::uuid[])
              OR bool_or(kind = 'write' AND state = 'done') OVER (PARTITION BY transaction_id) THEN output END
  FROM transactions_steprun WHERE transaction_id = ANY(%s) ORDER BY transaction_id, sequence
"""


# A parent whose bill run is held, or was just released, comes with its run: whoever waits for it isn't overdue.
_PATIENCE = """
SELECT d.transaction_id, d.key, d.patience_until FROM transactions_dependency d
 WHERE d.transaction_id = ANY(%s) AND (d.patience_until > now() OR NOT EXISTS (
       SELECT FROM transactions_businesstransaction p
        WHERE p.source_id = split_part(d.key, ':', 3) AND p.source_connection = split_part(d.key, ':', 2)
          AND p.bill_run_id IS NOT NULL AND p.state IN ('running', 'waiting', 'unknown')))
"""


def advance(flow: Flow, tools: Tools, *, limit: int = ALL_AT_ONCE) -> int:
    """Claim a batch of this flow's due work and carry it as far as it will go. Returns how many were claimed (0: none
    due)."""
    worker = this_worker()
    count = -1  # also of a claim whose answer was lost
    try:
        count = _advance(flow, tools, limit, worker)
    finally:
        if count:
            claims.release_all(worker.id)
    return count


def _advance(flow: Flow, tools: Tools, limit: int, worker: WorkerProcess) -> int:
    quarantine_suspects(flow, claims.release_dead(flow.code), tools, worker)
    stops = pauses.stops_of(flow)
    claimed = [] if "" in stops else claims.claim_batch(flow=flow.code, worker=worker.id, limit=limit)
    if not claimed:
        return 0
    runs = load_runs(flow, claimed)
    _leave_newer(runs, worker)
    if stops:
        runs = _without_paused(runs, stops, worker)
    _carry(runs, tools, worker)
    return len(claimed)


def _leave_newer(runs: list[Run], worker: WorkerProcess) -> None:
    newer = [r for r in runs if r.newer]
    if newer:
        left = leave([r.id for r in newer], worker=worker.id)
        log.warning("left for a newer release", flow=newer[0].flow.code, count=left, knows=newer[0].newer)


def _without_paused(runs: list[Run], stops: dict[str, str], worker: WorkerProcess) -> list[Run]:
    """Set aside what is paused; of what tells its entity only on the way, the pause is looked at before it's sent."""
    paused = [(r.id, pauses.words_of(r.legal_entity_code, stops[r.legal_entity_code])) for r in runs
              if r.legal_entity_code in stops]  # fmt: skip
    if paused:
        pauses.set_aside(runs[0].flow, paused, worker=worker.id)
    going = [r for r in runs if r.legal_entity_code not in stops]
    for run in going:
        run.stops = stops
    return going


def _carry(runs: list[Run], tools: Tools, worker: WorkerProcess) -> None:
    reposted = [r for r in runs if r.attempt > 1 and r.ending is None]
    take_decisions(reposted, accepted=tools.accepted, chosen=tools.chosen)
    broken = [r for r in runs if r.ending is Ending.HELD]
    active = [r for r in runs if r.ending is None]
    if broken:
        remember(broken, worker=worker, tools=tools)
    context = tools.context(active)
    for run in active:
        run.retry_of = context.retry_of
    active = _catch_up([r for r in active if r.lacks], active, context, tools, worker)
    sending, group = Sending(tools=tools, worker=worker), list[Run]()
    try:
        while active or sending.open_count:
            if active and sending.has_room:
                sending.send(_begin(active, context, tools, worker))
                active = []
            group = sending.next_group() if sending.open_count else []
            _read_on(group, context)
            answered, group = group, []
            remember(answered, worker=worker, tools=tools)
            _pause_refused(answered, tools)
            active += [_cleared(r) for r in answered if r.ending is Ending.WRITTEN]
    except Exception:  # what was sent meanwhile has its answers, which nobody else would remember
        _remember_answers(group, sending, tools, worker)
        raise
    remember([], worker=worker, tools=tools)


def _read_on(group: list[Run], context: Context) -> None:
    ongoing = [r for r in group if r.ending is Ending.WRITTEN]
    if not ongoing:
        return
    read_forward(ongoing, context)
    for run in ongoing:
        if run.ending is Ending.INTENT:  # another write follows: first remember this one
            run.ending = Ending.WRITTEN


def _remember_answers(group: list[Run], sending: Sending, tools: Tools, worker: WorkerProcess) -> None:
    for run in group:
        if run.ending in (None, Ending.INTENT):  # read no further than its write
            run.ending = Ending.WRITTEN
    remember(group, worker=worker, tools=tools)
    while sending.open_count:
        remember(sending.next_group(), worker=worker, tools=tools)


def _begin(runs: list[Run], context: Context, tools: Tools, worker: WorkerProcess) -> list[Run]:
    """Read as far as the next writes and make their intents durable, remember what ends or waits before that. Returns
    what is to be sent."""
    looking = [r for r in runs if r.intent and r.intent.get("is_open")]
    for run in looking:
        run.ending = Ending.INTENT
    read_forward([r for r in runs if r.ending is not Ending.INTENT], context)
    _prepare_intents([r for r in runs if r.ending is Ending.INTENT], context)
    due = [r for r in runs if r.ending is Ending.INTENT]
    remember([r for r in runs if r.ending is not Ending.INTENT], worker=worker, tools=tools)
    _pause_refused(runs, tools)
    return commit_intents(due, postings=_postings(due, context), worker=worker, tools=tools)


def _catch_up(
    lacking: list[Run], active: list[Run], context: Context, tools: Tools, worker: WorkerProcess
) -> list[Run]:
    """Take the steps that an older release hadn't; those that can go on."""
    read_lacking(lacking, context)
    stopped = [r for r in lacking if r.ending is not None]
    if stopped:
        remember(stopped, worker=worker, tools=tools)
    return [r for r in active if r.ending is None]


def take_decisions(
    runs: list[Run],
    *,
    accepted: Callable[[list[UUID]], dict[UUID, list[tuple[str, dict[str, str]]]]],
    chosen: Callable[[list[UUID]], dict[UUID, dict[str, Any]]],
) -> None:
    """Give reposted runs what people decided for them: problems that they may pass, and what was chosen."""
    if not runs:
        return
    ids = [run.id for run in runs]
    passed, choices = accepted(ids), chosen(ids)
    for run in runs:
        run.accepted, run.chosen = passed.get(run.id, []), choices.get(run.id, {})
        if EDIT not in run.chosen or run.ending is not None:
            continue
        name = run.flow.starts_with[0]
        try:
            run.facts[name] = apply_edits(run.facts[name], run.chosen[EDIT]["changes"])
        except ValueError as error:  # a field that may not be edited any more
            run.fail(run.flow.steps[run.position], unexpected(run, run.flow.steps[run.position], error))


def _cleared(run: Run) -> Run:
    run.ending, run.intent, run.drops_intent = None, None, False
    return run


def _pause_refused(runs: list[Run], tools: Tools) -> None:
    refused = {
        r.problem.subject.get("connection") or r.target_connection: r.problem
        for r in runs
        if r.problem is not None and r.problem.pauses_connection and r.ending in (Ending.WAITING, Ending.UNKNOWN)
    }
    for code, problem in refused.items():
        tools.on_refused_credentials(code, problem)


def _prepare_intents(runs: list[Run], context: Context) -> None:
    """Fix what will be sent: external id, idempotency key, content hash, send deadline.

    The deadline is by this machine's clock, and taken before the commit that says by the database's clock when another
    worker may look: hosts whose clocks differ never send side by side.
    """
    now, until = dt.datetime.now(dt.UTC), since_boot() + SEND_WITHIN.total_seconds()
    for run in runs:
        step = run.due_write
        if run.legal_entity_code in run.stops:
            why = pauses.words_of(run.legal_entity_code, run.stops[run.legal_entity_code])
            settle_problem(run, step, NeverSent(why, wait_seconds=5.0, counts=False))
            continue
        try:
            port = context.port(step.port, run)
        except Problem as problem:
            settle_problem(run, step, problem)
            continue
        except Exception as error:
            run.fail(step, unexpected(run, step, error))
            continue
        run.target_connection = port.connection_code
        prepared = run.facts[step.prepared]
        run.send_until = until
        run.free_seconds = SEND_WITHIN.total_seconds() + port.repeats.settles_after_seconds
        told = {"deadline": (now + SEND_WITHIN).isoformat(), "settles": port.repeats.settles_after_seconds}
        if run.intent and run.intent.get("is_open"):
            run.intent = {**run.intent, **told}
            _gather(run, step, port, context)
            continue
        name = getattr(prepared, "external_id", "") or ""
        run.intent = {
            "step": step.name,
            "external_id": name,
            "claims": bool(name) and not step.upsert and not port.repeats.refuses_existing,
            "key": ids.write_key(
                business_key=run.business_key,
                flow=run.flow.code,
                step=step.name,
                generation=run.generation,
                attempt=run.attempt,
            ),
            "hash": schema.content_hash(prepared),
            "connection": port.connection_code,
            "generation": run.generation,
            "opened_at": now.isoformat(),
            **told,
        }
        _gather(run, step, port, context)


def _gather(run: Run, step: Write, port: Any, context: Context) -> None:
    """What the write needs, gathered here: the wire's event loop must not ask the database."""
    run.port = port
    run.create_with = arguments(step.create, run, context)
    run.find_with = arguments(run.look_of(step), run, context)


def _postings(runs: list[Run], context: Context) -> list[tuple]:
    """The double entries of the writes about to be sent, for the database to check that they balance."""
    found = []
    for run in runs:
        if not run.rows:
            continue  # an open intent's posting is stored already
        step = run.due_write
        prepared = run.facts[step.prepared]
        journal = getattr(prepared, "journal", None) or getattr(prepared, "lines", None)
        if not journal or not hasattr(journal[0], "debit"):
            continue
        found.append(
            (
                run.id,
                run.step_count,
                step.name,
                run.legal_entity_code,
                run.due_intent["external_id"],
                prepared.currency_code,
                prepared.posting_date,
                run.period_code,
                [line.account for line in journal],
                [line.debit for line in journal],
                [line.credit for line in journal],
            )
        )
    return found


def load_runs(flow: Flow, claimed: list[claims.Claim]) -> list[Run]:
    """The claimed transactions with what earlier runs of theirs finished."""
    by_id = {c.transaction_id: c for c in claimed}
    with connection.cursor() as cursor:
        cursor.execute(  # in the order in which they came in: ids tell it
            f"SELECT {_RUN_COLUMNS} FROM transactions_businesstransaction WHERE id = ANY(%s) ORDER BY id", [list(by_id)]
        )
        rows = cursor.fetchall()
        resumed = [c.transaction_id for c in claimed if c.step_count]
        steps: dict[UUID, list[tuple]] = {}
        if resumed:
            cursor.execute(_STEPS, [[c.transaction_id for c in claimed if c.intent or c.parked_at], resumed])
            for row in cursor.fetchall():
                steps.setdefault(row[0], []).append(row[1:])
        waited = [c.transaction_id for c in claimed if c.probe_count]
        patience: dict[UUID, dict[str, dt.datetime]] = {}
        if waited:
            cursor.execute(_PATIENCE, [waited])
            for transaction, key, until in cursor.fetchall():
                patience.setdefault(transaction, {})[key] = until
    runs = []
    for row in rows:
        claim = by_id[row[0]]
        values: tuple[Any, ...] = (
            row[0],
            flow,
            claim.token,
            *row[1:21],
            claim.intent,
            claim.generation,
            claim.wait_count,
            claim.probe_count,
            claim.step_count,
            claim.parked_at,
        )
        run = Run(*values)
        run.patience = patience.get(run.id, {})
        run.is_after_restore = claim.is_after_restore
        run.known_at, run.unanswered_count = claim.known_at, claim.unanswered_count
        run.since = claim.since
        run.priority, run.lane_sequence = claim.priority, claim.lane_sequence
        runs.append(run)
        try:
            run.bill_run = row[23]
            run.facts[flow.starts_with[0]] = schema.from_json(bytes(row[21]), flow.fact_type)
            _resume(run, steps.get(run.id, []))
        except Exception as error:  # a fact that we can't read any more is held, not lost
            if isinstance(error, Newer) or is_of_newer(error):
                run.ending, run.newer = Ending.LOST, str(error)
            else:
                run.fail(flow.steps[run.position], unexpected(run, flow.steps[run.position], error))
    return runs


def _resume(run: Run, steps: list[tuple]) -> None:
    """Take over finished steps: everything up to the last finished write, and the reads on which an open intent or a
    parking wait rests.

    Other reads run again, so that a repost uses one consistent version of all mappings; their new rows name the old
    ones.
    """
    latest: dict[str, tuple] = {}
    for sequence, name, _kind, state, output in steps:
        if state == "done":
            latest[name] = (sequence, output)
        elif state in ("superseded", "undone"):
            latest.pop(name, None)
    look_for_newer(run.flow, latest, run.intent)
    if run.intent:
        run.intent["is_open"] = True  # an earlier attempt left no answer: look before you make
        keep = run.flow.steps.index(run.flow.step(run.intent["step"]))
    elif run.parked_at:
        keep = run.flow.steps.index(run.flow.step(run.parked_at))
    else:
        keep = max(
            (i + 1 for i, s in enumerate(run.flow.steps) if isinstance(s, Write) and s.name in latest), default=0
        )
    for step in run.flow.steps[:keep]:
        if step.name not in latest:
            if step.quiet:
                run.facts[step.gives] = None
            else:
                run.lacks.append(step)
            continue
        sequence, output = latest[step.name]
        run.facts[step.gives] = None if bytes(output) == b"null" else decode_output(bytes(output), step.output_type)
        run.done[step.name] = sequence
        if isinstance(step, Write) and run.facts[step.gives] is not None:
            run.target = run.facts[step.gives]
    run.position = keep
    run.earlier = {name: sequence for name, (sequence, _output) in latest.items() if name not in run.done}


def quarantine_suspects(flow: Flow, freed: list[tuple[UUID, int]], tools: Tools, worker: WorkerProcess) -> None:
    """Hold what has killed its worker three times while alone in it; the others of its batch go on without it."""
    suspects = [transaction for transaction, deaths in freed if deaths >= DEATHS_MAX]
    if not suspects:
        return
    found = load_runs(flow, claims.claim_these(suspects, worker=worker.id))
    _leave_newer(found, worker)
    runs = [run for run in found if not run.newer]
    for run in runs:
        step = run.flow.steps[run.position]
        run.fail(
            step,
            Problem(
                "quarantined",
                Category.INTERNAL,
                f"A worker ended {DEATHS_MAX} times over {run.called}, which is set aside",
                flow=flow.code,
                transaction=run.id,
            ),
        )
    remember(runs, worker=worker, tools=tools)
