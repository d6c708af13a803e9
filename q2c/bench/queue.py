"""The queue of cases: 100,000 of them with 300,000 documents, ten times as many with SCALE=full; each filter, at its
beginning and deep inside."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from django.db import connection
from django.db.transaction import atomic
from django.test import Client

from exceptions.models import ExceptionCase
from exceptions.ranking import rank
from q2c.bench.admin_list import PAGE_SIZE, THREE_FILTERS, look_at_changelist
from q2c.bench.figures import Figure, Report, percentile
from q2c.bench.pages import time_pages
from q2c.core.models import Person

CASES = 1_000_000 if os.environ.get("SCALE") == "full" else 100_000  # filling a million takes four minutes
DOCUMENTS_EACH = 3
REPEATS, PAGES = 3, 15
DEEP = CASES // 20  # cases before the deep page
FILTERS = {
    "none": "",
    "by due time": "sort=due",
    "newest": "sort=newest",
    "mine": "owner=mine",
    "nobody's": "owner=nobody",
    "awaiting approval": "state=awaiting_approval",
    "late": "due=late",
    "queue": "queue=billing_ops",
    "kind": "kind=missing_item_mapping",
    "rare kind": "kind=rate_missing",
    "category": "category=mapping",
    "entity": "entity=JP01",
    "period": "period=2026-03",
    "system": "connection=netsuite",
    "flow": "flow=payment_to_erp",
    "severity": "severity=1",
    "entity, kind and late": "entity=DE01&kind=missing_tax_code_mapping&due=late",
    "resolved": "state=resolved",
}
# Eight kinds, one of them rare; amounts as they fall in practice: many small, few large.
_FILL = """
    WITH n AS (SELECT g, hashint8(g) & 1048575 AS r FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS g)
    INSERT INTO exceptions_exceptioncase (
        fingerprint, fingerprint_version, kind, category, state, severity, queue, summary, subject, connection_code,
        legal_entity_code, period_code, flow, opened_at, last_at, due_at, closed_at, resolution, close_reason,
        regressed_count, failed_fix, document_count, amount_at_risk, blocks_entity, blocks_period, assignee_id)
    SELECT md5('bench' || g) || md5('queue' || g), 1,
           CASE WHEN g %% 50000 = 0 THEN 'rate_missing' ELSE (ARRAY['missing_item_mapping', 'missing_tax_code_mapping',
               'period_closed', 'customer_without_address', 'price_differs', 'vendor_refused', 'order_incomplete'])
               [1 + r %% 7] END,
           (ARRAY['mapping', 'validation', 'conflict'])[1 + r %% 3],
           CASE WHEN g %% 11 = 0 THEN 'resolved' WHEN g %% 97 = 0 THEN 'awaiting_approval' ELSE 'open' END,
           1 + (r %% 4), (ARRAY['billing_ops', 'controllership', 'sales_ops', 'platform'])[1 + (r / 7) %% 4],
           'NetSuite has no item for SKU BENCH-' || g, '{}', (ARRAY['netsuite', 'stripe', 'salesforce'])[1 + r %% 3],
           e.code, p.code, (ARRAY['invoice_to_erp', 'payment_to_erp', 'order_to_subscription'])[1 + (r / 3) %% 3],
           now() - r * interval '3 seconds', now(), now() + ((r %% 2000) - 60) * interval '10 minutes',
           CASE WHEN g %% 11 = 0 THEN now() - r * interval '1 second' END, '', '', 0, '', %(each)s,
           round((10 * exp(8.0 * (r %% 997) / 997))::numeric, 2), e.code, p.code,
           CASE WHEN g %% 13 = 0 THEN %(person)s END
      FROM n
     CROSS JOIN LATERAL (SELECT (ARRAY['GB01', 'DE01', 'US01', 'JP01'])[1 + (r / 5) %% 4] AS code) e
     CROSS JOIN LATERAL (SELECT to_char(date '2026-01-01' + ((r / 11) %% 12) * interval '1 month', 'YYYY-MM') AS code) p
    RETURNING id
"""
_TALLIES = """
    INSERT INTO exceptions_casetally (
        case_id, legal_entity_code, period_code, currency, worker, document_count, amount, amount_at_risk, is_rolled)
    SELECT id, legal_entity_code, period_code, 'EUR', 'bench', document_count, amount_at_risk, amount_at_risk, true
      FROM exceptions_exceptioncase WHERE closed_at IS NULL AND id > %s
"""
_OCCURRENCES = """
    INSERT INTO exceptions_occurrence (
        case_id, transaction_id, flow, step, attempt, number, legal_entity_code, period_code, amount, currency, problem,
        at, closed_how)
    SELECT c.id, gen_random_uuid(), c.flow, 'map_items', 1, 'INV-' || c.id || '-' || d, c.legal_entity_code,
           c.period_code, c.amount_at_risk / %s, 'EUR', '{}', c.opened_at, ''
      FROM exceptions_exceptioncase c CROSS JOIN generate_series(1, %s) d WHERE c.closed_at IS NULL AND c.id > %s
"""


def measure_queue(report: Report) -> None:
    """`queue_page_p95_ms`: a page of the queue as a controller of all entities asks for it."""
    controller = Person.objects.get(username="controller")
    started = time.perf_counter()
    fill_queue(controller)
    filled = time.perf_counter() - started
    client = Client(headers={"host": "localhost"})
    client.force_login(controller)
    pages = ((f"{name}{place}", address) for name, query in FILTERS.items() for place, address in _places(query))
    every, slowest = time_pages(client, pages, repeats=REPEATS, looks=PAGES // REPEATS)
    said = "; ".join(f"{name} {ms:.0f}" for name, ms in slowest.items())
    count = ExceptionCase.objects.filter(closed_at=None).count()
    note = f"{count:,} open cases, {count * DOCUMENTS_EACH:,} documents, filled in {filled:.0f} s; ms: {said}"
    report.add(
        Figure("queue_page_p95_ms", [percentile(run, 0.95) for run in every], "ms", note=note),
        Figure("queue_page_worst_p95_ms", [max(slowest.values())], "ms", note="of the slowest filter and place"),
    )
    _beside_admin(client, report)


def _beside_admin(client: Client, report: Report) -> None:
    """`case_list_vs_django_admin`: the whole list, far inside it, and with three filters."""
    deep = DEEP // PAGE_SIZE
    theirs = look_at_changelist(["", f"p={deep}", THREE_FILTERS])
    place = rank(ExceptionCase.objects.all(), size=DEEP)[-1][1]
    ours = []
    for query in ("", f"after={place.write()}&at={DEEP}", THREE_FILTERS.replace("blocks_entity", "entity")):
        for look in range(PAGES // REPEATS + 1):
            began = time.perf_counter()
            client.get(f"/exceptions/cases/?{query}")
            if look:
                ours.append((time.perf_counter() - began) * 1000)
    report.add(
        Figure("case_list_vs_django_admin", ours, "ms", "Django admin's changelist, same columns", theirs,
               is_less_better=True, note=f"first page, page {deep:,} and three filters"),
    )  # fmt: skip


def fill_queue(person: Person, *, cases: int = CASES) -> None:
    """So many cases, one in eleven closed, one in thirteen this person's, each with its documents and their tally."""
    last = ExceptionCase.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    step = 100_000
    for first in range(1, cases + 1, step):
        with atomic(), connection.cursor() as cursor:
            facts = {"first": first, "last": min(first + step - 1, cases), "person": person.pk, "each": DOCUMENTS_EACH}
            cursor.execute(_FILL, facts)
    with atomic(), connection.cursor() as cursor:
        cursor.execute(_TALLIES, [last])
        cursor.execute(_OCCURRENCES, [DOCUMENTS_EACH, DOCUMENTS_EACH, last])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE exceptions_exceptioncase, exceptions_casetally, exceptions_occurrence")


def _places(query: str) -> Iterable[tuple[str, str]]:
    """The first page of a list, and of the ranked one a deep page."""
    yield "", f"/exceptions/cases/?{query}"
    if not query:
        deep = rank(ExceptionCase.objects.all(), size=DEEP)[-1][1]
        yield ", deep", f"/exceptions/cases/?after={deep.write()}&at={DEEP}"
