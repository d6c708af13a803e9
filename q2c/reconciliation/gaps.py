"""Differences between a source's register and us, each with its document: a case per feed and day, what is missing read
again, the case closed when both agree."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import structlog
from django.db.models import F
from django.db.transaction import atomic

from connectors.calls import Outgoing, outgoing
from connectors.families import KeepsRegister, Registered
from connectors.fields import UNREADABLE
from connectors.lanes import BACKFILL
from connectors.models import Connection
from connectors.rows import say_unreadable
from exceptions import cases
from exceptions.models import ExceptionCase
from q2c.core.hotpath import fetch_rows
from q2c.core.money import decimals
from q2c.core.problems import Category, Problem
from q2c.inbox.models import InboundEvent
from q2c.inbox.receive import receive
from q2c.inbox.refetch import run_waiting
from q2c.reconciliation.comparing import DIFFERS, ENDED, MISSING, SURPLUS, Gap
from q2c.reconciliation.models import FeedGap
from q2c.reconciliation.series import Hole, split
from q2c.reconciliation.words import many, one
from q2c.records.models import BilledDocument

NAMED = 20  # documents that a case names
READ_AT_ONCE = 500
AGAIN_AFTER = dt.timedelta(minutes=5)  # doubled with each time
AGAIN_MOST = 8
_KEPT = Decimal("0.000001")  # what a difference keeps of an amount
log = structlog.get_logger()
_SAYS = {
    MISSING: "{source} lists {what}, which never reached us",
    SURPLUS: "We have {what}, which {source} doesn't know",
    DIFFERS: "{source} says other amounts than we have: {what}",
    ENDED: "{source} {ended} {what}, and never told us",
}
_ENDED = {"refund": "got back the money of", "payout": "got back the money of", "dispute": "gave back the money of"}
_HERE = """
SELECT g.id FROM reconciliation_feedgap g JOIN records_billeddocument d
    ON d.connection_code = g.connection_code AND d.document_type = g.document_type AND d.external_id = g.external_id
 WHERE g.connection_code = %s AND g.document_type = %s AND g.closed_at IS NULL
   AND (g.kind = 'missing' AND d.content_hash <> '' OR g.kind = 'ended' AND d.status IN ('void', 'failed', 'won'))
"""


_SOLD = """
SELECT g.id FROM reconciliation_feedgap g
 WHERE g.connection_code = %s AND g.document_type = %s AND g.document_type = 'order' AND g.kind = 'missing'
   AND g.closed_at IS NULL AND EXISTS (
       SELECT FROM records_goldenrecord r
        WHERE r.record_type = 'order' AND r.aliases && ARRAY[g.connection_code || ':' || g.external_id]::varchar[])
"""


@dataclass(frozen=True)
class Noted:
    """How many differences were new, and how many are none any more."""

    opened: int
    closed: int


def note(
    row: Connection, document_type: str, found: Sequence[Gap], *, judged: Collection[str], at: dt.datetime
) -> Noted:
    """Keep what was found, close what is none any more, and the cases with it. `judged` are the ids that were
    compared just now: of these, what isn't among `found` agrees. What waits in the inbox isn't among them."""
    with atomic():
        closed = _close_waived(row, document_type, at)  # before another case of its day takes what is left
        known = {
            (gap.kind, gap.external_id): gap
            for gap in _of(row, document_type).filter(external_id__in=[g.id for g in found]).select_for_update()
        }
        opened = [gap for gap in found if _is_new(known.get((gap.kind, gap.id)), gap)]
        _tell_changed(row, document_type, found, known)
        _store(row, document_type, opened, at)
        _open_cases(row, document_type, opened)
    return Noted(len(opened), closed + close(row, document_type, found=found, judged=judged, at=at))


def close(
    row: Connection, document_type: str, *, found: Iterable[Gap] = (), judged: Collection[str] = (), at: dt.datetime
) -> int:
    """Close the differences that are none any more (the document came, both agree, a person waived the case), and the
    cases that have none left. Returns how many were closed."""
    still = {(gap.kind, gap.id) for gap in found}
    with atomic():
        waived = _close_waived(row, document_type, at)
        open_now = list(_of(row, document_type).filter(closed_at=None).exclude(kind=FeedGap.Kind.NUMBER))
        if not open_now:
            return waived
        here = {pk for (pk,) in fetch_rows(_HERE, [row.code, document_type])}
        here |= {pk for (pk,) in fetch_rows(_SOLD, [row.code, document_type])}
        closing: dict[str, list[FeedGap]] = defaultdict(list)
        for gap in open_now:
            if gap.pk in here:
                closing["arrived"].append(gap)
            elif gap.external_id in judged and (gap.kind, gap.external_id) not in still:
                closing["agrees"].append(gap)
        for how, gone in closing.items():
            FeedGap.objects.filter(pk__in=[gap.pk for gap in gone]).update(closed_at=at, closed_how=how)
        ended = {gap.pk for gone in closing.values() for gap in gone}
        emptied = {_place(g) for g in open_now if g.pk in ended} - {_place(g) for g in open_now if g.pk not in ended}
    for entity, day in sorted(emptied):
        cases.close_matching(
            _problem(row, document_type, entity, day, "agrees"), how="healed",
            why="The source's register and we have the same documents of that day.", connection_code=row.code,
        )  # fmt: skip
    return waived + len(ended)


def read_again(
    row: Connection, document_type: str, client: KeepsRegister, found: Sequence[Gap], *, at: dt.datetime
) -> int:
    """Ask for the messages of what is missing or ended unheard, and give them to the inbox, as a poll does; what
    was asked for in vain is asked for less and less often. Returns how many the inbox didn't know."""
    entries = {gap.id: gap.entry for gap in found if gap.kind in (MISSING, ENDED) and gap.entry is not None}
    rows = _of(row, document_type).filter(closed_at=None, external_id__in=list(entries), kind__in=(MISSING, ENDED))
    due = [gap for gap in rows.order_by("pk") if _is_due(gap, at)]
    new = 0
    for place in range(0, len(due), READ_AT_ONCE):
        some = due[place : place + READ_AT_ONCE]
        try:
            messages = _messages_of(client, document_type, [entries[gap.external_id] for gap in some])
        except Problem as problem:  # the difference stays, and is read at the next time
            log.warning("read_again_failed", connection=row.code, document_type=document_type, summary=problem.summary)
            break
        with atomic():
            new += len(receive(row.pk, messages, via=InboundEvent.Via.POLL, lacks_webhook=True).new)
            FeedGap.objects.filter(pk__in=[gap.pk for gap in some]).update(
                read_again_at=at, read_again_count=F("read_again_count") + 1
            )
    return new


def known_holes(row: Connection, document_type: str) -> set[str]:
    """Holes in numbers that are noted, explained by a person or not."""
    rows = _of(row, document_type).filter(kind=FeedGap.Kind.NUMBER).exclude(closed_how="arrived")
    return set(rows.values_list("external_id", flat=True))


def note_holes(
    row: Connection, document_type: str, found: Sequence[Hole], *, left: Sequence[Hole], at: dt.datetime
) -> None:
    """Keep holes in numbers that the source can't fill either, one case per series; close what has been filled since,
    or waived."""
    now = {hole.words for hole in left}
    with atomic():
        for hole in (h for h in found if h.words in now):
            entity = _entity_beside(row, document_type, hole)
            says = f"{row.name} has no {one(document_type)} {hole.words}, and neither have we"
            problem = _number_problem(row, document_type, hole.series, says)
            case_id = cases.open_case(
                problem, connection_code=row.code, legal_entity_code=entity, number=hole.number(hole.first)
            )
            _of(row, document_type).update_or_create(
                connection_code=row.code, document_type=document_type, kind=FeedGap.Kind.NUMBER,
                external_id=hole.words[:120],
                defaults={"number": hole.words[:80], "legal_entity_code": entity, "day": at.date(), "found_at": at,
                          "case_id": case_id, "closed_at": None, "closed_how": ""},
            )  # fmt: skip
        open_now = list(_of(row, document_type).filter(kind=FeedGap.Kind.NUMBER, closed_at=None))
        waived = _waived({gap.case_id for gap in open_now if gap.case_id})
        for gap in open_now:
            how = "arrived" if gap.external_id not in now else "waived" if gap.case_id in waived else ""
            if how:
                FeedGap.objects.filter(pk=gap.pk).update(closed_at=at, closed_how=how)
        still = {_series_of(gap) for gap in open_now if gap.external_id in now}
        emptied = {_series_of(gap) for gap in open_now} - still
    for series in sorted(emptied):
        cases.close_matching(
            _number_problem(row, document_type, series, "filled"), how="healed",
            why="Documents of these numbers have been found.", connection_code=row.code,
        )  # fmt: skip


def _series_of(gap: FeedGap) -> str:
    parts = split(gap.external_id.partition(" to ")[0])
    return parts[0] if parts else gap.external_id


def _number_problem(row: Connection, document_type: str, series: str, says: str) -> Problem:
    return Problem(
        "number_missing", Category.DRIFT, says, connection=row.code, document_type=one(document_type), series=series
    )


def _entity_beside(row: Connection, document_type: str, hole: Hole) -> str:
    """Whose the document of the number before is; empty where it isn't known."""
    beside = BilledDocument.objects.filter(
        number=hole.number(hole.first - 1), connection_code=row.code, document_type=document_type
    )
    return beside.values_list("legal_entity_code", flat=True).first() or ""


def _messages_of(client: KeepsRegister, document_type: str, entries: list[Registered]) -> list[Any]:
    """The messages of these; of several of which one can't be read, those of the others. Raises Problem."""
    try:
        return list(run_waiting(_ask(client, document_type, entries)))
    except UNREADABLE as error:
        if len(entries) == 1:
            log.warning("read_again_not_understood", document=entries[0].id, says=say_unreadable(error, ""))
            return []
    half = len(entries) // 2
    return [m for some in (entries[:half], entries[half:]) for m in _messages_of(client, document_type, some)]


async def _ask(client: KeepsRegister, document_type: str, entries: list[Registered]) -> list[Any]:
    outgoing.set(Outgoing(step="read_again", lane=BACKFILL))
    return await client.messages_of(document_type, entries)


def _is_due(gap: FeedGap, at: dt.datetime) -> bool:
    waits = AGAIN_AFTER * 2 ** min(gap.read_again_count - 1, AGAIN_MOST)
    return gap.read_again_at is None or at - gap.read_again_at >= waits


def _of(row: Connection, document_type: str) -> Any:
    return FeedGap.objects.filter(connection_code=row.code, document_type=document_type)


def _is_new(known: FeedGap | None, gap: Gap) -> bool:
    """One that a person waived stays so while it's about the same amounts; one that had healed is open again."""
    if known is None or known.closed_at is None:
        return known is None
    return known.closed_how != "waived" or not _is_same(known, gap)


def _is_same(known: FeedGap, gap: Gap) -> bool:
    amounts = (known.amount, known.our_amount, known.currency)
    return amounts == (_as_kept(gap.amount), _as_kept(gap.our_amount), gap.key.currency)


def _as_kept(amount: Decimal | None) -> Decimal | None:
    return None if amount is None else amount.quantize(_KEPT, ROUND_HALF_UP)


def _close_waived(row: Connection, document_type: str, at: dt.datetime) -> int:
    """Close the differences whose case a person has waived: it holds for the amounts that they have now."""
    mine = _of(row, document_type).filter(closed_at=None).exclude(kind=FeedGap.Kind.NUMBER)
    waived = _waived(mine.exclude(case_id=None).values("case_id"))
    closed: int = mine.filter(case_id__in=waived).update(closed_at=at, closed_how="waived") if waived else 0
    return closed


def _tell_changed(
    row: Connection, document_type: str, found: Sequence[Gap], known: Mapping[tuple[str, str], FeedGap]
) -> None:
    """What is open already and about other amounts by now: its case says so."""
    changed = []
    by_case: dict[int | None, list[Gap]] = defaultdict(list)
    for gap in found:
        kept = known.get((gap.kind, gap.id))
        if kept is not None and kept.closed_at is None and not _is_same(kept, gap):
            kept.amount, kept.our_amount, kept.currency = gap.amount, gap.our_amount, gap.key.currency
            changed.append(kept)
            by_case[kept.case_id].append(gap)
    FeedGap.objects.bulk_update(changed, ["amount", "our_amount", "currency"], batch_size=500)
    for case in ExceptionCase.objects.filter(pk__in=[pk for pk in by_case if pk]).order_by("pk"):
        what = _what(document_type, by_case[case.pk])
        cases.note(case, text=f"Other amounts than before: {row.name} has {what} by now.", by=None)


def _store(row: Connection, document_type: str, opened: Sequence[Gap], at: dt.datetime) -> None:
    FeedGap.objects.bulk_create(
        [
            FeedGap(
                connection_code=row.code, document_type=document_type, kind=gap.kind, external_id=gap.id[:120],
                number=gap.number[:80], legal_entity_code=gap.key.legal_entity, day=gap.key.day,
                currency=gap.key.currency, amount=gap.amount, our_amount=gap.our_amount, found_at=at,
            )
            for gap in opened
        ],
        batch_size=2000, update_conflicts=True,
        unique_fields=["connection_code", "document_type", "external_id", "kind"],
        update_fields=["number", "legal_entity_code", "day", "currency", "amount", "our_amount", "found_at",
                       "closed_at", "closed_how", "case_id", "read_again_at", "read_again_count"],
    )  # fmt: skip


def _open_cases(row: Connection, document_type: str, opened: Sequence[Gap]) -> None:
    """One case per entity and day; it names what was found, the first ones by number."""
    places: dict[tuple[str, dt.date], list[Gap]] = defaultdict(list)
    for gap in opened:
        places[gap.key.legal_entity, gap.key.day].append(gap)
    for (entity, day), some in sorted(places.items()):
        kinds: dict[str, list[Gap]] = defaultdict(list)
        for gap in some:
            kinds[gap.kind].append(gap)
        says = ". ".join(
            _SAYS[kind].format(
                source=row.name, what=_what(document_type, of_kind), ended=_ENDED.get(document_type, "has voided")
            )
            for kind, of_kind in kinds.items()
        )
        problem = _problem(row, document_type, entity, day, f"{says} ({day:%-d %b %Y})")
        problem.evidence = {kind: [f"{g.number or g.id}" for g in of_kind[:NAMED]] for kind, of_kind in kinds.items()}
        currencies = {gap.key.currency for gap in some}
        is_one, number = len(currencies) == 1, some[0].number if len(some) == 1 else ""
        case_id = cases.open_case(
            problem, connection_code=row.code, legal_entity_code=entity, number=number,
            amount=sum((g.amount or Decimal(0) for g in some), Decimal(0)) if is_one else None,
            currency=currencies.pop() if is_one else "",
        )  # fmt: skip
        mine = _of(row, document_type).filter(legal_entity_code=entity, day=day, closed_at=None)
        waived = _waived(mine.exclude(case_id=None).values("case_id"))  # a moment ago: theirs stay with them
        mine.exclude(kind=FeedGap.Kind.NUMBER).exclude(case_id__in=waived).update(case_id=case_id)


def _what(document_type: str, some: Sequence[Gap]) -> str:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for gap in some:
        sums[gap.key.currency] += gap.amount or Decimal(0)
    money = ", ".join(f"{currency} {amount:,.{decimals(currency)}f}" for currency, amount in sorted(sums.items()))
    if len(some) == 1:
        return f"{one(document_type)} {some[0].number or some[0].id} over {money}"
    named = ", ".join(gap.number or gap.id for gap in some[:NAMED])
    more = f" and {len(some) - NAMED:,} more" if len(some) > NAMED else ""
    return f"{len(some):,} {many(document_type)} over {money} ({named}{more})"


def _problem(row: Connection, document_type: str, entity: str, day: dt.date, says: str) -> Problem:
    return Problem(
        "feed_incomplete", Category.DRIFT, says, connection=row.code,
        document_type=one(document_type), day=day.isoformat(), legal_entity=entity,
    )  # fmt: skip


def _place(gap: FeedGap) -> tuple[str, dt.date]:
    return gap.legal_entity_code, gap.day


def _waived(case_ids: Any) -> set[int]:
    waived = ExceptionCase.objects.filter(pk__in=case_ids, state=ExceptionCase.State.WAIVED)
    return set(waived.values_list("pk", flat=True))
