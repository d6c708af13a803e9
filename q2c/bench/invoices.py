"""Invoices end to end: billing's webhook to the ERP's document, with one and with two workers, and at light load."""

from __future__ import annotations

import time

from q2c.bench.figures import Figure, Report, percentile
from q2c.bench.plain_loop import PlainLoop
from q2c.bench.selling import Seller, await_posted, seconds_of
from q2c.bench.stage import Stage
from q2c.transactions.models import BusinessTransaction

REPEATS = 3
INVOICES = 600
LIGHT_PER_SECOND = 5
LIGHT_SECONDS = 12
LOOP_INVOICES = 200
REFERENCE = "a plain loop: psycopg with a commit a step, requests.Session, the same sandbox calls"
LIFTED = "sandboxes' limits and our throttles lifted; sandboxes on the same cores; doors worker and web beside"


def measure_invoices(stage: Stage, report: Report) -> None:
    """`invoices_per_s_*`, `invoice_cpu_ms_*`, beside a plain loop over the same work in the same run."""
    seller = Seller(stage)
    found = {1: _Runs(), 2: _Runs()}
    made: list[str] = []
    with stage.web():
        for workers, runs in found.items():
            with stage.workers(workers):
                if not seller.customers:
                    seller.win_customers()
                _carry(stage, seller, INVOICES // 3)
                for _ in range(REPEATS):
                    per_second, spent, made = _carry(stage, seller, INVOICES)
                    runs.take(per_second, spent)
    loop = PlainLoop(stage, made)
    loop_runs = [loop.run(LOOP_INVOICES) for _ in range(REPEATS)]
    for workers, runs in found.items():
        report.add(
            Figure(f"invoices_per_s_{workers}w", runs.rates, "1/s", REFERENCE, [r.per_second for r in loop_runs],
                   note=LIFTED),
            Figure(f"invoice_cpu_ms_{workers}w", runs.cpu_ms, "ms", REFERENCE, [r.cpu_ms for r in loop_runs],
                   is_less_better=True, note=f"by part, ms: {runs.by_part()}"),
        )  # fmt: skip


class _Runs:
    """The repetitions of one configuration."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.spent: list[dict[str, float]] = []

    def take(self, per_second: float, spent: dict[str, float]) -> None:
        self.rates.append(per_second)
        self.spent.append(spent)

    @property
    def cpu_ms(self) -> list[float]:
        return [sum(v for part, v in spent.items() if part != "sandbox") for spent in self.spent]

    def by_part(self) -> str:
        last = self.spent[-1]
        return ", ".join(f"{part} {value:.1f}" for part, value in last.items())


def _carry(stage: Stage, seller: Seller, number: int) -> tuple[float, dict[str, float], list[str]]:
    """Invoices a second from the first one made until the last one posted, CPU ms an invoice by part, and their ids."""
    mark, before, started = stage.last("netsuite"), stage.cpu(), time.time()
    made = seller.sell(number)
    ended = await_posted(stage, mark, number)
    after = stage.cpu()
    spent = {part: (after[part] - before[part]) * 1000 / number for part in after}
    return number / (ended - started), spent, made


def measure_latency(stage: Stage, report: Report) -> None:
    """`webhook_to_posted_p95_s`: from the billing document to the ERP's acceptance, by the clocks of both logs."""
    seller = Seller(stage)
    runs = []
    with stage.web(), stage.workers(2):
        seller.win_customers()
        for _ in range(REPEATS):
            runs.append(percentile(_light_load(stage, seller), 0.95))
    report.add(
        Figure("webhook_to_posted_p95_s", runs, "s", note=f"{LIGHT_PER_SECOND} invoices a second; {LIFTED}"),
    )


def _light_load(stage: Stage, seller: Seller) -> list[float]:
    marks = {vendor: stage.last(vendor) for vendor in ("stripe", "netsuite")}
    number = LIGHT_PER_SECOND * LIGHT_SECONDS
    started, made = time.monotonic(), []
    for place in range(number):
        time.sleep(max(0.0, started + place / LIGHT_PER_SECOND - time.monotonic()))
        made += seller.sell(1)
    await_posted(stage, marks["netsuite"], number)
    billed = {e["id"]: seconds_of(e) for e in stage.log("stripe", after=marks["stripe"]) if e["id"] in set(made)}
    posted = {e["id"]: seconds_of(e) for e in stage.log("netsuite", after=marks["netsuite"])}
    rows = BusinessTransaction.objects.filter(flow="invoice_to_erp", source_id__in=made)
    return [posted[target] - billed[source] for source, target in rows.values_list("source_id", "target_id")]
