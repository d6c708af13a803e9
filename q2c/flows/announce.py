"""What others hear when transactions complete: an announcement for subscribers, and the order's status for the CRM."""

from __future__ import annotations

from typing import Any

from q2c.canonical.billing import Invoice
from q2c.canonical.contract import OrderStatus
from q2c.flows.dispatch import dispatch_facts
from q2c.flows.facts import is_order_of_crm, status_fact
from q2c.outbox.publish import Announcement, publish
from q2c.transactions.batch import Run


def announce_completed(runs: list[Run]) -> None:
    """Publish each completed run; tell the CRM of its orders' invoices that the ledger has. In the caller's commit."""
    publish(_announcement(run) for run in runs)
    dispatch_facts([status_fact(status, **around) for status, around in map(_status, runs) if status is not None])


def _announcement(run: Run) -> Announcement:
    target = run.target
    return Announcement(
        event_type=f"{run.flow.code}.completed",
        subject=run.lane,
        transaction_id=run.id,
        legal_entity_code=run.legal_entity_code,
        correlation_id=run.correlation_id,
        data={
            "source": {"system": run.source_connection, "type": run.source_type, "id": run.source_id},
            "target": {
                "system": run.target_connection,
                "type": getattr(target, "document_type", ""),
                "id": getattr(target, "id", ""),
            },
            "number": run.number,
            "currency": run.currency,
            "amount": None if run.amount is None else f"{run.amount:f}",
        },
    )


def _status(run: Run) -> tuple[OrderStatus | None, dict[str, Any]]:
    invoice = run.facts.get("document")
    if not isinstance(invoice, Invoice) or not is_order_of_crm(invoice.order_id):
        return None, {}
    status = OrderStatus(
        source=invoice.source,
        order_id=invoice.order_id,
        at=invoice.issued_at,  # among several invoices of an order, the newest one's state counts
        invoice_status="posted",
        number=invoice.number,
    )
    around = {
        "legal_entity": run.legal_entity_code,
        "customer_name": run.customer_name,
        "correlation_id": run.correlation_id,
    }
    return status, around
