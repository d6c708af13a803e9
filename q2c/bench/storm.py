"""A storm: 10,000 webhooks in a minute, how long until all is carried, and what a person's page takes meanwhile."""

from __future__ import annotations

import threading
import time

import requests
from django.conf import settings
from django.test import Client

from q2c.bench.figures import Figure, Report, percentile
from q2c.bench.selling import Seller, open_count, states
from q2c.bench.stage import Stage, wait_for
from q2c.core.models import Person
from q2c.inbox.models import InboundEvent, InboundKey

WEBHOOKS = 10_000
SECONDS = 60
WEBHOOKS_EACH = 2  # of an invoice that is made: created, finalized (vendors/stripe.md)
UNKNOWN_OF = 50  # one invoice in so many has an item that the ERP doesn't know: the queue isn't empty
LOOK_EVERY = 0.5  # s
PATIENCE = 400.0
PAGE = "/exceptions/cases/"


def measure_storm(stage: Stage, report: Report) -> None:
    """`storm_10000_drain_s`: from the first document made until none is on its way; `storm_ui_p95_ms`: the queue's page
    meanwhile, over HTTP."""
    seller = Seller(stage)
    invoices = WEBHOOKS // WEBHOOKS_EACH
    with stage.web(), stage.workers(2):
        seller.win_customers()
        mark, came, began = stage.last("netsuite"), InboundEvent.objects.count(), time.monotonic()
        with _Onlooker() as onlooker:
            held = _sell(seller, invoices, began)
            made_after = time.monotonic() - began
            wait_for(lambda: _is_carried(came + WEBHOOKS), f"the storm ({states()})", seconds=PATIENCE, every=0.5)
            drained = time.monotonic() - began
        webhooks = InboundEvent.objects.count() - came
        posted = [e["id"] for e in stage.log("netsuite", after=mark)
                  if e["document_type"] == "invoice" and e["effect"] == "created"]  # fmt: skip
    if len(posted) != invoices - held:
        raise RuntimeError(f"{len(posted)} invoices stand in the ERP, {invoices - held} were expected")
    note = f"{webhooks:,} webhooks in {made_after:.0f} s, {held} of {invoices:,} invoices held; {states()}"
    slow = (
        f"{len(onlooker.took)} looks, median {percentile(onlooker.took, 0.5) * 1000:.0f} ms, {onlooker.refused} refused"
    )
    report.add(
        Figure("storm_10000_drain_s", [drained], "s", note=note),
        Figure("storm_ui_p95_ms", [percentile(onlooker.took, 0.95) * 1000], "ms", note=slow),
    )


def _sell(seller: Seller, invoices: int, began: float) -> int:
    """Make the invoices evenly over a minute, or as fast as the sandbox can. Returns how many can't be posted."""
    made = held = 0
    while made < invoices:
        due = min(invoices, int((time.monotonic() - began) * invoices / SECONDS))
        if due - made < min(UNKNOWN_OF, invoices - made):
            time.sleep(0.05)
            continue
        known, seller.sku = seller.sku, "STORM-UNKNOWN"
        seller.sell(1)
        seller.sku = known
        seller.sell(min(UNKNOWN_OF, due - made) - 1)
        made, held = made + min(UNKNOWN_OF, due - made), held + 1
    return held


def _is_carried(events: int) -> bool:
    """Whether so many messages came, each has its verdict, and no transaction is on its way."""
    if InboundEvent.objects.count() < events:
        return False
    return not InboundKey.objects.filter(verdict=InboundKey.Verdict.RECEIVED).exists() and not open_count()


class _Onlooker:
    """A controller who looks at the queue again and again, over HTTP."""

    def __init__(self) -> None:
        client = Client(headers={"host": "localhost"})
        client.force_login(Person.objects.get(username="controller"))
        self.cookie = "; ".join(f"{name}={value.value}" for name, value in client.cookies.items())
        self.took: list[float] = []
        self.refused = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Onlooker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_EVERY):
            began = time.monotonic()
            answer = requests.get(
                f"http://127.0.0.1:{settings.PORT}{PAGE}", headers={"Cookie": self.cookie}, timeout=30
            )
            self.took.append(time.monotonic() - began)
            self.refused += answer.status_code != 200 or not answer.url.endswith(PAGE)
