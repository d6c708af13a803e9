"""What tests of keeping share: months of long ago, a hold that stands, and a house that archives."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import connection

from q2c.core import approvals, holds
from q2c.core.customer_keys import ensure_keys
from q2c.core.ids import uuid7
from q2c.core.models import CustomerKey, LegalHold, Proposal
from q2c.core.partitions import month_partition_sql
from q2c.core.tasks import look_at_holds
from q2c.inbox.models import InboundEvent, InboundKey
from q2c.transactions.models import BusinessTransaction
from tests import factories

TABLES = (
    "transactions_steprun", "transactions_lineagelink", "transactions_preparedposting", "inbox_inboundevent",
    "connectors_exchange", "outbox_outboxevent",
)  # fmt: skip
LONG_AGO = dt.datetime(2019, 3, 14, 12, tzinfo=dt.UTC)


def make_months() -> None:
    """Real partitions of March 2019."""
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(month_partition_sql(table, 2019, 3))


def march(table: str) -> str:
    return f"{table}_2019_03"


def id_of(at: dt.datetime) -> Any:
    """An id made at that instant."""
    return uuid7(at_ms=at.timestamp() * 1000)


def make_old(state: str = "completed", at: dt.datetime = LONG_AGO, **fields: Any) -> BusinessTransaction:
    """A transaction of long ago with a step."""
    txn = factories.make_transaction(state, id=id_of(at), created_at=at, **fields)
    factories.make_step(txn, "map_items", at=at)
    return txn


def make_old_message(verdict: str = "translated", at: dt.datetime = LONG_AGO) -> InboundKey:
    """A message of long ago."""
    found = factories.make_connection("stripe")
    event = InboundEvent.objects.create(
        id=id_of(at), connection=found, event_type="invoice.finalized", source_id=f"evt_{at:%s}", via="webhook",
        received_at=at, headers=b"", body=b"sealed", body_hash="", size_bytes=6,
    )  # fmt: skip
    return InboundKey.objects.create(
        connection=found, dedupe_key=event.source_id, event=event, verdict=verdict, received_at=at, available_at=at,
        body_key=b"",
    )  # fmt: skip


def sign(proposal: Proposal, apply: Any, *, approve: bool = True) -> None:
    """A second person decides."""
    second = factories.make_person("controller")
    approvals.sign(proposal, by=second, approve=approve, alarm=lambda problem: None, why="looked at")
    apply(proposal, by=second)


def release(hold: LegalHold) -> None:
    """Two people release it."""
    proposal = holds.propose_release(hold, by=factories.make_person("controller"), why="The audit is over.")
    sign(proposal, holds.apply_decision)
    look_at_holds()  # a worker's part, after the commit


def make_key(customer: str = "cus_1", code: str = "stripe") -> CustomerKey:
    """A customer's key."""
    return CustomerKey.objects.get(pk=ensure_keys([(code, customer)])[code, customer])
