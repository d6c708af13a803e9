"""Status to CRM: what became of an order is written back on the CRM's record.

Starts on   SubscriptionChanged, InvoicePosted, InvoiceStatusChanged, PaymentFailed (billing); AR invoice posted (ours)
Ends with   the order's status fields in the CRM, with a link to the portal
Posts       nothing
Owners      sales operations
Never       touches a field of the CRM that isn't ours
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from q2c.canonical.base import Document
from q2c.canonical.contract import OrderStatus
from q2c.canonical.posting import SavedRecord
from q2c.transactions.steps import Flow, Read, Write


class Telling(Document, frozen=True):
    """What will be written on the CRM's record. `fields` are our own names; the CRM's client knows its field names."""

    external_id: str
    order_id: str
    fields: dict[str, str]


def build_status(document: OrderStatus, txn: Any) -> Telling:
    """The parts that this fact says, and the link to the portal. The CRM is asked by record id, so a repeat is
    harmless."""
    said = {
        "status": document.subscription_status,
        "invoice_status": document.invoice_status,
        "payment_status": document.payment_status,
        "link": f"{settings.BASE_URL}/transactions/{txn.id}/",
    }
    return Telling(
        external_id=document.order_id, order_id=document.order_id, fields={k: v for k, v in said.items() if v}
    )


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
        Read("build_status", "Gather what the CRM is told", build_status, gives="posting"),
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
