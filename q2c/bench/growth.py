"""Whether what is stored already makes what comes dearer: the machine, lists, searches and home over few and over many
transactions (100,000 and a million; 10,000,000 with SCALE=full) with their keys, cross-references and children."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from django.db import connection
from django.db.transaction import atomic
from django.test import Client

from q2c.bench.figures import Figure, Report, percentile
from q2c.bench.machine import carry, connect, sink, workers
from q2c.bench.rules import item_of_the_sink
from q2c.bench.stage import Stage
from q2c.core.models import Person

FEW = 100_000
MANY = 10_000_000 if os.environ.get("SCALE") == "full" else 1_000_000
OPEN = 10_000  # held, whatever the history: what is open doesn't grow with what is done
CHILDREN = 1_000_000  # rows of each child table at most, with short bodies, of transactions evenly apart
STEP = 250_000
PAGES, REPEATS, SALES = 12, 3, 2_000
ENTITIES = ("GB01", "DE01", "US01", "JP01")

# As they come in practice: spread over the year so far, most of them done, a few held.
_NUMBERED = """
    SELECT g, hashint8(g) & 1048575 AS r,
           timestamptz '2026-01-02' + (now() - timestamptz '2026-01-02') * (g::float8 / %(of)s) AS at
      FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS g
"""
_ID = """(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(g & 4095), 3, '0')
          || '8' || substr(md5('growth' || g), 1, 15))::uuid"""
_TRANSACTIONS = f"""
    INSERT INTO transactions_businesstransaction (
        id, flow, business_key, lane, lane_sequence, state, state_at, created_at, fact_type, fact, source_connection,
        source_type, source_id, number, legal_entity_code, customer_id, customer_name, currency, amount, line_count,
        document_date, period_code, correlation_id, target_connection, target_type, target_id, target_number)
    SELECT {_ID}, (ARRAY['invoice_to_erp', 'payment_to_erp', 'credit_memo_to_erp'])[1 + (r / 3) %% 3],
           'growth:' || g, 'growth:in_' || g, 1, CASE WHEN g <= %(open)s THEN 'held' ELSE 'completed' END, at, at,
           'Invoice', convert_to('{{"growth": ' || g || ', "memo": "' || repeat('x', 300) || '"}}', 'UTF8'), 'stripe',
           'invoice', 'in_growth' || g, 'GR-' || g, e.code, 'cus_' || r %% 50000, 'Customer ' || r %% 50000, 'EUR',
           round((10 * exp(8.0 * (r %% 997) / 997))::numeric, 2), 1, at::date, to_char(at, 'YYYY-MM'),
           'growth-' || g, 'netsuite', 'invoice', 'ns' || g, 'NS-' || g
      FROM ({_NUMBERED}) n CROSS JOIN LATERAL (SELECT (%(entities)s::text[])[1 + (r / 5) %% 4] AS code) e
"""
_KEYS = f"""
    INSERT INTO inbox_inboundkey (connection_id, dedupe_key, event_id, verdict, received_at, decided_at, available_at,
                                  body_key)
    SELECT c.id, 'growth:' || g, {_ID}, 'translated', at, at, at, sha256(convert_to('growth' || g, 'UTF8'))
      FROM ({_NUMBERED}) n CROSS JOIN connectors_connection c WHERE c.code = 'stripe'
"""
_CROSS_REFERENCES = f"""
    INSERT INTO mappings_crossreference (record_type, record_key, connection_id, external_type, external_id, number,
                                         scope, legal_entity_code, transaction_id, at)
    SELECT 'invoice', 'stripe:invoice:in_growth' || g, c.id, 'invoice',
           CASE c.code WHEN 'stripe' THEN 'in_growth' || g ELSE 'ns' || g END, 'GR-' || g, '', 'GB01', {_ID}, at
      FROM ({_NUMBERED}) n CROSS JOIN connectors_connection c WHERE c.code IN ('stripe', 'netsuite')
"""
_STEPS = f"""
    INSERT INTO transactions_steprun (transaction_id, sequence, step, kind, state, attempt, gave, output, external_id,
                                      idempotency_key, content_hash, at, took_us)
    SELECT {_ID}, d, 'map_items', 'read', 'done', 1, 'items', convert_to('{{}}', 'UTF8'), '', '', md5('g' || g), at, 900
      FROM ({_NUMBERED}) n CROSS JOIN generate_series(1, 5) d WHERE g %% %(steps_of)s = 0
"""
_LINEAGE = f"""
    INSERT INTO transactions_lineagelink (transaction_id, sequence, step, source_system, source_type, source_id,
                                          target_system, target_type, target_id, amount, currency, legal_entity_code,
                                          relation, at)
    SELECT {_ID}, 1, 'post_invoice', 'stripe', 'invoice', 'in_growth' || g, 'netsuite', 'invoice', 'ns' || g, 100,
           'EUR',
           'GB01', 'became', at
      FROM ({_NUMBERED}) n WHERE g %% %(links_of)s = 0
"""
_TABLES = (
    "transactions_businesstransaction", "inbox_inboundkey", "mappings_crossreference", "transactions_steprun",
    "transactions_lineagelink",
)  # fmt: skip


def measure_growth(stage: Stage, report: Report) -> None:
    """`cost_slope` (CPU of a transaction over many stored ones against few), `cost_slope_buffers` (of the page whose
    buffers grow most), `transaction_list_p95_ms`, `search_any_id_p95_ms`, `dashboard_p95_ms` over many."""
    item_of_the_sink()
    connect()
    fill(1, FEW)
    few_cpu, few = _carry(stage), _look(FEW)
    seconds = fill(FEW + 1, MANY)
    many_cpu, many = _carry(stage), _look(MANY)
    grown = {name: many[name].buffers / few[name].buffers for name in few}
    said = "; ".join(
        f"{name} {few[name].buffers:.0f} to {seen.buffers:.0f} buffers, p95 {percentile(seen.ms, 0.95):.0f} ms"
        for name, seen in many.items()
    )
    base = median(few_cpu)
    report.add(
        Figure("cost_slope", [ms / base for ms in many_cpu], "times", f"{FEW:,} stored transactions", [1.0],
               note=f"CPU ms a transaction over {MANY:,}, filled in {seconds:.0f} s: {median(many_cpu):.2f};"
                    f" over {FEW:,}: {base:.2f}"),
        Figure("cost_slope_buffers", [max(grown.values())], "times", f"{FEW:,} stored transactions", [1.0], note=said),
        Figure("transaction_list_p95_ms", _p95(many, "list"), "ms", f"{FEW:,}", _p95(few, "list"),
               is_less_better=True),
        Figure("search_any_id_p95_ms", _p95(many, "search"), "ms", f"{FEW:,}", _p95(few, "search"),
               is_less_better=True),
        Figure("dashboard_p95_ms", _p95(many, "home"), "ms", f"{FEW:,}", _p95(few, "home"), is_less_better=True),
    )  # fmt: skip


class _Seen:
    """What a page took: milliseconds of each request, and the median of the buffers that it touched."""

    def __init__(self) -> None:
        self.ms: list[float] = []
        self.touched: list[int] = []

    @property
    def buffers(self) -> float:
        return max(1.0, median(self.touched))


def fill(first: int, last: int) -> float:
    """Transactions of these numbers with their keys, cross-references and children. Gives the seconds that it took."""
    began = time.monotonic()
    for start in range(first, last + 1, STEP):
        facts: dict[str, Any] = {
            "first": start, "last": min(start + STEP - 1, last), "of": MANY, "open": OPEN, "entities": list(ENTITIES),
            "steps_of": max(1, 5 * MANY // CHILDREN), "links_of": max(1, MANY // CHILDREN),
        }  # fmt: skip
        with atomic(), connection.cursor() as cursor:
            for statement in (_TRANSACTIONS, _KEYS, _CROSS_REFERENCES, _STEPS, _LINEAGE):
                cursor.execute(statement, facts)
    with connection.cursor() as cursor:
        for table in _TABLES:
            cursor.execute(f"VACUUM ANALYZE {table}")
    return time.monotonic() - began


def _carry(stage: Stage) -> list[float]:
    with sink(stage, 1), workers(stage):
        carry(stage, SALES // 4)
        return [carry(stage, SALES)["cpu_ms"] for _ in range(REPEATS)]


def _look(stored: int) -> dict[str, _Seen]:
    client, chance = Client(headers={"host": "localhost"}), random.Random(7)
    client.force_login(Person.objects.get(username="controller"))  # anew: filling outlasts a session

    def one() -> int:
        return chance.randrange(OPEN + 1, stored + 1)

    asked: dict[str, Callable[[], str]] = {
        "list": lambda: "/transactions/",
        "list, three filters": lambda: (
            f"/transactions/?flow=invoice_to_erp&entity={chance.choice(ENTITIES)}&state=held"
        ),
        "list, page deep": lambda: f"/transactions/?flow=payment_to_erp&received_to=2026-0{chance.randrange(3, 9)}-15",
        "list, a period": lambda: f"/transactions/?entity=DE01&period=2026-0{chance.randrange(1, 9)}",
        "search, number": lambda: f"/search/?q=GR-{one()}",
        "search, source id": lambda: f"/search/?q=in_growth{one()}",
        "search, target id": lambda: f"/search/?q=ns{one()}",
        "search, target number": lambda: f"/search/?q=NS-{one()}",
        "search, correlation": lambda: f"/search/?q=growth-{one()}",
        "search, nothing": lambda: f"/search/?q=none-{one()}",
        "home": lambda: "/",
    }
    seen = {name: _Seen() for name in asked}
    for name, address in asked.items():
        client.get(address())  # warm
        for _ in range(PAGES):
            page, before, began = address(), _buffers(), time.perf_counter()
            answer = client.get(page)
            seen[name].ms.append((time.perf_counter() - began) * 1000)
            seen[name].touched.append(_buffers() - before)
            leads_to = answer.headers.get("Location", "")  # a search that finds one thing leads there
            if answer.status_code not in (200, 302) or "login" in leads_to:
                raise RuntimeError(f"{page} answered {answer.status_code} {leads_to}")
    return seen


def _buffers() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT blks_hit + blks_read FROM pg_stat_database WHERE datname = current_database()")
        return int(cursor.fetchone()[0])


def _p95(seen: dict[str, _Seen], begins: str) -> list[float]:
    """Of all pages of this kind together, run by run."""
    pages = [found.ms for name, found in seen.items() if name.startswith(begins)]
    share = PAGES // REPEATS
    return [
        percentile([ms for page in pages for ms in page[n * share : (n + 1) * share]], 0.95) for n in range(REPEATS)
    ]
