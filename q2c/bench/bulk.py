"""10,000 held documents reposted in one bulk action by the demo's own workers, until the ERP's log has each of them
once."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from exceptions.models import BulkAction, ExceptionCase
from q2c.bench import rules
from q2c.bench.figures import Figure, Report
from q2c.bench.invoices import LIFTED
from q2c.bench.selling import Seller, await_posted
from q2c.bench.stage import Stage, wait_for
from q2c.core.models import Person
from q2c.inbox.models import InboundKey
from q2c.transactions.models import BusinessTransaction

DOCUMENTS = 10_000
SKU = "BULK-1"  # no item answers it, so each document is held for the same cause
HOLD_SECONDS = 600.0
POST_SECONDS = 600.0


def measure_bulk(stage: Stage, report: Report) -> None:
    """`bulk_freeze_10000_s`, `bulk_restart_10000_s`, `bulk_repost_10000_s`: from the tick to the preview, and from the
    end of the time to undo until all were begun, and until the last is posted."""
    seller = Seller(stage)
    with stage.web(), stage.workers(2):
        seller.win_customers()
        seller.sku = SKU
        started, others = time.monotonic(), _held()
        seller.sell(DOCUMENTS)
        wait_for(lambda: _held() == others + DOCUMENTS, f"{DOCUMENTS:,} held", seconds=HOLD_SECONDS, every=0.5)
        wait_for(lambda: _is_quiet(stage), "the last messages about them", seconds=HOLD_SECONDS, every=0.5)
        held_in = time.monotonic() - started
        rules.fill_rules([(SKU, "GB01")], rules.items())
        mark, before = stage.last("netsuite"), stage.cpu()
        frozen_in, previewed_in, action = _freeze_and_confirm()
        ended = await_posted(stage, mark, DOCUMENTS, seconds=POST_SECONDS)
        after = stage.cpu()
    action.refresh_from_db()
    starts_at, restarted_at = action.starts_at, action.ended_at
    if starts_at is None or restarted_at is None:
        raise RuntimeError(f"{action.number} is {action.state}")
    posts = _posts(stage, mark)
    if posts != DOCUMENTS:
        raise RuntimeError(f"{posts:,} invoices were made in the ERP for {DOCUMENTS:,} documents")
    spent = ", ".join(f"{part} {after[part] - before[part]:.0f}" for part in before)
    said = f"{posts:,} invoices made in the ERP, each once; held in {held_in:.0f} s before; CPU s: {spent}"
    report.add(
        Figure("bulk_freeze_10000_s", [frozen_in], "s", note=f"one run; the preview's page {previewed_in:.2f} s more"),
        Figure("bulk_restart_10000_s", [(restarted_at - starts_at).total_seconds()], "s",
               note="one run; from the end of the time to undo until all were begun, the workers posting beside"),
        Figure("bulk_repost_10000_s", [ended - starts_at.timestamp()], "s", note=f"one run; {said}; {LIFTED}"),
    )  # fmt: skip


def _freeze_and_confirm() -> tuple[float, float, BulkAction]:
    """As a person does it, but for the minute to undo, which isn't waited for: seconds to freeze and for the page."""
    client = Client(headers={"host": "localhost"})
    client.force_login(Person.objects.get(username="billing_ops"))
    case = ExceptionCase.objects.get(closed_at=None, subject__key=SKU)
    client.get(f"/exceptions/cases/{case.pk}/")  # what a process loads with its first request isn't measured
    began = time.perf_counter()
    frozen = client.post("/exceptions/bulk/freeze/", {"what": "repost", "case": [case.pk]})
    frozen_in = time.perf_counter() - began
    client.get(frozen["Location"])
    previewed_in = time.perf_counter() - began - frozen_in
    action = BulkAction.objects.latest("pk")
    confirmed: Any = client.post(f"{frozen['Location']}confirm/", {"why": "The item is mapped"})
    if action.item_count != DOCUMENTS or confirmed.status_code != 302:
        raise RuntimeError(f"{action.item_count:,} documents were frozen, and confirming said {confirmed.status_code}")
    BulkAction.objects.filter(pk=action.pk).update(starts_at=timezone.now() + timedelta(seconds=0.1))
    return frozen_in, previewed_in, action


def _held() -> int:
    return BusinessTransaction.objects.filter(flow="invoice_to_erp", state="held").count()


def _is_quiet(stage: Stage) -> bool:
    """Nothing that selling caused is left, at the sender neither: it would be counted as the action's."""
    sending = stage.door.call("GET", "stripe/deliveries?within=60")
    return not (sending["under_way"] or sending["due"] or InboundKey.objects.filter(verdict="received").exists())


def _posts(stage: Stage, mark: int) -> int:
    entries = stage.log("netsuite", after=mark)
    return sum(entry["document_type"] == "invoice" and entry["effect"] == "created" for entry in entries)
