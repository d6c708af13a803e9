"""Completeness: each feed against its source's own register, asked for from the vendor, so that nothing is lost in
silence. What is missing is named, opens a case, is read again by itself, and the case closes when both agree.

A quick check asks for what the source made since the last one, and finds what is missing. A whole check compares the
last days in full: numbers, amounts, and what we have that the source doesn't know.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from django.db.models import Min
from django.db.transaction import atomic
from django.utils import timezone

from connectors import registry
from connectors.calls import Outgoing, outgoing
from connectors.families import KeepsRegister, Registered
from connectors.fields import UNREADABLE
from connectors.lanes import BACKFILL
from connectors.models import Connection
from connectors.recorder import Collector, for_their_owners, write_exchanges
from exceptions.occurrences import without_null
from q2c import ports
from q2c.core import leases
from q2c.core.hotpath import fetch_rows
from q2c.core.problems import NotAnswered, Problem
from q2c.inbox.models import InboundKey
from q2c.inbox.refetch import run_waiting
from q2c.reconciliation import comparing, confirming, gaps, series
from q2c.reconciliation.bill_runs import tell_expected
from q2c.reconciliation.comparing import Comparison, Key, Ours
from q2c.reconciliation.feed_days import confirm_days, write_days
from q2c.reconciliation.models import FeedCheck
from q2c.records.store import alias_of

SETTLES = dt.timedelta(minutes=2)  # what was made since then may still be on its way
OVERLAP = dt.timedelta(hours=2)  # a draft is finalized an hour after it was made
WHOLE_EVERY = dt.timedelta(hours=1)
WHOLE_IS_CHEAP = 1000  # entries: a feed whose last days hold no more is compared in full each time
WHOLE_DAYS = 3  # today, and the two days before
DAYS_MOST = 62  # of one check that somebody asks for
HOLES_AT_ONCE = 20
NUMBERS_OF_A_HOLE = 20  # asked for, of one hole: a longer one is a jump
LEASE_SECONDS = 900.0
FIRST_LOOK_BACK = dt.timedelta(hours=1)  # as the first poll of a connection does
CHUNK = 5000
STEP = "completeness"
ORDER = "order"
log = structlog.get_logger()

_OURS = """
SELECT d.external_id, d.legal_entity_code, d.document_date, d.currency, d.amount, d.status, d.number,
    d.content_hash <> '', d.changed_at
FROM records_billeddocument d WHERE d.connection_code = %s AND d.document_type = %s AND {which}
"""
# An order isn't billed: its golden record is what we have of it.
_OUR_ORDERS = """
SELECT a.id, r.legal_entity_code, NULL::date, coalesce(r.content ->> 'currency', ''),
    (r.content ->> 'amount')::numeric, '', r.number, true, r.changed_at
FROM records_goldenrecord r, unnest(r.aliases) AS alias, substr(alias, length(%(connection)s) + 2) AS a (id)
WHERE r.record_type = 'order' AND r.aliases && %(aliases)s::varchar[] AND alias = ANY(%(aliases)s)
"""
# Two partial indexes serve this, one each. What can't be read again, since its customer was erased, is on no way in.
_IN_INBOX = """
SELECT e.source_id FROM inbox_inboundkey k JOIN inbox_inboundevent e ON e.id = k.event_id
 WHERE k.verdict = 'received' AND k.connection_id = %(connection)s AND e.source_id = ANY(%(ids)s)
UNION
SELECT e.source_id FROM inbox_inboundkey k JOIN inbox_inboundevent e ON e.id = k.event_id
 WHERE k.verdict = 'refused' AND k.reason_code <> 'erased' AND k.connection_id = %(connection)s
   AND e.source_id = ANY(%(ids)s)
"""
_OWNERS = """
SELECT r.aliases, r.legal_entity_code FROM records_goldenrecord r
 WHERE r.aliases && %s::varchar[] AND r.record_type = 'customer' AND r.legal_entity_code <> ''
"""


@dataclass(frozen=True)
class Checked:
    """What a check did: entries of the register, new differences, messages read again that we hadn't, differences that
    are none any more; or why it couldn't."""

    listed: int = 0
    found: int = 0
    read_again: int = 0
    closed: int = 0
    failure: str = ""


def feeds() -> list[tuple[Connection, str]]:
    """What can be compared: connections in use whose vendor keeps a register, with each of its document types."""
    rows = Connection.objects.exclude(state=Connection.State.PAUSED).order_by("code")
    return [(row, kind) for row in rows for kind in registers_of(row.vendor)]


def registers_of(vendor: str) -> dict[str, dt.timedelta]:
    """The document types that a vendor's register is kept of; none where it keeps none, or we have no package of it."""
    if vendor not in registry.vendors():
        return {}
    found: dict[str, dt.timedelta] = getattr(registry.client_class(vendor), "registers", {})
    return found


def check_feed(code: str, document_type: str, *, since: dt.date | None = None, client: Any = None) -> Checked:
    """Compare a feed with its source's register, and read again what is missing. `since`: all days from this one on
    in full, `DAYS_MOST` at most; without it what is due. One check of a feed runs at a time.

    Raises Connection.DoesNotExist, and KeyError for a type that the vendor keeps no register of.
    """
    row = Connection.objects.get(code=code)
    if row.state == Connection.State.PAUSED:
        return Checked(failure="the connection is paused")
    name, me = f"completeness:{code}:{document_type}", leases.this_process()
    if not leases.take_lease(name, holder=me, seconds=LEASE_SECONDS):
        return Checked(failure="another check of this feed runs")
    collector = Collector()
    check = _check_of(row, document_type)
    try:
        return _Round(row, check, client or registry.client_for(row, collector=collector)).run(since)
    except Problem as problem:
        return _fail(check, problem.summary)
    except UNREADABLE as error:  # an object that isn't as the vendor documents it
        log.exception("register_not_understood", exc_info=error)
        return _fail(check, f"Its register holds something that we don't understand: {type(error).__name__} {error}")
    except Exception as error:  # whatever it is: nobody may believe that this was compared
        log.exception("check_failed", feed=str(check))
        return _fail(check, f"Our own fault while comparing: {type(error).__name__} {error}")
    finally:
        write_exchanges(for_their_owners(collector.take(), {}))
        registry.save_health_sometimes()
        leases.release_lease(name, holder=me)


def _fail(check: FeedCheck, says: str) -> Checked:
    """Keep why, and since when it goes wrong. Raises where the database is away."""
    log.warning("completeness_failed", feed=str(check), summary=says)
    check.failed_at, check.failure = check.failed_at or timezone.now(), without_null(says)[:300]
    check.save(update_fields=["failed_at", "failure"])
    return Checked(failure=says)


def open_day(at: dt.datetime) -> dt.date:
    """The first day that wasn't over everywhere at an instant: in the west a day ends 12 hours later."""
    return (at.astimezone(dt.UTC) - dt.timedelta(hours=12)).date()


def _check_of(row: Connection, document_type: str) -> FeedCheck:
    found = FeedCheck.objects.filter(connection_code=row.code, document_type=document_type).first()
    if found is None:
        first = InboundKey.objects.filter(connection=row).aggregate(at=Min("received_at"))["at"]
        found, _ = FeedCheck.objects.get_or_create(
            connection_code=row.code, document_type=document_type,
            defaults={"counts_from": (first or timezone.now()) - FIRST_LOOK_BACK},
        )  # fmt: skip
    return found


@dataclass(frozen=True)
class _Older:
    """What earlier checks of more days left over: which are settled, those of them that were asked for, what the source
    said of each, what came of it, and why others couldn't be asked for."""

    left: tuple[str, ...] = ()
    mine: tuple[Ours, ...] = ()
    answers: Mapping[str, confirming.Answer] = field(default_factory=dict)
    found: Comparison = field(default_factory=Comparison)
    failed: Mapping[str, str] = field(default_factory=dict)


class _Round:
    """One check of one feed."""

    def __init__(self, row: Connection, check: FeedCheck, client: KeepsRegister) -> None:
        self.row, self.check, self.client, self.kind = row, check, client, check.document_type
        self.now = timezone.now()
        self.until = self.now - SETTLES
        self.made_before = client.registers[self.kind]
        self._owners: dict[str, str] = {}
        self._room = confirming.AT_ONCE

    def run(self, since: dt.date | None) -> Checked:
        """List, compare, note, read again; then ask for what is left over, which keeps nothing of this from being
        kept."""
        first_day = self._first_day(since)
        start = self._start(first_day)
        entries = run_waiting(self._list(start)) if start < self.until else []
        ours = self._ours_of([entry.id for entry in entries])
        unlisted: list[Ours] = []
        unconfirmed: list[Ours] = []
        if first_day is not None:
            late, unlisted, unconfirmed = self._ask_for_unlisted(first_day, {entry.id for entry in entries})
            late += self._follow_numbers([*entries, *late])
            entries += late
            ours |= self._ours_of([entry.id for entry in late])
        found = self._compare(entries, ours)
        comparing.add_surplus(found, unlisted)
        comparing.add_unconfirmed(found, unconfirmed)
        judged = {e.id for e in entries} - found.undecided
        done = gaps.note(self.row, self.kind, found.gaps, judged=judged, at=self.now)
        if first_day is not None:
            days = {key: figures for key, figures in found.days.items() if key.day >= first_day}
            write_days(self.row.code, self.kind, first_day, days, at=self.now, period_of=_period_of)
            tell_expected(self.row.code, self.kind, first_day, days, at=self.until)
        read_again = self._read_again(found) if found.gaps else 0
        self._move(first_day, len(entries), is_asked=since is not None, is_changed=bool(done.opened or done.closed))
        own = Checked(len(entries), done.opened, read_again, done.closed)
        return own if since is not None else self._confirm_left_over(first_day, own)

    def _confirm_left_over(self, first_day: dt.date | None, own: Checked) -> Checked:
        older = self._ask_for_left_over(first_day)
        if not older.left and not older.failed:
            return own
        judged = older.answers.keys() - older.found.undecided
        done = gaps.note(self.row, self.kind, older.found.gaps, judged=judged, at=self.now)
        self._take_over(older)
        if done.opened or done.closed:
            self.check.whole_at = None
            self.check.save(update_fields=["whole_at"])
        again = own.read_again + self._read_again(older.found)
        return Checked(own.listed, own.found + done.opened, again, own.closed + done.closed)

    def _read_again(self, found: Comparison) -> int:
        return gaps.read_again(self.row, self.kind, self.client, found.gaps, at=self.now)

    def _first_day(self, since: dt.date | None) -> dt.date | None:
        """From which day on whole days are compared; None for a quick check. Days in which nobody compared (a pause, a
        schedule that was off) are made up for."""
        last, check, today = self.check.whole_at, self.check, self.now.date()
        if since is None and last is not None and self.now - last < WHOLE_EVERY and check.listed > WHOLE_IS_CHEAP:
            return None
        usual = today - dt.timedelta(days=WHOLE_DAYS - 1)
        behind = open_day(check.until) if check.until is not None else usual
        first = usual if since is None else since
        return max(min(first, behind) if behind < usual else first, today - dt.timedelta(days=DAYS_MOST))

    def _start(self, first_day: dt.date | None) -> dt.datetime:
        if first_day is None:
            start = min(self.check.until or self.until, self.until) - OVERLAP
        else:  # a day begins up to 14 hours earlier in the east
            start = dt.datetime.combine(first_day, dt.time(), dt.UTC) - dt.timedelta(hours=14) - self.made_before
        return max(start, self.check.counts_from)

    async def _list(self, start: dt.datetime) -> list[Registered]:
        outgoing.set(Outgoing(step=STEP, lane=BACKFILL))
        return [entry async for entry in self.client.register(self.kind, since=start, until=self.until)]

    def _ours_of(self, ids: Sequence[str]) -> dict[str, Ours]:
        found: dict[str, Ours] = {}
        for place in range(0, len(ids), CHUNK):
            some = ids[place : place + CHUNK]
            if self.kind == ORDER:
                aliases = [alias_of(self.row.code, one) for one in some]
                rows = fetch_rows(_OUR_ORDERS, {"connection": self.row.code, "aliases": aliases})
            else:
                rows = fetch_rows(_OURS.format(which="d.external_id = ANY(%s)"), [self.row.code, self.kind, some])
            found |= {values[0]: Ours(*values) for values in rows}
        return found

    def _ask_for_unlisted(
        self, first_day: dt.date, listed: set[str]
    ) -> tuple[list[Registered], list[Ours], list[Ours]]:
        """Of what we have of these days and the register didn't list, each asked for, some now and the rest with the
        next checks: what it has after all (drafts that were made long before), what it doesn't know, and what it
        wasn't asked for yet. A sale's day is only the source's to say."""
        if self.kind == ORDER:
            return [], [], []
        sql = _OURS.format(which="d.document_date >= %s AND d.content_hash <> '' AND d.changed_at < %s")
        ours = (Ours(*values) for values in fetch_rows(sql, [self.row.code, self.kind, first_day, self.until]))
        mine = [document for document in ours if document.id not in listed]
        answers = confirming.known_answers(self.check.answers, mine, self.now)
        asked = confirming.to_ask(mine, answers)
        said = run_waiting(self._ask_each(asked)) if asked else []
        answers |= {one: confirming.Answer(self.now, entry) for one, entry in zip(asked, said, strict=True)}
        self._room -= len(asked)
        others = confirming.of_others(self.check.answers, mine, self.now, first_day)
        self.check.answers = confirming.to_keep(answers, mine, now=self.now, others=others)
        entries = [answer.entry for answer in answers.values() if answer.entry is not None]
        return (
            [entry for entry in entries if entry.made_at < self.until],
            [m for m in mine if m.id in answers and answers[m.id].entry is None],
            [m for m in mine if m.id not in answers],
        )

    def _ask_for_left_over(self, first_day: dt.date | None) -> _Older:
        """What a check of more days left unconfirmed, as far as there's room: each compared as it's answered, while our
        document stays as it was."""
        left = confirming.left_over(self.check.answers, first_day, self._room)
        ours = self._ours_of(list(left))
        known = [ours[one] for one in left if one in ours]
        up = [m for m in known if m.has_content and m.day is not None and m.changed_at <= left[m.id]]
        said, failed = run_waiting(self._ask_one_by_one([m.id for m in up])) if up else ({}, {})
        mine = [m for m in up if m.id in said]
        found = self._compare([entry for entry in said.values() if entry is not None], ours)
        comparing.add_surplus(found, [m for m in mine if said[m.id] is None])
        answers = {one: confirming.Answer(self.now, entry) for one, entry in said.items()}
        unanswered = {m.id for m in up} - said.keys()
        return _Older(tuple(one for one in left if one not in unanswered), tuple(mine), answers, found, failed)

    async def _ask_one_by_one(self, ids: Iterable[str]) -> tuple[dict[str, Registered | None], dict[str, str]]:
        """What the source says of each, and why some couldn't be asked for. While it's away, the rest stays."""
        said, failed = dict[str, Registered | None](), dict[str, str]()
        for one in ids:
            try:
                (said[one],) = await self._ask_each([one])
            except Problem as problem:
                if problem.heals_by_itself or problem.pauses_connection or isinstance(problem, NotAnswered):
                    break
                failed[one] = problem.summary[:300]
            except UNREADABLE as error:
                failed[one] = f"It holds something that we don't understand: {type(error).__name__} {error}"[:300]
        for one, says in failed.items():
            log.warning("left_over_not_asked", feed=str(self.check), document=one, summary=says)
        return said, failed

    def _take_over(self, older: _Older) -> None:
        """Their days have them from now on, and nobody asks for them again: in one transaction."""
        waited = Comparison()
        comparing.add_unconfirmed(waited, older.mine)
        confirmed = {key: figures.unconfirmed for key, figures in waited.days.items()}
        self.check.answers = confirming.with_answers(self.check.answers, older.left, older.answers, older.failed)
        with atomic():
            confirm_days(
                self.row.code, self.kind, older.found.days, confirmed, at=self.now, period_of=_period_of
            )  # fmt: skip
            self.check.save(update_fields=["answers"])

    async def _ask_each(self, ids: Iterable[str]) -> list[Registered | None]:
        outgoing.set(Outgoing(step=STEP, lane=BACKFILL))
        return [await self.client.registered(self.kind, one) for one in ids]

    def _follow_numbers(self, entries: list[Registered]) -> list[Registered]:
        """Put down which numbers are there, and ask for those that are missing between them: a document of such a
        number was made before what was listed. What the source doesn't find either is a hole."""
        if self.kind not in getattr(self.client, "numbers", ()):
            return []
        code, listed = self.row.code, {entry.id for entry in entries}
        before = series.holes_of(code, self.kind)
        series.add_numbers(code, self.kind, (entry.number for entry in entries))
        known = gaps.known_holes(self.row, self.kind)
        now = series.holes_of(code, self.kind)
        # Numbers are given a moment apart: only a hole that the last check saw too is one.
        new = [h for h in now if h.words not in known and any(h.is_in(b) for b in before)][:HOLES_AT_ONCE]
        found = run_waiting(self._ask_for_numbers(new)) if new else []
        series.add_numbers(code, self.kind, (entry.number for entry in found))
        gaps.note_holes(self.row, self.kind, new, left=series.holes_of(code, self.kind), at=self.now)
        return [e for e in found if e.id not in listed and self.check.counts_from <= e.made_at < self.until]

    async def _ask_for_numbers(self, holes: list[series.Hole]) -> list[Registered]:
        outgoing.set(Outgoing(step=STEP, lane=BACKFILL))
        client: Any = self.client
        numbers = [h.number(at) for h in holes for at in range(h.first, min(h.last, h.first + NUMBERS_OF_A_HOLE) + 1)]
        answers = [await client.numbered(self.kind, number) for number in numbers]
        return [answer for answer in answers if answer is not None]

    def _compare(self, entries: list[Registered], ours: dict[str, Ours]) -> Comparison:
        lacking = [e for e in entries if e.id not in ours or not ours[e.id].has_content]
        doubtful = {e.id for e in lacking} | {e.id for e in entries if e.status}
        waiting: set[str] = set()
        if doubtful:
            asked = {"connection": self.row.pk, "ids": sorted(doubtful)}
            waiting = {source_id for (source_id,) in fetch_rows(_IN_INBOX, asked)}
            late = self._ours_of([e.id for e in lacking])  # what was read between our two questions
            ours |= late
        self._learn_owners(e for e in lacking if not e.legal_entity)
        return comparing.compare(entries, ours, waiting=waiting, entity_of=self._entity_of, zone_of=_zone_of)

    def _learn_owners(self, entries: Iterable[Registered]) -> None:
        named = sorted({alias_of(self.row.code, e.customer_id) for e in entries if e.customer_id})
        for aliases, entity in fetch_rows(_OWNERS, [named]) if named else ():
            self._owners |= dict.fromkeys(aliases, entity)

    def _entity_of(self, entry: Registered) -> str:
        by_customer = self._owners.get(alias_of(self.row.code, entry.customer_id), "")
        return entry.legal_entity or by_customer or self.row.settings.get("legal_entity") or ""

    def _move(self, first_day: dt.date | None, listed: int, *, is_asked: bool, is_changed: bool) -> None:
        check = self.check
        check.checked_at, check.until, check.failed_at, check.failure = self.now, self.until, None, ""
        if first_day is not None and not is_asked:
            check.whole_at, check.listed = self.now, listed
        if is_changed:
            check.whole_at = None  # the days' figures are to say so with the next check
        check.save()


def _zone_of(entity: str) -> str:
    known = ports.entities().get(entity)
    return known.time_zone if known is not None else "UTC"


def _period_of(key: Key) -> str:
    return next(
        (p.code for p in _periods(key.legal_entity) if p.start_date <= key.day <= p.end_date), f"{key.day:%Y-%m}"
    )


def _periods(entity: str) -> Iterator[Any]:
    for (code, _), periods in ports.periods().items():
        if code == entity:
            yield from periods
