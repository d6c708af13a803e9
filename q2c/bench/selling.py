"""Small invoices in the billing sandbox, and waiting until the ERP's own log has them."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from itertools import count
from typing import Any

from q2c.bench.stage import Stage, wait_for
from q2c.transactions.models import BusinessTransaction

CUSTOMERS = 20
BATCH = 50  # the sandbox answers nobody else while it makes a batch
SKU = "QB-API"


class Seller:
    """Sells to a few customers whom the ERP knows already."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.customers: list[str] = []
        self.sku = SKU
        self.serial = count()

    def win_customers(self) -> None:
        """Make the customers, and wait until each has had an invoice posted: caches are warm then."""
        given = [
            {"name": f"Bench {n}", "email": f"ap{n}@bench.test", "address": {"country": "GB", "city": "Leeds"},
             "metadata": {"legal_entity": "GB01"}}
            for n in range(CUSTOMERS)
        ]  # fmt: skip
        self.customers = self.stage.door.make("stripe", "customer", given)
        mark = self.stage.last("netsuite")
        self.sell(2 * CUSTOMERS)
        await_posted(self.stage, mark, 2 * CUSTOMERS)

    def sell(self, number: int) -> list[str]:
        """Make so many finalised invoices of one line. Returns their ids."""
        ids: list[str] = []
        while len(ids) < number:
            batch = [self._invoice() for _ in range(min(BATCH, number - len(ids)))]
            ids += self.stage.door.make("stripe", "invoice", batch)
        return ids

    def _invoice(self) -> dict[str, Any]:
        line = {"amount": 10_000, "quantity": 1, "description": self.sku, "metadata": {"sku": self.sku}}
        customer = self.customers[next(self.serial) % len(self.customers)]
        return {"customer": customer, "currency": "gbp", "lines": [line], "metadata": {"legal_entity": "GB01"}}


def await_posted(stage: Stage, mark: int, number: int, *, seconds: float = 180.0) -> float:
    """Wait until the ERP's log has so many more invoices and the portal knows it. Returns when the last was posted.

    Raises TimeoutError saying what became of the rest.
    """
    seen, last, newest = 0, mark, 0.0
    until = time.monotonic() + seconds
    while seen < number:
        for entry in stage.log("netsuite", after=last):
            last = entry["n"]
            if entry["document_type"] == "invoice" and entry["effect"] == "created":
                seen, newest = seen + 1, seconds_of(entry)
        if time.monotonic() > until:
            raise TimeoutError(f"{seen} of {number} invoices were posted in {seconds:.0f} s; {states()}")
        if seen < number:
            time.sleep(0.2)
    wait_for(lambda: not open_count(), "the portal's own commits", seconds=30)
    return newest


def open_count() -> int:
    """Transactions that aren't at their end."""
    return BusinessTransaction.objects.exclude(state__in=("completed", "cancelled", "held")).count()


def states() -> dict[str, int]:
    """How many transactions are in which flow and state."""
    rows = BusinessTransaction.objects.values_list("flow", "state")
    return {f"{flow} {state}": n for (flow, state), n in sorted(Counter(rows).items())}


def seconds_of(entry: dict[str, Any]) -> float:
    """When a log entry was written, in seconds since 1970."""
    return dt.datetime.fromisoformat(entry["at"]).timestamp()
