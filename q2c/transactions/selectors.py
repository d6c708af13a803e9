"""What is running, waiting, unknown and held, and since when; one transaction with its steps; lineage."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import connection
from django.db.models import BooleanField, Count, Min, Q, QuerySet, Sum
from django.db.models.expressions import RawSQL
from django.db.models.functions import Now
from django.utils import timezone

from q2c.core import access
from q2c.core.models import StatHour
from q2c.core.roles import SEEN_BY
from q2c.transactions.counting import COMPLETED
from q2c.transactions.models import BusinessTransaction, LineageLink, StepRun, WorkItem
from q2c.transactions.versions import came_back_sql

State = BusinessTransaction.State
FINAL = (State.COMPLETED, State.CANCELLED)
_BILLED = ("invoice_to_erp", "credit_memo_to_erp")
OPEN = ~Q(state__in=["completed", "cancelled"])


def transactions_visible_to(user: Any, *, permission: str = "") -> QuerySet[BusinessTransaction]:
    """The transactions of the person's entities, without their (large) facts: by the right to see transactions, or by
    another one that shows something of them."""
    return access.visible_to(user, BusinessTransaction.objects.defer("fact"), permission=permission)


def transaction_visible_to(user: Any, transaction_id: Any) -> BusinessTransaction:
    """One transaction. Raises DoesNotExist for a foreign one too."""
    return access.visible_to(user, BusinessTransaction.objects.all()).get(pk=transaction_id)


def open_counts(user: Any) -> dict[str, int]:
    """How many visible transactions are running, waiting, unknown and held."""
    rows = (
        access.visible_to(user, BusinessTransaction.objects.filter(OPEN)).values_list("state").annotate(n=Count("pk"))
    )
    found = dict(rows.order_by())
    return {state: found.get(state, 0) for state in ("running", "waiting", "unknown", "held")}


@dataclass
class FlowFacts:
    """Where the facts of one flow are: every fact is in one column at most, and those that were cancelled in none."""

    flow: str
    counts: dict[str, int] = field(default_factory=dict)
    oldest_at: dt.datetime | None = None  # of what is running or waiting
    oldest_held_at: dt.datetime | None = None

    def add(self, state: str, count: int, oldest: dt.datetime) -> None:
        """One group of the query."""
        self.counts[state] = count
        if state in ("running", "waiting"):
            self.oldest_at = min(filter(None, (self.oldest_at, oldest)))
        elif state in ("held", "unknown"):
            self.oldest_held_at = min(filter(None, (self.oldest_held_at, oldest)))

    @property
    def on_the_way(self) -> int:
        """Running and waiting."""
        return self.counts.get("running", 0) + self.counts.get("waiting", 0)


def day_begins_at() -> dt.datetime:
    """From when on what completed is told as the last day's: it's added up by the hour, so since the first whole hour
    of the last 24."""
    return timezone.now().replace(minute=0, second=0, microsecond=0) - dt.timedelta(hours=23)


def flow_facts(user: Any) -> list[FlowFacts]:
    """Open transactions of each flow with the age of the oldest, and how many were completed since the day began: those
    as beat added them up, for a page doesn't count what was carried."""
    facts: dict[str, FlowFacts] = {}
    rows = access.visible_to(user, BusinessTransaction.objects.filter(OPEN)).order_by()
    grouped = rows.values_list("flow", "state").annotate(n=Count("pk"), oldest=Min("created_at"))
    for flow, state, count, oldest in grouped:
        facts.setdefault(flow, FlowFacts(flow)).add(state, count, oldest)
    counted = StatHour.objects.filter(measure=COMPLETED, hour__gte=day_begins_at())
    counted = access.visible_to(user, counted, permission=SEEN_BY[BusinessTransaction._meta.label_lower])
    for flow, count in counted.order_by().values_list("flow").annotate(Sum("count")):
        facts.setdefault(flow, FlowFacts(flow)).counts["completed"] = count
    return sorted(facts.values(), key=lambda f: f.flow)


def backlog(user: Any) -> tuple[int, dt.datetime | None]:
    """How many work items of the person's entities are due, and since when the oldest is."""
    due = WorkItem.objects.filter(available_at__lte=Now(), worker="")
    due = access.visible_to(user, due, "transaction__legal_entity_code")
    found = due.aggregate(n=Count("pk"), oldest=Min("available_at"))
    return found["n"], found["oldest"]


def steps_of(transaction_id: Any) -> list[StepRun]:
    """The finished steps of a transaction in order."""
    return list(StepRun.objects.filter(transaction_id=transaction_id).order_by("sequence"))


def lane_of(txn: BusinessTransaction) -> QuerySet[BusinessTransaction]:
    """Transactions of the same source object: earlier and later versions of one document."""
    return BusinessTransaction.objects.filter(lane=txn.lane).exclude(pk=txn.pk).defer("fact").order_by("lane_sequence")


def summary_of(txn: BusinessTransaction) -> BusinessTransaction | None:
    """The transaction of the summary that a document was frozen into, if it was."""
    return BusinessTransaction.objects.filter(summary__contributions__transaction_id=txn.pk).defer("fact").first()


def summed_up_in(txn: BusinessTransaction) -> QuerySet[BusinessTransaction]:
    """The documents that were frozen into a summary, by its transaction."""
    return BusinessTransaction.objects.filter(contribution__summary_id=txn.pk).defer("fact").order_by("id")


def trace(user: Any, starts: list[tuple[str, str, str]], *, limit: int = 120) -> tuple[list[LineageLink], bool]:
    """The hops that lead to some documents and from them, at most `limit`; and whether there were more.

    What a document came from is followed both ways (an invoice's credit note belongs to its payment's journey). What it
    became is followed onwards only: a payout, or a journal of a whole day, gathers many journeys, and those of the
    others aren't this one's. Documents of entities that the person doesn't see are walked through, so that the journey
    hangs together; whoever shows the hops hides those (`q2c.portal.graph.draw`).
    """
    seen: dict[tuple[Any, int], LineageLink] = {}
    both, onwards = set(starts), set(starts)  # documents that may be left against, and along, their arrows
    backs, fronts = set(starts), set(starts)
    while (backs or fronts) and len(seen) < limit:
        wanted = Q()
        for _, kind, identifier in backs:
            wanted |= Q(target_id=identifier, target_type=kind)
        for _, kind, identifier in fronts:
            wanted |= Q(source_id=identifier, source_type=kind)
        new_backs, new_fronts = set(), set()
        for link in LineageLink.objects.filter(wanted).order_by("at")[: limit + 1]:
            source = (link.source_system, link.source_type, link.source_id)
            target = (link.target_system, link.target_type, link.target_id)
            if target not in backs and source not in fronts:
                continue
            seen[(link.transaction_id, link.sequence)] = link
            if target in backs:
                new_backs.add(source)
                new_fronts.add(source)
            if source in fronts:
                new_fronts.add(target)
        backs, fronts = new_backs - both, new_fronts - onwards
        both |= backs
        onwards |= fronts
    links = sorted(seen.values(), key=lambda found: (found.at, found.sequence))
    return links[:limit], len(links) > limit


_CAME_BACK: RawSQL = RawSQL(came_back_sql(BusinessTransaction._meta.db_table), [], output_field=BooleanField())


def steps_gave(
    keys: Iterable[tuple[str, str, str, str]], *, came_back: bool = False
) -> dict[tuple[str, str, str, str], bytes]:
    """What steps of completed transactions gave (JSON), by (flow, source connection, source id, fact), the newest of
    each; in two statements. What nobody gave is left out. Of money that went and came back they are those of its going,
    or with `came_back` of its coming back: both have one source id."""
    wanted = set(keys)
    rows = BusinessTransaction.objects.filter(
        flow__in={key[0] for key in wanted},
        source_id__in={key[2] for key in wanted},
        state=BusinessTransaction.State.COMPLETED,
    )
    rows = rows.annotate(came_back=_CAME_BACK).filter(came_back=came_back)
    newest = {
        tuple(source): found
        for found, *source in rows.order_by("lane_sequence").values_list("id", "flow", "source_connection", "source_id")
    }
    sources = {found: source for source, found in newest.items()}
    steps = StepRun.objects.filter(
        transaction_id__in=list(sources), gave__in={key[3] for key in wanted}, state=StepRun.State.DONE
    )
    outputs = steps.order_by("transaction_id", "sequence").values_list("transaction_id", "gave", "output")
    given = {(*sources[found], gave): bytes(output) for found, gave, output in outputs if output is not None}
    return {key: given[key] for key in wanted & given.keys()}


_VOIDS_UNDER_WAY = """
SELECT l.source_system, l.source_id, coalesce(nullif(t.number, ''), t.source_id)
  FROM transactions_lineagelink l
  JOIN transactions_businesstransaction t ON t.source_id = l.target_id AND t.source_connection = l.target_system
 WHERE l.source_id = ANY(%s) AND l.source_type = 'invoice' AND l.relation = 'credited by'
   AND t.flow = 'credit_void_to_erp' AND t.state NOT IN ('completed', 'cancelled') ORDER BY t.id
"""


def voids_under_way(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """Of these invoices (connection, id) the posted credit notes that billing has voided, by their numbers, while the
    ERP doesn't know it yet: it has less open than billing."""
    wanted = set(keys)
    found: dict[tuple[str, str], list[str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_VOIDS_UNDER_WAY, [sorted({invoice for _, invoice in wanted})])
        for system, invoice, number in cursor.fetchall():
            if (system, invoice) in wanted:
                found.setdefault((system, invoice), []).append(number)
    return found


def held_sources(source_ids: Iterable[str]) -> frozenset[tuple[str, str]]:
    """Which of these invoices and credit memos are held on their way to the ERP, as connection and id. What else is
    held of one (a note on its record, a status for the CRM) says nothing of its posting."""
    rows = BusinessTransaction.objects.filter(source_id__in=list(source_ids), state=State.HELD, flow__in=_BILLED)
    return frozenset(rows.values_list("source_connection", "source_id"))


def open_sources(source_ids: Iterable[str]) -> frozenset[tuple[str, str]]:
    """Which of these invoices and credit memos are still on their way to the ERP or held, as connection and id."""
    rows = BusinessTransaction.objects.filter(OPEN, source_id__in=list(source_ids), flow__in=_BILLED)
    return frozenset(rows.values_list("source_connection", "source_id"))


def finished_sources(source_ids: Iterable[str]) -> frozenset[tuple[str, str]]:
    """Which of these invoices and credit memos posted to the ERP or were cancelled, as connection and id."""
    rows = BusinessTransaction.objects.filter(source_id__in=list(source_ids), state__in=FINAL, flow__in=_BILLED)
    return frozenset(rows.values_list("source_connection", "source_id"))


def entity_of_invoice(connection: str, invoice_id: str) -> str:
    """The legal entity of an invoice on its way to the ERP or posted there; empty while nobody knows it."""
    rows = BusinessTransaction.objects.filter(
        source_id=invoice_id, source_connection=connection, flow="invoice_to_erp"
    ).order_by("-lane_sequence")
    return rows.values_list("legal_entity_code", flat=True).first() or ""
