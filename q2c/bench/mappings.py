"""The mappings: resolving for a batch, the back-test, sheets of 100,000 rows, and the grid at 200,000 rules."""

from __future__ import annotations

import datetime as dt
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from exceptions import evidence, releases
from mappings import sheets
from mappings.drafts import Line, lines_for, save_draft
from mappings.models import Evidence, MappingRule, Sheet
from mappings.resolve import Snapshot, latest_change_set
from mappings.selectors import RULE_ORDER, rules_visible_to
from mappings.workbench.rules import RuleFilter
from q2c.bench import rules
from q2c.bench.figures import Figure, Report, percentile
from q2c.bench.pages import time_pages
from q2c.bench.stage import Stage
from q2c.core.htmx import write_place
from q2c.core.models import Person
from q2c.flows import backtest
from q2c.rules import Rules
from q2c.transactions.models import BusinessTransaction

REPEATS = 3
RULES = 200_000
DOCUMENTS, LINES = 1000, 20
POSTED_LINES = 100_000
SHEET_ROWS = 100_000
PAGES = 8  # of each filter and place
DICTIONARY = "a plain dictionary look-up for each line"


def measure_mappings(stage: Stage, report: Report) -> None:
    """Every figure of the mappings, in the order in which they are needed."""
    values = rules.items()
    keys = [f"BENCH-{n:06d}" for n in range(RULES // len(rules.ENTITIES))]
    rules.fill_rules(((key, entity) for key in keys for entity in rules.ENTITIES), values, ended_every=50)
    rules.fill_rules(((rules.billed_sku(n), "GB01") for n in range(rules.BILLED_SKUS)), values)
    _measure_grid(report, values)
    _measure_resolving(report, keys)
    with stage.web(), stage.workers(2):
        originals = rules.sell_documents(stage)
    copies = rules.copy_documents(originals, until=POSTED_LINES // LINES)
    _measure_backtest(report, values, copies)
    for form, write in (("csv", rules.as_csv), ("xlsx", rules.as_workbook)):
        _measure_sheet(report, form, write(rules.sheet_rows(SHEET_ROWS, values)))


def _measure_resolving(report: Report, keys: list[str]) -> None:
    """`resolve_us_per_line`: the rules of 1,000 documents of 20 lines fetched and asked, as a step asks them."""
    seed = random.Random(20)  # the same questions in each run
    documents = [
        (seed.choice(rules.ENTITIES), dt.date(2026, 1, 1) + dt.timedelta(n % 90), seed.choices(keys, k=LINES))
        for n in range(DOCUMENTS)
    ]
    asked = {sku for _, _, skus in documents for sku in skus}
    lines = {(sku, entity) for entity, _, skus in documents for sku in skus}
    wants: list[Any] = [
        *(("item", sku, {"legal_entity": entity}) for sku, entity in lines),
        *(("location", entity, {}) for entity in rules.ENTITIES),
    ]
    plain = dict.fromkeys(((sku, entity) for sku in asked for entity in rules.ENTITIES), "x")
    runs, loads, looks, queries = [], [], [], Counter[str]()
    for _ in range(REPEATS):
        started = time.perf_counter()
        with _counted() as statements:
            snapshot = Snapshot.load(wants)
            loaded = time.perf_counter()
            for entity, on, skus in documents:
                own = Rules(snapshot)
                for sku in skus:
                    own.get("item", sku, on=on, legal_entity=entity, connection="netsuite", currency="GBP")
                own.take_used()
        ended = time.perf_counter()
        runs.append((ended - started) * 1e6 / (DOCUMENTS * LINES))
        loads.append((loaded - started) * 1e6 / (DOCUMENTS * LINES))
        queries = statements
        started = time.perf_counter()
        for entity, _, skus in documents:
            for sku in skus:
                plain[sku, entity]
        looks.append((time.perf_counter() - started) * 1e6 / (DOCUMENTS * LINES))
    rule_queries = queries["mappings_mappingrule"]
    report.add(
        Figure("resolve_us_per_line", runs, "us", DICTIONARY, looks, is_less_better=True,
               note=f"{DOCUMENTS:,} documents of {LINES} lines, {len(asked):,} SKUs of {RULES:,} rules; of it fetching "
               f"{min(loads):.1f} us"),
        Figure("resolve_queries", [rule_queries], "queries", "kinds of rules asked for", [2],
               note=f"with {queries['mappings_changeset']} for the newest change set"),
    )  # fmt: skip


@contextmanager
def _counted() -> Iterator[Counter[str]]:
    """Statements by the table that they read."""
    found: Counter[str] = Counter()

    def count(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        found.update(table for table in ("mappings_mappingrule", "mappings_changeset") if table in sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(count):
        yield found


def _measure_backtest(report: Report, values: list[Any], documents: int) -> None:
    """`backtest_100k_lines_s`: what a change of every second SKU's item would alter, found and stored as for a draft;
    beside it the derivation alone."""
    maker, _ = rules.maker_and_checker()
    now = MappingRule.objects.filter(kind="item", key__startswith="BILLED-", known_to=None).order_by("key")[::2]
    other = {row.external_id: values[(n + 1) % len(values)] for n, row in enumerate(values)}
    wishes = [
        Line(kind="item", key=rule.key, connection="netsuite", legal_entity="GB01", effective_from=rules.LONG_AGO,
             value=other[rule.value].external_id, label=other[rule.value].name)
        for rule in now
    ]  # fmt: skip
    draft = save_draft("Other items", "To measure the back-test", lines=lines_for(wishes), by=maker)
    ids = list(
        BusinessTransaction.objects.filter(state="completed", flow="invoice_to_erp").values_list("pk", flat=True)
    )
    runs, alone, found = [], [], {}
    for _ in range(REPEATS):
        asked, _ = Evidence.objects.update_or_create(change_set=draft, defaults={"asked_at": timezone.now()})
        started = time.perf_counter()
        found = evidence.gather(asked, told=lambda: None).content["derived"]
        runs.append(time.perf_counter() - started)
    number = latest_change_set()
    for _ in range(REPEATS):
        before = Snapshot.load([], number)
        started = time.perf_counter()
        backtest.derive_again(ids, before=before, after=Snapshot.load([], number))
        alone.append(time.perf_counter() - started)
    releases.withdraw_change_set(draft, by=maker)
    said = (
        f"{documents:,} documents, {found['lines']:,} ledger lines; every second SKU becomes another item: "
        f"{found['changed']:,} documents differ, their differences stored"
    )
    report.add(Figure("backtest_100k_lines_s", runs, "s", "the derivation alone, where nothing differs", alone,
                      is_less_better=True, note=said))  # fmt: skip


def _measure_sheet(report: Report, form: str, content: bytes) -> None:
    """`sheet_100k_<form>_s`: a file checked with its progress told, and how soon one lets go that is cancelled."""
    maker, _ = rules.maker_and_checker()
    runs, stops, told, wrong = [], [], 0, 0
    for repeat in range(REPEATS):
        sheet = _stored(content, form, maker)
        started = time.perf_counter()
        with _told(sheet) as words:
            sheets.carry_sheet(sheet.pk)
        runs.append(time.perf_counter() - started)
        sheet.refresh_from_db()
        told, wrong = len(words), sheet.report["wrong"]
        sheets.cancel_sheet(sheet)
        if repeat == 0:
            stops.append(_cancelled_after(_stored(content, form, maker)))
    note = f"{SHEET_ROWS:,} rows, {wrong:,} wrong; {told} words of progress"
    report.add(
        Figure(f"sheet_100k_{form}_s", runs, "s", note=note),
        Figure(f"sheet_cancel_{form}_s", stops, "s", note="from a cancellation half way until the worker has let go"),
    )


def _stored(content: bytes, form: str, maker: Any) -> Sheet:
    return sheets.store_sheet(
        content, by=maker, name=f"bench.{form}", kind="item", default_from=timezone.localdate(), is_pasted=False
    )


@contextmanager
def _told(sheet: Sheet, *, act: Callable[[int], object] = lambda _count: None) -> Iterator[list[float]]:
    """When the worker said how far it is; `act` hears how often it did."""
    words: list[float] = []

    def listen(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith('UPDATE "mappings_sheet"'):
            words.append(time.perf_counter())
            act(len(words))
        return execute(sql, *rest)

    with connection.execute_wrapper(listen):
        yield words


def _cancelled_after(sheet: Sheet) -> float:
    """Seconds from a cancellation, in the middle of the reading, until the worker has let go."""
    at: list[float] = []

    def cancel(count: int) -> None:
        if count == 20 and not at:
            at.append(time.perf_counter())
            Sheet.objects.filter(pk=sheet.pk).update(state=Sheet.State.CANCELLED, content=b"")

    with _told(sheet, act=cancel):
        sheets.carry_sheet(sheet.pk)
    return time.perf_counter() - at[0]


def _measure_grid(report: Report, values: list[Any]) -> None:
    """`grid_page_p95_ms`: a page of the keyboard grid, each filter, at its beginning and deep inside."""
    maker, _ = rules.maker_and_checker()
    client = Client(headers={"host": "localhost"})
    client.force_login(maker)

    def pages() -> Iterator[tuple[str, str]]:
        for name, query in FILTERS.items():
            given = f"kind=item{query.format(value=values[0].external_id)}"
            yield f"{name}, first", f"/mappings/grid/?{given}"
            yield f"{name}, deep", f"/mappings/grid/?{given}{_deep(given, maker)}"

    every, slowest = time_pages(client, pages(), repeats=REPEATS, looks=PAGES // REPEATS)
    said = "; ".join(f"{name} {ms:.0f}" for name, ms in slowest.items())
    note = f"{MappingRule.objects.filter(known_to=None).count():,} rules; p95 of each filter, ms: {said}"
    report.add(
        Figure("grid_page_p95_ms", [percentile(run, 0.95) for run in every], "ms", note=note),
        Figure("grid_page_worst_p95_ms", [max(slowest.values())], "ms", note="of the slowest filter and place"),
    )


FILTERS = {
    "none": "",
    "key begins, wide": "&key=bench",
    "key begins, some": "&key=BENCH-0123",
    "key begins, one": "&key=BENCH-012345",
    "key begins, none": "&key=nothing",
    "entity": "&entity=DE01",
    "system": "&connection=netsuite",
    "value": "&value={value}",
    "in force": "&life=now",
    "starts later": "&life=future",
    "ended": "&life=ended",
    "replaced": "&life=replaced",
    "key and entity": "&key=BENCH-0&entity=US01",
    "key and ended": "&key=bench&life=ended",
    "entity, value and in force": "&entity=JP01&value={value}&life=now",
}


def _deep(query: str, person: Person) -> str:
    """The place in the middle of a list; "" for one that is empty."""
    found = RuleFilter(QueryDict(query), rules_visible_to(person)).qs
    middle = found.count() // 2
    rule = found.order_by(*RULE_ORDER)[middle : middle + 1].first()
    return "" if rule is None else f"&after={write_place(rule, RULE_ORDER)}&at={middle}"
