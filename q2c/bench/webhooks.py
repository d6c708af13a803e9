"""Webhooks: signed events of 4 kB accepted durably by the real web server, beside a bare view with one plain insert."""

from __future__ import annotations

from collections import Counter

from django.conf import settings
from django.db import connection

from q2c.bench.bare import TABLE
from q2c.bench.figures import Figure, Report, percentile
from q2c.bench.senders import Sent, make_requests, send_all
from q2c.bench.stage import Stage
from q2c.inbox.models import InboundKey

REPEATS = 3
SENDERS = 32
SECONDS = 6
WARM = 600
REFERENCE = "a bare Django view with one plain insert, same server settings"


def measure_webhooks(stage: Stage, report: Report) -> None:
    """`webhooks_per_s`, `webhook_accept_p95_ms`, `webhook_vs_raw_insert`. No worker runs meanwhile."""
    secret = stage.door.vendor("stripe")["credentials"]["webhook_secret"]
    with connection.cursor() as cursor:
        cursor.execute(TABLE)
    with stage.web():
        before, cpu = InboundKey.objects.count(), stage.cpu()
        ours = _repeat(secret)
        sent = sum(len(s.took) for s in ours) + WARM
        stored = InboundKey.objects.count() - before
        after = stage.cpu()
    with stage.web("q2c.bench.bare:start()"):
        bare = _repeat(secret)
    refused = sum((s.refused for s in ours), Counter())
    if refused or stored != sent:
        report.say(f"webhooks: {stored} of {sent} are stored; not answered 200: {dict(refused)}")
    spent = ", ".join(f"{part} {(after[part] - cpu[part]) * 1000 / sent:.2f}" for part in after)
    senders = ours[-1].cpu_seconds * 1000 / len(ours[-1].took)
    report.add(
        Figure("webhooks_per_s", [s.per_second for s in ours], "1/s", REFERENCE, [s.per_second for s in bare],
               note=f"{SENDERS} senders, 4 kB; CPU ms each: {spent}, senders {senders:.2f}"),
        Figure("webhook_accept_p95_ms", _p95(ours), "ms", REFERENCE, _p95(bare), is_less_better=True),
        Figure("webhook_vs_raw_insert", [o.per_second / b.per_second for o, b in zip(ours, bare, strict=True)],
               "of the bare view", REFERENCE, [1.0]),
    )  # fmt: skip


def _repeat(secret: str) -> list[Sent]:
    warm = _send(WARM, secret)
    number = int(max(600, min(20_000, warm.per_second * SECONDS)))
    return [_send(number, secret) for _ in range(REPEATS)]


def _send(number: int, secret: str) -> Sent:
    return send_all(make_requests(number, port=settings.PORT, secret=secret), port=settings.PORT, senders=SENDERS)


def _p95(runs: list[Sent]) -> list[float]:
    return [percentile(s.took, 0.95) * 1000 for s in runs]
