"""What the ERP has open of an invoice, asked the moment before something settles it.

Less than is needed waits for what will open more: a credit note that billing voided and the ERP still has. Otherwise
it's a case of its own, `open_amount_exceeded`: nothing is ever applied short in silence.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from q2c.canonical.base import Source
from q2c.canonical.posting import PostedDocument
from q2c.core.problems import Awaits, Category, Refrained
from q2c.flows.steps import post

APPLY_OPEN = "apply_open"  # what a choice to apply only what is open is about
LOOKS, SELDOM = 8, dt.timedelta(minutes=10)
_HOLDERS = {"receipt": "receipt", "credit_memo": "ar_credit_memo"}


def want_voids(connection: str, invoice_id: str) -> tuple[str, Any]:
    """The look-up of the credit notes of an invoice whose voids are on their way."""
    return ("voids", (connection, invoice_id))


def voids_key(connection: str, invoice_id: str) -> str:
    """The key under which others wait for the voids of an invoice's credit notes."""
    return f"credit_voids:{connection}:{invoice_id}"


def void_key(connection: str, invoice_id: str) -> str:
    """The key under which others wait for the void of an invoice."""
    return f"invoice_void:{connection}:{invoice_id}"


def application_key(connection: str, object_id: str) -> str:
    """The key under which others wait for an application."""
    return f"application:{connection}:{object_id}"


async def read_room(
    erp: Any, invoice: str, *, payment: str = "", kind: str = ""
) -> tuple[PostedDocument, Decimal | None]:
    """An invoice of the ERP, and how much of it a receipt or credit memo may settle: what is open and what it settles
    of it already, somebody's hand included. None where the ERP doesn't say what is open."""
    found = await post.read_before_sending(erp, "ar_invoice", invoice)
    room = found.open_amount
    if room is not None and payment:
        holder = await post.read_before_sending(erp, _HOLDERS[kind], payment)
        room += sum((row.amount for row in holder.applied if row.document == invoice), Decimal(0))
    return found, room


def refuse(
    what: str,
    invoice: PostedDocument,
    room: Decimal,
    *,
    source: Source,
    invoice_id: str,
    voids: Sequence[str],
    looks: int,
) -> Exception:
    """What to raise where less is open than `what` (a sentence's beginning) needs: the wait for voids on their way, or
    Problem `open_amount_exceeded`. The void's end hastens it, so after a few `looks` it asks the ERP seldom."""
    number, connection = invoice.number or invoice.id, source.connection
    if voids:
        named = f"{voids[0]} and others" if len(voids) > 1 else voids[0]
        later = dt.datetime.now(dt.UTC) + SELDOM if looks >= LOOKS else None
        return Awaits(
            voids_key(connection, invoice_id), f"the void of {named} in the ERP, which opens {number} again",
            not_before=later,
        )  # fmt: skip
    return Refrained(
        "open_amount_exceeded",
        Category.CONFLICT,
        f"{what} {number}, of which {f'{room:,}' if room else 'nothing'} is open in the ERP",
        connection=connection,
        document=number,
        invoice=invoice_id,
        open=room,
    )
