"""Finding the rows of a back-fill: what we stored by filter or by ids, or what a system gives again, a piece at a time.

Each piece commits its rows with the place where the next one begins, so a process that dies loses none and repeats
none. What was read at a source is sealed, and goes into the inbox only when somebody starts the back-fill.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import structlog
from django.db.models.functions import Now
from django.db.transaction import atomic
from django.utils import timezone

from connectors import registry
from connectors.calls import Outgoing, outgoing
from connectors.families import Page, Polled
from connectors.fields import UNREADABLE
from connectors.lanes import BACKFILL
from connectors.models import Connection
from connectors.recorder import Collector, for_their_owners, write_exchanges
from connectors.rows import say_unreadable
from q2c.core import vault
from q2c.core.clocks import database_now
from q2c.core.hotpath import fetch_rows
from q2c.core.ids import uuid7_bound
from q2c.core.problems import Problem
from q2c.inbox.models import Backfill, BackfillItem
from q2c.inbox.receive import clean
from q2c.inbox.refetch import run_waiting
from q2c.inbox.window import Windows

ITEMS_MAX = 100_000
AT_ONCE = 1_000
IDS_AT_ONCE = 50
WAIT_SECONDS = 30.0
log = structlog.get_logger()
State, Finding = Backfill.State, BackfillItem.Finding
_NOT_READ = "A row of {} can’t be read"
TOO_MANY = f"It is more than {ITEMS_MAX:,} messages. Narrow the days or the filters, and make several of it."
_STORED = """
SELECT k.event_id, e.connection_id, e.event_type, e.source_id, e.received_at, k.legal_entity_code
  FROM inbox_inboundkey k JOIN inbox_inboundevent e ON e.id = k.event_id
 WHERE k.event_id >= %(low)s AND k.event_id < %(high)s AND k.event_id > %(after)s
   AND e.id >= %(low)s AND e.id < %(high)s
   AND (%(connection)s::bigint IS NULL OR k.connection_id = %(connection)s)
   AND (%(event_type)s = '' OR e.event_type = %(event_type)s)
   AND (%(entity)s = '' OR k.legal_entity_code = %(entity)s)
   AND (%(limited)s::text[] IS NULL OR k.legal_entity_code = ANY(%(limited)s))
   AND (%(verdict)s = '' OR k.verdict = %(verdict)s)
   AND ((%(flow)s = '' AND %(state)s = '') OR EXISTS (
        SELECT FROM transactions_businesstransaction t
         WHERE t.correlation_id = k.event_id::text AND (%(flow)s = '' OR t.flow = %(flow)s)
           AND (%(state)s = '' OR t.state = %(state)s)))
 ORDER BY k.event_id LIMIT %(limit)s
"""
# An id may be of a message, of the object at its source, or the number of a document; the first two by the messages of
# the time that was asked for, the last by what it became.
_BY_IDS = """
WITH given AS (SELECT * FROM unnest(%(rows)s::bigint[], %(ids)s::text[]) AS g (item, id)),
named AS (
    SELECT g.item, e.id AS event_id FROM given g JOIN inbox_inboundevent e ON e.id::text = lower(g.id)
     WHERE e.id = ANY(%(uuids)s::uuid[])
    UNION SELECT g.item, e.id FROM given g JOIN inbox_inboundevent e ON e.source_id = g.id
     WHERE e.id >= %(low)s AND e.id < %(high)s
    UNION SELECT g.item, t.event_id FROM given g JOIN transactions_businesstransaction t ON t.number = g.id
     WHERE t.event_id IS NOT NULL)
SELECT n.item, k.event_id, e.connection_id, e.event_type, e.source_id, e.received_at, k.legal_entity_code
  FROM named n JOIN inbox_inboundkey k ON k.event_id = n.event_id JOIN inbox_inboundevent e ON e.id = k.event_id
 WHERE (%(connection)s::bigint IS NULL OR k.connection_id = %(connection)s)
   AND (%(limited)s::text[] IS NULL OR k.legal_entity_code = ANY(%(limited)s))
 ORDER BY n.item, k.event_id
"""


def gather(backfill_id: int) -> bool:
    """Find the next piece. Returns whether there's more to gather now. Whoever holds the lease calls it."""
    own = Backfill.objects.select_related("connection").get(pk=backfill_id)
    if own.state != State.GATHERING or own.due_at > database_now():
        return False
    if own.source == Backfill.Source.STORED:
        return _gather_ids(own) if own.by_ids else _gather_stored(own)
    return _gather_again(own)


# What we stored.


def _gather_stored(own: Backfill) -> bool:
    after = UUID(own.position["after"]) if own.position else UUID(int=0)
    asked = {name: own.asked.get(name, "") for name in ("event_type", "verdict", "flow", "state")}
    rows = fetch_rows(
        _STORED,
        {**asked, **_bounds(own), "after": after, "entity": own.asked.get("legal_entity", ""), "limit": AT_ONCE},
    )
    found = [BackfillItem(backfill_id=own.pk, **_of_message(row)) for row in rows]
    _refuse_old(found)
    return _store(own, found, {"after": str(rows[-1][0])} if rows else own.position, is_last=len(rows) < AT_ONCE)


def _gather_ids(own: Backfill) -> bool:
    due = list(own.items.filter(finding="", event_id=None).order_by("id")[:AT_ONCE])
    if not due:
        return _store(own, [], own.position, is_last=True)
    uuids = [u for u in (_as_uuid(item.given) for item in due) if u is not None]
    rows = fetch_rows(
        _BY_IDS, {**_bounds(own), "rows": [i.pk for i in due], "ids": [i.given for i in due], "uuids": uuids}
    )
    by_item: dict[int, list[tuple[Any, ...]]] = {}
    for row in rows:
        by_item.setdefault(row[0], []).append(row[1:])
    taken = set(own.items.filter(event_id__in=[row[1] for row in rows]).values_list("event_id", flat=True))
    more = []
    for item in due:
        mine = [row for row in by_item.get(item.pk, ()) if row[0] not in taken]
        taken.update(row[0] for row in mine)
        if not mine:
            item.finding = Finding.REFUSED
            item.says = (
                "Another row names the same message." if item.pk in by_item
                else "No message of these days that you may replay has this id or number."
            )  # fmt: skip
            continue
        _fill(item, _of_message(mine[0]))
        more += [BackfillItem(backfill_id=own.pk, row=item.row, given=item.given, **_of_message(r)) for r in mine[1:]]
    _refuse_old([*due, *more])
    return _store(own, more, own.position, is_last=False, changed=due)


def _bounds(own: Backfill) -> dict[str, Any]:
    low, high = (uuid7_bound(int(at.timestamp() * 1000)) for at in (own.since, own.until))
    return {"low": low, "high": high, "connection": own.connection_id, "limited": own.limited_to}


def _of_message(row: Sequence[Any]) -> dict[str, Any]:
    event_id, connection_id, event_type, source_id, at, entity = row
    return {
        "event_id": event_id, "connection_id": connection_id, "event_type": event_type, "source_id": source_id,
        "at": at, "legal_entity_code": entity,
    }  # fmt: skip


def _fill(item: BackfillItem, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(item, name, value)


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


# What a system gives again.


def _gather_again(own: Backfill) -> bool:
    assert own.connection is not None  # `plan` asks for one
    if own.connection.state == Connection.State.PAUSED:
        return _wait(own, f"{own.connection.name} is paused: {own.connection.paused_reason}", WAIT_SECONDS)
    collector = Collector()
    client = registry.client_for(own.connection, collector=collector)
    try:
        if own.by_ids:
            return _ask_for_ids(own, client)
        page: Page = run_waiting(_in_last_lane(own, client.between(own.stream, own.since, own.until, own.position)))
        if page.unread:
            return _fail(own, f"{_NOT_READ.format(own.connection.name)}: {page.unread}")
        found = [_of_polled(own, polled) for polled in _unique(own, page.found)]
        _refuse_old(found)
        return _store(own, found, page.position, is_last=not page.has_more)
    except Problem as problem:
        if problem.heals_by_itself:
            return _wait(own, problem.summary, problem.wait_seconds or WAIT_SECONDS)
        return _fail(own, problem.summary)
    except UNREADABLE as error:
        log.exception("backfill_not_understood", backfill=own.number)
        return _fail(own, f"{_NOT_READ.format(own.connection.name)}: {say_unreadable(error, '')}")
    finally:
        write_exchanges(for_their_owners(collector.take(), {}))


def _fail(own: Backfill, why: str) -> bool:
    Backfill.objects.filter(pk=own.pk, state=State.GATHERING).update(
        state=State.FAILED, failure=why[:300], ended_at=timezone.now()
    )
    return False


def _ask_for_ids(own: Backfill, client: Any) -> bool:
    due = list(own.items.filter(finding="", dedupe_key="").order_by("id")[:IDS_AT_ONCE])
    if not due:
        return _store(own, [], own.position, is_last=True)
    answers: list[Polled] = run_waiting(_in_last_lane(own, client.again([item.given for item in due])))
    by_id: dict[str, list[Polled]] = {}
    for polled in _unique(own, answers):
        by_id.setdefault(polled.source_id, []).append(polled)
    spell = registry.manifest(own.connection.vendor).spell_id if own.connection else str.strip
    more = []
    for item in due:
        mine = by_id.pop(_spelled(spell, item.given), [])
        if not mine:
            item.finding = Finding.REFUSED
            item.says = f"{own.connection.name if own.connection else ''} has nothing of this id that we read again."
            continue
        made = [_of_polled(own, polled) for polled in mine]
        _fill(item, {n: getattr(made[0], n) for n in _READ})
        for extra in made[1:]:
            extra.row, extra.given = item.row, item.given
        more += made[1:]
    _refuse_old([*due, *more])
    return _store(own, more, own.position, is_last=False, changed=due)


_READ = ("connection_id", "event_type", "source_id", "dedupe_key", "at", "body", "body_key")


def _spelled(spell: Any, text: str) -> str:
    try:
        return str(spell(text))
    except ValueError:
        return text


async def _in_last_lane(own: Backfill, waiting: Any) -> Any:
    outgoing.set(Outgoing(step="back-fill", correlation_id=own.number, lane=BACKFILL))  # of this task alone
    return await waiting


def _unique(own: Backfill, found: Iterable[Polled]) -> list[Polled]:
    """Each once, and none that this back-fill has already."""
    by_key = {clean(polled.dedupe_key, 250): polled for polled in found}
    known = set(own.items.filter(dedupe_key__in=list(by_key)).values_list("dedupe_key", flat=True))
    return [polled for key, polled in by_key.items() if key not in known]


def _of_polled(own: Backfill, polled: Polled) -> BackfillItem:
    key = vault.new_key()
    return BackfillItem(
        backfill_id=own.pk, connection_id=own.connection_id, event_type=clean(polled.event_type, 120),
        source_id=clean(polled.source_id, 200), dedupe_key=clean(polled.dedupe_key, 250),
        at=polled.occurred_at or timezone.now(), body=vault.seal(polled.body, key),
        body_key=vault.seal_with_master(key),
    )  # fmt: skip


def _wait(own: Backfill, why: str, seconds: float) -> bool:
    due = Now() + dt.timedelta(seconds=seconds)
    Backfill.objects.filter(pk=own.pk, state=State.GATHERING).update(due_at=due, failure=why[:300])
    return False


# Both.


def _refuse_old(found: Iterable[BackfillItem]) -> None:
    """Beyond the replay window nothing is run again; what was read of it isn't kept."""
    rows = [item for item in found if item.at is not None and item.connection_id is not None and not item.finding]
    codes = dict(Connection.objects.filter(pk__in={i.connection_id for i in rows}).values_list("pk", "code"))
    windows = Windows((codes[i.connection_id], i.event_type) for i in rows if i.connection_id)
    for item in rows:
        assert item.connection_id is not None
        assert item.at is not None
        if why := windows.why_not(codes[item.connection_id], item.event_type, item.at):
            item.finding, item.code, item.says = Finding.REFUSED, "too_old", why[:300]
            item.body = item.body_key = None


def _store(
    own: Backfill, found: list[BackfillItem], position: dict[str, Any], *, is_last: bool,
    changed: Sequence[BackfillItem] = (),
) -> bool:  # fmt: skip
    """Keep a piece with the place where the next begins. Returns whether there's more."""
    with atomic():
        locked = Backfill.objects.select_for_update().get(pk=own.pk)
        if locked.state != State.GATHERING:  # it was cancelled meanwhile
            return False
        BackfillItem.objects.bulk_create(found, batch_size=500)
        if changed:
            BackfillItem.objects.bulk_update(
                changed,
                [*_READ, "event_id", "legal_entity_code", "finding", "code", "says"],
                batch_size=500,
            )
        locked.position, locked.failure = position, ""
        if is_last:
            locked.state = State.TRYING
        elif locked.items.count() > ITEMS_MAX:
            locked.state, locked.failure, locked.ended_at = State.FAILED, TOO_MANY, timezone.now()
            locked.items.all().delete()
        locked.save(update_fields=["position", "failure", "state", "ended_at"])
        return locked.state == State.GATHERING
