"""What is open of an invoice in the ERP, and what follows where that is less than is needed."""

from __future__ import annotations

import asyncio
import datetime as dt
from decimal import Decimal

import pytest

from q2c.canonical.base import Source
from q2c.canonical.posting import AppliedTo, PostedDocument
from q2c.core.problems import Awaits, NeverSent, NotAnswered, Refrained
from q2c.flows.steps import open_items

SOURCE = Source(connection="stripe", object_type="invoice_payment", object_id="inpay_1")
INVOICE = PostedDocument(
    document_type="ar_invoice", id="9", external_id="x", number="NW-1", open_amount=Decimal("40.00")
)


class Erp:
    """Tells one invoice, and a receipt that settles some of it already."""

    def __init__(self, open_amount: Decimal | None, is_silent: bool = False) -> None:
        self.open_amount, self.is_silent = open_amount, is_silent

    async def read(self, document_type: str, document_id: str) -> PostedDocument:
        if self.is_silent:
            raise NotAnswered("no answer came")
        if document_type == "ar_invoice":
            return PostedDocument(
                document_type=document_type, id=document_id, external_id="x", open_amount=self.open_amount
            )
        applied = (AppliedTo(document="9", amount=Decimal(60)), AppliedTo(document="8", amount=Decimal(5)))
        return PostedDocument(document_type=document_type, id=document_id, external_id="x", applied=applied)


@pytest.mark.parametrize(
    ("open_amount", "payment", "room"),
    [(Decimal(40), "", Decimal(40)), (Decimal(40), "7", Decimal(100)), (None, "7", None)],
)
def test_what_the_same_receipt_settles_already_is_room_for_it(open_amount, payment, room):
    _, found = asyncio.run(open_items.read_room(Erp(open_amount), "9", payment=payment, kind="receipt"))
    assert found == room


def test_a_question_that_is_not_answered_leaves_nothing_in_doubt():
    with pytest.raises(NeverSent):
        asyncio.run(open_items.read_room(Erp(None, is_silent=True), "9"))


@pytest.mark.parametrize(
    ("voids", "looks", "expected"),
    [
        ((), 0, "GBP 50.00 is to be applied to NW-1, of which 40.00 is open in the ERP"),
        (("CN-1",), 0, "the void of CN-1 in the ERP, which opens NW-1 again"),
        (("CN-1", "CN-2"), open_items.LOOKS, "the void of CN-1 and others in the ERP, which opens NW-1 again"),
    ],
)
def test_less_than_is_needed_waits_for_voids_on_their_way_and_is_a_case_without_any(voids, looks, expected):
    what = "GBP 50.00 is to be applied to"
    found = open_items.refuse(
        what, INVOICE, Decimal("40.00"), source=SOURCE, invoice_id="in_1", voids=voids, looks=looks
    )
    assert str(found) == expected
    if isinstance(found, Awaits):
        assert found.key == "credit_voids:stripe:in_1"
        assert (found.not_before is None) is (looks == 0)
        assert looks == 0 or found.not_before > dt.datetime.now(dt.UTC) + dt.timedelta(minutes=9)
    else:
        assert isinstance(found, Refrained)
        assert found.code == "open_amount_exceeded"
        assert found.subject == {"connection": "stripe", "document": "NW-1", "invoice": "in_1", "open": "40.00"}
