"""Status to CRM: what became of an order is written back on the CRM's record.

Starts on   SubscriptionChanged, InvoicePosted, InvoiceStatusChanged, PaymentFailed (billing); AR invoice posted (ours)
Ends with   the order's status fields in the CRM, with a link to the portal
Posts       nothing
Owners      sales operations
Never       touches a field of the CRM that isn't ours, or puts a state back
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from q2c.canonical.base import Document
from q2c.canonical.contract import OrderStatus
from q2c.canonical.posting import SavedRecord
from q2c.canonical.progress import rank_of
from q2c.canonical.schema import from_json
from q2c.transactions.steps import Flow, Read, Write


class Telling(Document, frozen=True):
    """What will be written on the CRM's record. `fields` are our own names; the CRM's client knows its field names."""

    external_id: str
    order_id: str
    fields: dict[str, str]


PARTS = {"status": "subscription_status", "invoice_status": "invoice_status", "payment_status": "payment_status"}


def want_told(txn: Any) -> list[tuple[str, Any]]:
    """What the CRM was told of this order."""
    return [("lane", ("status_to_crm", txn.lane))]


def build_status(document: OrderStatus, links: Any, txn: Any) -> Telling | None:
    """The parts that this fact says and that aren't behind what the CRM was told, and the link to the portal; nothing
    when all are behind. The CRM is asked by record id, so a repeat is harmless."""
    told: list[OrderStatus] = [from_json(fact, OrderStatus) for fact in links.in_lane("status_to_crm", txn.lane)]
    said = {}
    for field, part in PARTS.items():
        if getattr(document, part) and not any(is_behind(document, other, part) for other in told):
            said[field] = getattr(document, part)
    if not said:
        return None
    said["link"] = f"{settings.BASE_URL}/transactions/{txn.id}/"
    return Telling(external_id=document.order_id, order_id=document.order_id, fields=said)


def is_behind(document: OrderStatus, other: OrderStatus, part: str) -> bool:
    """Whether another statement about this part counts more: of the same object the state that came further, or is
    newer where both came as far; of another object (the next month's invoice) the newer one."""
    if not getattr(other, part):
        return False
    if other.source != document.source:
        return other.at > document.at
    mine, others = rank_of(getattr(document, part)), rank_of(getattr(other, part))
    return others > mine or (others == mine and other.at > document.at)


async def find_status(posting: Telling) -> SavedRecord | None:
    """There's nothing to look up: writing the same fields again is harmless."""
    return None


def publish_status(posting: Telling, crm: Any) -> SavedRecord:
    """Write the fields on the CRM's record."""
    return crm.publish_status(order_id=posting.order_id, fields=posting.fields)


STATUS_TO_CRM = Flow(
    code="status_to_crm",
    title="Status to CRM",
    starts_with=("document",),
    fact_type=OrderStatus,
    owner="sales_ops",
    lane_type="order",
    steps=(
        Read("build_status", "Gather what the CRM is told", build_status, gives="posting", wants=want_told),
        Write(
            "publish_status",
            "Write the status on the CRM's record",
            find=find_status,
            create=publish_status,
            upsert=True,
            prepared="posting",
            port="crm",
            gives="told",
        ),
    ),
)
