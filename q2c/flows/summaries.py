"""Starting summaries: contributions whose day is over are frozen, and one transaction is made of each day's.

Freezing, numbering and the transaction are one commit, so a crash leaves either nothing or a summary that will post.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from django.db.transaction import atomic

from mappings import references
from mappings.resolve import Snapshot
from q2c import ports
from q2c.canonical.base import Source
from q2c.canonical.posting import DaySummary
from q2c.canonical.schema import content_hash
from q2c.core import ids
from q2c.core.money import round_money
from q2c.core.problems import Problem
from q2c.flows.dispatch import Fact, dispatch_facts
from q2c.posting.facts import Policy
from q2c.posting.summary import due_at
from q2c.transactions.batch import Run
from q2c.transactions.contributions import (
    IN_SUMMARY,
    PORTAL,
    Contributing,
    Day,
    Frozen,
    lock_open,
    open_days,
    store_contributions,
    store_summary,
)

FLOW = "summary_to_erp"


@dataclass(frozen=True)
class Started:
    """One summary that was frozen: its number and its transaction."""

    number: str
    transaction_id: UUID
    document_count: int


def keep_contributions(runs: list[Run]) -> None:
    """Store what these waiting runs leave for their summaries, and that the records stand in the ERP only so. Inside
    the commit that makes them wait."""
    brought: list[Contributing] = [
        run.awaits.brings for run in runs if run.awaits is not None and run.awaits.brings is not None
    ]
    if not brought:
        return
    store_contributions(brought)
    references.store_references(
        [
            references.Reference(
                *row.record, row.day.connection, IN_SUMMARY, row.external_id, row.day.number,
                legal_entity=row.day.legal_entity, transaction_id=row.transaction_id,
            )
            for row in brought
        ],
        dt.datetime.now(dt.UTC),
    )  # fmt: skip


def start_due_summaries(now: dt.datetime | None = None) -> list[Started]:
    """Start the summary of every day that is over in its entity's time zone and past its cut-off."""
    at = now or dt.datetime.now(dt.UTC)
    days = open_days()
    if not days:
        return []
    rules = Snapshot.load([("posting_policy", "summary_cut_off", {})])

    def is_due(day: Day, since: dt.datetime) -> bool:
        zone = ports.entities()[day.legal_entity].time_zone
        return at >= due_at(day.posting_date, since, time_zone=zone, cut_off=_cut_off(rules, day))

    return _start([day for day, since in days if is_due(day, since)])


def _cut_off(rules: Snapshot, day: Day) -> str:
    """The entity's cut-off. One that can't be read holds its documents by name (`check_policy`), not other entities."""
    try:
        found = rules.find("posting_policy", "summary_cut_off", legal_entity=day.legal_entity, on=day.posting_date)
        return dt.time.fromisoformat(found.value).isoformat() if found else Policy().summary_cut_off
    except (Problem, ValueError):
        return Policy().summary_cut_off


def start_summaries_now(chosen: Callable[[Day], bool]) -> list[Started]:
    """Start the summaries of the chosen days at once, as a person asks: what comes later on such a day is its delta."""
    return _start([day for day, _ in open_days() if chosen(day)])


def _start(days: list[Day]) -> list[Started]:
    return [started for day in days if (started := freeze_day(day)) is not None]


@atomic
def freeze_day(day: Day) -> Started | None:
    """Freeze what has been contributed to a day and make the transaction that posts it; None when there's nothing."""
    frozen = lock_open(day)
    if frozen is None:
        return None
    fact = _fact(frozen)
    transaction_id = dispatch_facts([fact]).ids[0]
    store_summary(frozen, transaction_id)
    return Started(fact.number, transaction_id, len(frozen.transaction_ids))


def _fact(frozen: Frozen) -> Fact:
    day = frozen.day
    number = f"{day.number}-{frozen.delta}"
    source = Source(connection=PORTAL, object_type="summary", object_id=number)
    names = {"connection": source.connection, "object_type": source.object_type}
    summary = DaySummary(
        source=source,
        legal_entity=day.legal_entity,
        posting_date=day.posting_date,
        currency=day.currency,
        delta=frozen.delta,
        document_count=len(frozen.transaction_ids),
        line_count=frozen.line_count,
        total=round_money(frozen.total, day.currency),
        contents=frozen.contents,
        supplements=frozen.supplements,
        erp=day.connection,
    )
    return Fact(
        flow=FLOW,
        business_key=ids.business_key(**names, object_id=number, content_hash=content_hash(summary)),
        lane=ids.lane(**names, object_id=number),
        document=summary,
        source_connection=source.connection,
        source_type=source.object_type,
        source_id=number,
        number=number,
        legal_entity_code=day.legal_entity,
        currency=day.currency,
        amount=summary.total,
        line_count=frozen.line_count,
        document_date=day.posting_date,
        priority=4,
    )
