"""The transaction of PERFORMANCE on the portal's own machine: a mapping, a document, two writes to a cheap sink.

It's carried by the same machine, telephone, recorder and tools as every flow; only the target is the bench's.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from connectors.auth import NoAuth
from connectors.calls import Line, Reply
from connectors.http import Telephone
from connectors.manifest import Limits, Repeats
from connectors.models import Connection
from q2c import ports
from q2c.canonical.base import Document, Later, Source
from q2c.core.ids import external_id
from q2c.core.problems import Category, Problem
from q2c.flows.dispatch import Fact
from q2c.flows.tasks import TOOLS
from q2c.flows.told import became
from q2c.transactions.batch import Run
from q2c.transactions.steps import Flow, Read, Write

CODE = "bench_sale"
SKU, ENTITY, CUSTOMERS = "QB-API", "GB01", 50
SETTLES_SECONDS = 2.0


class Sale(Document, frozen=True):
    """What is carried: one line of an item for a customer."""

    later_is = Later.VERSION

    source: Source
    sku: str
    amount: Decimal
    target: str  # the connection's code
    customer: str
    sold_on: dt.date


class SinkDocument(Document, frozen=True):
    """What is sent."""

    external_id: str
    item: str
    amount: Decimal
    memo: str


class Made(Document, frozen=True):
    """What the sink answered."""

    id: str
    document_type: str = "document"
    number: str = ""


def want_item(document: Sale) -> Iterable[tuple[str, Any]]:
    """The rule of its item."""
    return [("rule", ("item", document.sku))]


def resolve_item(document: Sale, mappings: Any) -> str:
    """The target's item of a SKU. Raises Problem `missing_item_mapping`."""
    found = mappings.resolve("item", document.sku, connection="netsuite", legal_entity=ENTITY, on=document.sold_on)
    return str(found.value)


def build_first(document: Sale, item: str) -> SinkDocument:
    """The first document."""
    return _document("one", document, item, "sale")


def build_second(document: Sale, item: str, first: Made) -> SinkDocument:
    """The second one, which names the first."""
    return _document("two", document, item, first.id)


def _document(kind: str, document: Sale, item: str, memo: str) -> SinkDocument:
    name = external_id(kind, source=document.source.connection, object_id=document.source.object_id)
    return SinkDocument(external_id=name, item=item, amount=document.amount, memo=memo)


def make_first(order: SinkDocument, erp: Any) -> Made:
    """Send the first."""
    return erp.make(order)


def find_first(order: SinkDocument, erp: Any) -> Made | None:
    """Look for the first."""
    return erp.find(order.external_id)


def make_second(invoice: SinkDocument, erp: Any) -> Made:
    """Send the second."""
    return erp.make(invoice)


def find_second(invoice: SinkDocument, erp: Any) -> Made | None:
    """Look for the second."""
    return erp.find(invoice.external_id)


def tell(document: Sale, first: Made, second: Made) -> list[Any]:
    """Two links and two cross-references."""
    told = []
    for kind, made in (("bench_order", first), ("bench_invoice", second)):
        told += became(document.source, kind, made, document.target, amount=document.amount, currency="GBP", step=kind)
    return told


FLOW = Flow(
    code=CODE, title="Sale to the sink", starts_with=("document",), fact_type=Sale, owner="platform",
    steps=(
        Read("resolve_item", "Find the item", resolve_item, gives="item", wants=want_item),
        Read("build_first", "Build the first document", build_first, gives="order"),
        Write("post_first", "Send the first document", find=find_first, create=make_first, gives="first",
              prepared="order", port="erp"),
        Read("build_second", "Build the second document", build_second, gives="invoice"),
        Write("post_second", "Send the second document", find=find_second, create=make_second, gives="second",
              prepared="invoice", port="erp"),
    ),
    links=tell,
)  # fmt: skip


class Sink:
    """The sink as the machine sees a target: the verbs, and how a repeat of a write is made harmless."""

    def __init__(self, row: Connection) -> None:
        self.connection_code, self.name, self.at_once, self.undo = row.code, row.name, row.at_once or 1, ()
        # It takes a second document of the same name, so whoever doesn't look before a repeat makes two. The header
        # is named so that nothing is looked for before a first attempt; the sink doesn't know it.
        self.repeats = Repeats(refuses_existing=False, idempotency_header="Idempotency-Key", reads_own_writes=True,
                               settles_after_seconds=SETTLES_SECONDS)  # fmt: skip
        line = Line(code=row.code, vendor=row.vendor, name=row.name, base_url=row.base_url, at_once=self.at_once,
                    allows_private=True)  # fmt: skip
        limits = Limits(at_once=self.at_once, timeout_seconds=10.0)
        self.telephone = Telephone(line, limits, auth=NoAuth(), explain=_explain, record=ports.collector)

    async def make(self, document: SinkDocument) -> Made:
        """Make a document. Raises Problem and NotAnswered as the telephone."""
        reply = await self.telephone.call("POST", "/documents", verb="make", json=document)
        return msgspec.json.decode(reply.body, type=Made)

    async def find(self, name: str) -> Made | None:
        """Find a document by its external id."""
        reply = await self.telephone.call(
            "GET", "/documents", verb="find", query=[("external_id", name)], accept=(404,)
        )
        return None if reply.status == 404 else msgspec.json.decode(reply.body, type=Made)


def _explain(reply: Reply) -> Problem:
    category = Category.RATE_LIMIT if reply.status == 429 else Category.AVAILABILITY
    return Problem("system_unavailable", category, f"The sink answered {reply.status}")


_sinks: dict[str, Sink] = {}


class SinkContext(ports.BatchContext):
    """As every batch's context; the ERP is the sink that the sale names."""

    def port(self, name: str, run: Run) -> Any:
        """The sink for `erp`, else as ever."""
        if name != "erp":
            return super().port(name, run)
        code = run.facts["document"].target
        if code not in _sinks:
            _sinks[code] = Sink(ports.connections()[code])
        return _sinks[code]


BENCH_TOOLS = dataclasses.replace(TOOLS, context=SinkContext, nudge=lambda flows: None)


def sale(number: int, target: str) -> Fact:
    """One sale, to be dispatched."""
    customer = f"cus_{number % CUSTOMERS}"
    source = Source(connection="stripe", object_type="sale", object_id=f"s{number}")
    document = Sale(source=source, sku=SKU, amount=Decimal("100.00"), target=target, customer=customer,
                    sold_on=dt.datetime.now(dt.UTC).date())  # fmt: skip
    return Fact(
        flow=CODE, business_key=f"bench:{number}", lane=f"sale:{number}", document=document,
        source_connection="stripe", source_type="sale", source_id=source.object_id, number=f"S-{number}",
        legal_entity_code=ENTITY, customer_id=customer, customer_name=f"Customer {customer}", currency="GBP",
        amount=document.amount, line_count=1, document_date=document.sold_on,
    )  # fmt: skip
