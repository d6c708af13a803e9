"""Subscriptions that were sold for later: what was made of such an order is a schedule, what bills is the subscription
that began under it. Their tie is told as soon as the subscription has billed and is known, so that lineage leads
through both: with the invoice that posts, or, where billing speaks of the subscription after that, by its own message.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from uuid import UUID

from q2c.canonical import events
from q2c.canonical.billing import Invoice
from q2c.flows.told import Link
from q2c.records.models import GoldenRecord
from q2c.transactions import lineage
from q2c.transactions.batch import Run
from q2c.transactions.lineage import LinkRow
from q2c.transactions.models import LineageLink

SUBSCRIPTION = "subscription"


def schedule_links(runs: list[Run]) -> list[LinkRow]:
    """The links from schedules to the subscriptions that these invoices bill, those that nobody told yet."""
    billed: dict[str, Run] = {}
    for run in runs:
        invoice = run.facts.get("document")
        if isinstance(invoice, Invoice) and invoice.subscription_id:
            billed.setdefault(f"{invoice.source.connection}:{SUBSCRIPTION}:{invoice.subscription_id}", run)
    if not billed:
        return []
    begun = GoldenRecord.objects.filter(record_type=SUBSCRIPTION, record_key__in=billed)
    schedules = {
        key: content["schedule_id"]
        for key, content in begun.values_list("record_key", "content")
        if content.get("schedule_id")
    }
    known = _told(schedules.values())
    rows = []
    for key, schedule in schedules.items():
        connection, _, subscription = key.split(":")
        if (connection, schedule) not in known:
            run = billed[key]
            rows.append(_row(connection, schedule, subscription, run.id, run.legal_entity_code))
    return rows


def tie_late(spoken_of: Iterable[object], at: dt.datetime) -> None:
    """Tell the tie of subscriptions whose first invoice has posted before billing spoke of them. Takes events of any
    kind. Runs in the caller's transaction; an invoice that commits meanwhile leaves the tie to the next one."""
    begun = {
        (s.source.connection, s.source.object_id): s.schedule_id
        for s in (e.subscription for e in spoken_of if isinstance(e, events.SubscriptionChanged))
        if s.schedule_id
    }
    if not begun:
        return
    known = _told(begun.values())
    billed = LineageLink.objects.filter(source_type=SUBSCRIPTION, source_id__in=[s for _, s in begun],
                                        target_type="invoice").order_by("transaction_id")  # fmt: skip
    for link in billed:
        schedule = begun.pop((link.source_system, link.source_id), "")
        if schedule and (link.source_system, schedule) not in known:
            row = _row(link.source_system, schedule, link.source_id, link.transaction_id, link.legal_entity_code)
            lineage.add_link(row, at)


def _told(schedules: Iterable[str]) -> set[tuple[str, str]]:
    told = LineageLink.objects.filter(source_type=SUBSCRIPTION, source_id__in=list(schedules), relation="became",
                                      target_type=SUBSCRIPTION)  # fmt: skip
    return set(told.values_list("source_system", "source_id"))


def _row(connection: str, schedule: str, subscription: str, transaction_id: UUID, entity: str) -> LinkRow:
    link = Link(connection, SUBSCRIPTION, schedule, connection, SUBSCRIPTION, subscription, step="begin")
    return LinkRow(transaction_id, entity, link)
