"""Subscriptions that were sold for later: what was made of such an order is a schedule, what bills is the subscription
that began under it. Their tie is told with the subscription's first invoice, so that lineage leads through both."""

from __future__ import annotations

from q2c.canonical.billing import Invoice
from q2c.flows.told import Link
from q2c.records.models import GoldenRecord
from q2c.transactions.batch import Run
from q2c.transactions.lineage import LinkRow
from q2c.transactions.models import LineageLink


def schedule_links(runs: list[Run]) -> list[LinkRow]:
    """The links from schedules to the subscriptions that these invoices bill, those that nobody told yet."""
    billed: dict[str, Run] = {}
    for run in runs:
        invoice = run.facts.get("document")
        if isinstance(invoice, Invoice) and invoice.subscription_id:
            billed.setdefault(f"{invoice.source.connection}:subscription:{invoice.subscription_id}", run)
    if not billed:
        return []
    begun = GoldenRecord.objects.filter(record_type="subscription", record_key__in=billed)
    schedules = {
        key: content["schedule_id"]
        for key, content in begun.values_list("record_key", "content")
        if content.get("schedule_id")
    }
    told = LineageLink.objects.filter(source_type="subscription", source_id__in=schedules.values(), relation="became")
    known = set(told.values_list("source_system", "source_id"))
    rows = []
    for key, schedule in schedules.items():
        connection, _, subscription = key.split(":")
        if (connection, schedule) not in known:
            link = Link(connection, "subscription", schedule, connection, "subscription", subscription, step="begin")
            rows.append(LinkRow(billed[key].id, billed[key].legal_entity_code, link))
    return rows
