"""The Celery tasks: nudges only. Workers pull from PostgreSQL until there's nothing due; a lost message costs
seconds."""

from __future__ import annotations

import time
from collections.abc import Iterable

import redis
from celery import shared_task
from django.db import connection
from django.db.transaction import on_commit
from kombu.exceptions import OperationalError

from connectors import http, registry, slots
from connectors.lanes import lane_of
from exceptions import cases
from q2c import ports
from q2c.core.customer_keys import owner_of
from q2c.core.ending import is_ending
from q2c.flows import (
    backfill_running,
    bill_run_acts,
    bill_run_states,
    catalog,
    done,
    field_owners,
    governor,
    intake,
    lost_targets,
    nudger,
    pausing,
    polling,
    reference,
    summaries,
    unusual,
    uses,
    watching,
)
from q2c.flows.owners import write_for_owners
from q2c.inbox import keeping
from q2c.records import duplicates
from q2c.transactions import claims, counting, machine, seals
from q2c.transactions.batch import Run
from q2c.transactions.tools import Tools

PULLS_SECONDS = 2.0  # then the task ends and nudges itself, so that one flow doesn't starve the others
HEALTH_SECONDS = 3.0
_health_told_at = 0.0


def nudge(flows: Iterable[str]) -> None:
    """Say, after the commit, that these flows have work. The broker may be away: beat says it again within seconds."""
    for code in sorted(set(flows)):

        def send(code: str = code) -> None:
            _send_nudge(code)

        on_commit(send, robust=True)


def _send_nudge(code: str) -> None:
    try:
        if nudger.mark_waiting(code):
            run_flow.apply_async((code,), retry=False, expires=nudger.KEPT_SECONDS)
    except (redis.RedisError, OperationalError, OSError):
        return


def _dial(run: Run, step: str, deadline: float | None) -> None:
    customer = run.facts.get("payer") or run.customer_id  # who is billed may be another account than who bought
    http.outgoing.set(
        http.Outgoing(
            transaction_id=run.id,
            step=step,
            correlation_id=run.correlation_id,
            deadline=deadline,
            customer=owner_of(run.source_connection, customer) if customer else None,
            lane=lane_of(run.priority),
            object_type=run.flow.lane_type,
        )
    )


slots.when_alone(governor.share_alone)

TOOLS = Tools(
    context=ports.BatchContext,
    dial=_dial,
    take_exchanges=ports.collector.take,
    write_exchanges=write_for_owners,
    on_problem=cases.open_for_steps,
    on_done=done.tell_done,
    on_cancelled=done.tell_cancelled,
    on_wait=lambda runs: nudge(done.answer_waits(runs)),
    on_refused_credentials=done.pause_refused,
    accepted=ports.accepted_problems,
    chosen=ports.choices_of,
    nudge=nudge,
)


def carry(code: str, *, seconds: float = PULLS_SECONDS) -> int:
    """Pull this flow's due work until there's none or the time is up. Returns how many transactions were claimed; none
    of a flow that only a newer release has, whose workers are nudged again by beat."""
    flow, total, until = catalog.BY_CODE.get(code), 0, time.monotonic() + seconds
    if flow is None:
        return 0
    while True:
        claimed = machine.advance(flow, TOOLS)
        total += claimed
        if claimed == machine.ALL_AT_ONCE:
            nudge([code])  # there's work for another worker too
        if not claimed or time.monotonic() > until or is_ending():
            break
    if total:
        registry.save_health_sometimes()
    if claimed:
        nudge([code])
    return total


@shared_task(ignore_result=True)
def run_flow(code: str) -> None:
    """A nudge: this flow has work."""
    nudger.mark_begun(code)
    try:
        carry(code)
    finally:
        tell_health()


@shared_task(ignore_result=True)
def resume_due() -> None:
    """Beat's own nudge: every flow that has something due, leased by a dead worker included."""
    nudge(due_flows())
    nudge(pausing.catch_up())


@shared_task(name="q2c.inbox.carry_events", ignore_result=True)
def carry_events() -> None:
    """Take up received events until there's none due or the time is up; a webhook nudges this, beat makes sure."""
    nudger.mark_begun(nudger.INBOX)
    until = time.monotonic() + PULLS_SECONDS
    while time.monotonic() < until and not is_ending():
        carried = intake.carry_due_events()
        nudge(carried.flows)
        if not carried.count:
            return
    _nudge_inbox_again()


def _nudge_inbox_again() -> None:
    try:
        if nudger.mark_waiting(nudger.INBOX):
            carry_events.apply_async(retry=False, expires=nudger.KEPT_SECONDS)
    except (redis.RedisError, OperationalError, OSError):
        return


@shared_task(ignore_result=True)
def refresh_lists(code: str) -> None:
    """Read a target's own lists again: items, accounts, periods; and tell of rules whose target has gone from them."""
    try:
        reference.refresh_or_tell(code)
        lost_targets.tell_lost_targets(code)
    finally:
        tell_health()


@shared_task(ignore_result=True)
def look_at_open() -> None:
    """Note how much is open and due, and for how long."""
    counting.look_at_open()


@shared_task(ignore_result=True)
def warn_operators() -> None:
    """Tell of error budgets that burn fast, systems that are away, more held than usual, credentials that expire, what
    can't be archived or anchored."""
    watching.watch_levels()
    watching.watch_systems()
    unusual.tell_of_many()
    watching.warn_of_expiry()
    watching.watch_archives()
    watching.watch_anchors()


@shared_task(ignore_result=True)
def raise_old() -> None:
    """Let what has been due for long go first, a few at a time."""
    claims.raise_old(list(catalog.BY_CODE))


@shared_task(ignore_result=True)
def forget_answers() -> None:
    """Let go of the API's stored answers that have expired, and of back-fills that nobody started."""
    keeping.forget_expired_answers()
    backfill_running.forget_unstarted()


@shared_task(ignore_result=True)
def run_backfills() -> None:
    """Move every back-fill on that has something to do."""
    try:
        backfill_running.run_due()
    finally:
        tell_health()


@shared_task(ignore_result=True)
def run_bill_runs() -> None:
    """Add up what bill runs came to, release those that ask for nobody, and carry out what was decided."""
    bill_run_acts.release_by_itself(bill_run_states.add_up())
    bill_run_acts.void_changed()
    nudge(bill_run_acts.carry_due())


@shared_task(ignore_result=True)
def roll_up_rule_uses() -> None:
    """Add up how often rules were used, of workers that live no more."""
    uses.roll_up_uses()


@shared_task(ignore_result=True)
def follow_field_owners() -> None:
    """Records whose fields' owners changed are computed anew."""
    field_owners.follow_owners()


@shared_task(ignore_result=True)
def find_duplicates() -> None:
    """Compare records that may be one thing."""
    duplicates.find_duplicates()


@shared_task(ignore_result=True)
def anchor_seals() -> None:
    """Write the workers' newest seals into the audit chain."""
    seals.anchor_heads()


@shared_task(ignore_result=True)
def start_summaries() -> None:
    """Start the summaries of days that are over and past their entity's cut-off."""
    if summaries.start_due_summaries():
        nudge([summaries.FLOW])


@shared_task(ignore_result=True)
def poll(code: str, stream: str) -> None:
    """Ask a system what changed, and take up what was found."""
    try:
        found = polling.poll_connection(code, stream)
    finally:
        tell_health()
    if found.new:
        carry_events()


def tell_health() -> None:
    """Store what this process's telephones saw, for the connections' screen; at most every few seconds."""
    global _health_told_at
    if time.monotonic() - _health_told_at > HEALTH_SECONDS:
        _health_told_at = time.monotonic()
        registry.save_health()


def due_flows() -> list[str]:
    """The flows with due work."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT flow FROM transactions_workitem WHERE available_at <= now() OR worker <> ''")
        return [row[0] for row in cursor.fetchall()]
