"""The durable transaction of PERFORMANCE on the portal's machine, beside engines that a user would pick instead."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import requests
from django.conf import settings
from django.db import connection
from django.db.transaction import atomic

from connectors.models import Connection
from q2c import ports
from q2c.bench import cpu, engines
from q2c.bench.figures import Figure, Report, percentile
from q2c.bench.machine_flow import CODE, SETTLES_SECONDS, sale
from q2c.bench.rules import item_of_the_sink
from q2c.bench.stage import Stage, is_listening, postmaster, wait_for
from q2c.flows.dispatch import dispatch_facts
from q2c.transactions.models import BusinessTransaction, WorkItem

REPEATS = 3
WORKERS = 2
SALES = 6_000
ALONE = 100
WARM = 1_000
BATCH = 500  # sales made durable with one commit
SLOW_MS, SLOW_AT_ONCE, SLOW_SALES = 100, 15, 1_200  # as an ERP answers
KILLS, KILL_SALES, RECOVER_SALES = 20, 6_000, 3_000
PATIENCE_SECONDS = 120.0
SINK_PORTS = (31, 32)  # above the sandboxes'
_serial = count(1)


def measure_machine(stage: Stage, report: Report) -> None:
    """`machine_tx_per_s`, `machine_vs_best_engine`, `machine_cpu_ms_per_tx`, `machine_wal_bytes_per_tx`,
    `machine_one_tx_p95_ms`, `recover_seconds`, `machine_of_target_limit`, `machine_kill_lost`, `machine_kill_doubled`;
    the peers' figures as references."""
    item_of_the_sink()
    connect()
    with sink(stage, 1), workers(stage):
        carry(stage, WARM)
        runs = [carry(stage, SALES) for _ in range(REPEATS)]
        alone = [percentile([_one_alone() for _ in range(ALONE)], 0.95) * 1000 for _ in range(REPEATS)]
    with sink(stage, 1):
        recovered = [_recover(stage) for _ in range(REPEATS)]
    with sink(stage, 1, SLOW_MS, SLOW_AT_ONCE), sink(stage, 2, SLOW_MS, SLOW_AT_ONCE), workers(stage):
        shares = [_share_of_limit(stage) for _ in range(REPEATS)]
    with sink(stage, 1):
        lost, doubled, kills = _kill_under_load(stage)
    with sink(stage, 1):
        others = engines.measure_peers(stage, _url(1), lambda: _asked("GET", 1), lambda: _asked("DELETE", 1))
    _report(report, runs, shares, (lost, doubled, kills), others)
    report.add(
        Figure("machine_one_tx_p95_ms", alone, "ms", note=f"{ALONE} one after the other, start's commit to end's"),
        Figure("recover_seconds", recovered, "s",
               note=f"both workers killed under load, to the first new document; settles after {SETTLES_SECONDS:g} s"),
    )  # fmt: skip


def _report(
    report: Report, runs: list[dict[str, float]], shares: list[float], killed: tuple[int, int, int],
    others: list[engines.Peer],
) -> None:  # fmt: skip
    measured = [p for p in others if p.rates]
    best = max(measured, key=lambda p: p.median, default=None)
    rates = [run["rate"] for run in runs]
    said = "; ".join(p.said for p in others)
    lost, doubled, kills = killed
    sink_ms = runs[-1]["sink_ms"]
    report.add(
        Figure("machine_tx_per_s", rates, "1/s", best.name if best else "", best.rates if best else [],
               note=f"{WORKERS} workers, {SALES:,} transactions, 2 writes each, full records; sink's own CPU"
                    f" {sink_ms:.2f} ms each; {said}"),
        Figure("machine_cpu_ms_per_tx", [run["cpu_ms"] for run in runs], "ms", best.name if best else "",
               best.cpu_ms if best else [], is_less_better=True,
               note=f"workers {runs[-1]['workers_ms']:.2f}, PostgreSQL {runs[-1]['database_ms']:.2f};"
                    f" starting them {runs[-1]['start_ms']:.2f} more"),
        Figure("machine_wal_bytes_per_tx", [run["wal"] for run in runs], "B", note="full-page images apart"),
        Figure("machine_of_target_limit", shares, "of the limit",
               note=f"two targets that answer in {SLOW_MS} ms and take {SLOW_AT_ONCE} at once"),
        Figure("machine_kill_lost", [lost], "", note=f"{kills} × kill −9 of one of {WORKERS} workers under load"),
        Figure("machine_kill_doubled", [doubled], "", note="written twice"),
    )  # fmt: skip
    if best:
        report.add(Figure("machine_vs_best_engine", [r / best.median for r in rates], "times", best.name,
                          [1.0]))  # fmt: skip


# The stage.


def _port(number: int) -> int:
    return int(settings.SANDBOX_PORT) + SINK_PORTS[number - 1]


def _url(number: int) -> str:
    return f"http://127.0.0.1:{_port(number)}"


def _code(number: int) -> str:
    return f"sink-{number}"


def connect() -> None:
    """The connections to the sinks."""
    for number in (1, 2):
        Connection.objects.update_or_create(
            code=_code(number),
            defaults={"name": f"Sink {number}", "vendor": "netsuite", "base_url": _url(number), "is_sandbox": True,
                      "at_once": 64},
        )  # fmt: skip
    ports.forget_kept()


@contextmanager
def sink(stage: Stage, number: int, after_ms: int = 0, at_once: int = 10**6) -> Iterator[None]:
    """A cheap target while the block lasts; it answers after so long, and takes so many calls at once."""
    name = _code(number)
    Connection.objects.filter(code=name).update(at_once=at_once if after_ms else 64)
    stage.start(name, [sys.executable, "-m", "q2c.bench.sink", str(_port(number)), str(after_ms), str(at_once)])
    stage.await_program(name, lambda: is_listening(_port(number)))
    try:
        yield
    finally:
        stage.stop(name)


def _asked(method: str, number: int) -> dict[str, Any]:
    answer = requests.request(method, f"{_url(number)}/log", timeout=10)
    answer.raise_for_status()
    told: dict[str, Any] = answer.json()
    return told


def _names() -> list[str]:
    return [f"machine{n}" for n in range(WORKERS)]


@contextmanager
def workers(stage: Stage) -> Iterator[None]:
    """Both workers while the block lasts."""
    for name in _names():
        _start_worker(stage, name)
    try:
        yield
    finally:
        for name in _names():
            stage.stop(name)


def _start_worker(stage: Stage, name: str) -> None:
    stage.start(name, [sys.executable, "-m", "q2c.bench.machine_worker"])


def _start_sales(number: int, targets: tuple[int, ...] = (1,)) -> None:
    facts = [sale(next(_serial), _code(targets[n % len(targets)])) for n in range(number)]
    for first in range(0, number, BATCH):
        with atomic():
            dispatch_facts(facts[first : first + BATCH])


def _await_done(stage: Stage, seconds: float = PATIENCE_SECONDS) -> None:
    wait_for(lambda: not WorkItem.objects.filter(flow=CODE).exists(), "the machine to carry all", seconds=seconds,
             every=0.02)  # fmt: skip


def _wal() -> int:
    """Bytes of WAL so far, without full-page images."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT wal_bytes - wal_fpi * 8192 FROM pg_stat_wal")
        return int(cursor.fetchone()[0])


# What is measured.


def carry(stage: Stage, number: int) -> dict[str, float]:
    """So many transactions from the first commit that starts them to the last one's end."""
    pids = [stage.programs[name].pid for name in _names()]
    before = (_asked("DELETE", 1)["cpu"], cpu.cpu_seconds(pids), cpu.cpu_seconds([postmaster()]), time.process_time())
    wal, began = _wal(), time.monotonic()
    _start_sales(number)
    started = time.process_time() - before[3]
    _await_done(stage)
    took = time.monotonic() - began
    told = _asked("GET", 1)
    if (told["distinct"], told["made"]) != (2 * number, 2 * number):
        raise RuntimeError(f"the sink has {told['made']} documents of {told['distinct']}, not {2 * number}")
    _all_completed()
    workers, database = cpu.cpu_seconds(pids) - before[1], cpu.cpu_seconds([postmaster()]) - before[2]
    each = 1000 / number
    return {
        "rate": number / took, "cpu_ms": (workers + database) * each, "workers_ms": workers * each,
        "database_ms": database * each, "sink_ms": (told["cpu"] - before[0]) * each, "start_ms": started * each,
        "wal": (_wal() - wal) / number,
    }  # fmt: skip


def _one_alone() -> float:
    """Seconds of one transaction on an idle machine, from before the commit that starts it until its end is known."""
    began = time.monotonic()
    _start_sales(1)
    while WorkItem.objects.filter(flow=CODE).exists():
        time.sleep(0.001)
    return time.monotonic() - began


def _recover(stage: Stage) -> float:
    """Seconds from the death of both workers under load, which are started again at once, to the first new document.
    Raises RuntimeError when a transaction wasn't carried to its end after all."""
    with workers(stage):
        _asked("DELETE", 1)
        _start_sales(RECOVER_SALES)
        wait_for(lambda: _asked("GET", 1)["made"] > RECOVER_SALES // 4, "a load", seconds=PATIENCE_SECONDS, every=0.01)
        victims = [stage.programs.pop(name) for name in _names()]
        for victim in victims:
            victim.kill()
        for victim in victims:
            victim.wait()
        began, made = time.monotonic(), _asked("GET", 1)["made"]
        for name in _names():
            _start_worker(stage, name)
        wait_for(lambda: _asked("GET", 1)["made"] > made, "a new document", seconds=PATIENCE_SECONDS, every=0.01)
        took = time.monotonic() - began
        _await_done(stage)
        _all_completed()
        return took


def _all_completed() -> None:
    held = BusinessTransaction.objects.filter(flow=CODE).exclude(state="completed").count()
    if held:
        raise RuntimeError(f"{held} transactions aren't completed")


def _share_of_limit(stage: Stage) -> float:
    """Writes a second over what two slow targets could take, between the first and the last quarter of them."""
    for number in (1, 2):
        _asked("DELETE", number)
    began = time.monotonic()
    _start_sales(SLOW_SALES, (1, 2))
    wait_for(lambda: sum(_asked("GET", n)["made"] for n in (1, 2)) >= SLOW_SALES // 4, "the first quarter",
             seconds=PATIENCE_SECONDS, every=0.01)  # fmt: skip
    early, at = sum(_asked("GET", n)["made"] for n in (1, 2)), time.monotonic()
    wait_for(lambda: sum(_asked("GET", n)["made"] for n in (1, 2)) >= SLOW_SALES * 7 // 4, "the last quarter",
             seconds=PATIENCE_SECONDS, every=0.01)  # fmt: skip
    late, end = sum(_asked("GET", n)["made"] for n in (1, 2)), time.monotonic()
    _await_done(stage)
    refused = sum(_asked("GET", n)["refused"] for n in (1, 2))
    if refused:
        raise RuntimeError(f"the slow targets refused {refused} calls above what they take at once, {began}")
    return (late - early) / (end - at) / (2 * SLOW_AT_ONCE * 1000 / SLOW_MS)


def _kill_under_load(stage: Stage) -> tuple[int, int, int]:
    """SIGKILL to one worker after the other while both carry; how many writes were lost, how many made twice, kills."""
    _asked("DELETE", 1)
    chance, started = random.Random(5), KILL_SALES
    with workers(stage):
        _start_sales(KILL_SALES)
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.2, 0.6))
            if WorkItem.objects.filter(flow=CODE).count() < KILL_SALES // 8:
                _start_sales(KILL_SALES // 4)
                started += KILL_SALES // 4
            name = chance.choice(_names())
            victim = stage.programs.pop(name)
            victim.kill()
            victim.wait()
            _start_worker(stage, name)
        _await_done(stage, PATIENCE_SECONDS)
    told = _asked("GET", 1)
    return 2 * started - told["distinct"], told["made"] - told["distinct"], KILLS
