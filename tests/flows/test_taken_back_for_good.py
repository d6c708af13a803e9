"""What a refund pays out whose credit note wasn't posted, since a plan took the invoice back for good."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from types import SimpleNamespace

import pytest

from q2c.canonical.base import Source
from q2c.canonical.billing import CreditMemo, Refund, RefundedCredit
from q2c.canonical.posting import AppliedTo
from q2c.canonical.schema import to_json
from q2c.canonical.unwinding import SettledBy, Unwinding
from q2c.core.problems import Awaits
from q2c.flows import refund_to_erp
from q2c.links import Links
from q2c.posting.facts import Policy

AT = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
RECEIPT, HUNDRED = "901", Decimal(100)
BOOK = SimpleNamespace(code="GB01", connection="netsuite")
CALENDAR = SimpleNamespace(erps=lambda entity: ["netsuite"])


def refund(*credits: tuple[str, int]) -> Refund:
    return Refund(
        source=Source(connection="stripe", object_type="refund", object_id="re_1"), payment_id="pi_1", customer_id="c",
        currency="GBP", amount=HUNDRED, refunded_at=AT, gateway="stripe",
        credits=tuple(RefundedCredit(credit_note_id=name, amount=Decimal(amount)) for name, amount in credits),
    )  # fmt: skip


def memo(invoice: str) -> CreditMemo:
    return CreditMemo(
        source=Source(connection="stripe", object_type="credit_note", object_id="cn_1"), number="CN-1", customer_id="c",
        customer_name="C", currency="GBP", issued_at=AT, total=HUNDRED, lines=(), invoice_id=invoice,
    )  # fmt: skip


def plan(*, reposts: bool = False, settled: tuple[SettledBy, ...] = ()) -> Unwinding:
    return Unwinding(
        source=Source(connection="stripe", object_type="unwinding", object_id="in_1-1"), generation=1,
        invoice_id="in_1", invoice_number="INV-1", customer_id="c", customer_name="C", legal_entity="GB01",
        erp="netsuite", erp_invoice="501", currency="GBP", total=HUNDRED, open_amount=HUNDRED, on=AT.date(),
        reposts=reposts, settled=settled,
    )  # fmt: skip


def known(made: Unwinding | None, state: str = "completed", invoice: str = "in_1") -> Links:
    links = Links()
    keys = [("credit_memo_to_erp", "stripe", name) for name in ("cn_1", "cn_2")]
    links.facts |= {key: to_json(memo(invoice)) for key in keys}
    links.states |= dict.fromkeys(keys, "cancelled")
    if made is not None:
        key = ("unwinding_to_erp", "stripe", "in_1")
        links.facts[key], links.states[key] = to_json(made), state
    return links


def on_receipt(moves: bool) -> SettledBy:
    return SettledBy(kind="receipt", document=RECEIPT, amount=HUNDRED, moves=moves)


ALL, PARTS = [("cn_1", 100)], [("cn_1", 60), ("cn_2", 40)]
PAID_OUT = (AppliedTo(document=RECEIPT, amount=HUNDRED),)


@pytest.mark.parametrize(
    ("credits", "links", "paid_out"),
    [
        (ALL, known(plan()), PAID_OUT),
        (PARTS, known(plan()), PAID_OUT),
        (ALL, known(plan(settled=(on_receipt(moves=True),))), PAID_OUT),
        (ALL, known(plan(settled=(on_receipt(moves=False),))), ()),  # it stands in a closed period, and wasn't touched
        (ALL, known(plan(reposts=True)), ()),
        (ALL, known(plan(), "cancelled"), ()),
        (ALL, known(None), ()),  # billing voided the invoice before it was posted
        (ALL, known(plan(), invoice=""), ()),
        ([("cn_1", 60)], known(plan()), ()),  # the rest is given back for another reason
    ],
)
def test_it_pays_out_the_receipt_where_that_alone_stands_on_account(credits, links, paid_out):
    found = refund_to_erp.find_credits(refund(*credits), BOOK, Policy(), RECEIPT, links, CALENDAR)
    assert found == paid_out


def test_it_asks_for_the_plans_about_the_invoices_of_credit_notes_that_were_cancelled():
    assert refund_to_erp.want_plans(refund(*ALL), known(None)) == [("fact", ("unwinding_to_erp", "stripe", "in_1"))]
    assert refund_to_erp.want_plans(refund(*ALL), Links()) == []


def test_it_waits_for_a_plan_that_is_under_way():
    with pytest.raises(Awaits) as wait:
        refund_to_erp.find_credits(refund(*ALL), BOOK, Policy(), RECEIPT, known(plan(), "running"), CALENDAR)
    assert wait.value.key == "unwinding:stripe:in_1"
