"""Carrying a back-fill: its dry run in pieces, then its messages given to the intake, a few at a time.

A piece is given to the intake in one transaction with the note that it was; from then on the inbox's own machinery
carries it, in the last lane. So a process that dies leaves whole pieces, and what became of a message is read from the
message. Nothing is given while the piece before waits to be read, and never more than so many a minute.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import structlog
from django.db import OperationalError
from django.db.models import Q
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import cases
from q2c.core import access, approvals, audit, leases, vault
from q2c.core.clocks import database_now
from q2c.core.ending import is_ending
from q2c.core.hotpath import fetch_rows
from q2c.core.ids import uuid7
from q2c.core.models import Proposal
from q2c.flows import backfill_gathering
from q2c.flows.backfill_trial import Found, try_messages
from q2c.inbox import claims
from q2c.inbox.claims import Claimed
from q2c.inbox.models import Backfill, BackfillItem, InboundEvent
from q2c.inbox.receive import Arrival, receive

log = structlog.get_logger(__name__)
KIND = "backfill"  # of proposals
PERMISSION = "inbox.run_backfill"
LEASE_SECONDS = 60.0
TRIED_AT_ONCE = 50
RELEASED_AT_ONCE = 100
KEPT = dt.timedelta(days=7)  # what nobody started
State, Source = Backfill.State, Backfill.Source
Finding, Result = BackfillItem.Finding, BackfillItem.Result
WORKING = (State.GATHERING, State.TRYING, State.RUNNING)
UNREAD: dict[str, Any] = {"body": None, "body_key": None}  # what was read at a source, once it isn't carried
NO_RIGHT = "The role of whoever made it doesn’t allow it any more."
GONE = "Its message isn’t kept any more."
OTHER_ENTITY = "It is of an entity that whoever made it doesn’t act for."
_OPEN = """
UPDATE inbox_inboundkey SET verdict = 'received', reason_code = '', reason = '', decided_at = NULL, attempt_count = 0,
       available_at = statement_timestamp(), is_backfill = true
 WHERE event_id = ANY(%s) AND verdict <> 'received'
"""
_MARK = "UPDATE inbox_inboundkey SET is_backfill = true WHERE event_id = ANY(%s) AND verdict = 'received'"
# What was given and is decided by now: the verdict, and the first transaction that it led to since.
_DECIDED = """
SELECT i.id, k.verdict, k.reason, t.id IS NOT NULL, coalesce(t.id, i.transaction_id)
  FROM inbox_backfillitem i
  JOIN LATERAL (SELECT verdict, reason FROM inbox_inboundkey
                 WHERE event_id = i.event_id ORDER BY id LIMIT 1) k ON true
  LEFT JOIN LATERAL (
       SELECT t.id FROM transactions_businesstransaction t
        WHERE t.correlation_id = i.event_id::text AND t.event_id = i.event_id
        ORDER BY t.id OFFSET i.had LIMIT 1) t ON true
 WHERE i.backfill_id = %s AND i.result = 'released' AND k.verdict <> 'received' LIMIT 1000
"""
# No clock decides what is new, only whether more is there than before.
_RELEASED = """
UPDATE inbox_backfillitem i SET result = 'released', released_at = now(), event_id = n.event, body = NULL,
       body_key = NULL, had = (SELECT count(*) FROM transactions_businesstransaction t
                                WHERE t.correlation_id = n.event::text AND t.event_id = n.event)
  FROM unnest(%s::bigint[], %s::uuid[]) AS n (id, event) WHERE i.id = n.id
"""
_RESULTS = """
UPDATE inbox_backfillitem i SET result = n.result, result_says = left(n.says, 300), transaction_id = n.txn
  FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::uuid[]) AS n (id, result, says, txn)
 WHERE i.id = n.id AND i.result = 'released'
"""


def run_due() -> None:
    """Move every back-fill on that has something to do, as far as its pace allows; also what a process that died has
    left. One that fails keeps none of the others from going on. Safe at any moment."""
    for backfill_id in due_backfills():
        try:
            run_backfill(backfill_id)
        except OperationalError:
            raise
        except Exception:
            log.exception("backfill_failed", backfill=backfill_id)


def due_backfills() -> list[int]:
    """Those that gather, are tried or run, and those whose given messages aren't all decided."""
    working = ~Q(state__in=(State.TRIED, State.ASKED, State.DONE, State.FAILED))
    rows = Backfill.objects.filter(working).order_by("id")
    left = [b for b, state in rows.values_list("pk", "state") if state in (State.PAUSED, State.CANCELLED)]
    given = set(
        BackfillItem.objects.filter(backfill__in=left, result=Result.RELEASED).values_list("backfill", flat=True)
    )
    return [b for b, state in rows.values_list("pk", "state") if state in WORKING or b in given]


def run_backfill(backfill_id: int) -> None:
    """One back-fill, unless another process is at it. Returns when it has to wait: for its pace, for the intake, for a
    source, or for a person."""
    name, me = f"backfill:{backfill_id}", leases.this_process()
    try:
        while not is_ending() and leases.take_lease(name, holder=me, seconds=LEASE_SECONDS):
            if not step(backfill_id):
                break
    except OperationalError:
        raise  # the database was away: the next nudge goes on
    finally:
        leases.release_lease(name, holder=me)


def step(backfill_id: int) -> bool:
    """The next piece. Returns whether there's another one at once."""
    state = Backfill.objects.values_list("state", flat=True).get(pk=backfill_id)
    if state == State.GATHERING:
        return backfill_gathering.gather(backfill_id) or _is_at(backfill_id, State.TRYING)
    if state == State.TRYING:
        return try_piece(backfill_id)
    settle(backfill_id)
    return state == State.RUNNING and release_piece(backfill_id)


def _is_at(backfill_id: int, state: str) -> bool:
    return Backfill.objects.filter(pk=backfill_id, state=state).exists()


# The dry run.


def try_piece(backfill_id: int, size: int = TRIED_AT_ONCE) -> bool:
    """Try the next so many in memory, and write down what was found. Returns whether to go on."""
    own = Backfill.objects.get(pk=backfill_id)
    items = list(own.items.filter(finding="").order_by("id")[:size])
    found = _try(items) if items else {}
    with atomic():
        locked = Backfill.objects.select_for_update().get(pk=backfill_id)
        if locked.state != State.TRYING:
            return False
        if not items:
            locked.state, locked.tried_at = State.TRIED, timezone.now()
            locked.save(update_fields=["state", "tried_at"])
            return False
        _write(own, items, found)
    return True


def _try(items: Sequence[BackfillItem]) -> dict[int, Found]:
    stored = {
        c.event_id: c
        for c in claims.read_these([i.event_id for i in items if i.event_id is not None and _is_stored(i)])
    }
    claimed, of_item = [], {}
    for item in items:
        one = _claimed(item) if not _is_stored(item) else stored.get(item.event_id) if item.event_id else None
        if one is not None:
            claimed.append(one)
            of_item[item.pk] = one.event_id
    tried = try_messages(claimed)
    gone = Found(Finding.REFUSED, "gone", GONE)
    return {item.pk: tried[of_item[item.pk]] if item.pk in of_item else gone for item in items}


def _is_stored(item: BackfillItem) -> bool:
    return not item.dedupe_key


def _claimed(item: BackfillItem) -> Claimed | None:
    """What was read at the source, as if it had come in."""
    if item.body is None or item.body_key is None or item.connection_id is None or item.at is None:
        return None
    return Claimed(
        key_id=-item.pk, token=0, attempts=0, connection_id=item.connection_id, event_id=uuid7(),
        body_key=bytes(item.body_key), customer_key_id=None, event_type=item.event_type, source_id=item.source_id,
        received_at=item.at, body=bytes(item.body), is_backfill=True,
    )  # fmt: skip


def _write(own: Backfill, items: Sequence[BackfillItem], found: dict[int, Found]) -> None:
    keys = {f.document_key for f in found.values() if f.document_key and f.finding != Finding.KNOWN}
    before = set(own.items.filter(document_key__in=keys).exclude(finding="").values_list("document_key", flat=True))
    for item in items:
        one = found[item.pk]
        item.finding, item.code, item.says = one.finding, one.code, one.says
        if one.document_key in before and one.finding not in (Finding.KNOWN, Finding.REFUSED):
            item.finding, item.code, item.says = Finding.KNOWN, "", "An earlier message of this back-fill brings it."
        item.flow, item.number, item.period_code, item.currency = one.flow, one.number, one.period, one.currency
        item.legal_entity_code = one.legal_entity or item.legal_entity_code
        item.amount, item.transaction_id, item.document_key = one.amount, one.transaction_id, one.document_key
        if own.limited_to is not None and item.legal_entity_code not in own.limited_to:
            item.finding, item.code, item.says = Finding.REFUSED, "", OTHER_ENTITY
    BackfillItem.objects.bulk_update(
        items,
        ["finding", "code", "says", "flow", "number", "period_code", "currency", "legal_entity_code", "amount",
         "transaction_id", "document_key"],
    )  # fmt: skip
    gone = [item.pk for item in items if item.code == "erased"]
    if gone:
        BackfillItem.objects.filter(pk__in=gone).update(**UNREAD)


# Carrying.


def release_piece(backfill_id: int) -> bool:
    """Give the intake as many as the pace allows, with the note that it was given them, in one transaction. Returns
    whether there may be more at once."""
    with atomic():
        own = Backfill.objects.select_for_update(of=("self",)).select_related("made_by").get(pk=backfill_id)
        if own.state != State.RUNNING or own.items.filter(result=Result.RELEASED).exists():
            return False
        pending = own.items.filter(result=Result.PENDING, finding__in=own.takes)
        if not pending.exists():
            _end(own)
            return False
        size = pace(own, now := database_now())
        if not size:
            return False
        by = own.made_by
        if not by.is_active or not access.may(by, PERMISSION):
            own.items.filter(result=Result.PENDING).update(result=Result.REFUSED, result_says=NO_RIGHT, **UNREAD)
            _end(own)
            return False
        items = list(pending.order_by("at", "id")[:size])
        _give(own, items)
        own.released_at = now
        own.save(update_fields=["released_at"])
    return False


def pace(own: Backfill, now: dt.datetime) -> int:
    """How many may be given now: what its pace has let come together since the last piece, and a piece at most."""
    if own.released_at is None:
        return min(RELEASED_AT_ONCE, max(1, own.per_minute // 30))
    seconds = (now - own.released_at).total_seconds()
    return min(RELEASED_AT_ONCE, int(own.per_minute * seconds / 60))


def _give(own: Backfill, items: list[BackfillItem]) -> None:
    for item in items:
        if not _is_stored(item):
            _receive(item)
    # What was received now is there; a known one's month may be gone. This look also keeps its month until the commit.
    there = set(InboundEvent.objects.filter(pk__in=[i.event_id for i in items]).values_list("pk", flat=True))
    given = [i for i in items if i.event_id in there]
    ids = [i.event_id for i in given]
    fetch_rows(_MARK, [ids])
    fetch_rows(_OPEN, [ids])
    cases.close_for_events([i for i in ids if i is not None], "replayed")  # what is refused again comes back
    left = [i.pk for i in items if i not in given]
    BackfillItem.objects.filter(pk__in=left).update(result=Result.REFUSED, result_says=GONE, **UNREAD)
    fetch_rows(_RELEASED, [[i.pk for i in given], ids])
    audit.record(
        own.made_by, "replay", "backfill", own.pk, why=own.why, data={"events": [str(i) for i in ids]},
    )  # fmt: skip


def _receive(item: BackfillItem) -> None:
    """Into the inbox, as what comes by any door: once."""
    assert item.connection_id is not None
    assert item.body is not None
    assert item.body_key is not None
    body = vault.open_sealed(bytes(item.body), vault.open_with_master(bytes(item.body_key)))
    arrival = Arrival(item.event_type, item.source_id, item.dedupe_key, body)
    received = receive(item.connection_id, [arrival], via=InboundEvent.Via.REPLAY)
    item.event_id = (*received.new, *received.known)[0]


def settle(backfill_id: int) -> None:
    """Write down what became of what was given, once the intake has decided it."""
    while rows := fetch_rows(_DECIDED, [backfill_id]):
        results = [_result(verdict, reason, is_new) for _, verdict, reason, is_new, _ in rows]
        fetch_rows(
            _RESULTS, [[r[0] for r in rows], [r[0] for r in results], [r[1] for r in results], [r[4] for r in rows]]
        )


def _result(verdict: str, reason: str, is_new: bool) -> tuple[str, str]:
    if is_new:
        return Result.CARRIED, ""
    if verdict == "ignored":
        return Result.IGNORED, reason
    if verdict == "refused":
        return Result.REFUSED, reason
    return Result.KNOWN, "What it says was here already."


def _end(own: Backfill) -> None:
    own.items.filter(result=Result.PENDING).update(result=Result.LEFT, **UNREAD)
    own.state, own.ended_at = State.DONE, timezone.now()
    own.save(update_fields=["state", "ended_at"])
    audit.record(audit.PORTAL, "end", "backfill", own.pk, data=results_of(own.pk))


def results_of(backfill_id: int) -> dict[str, int]:
    """How many rows have which result."""
    rows = fetch_rows(
        "SELECT result, count(*) FROM inbox_backfillitem WHERE backfill_id = %s GROUP BY 1 ORDER BY 1", [backfill_id]
    )
    return dict(rows)


def forget_unstarted() -> int:
    """Cancel what was tried and nobody started for a week, with what was read for it; what waits for a signature is
    void. Returns how many. Nothing that was read for one that has ended stays."""
    ended = BackfillItem.objects.filter(backfill__state__in=(State.DONE, State.CANCELLED))
    ended.exclude(body=None, body_key=None).update(**UNREAD)
    old = Backfill.objects.filter(
        state__in=(State.TRIED, State.ASKED, State.FAILED, State.GATHERING, State.TRYING),
        made_at__lt=timezone.now() - KEPT,
    )
    count = 0
    for own in old:
        with atomic():
            locked = Backfill.objects.select_for_update().get(pk=own.pk)
            if locked.started_at is None and locked.state != State.CANCELLED:
                let_go(locked, by=audit.PORTAL, why="Nobody started it for a week.")
                count += 1
    return count


def let_go(own: Backfill, *, by: Any, why: str) -> None:
    """Cancel a back-fill, whose row is locked: what was given goes on, the rest isn't carried and says so."""
    own.items.filter(result=Result.PENDING).update(
        result=Result.LEFT, result_says="Cancelled before it was carried.", **UNREAD
    )
    own.state, own.ended_at = State.CANCELLED, timezone.now()
    own.save(update_fields=["state", "ended_at"])
    waiting = Proposal.objects.filter(kind=KIND, subject_type=KIND, subject_id=str(own.pk))
    for proposal in waiting.filter(state=Proposal.State.PROPOSED):
        approvals.void(proposal, reason=f"{own.number} was cancelled: {why}", by=by)
    audit.record(by, "cancel", "backfill", own.pk, why=why)
