"""Order to sale: an activated order that an opportunity's sale was written down in is tied to that sale.

Starts on   OrderClosedWon (CRM) of an order that names its opportunity
Ends with   lineage from the opportunity to its order, and the portal's link on the CRM's order
Posts       nothing
Owners      sales operations
Never       makes a subscription: one won deal is sold once, by its opportunity
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from q2c.canonical.base import Source
from q2c.canonical.contract import Order
from q2c.canonical.posting import SavedRecord
from q2c.core.problems import Awaits
from q2c.flows.status_to_crm import Telling
from q2c.flows.told import Link, record_key
from q2c.transactions.steps import Flow, Read, Wait, Write

PATIENCE_SECONDS = 3 * 86400  # an order may be activated before its opportunity is won


def sale_source(document: Order) -> Source:
    """The opportunity that was sold."""
    return Source(connection=document.source.connection, object_type="Opportunity", object_id=document.opportunity_id)


def want_sale(document: Order) -> list[tuple[str, Any]]:
    """What the opportunity became."""
    return [("xref", ("order", record_key(sale_source(document))))]


def await_sale(document: Order, txn: Any, links: Any) -> str:
    """Billing's id of what the opportunity became; waits until it is carried."""
    sold = links.anywhere("order", record_key(sale_source(document)))
    if sold is None:
        raise Awaits(
            f"order:{document.source.connection}:{document.opportunity_id}",
            f"the sale of opportunity {document.opportunity_id}",
            patience_seconds=PATIENCE_SECONDS,
        )
    txn.legal_entity_code = sold.legal_entity_code or txn.legal_entity_code
    return str(sold.external_id)


def build_note(document: Order, txn: Any) -> Telling:
    """The portal's page of this order. Its states are told on the opportunity: two records would drift apart."""
    order = document.source.object_id
    return Telling(external_id=order, order_id=order, fields={"link": f"{settings.BASE_URL}/transactions/{txn.id}/"})


async def find_note(note: Telling) -> SavedRecord | None:
    """There's nothing to look up: writing the same link again is harmless."""
    return None


def tell_order(note: Telling, crm: Any) -> SavedRecord:
    """Write the link on the CRM's order: it sets a value, so a repeat is harmless."""
    return crm.publish_status(order_id=note.order_id, fields=note.fields)


def tell(document: Order) -> list:
    """Lineage from the opportunity to the order in which it was written down."""
    sold, order = sale_source(document), document.source
    return [
        Link(
            sold.connection, sold.object_type, sold.object_id, order.connection, order.object_type, order.object_id,
            document.amount, document.currency, "ordered as", "await_sale",
        )
    ]  # fmt: skip


ORDER_TO_SALE = Flow(
    code="order_to_sale",
    title="Order to sale",
    starts_with=("document",),
    fact_type=Order,
    owner="sales_ops",
    lane_type="order",
    steps=(
        Wait(
            "await_sale",
            "Wait until the opportunity is carried",
            until=await_sale,
            gives="sale",
            patience_seconds=PATIENCE_SECONDS,
            wants=want_sale,
        ),
        Read("build_note", "Find what the CRM's order is told", build_note, gives="note"),
        Write(
            "tell_order",
            "Write the link on the CRM's order",
            find=find_note,
            create=tell_order,
            upsert=True,
            prepared="note",
            port="crm",
            gives="told",
        ),
    ),
    links=tell,
)
