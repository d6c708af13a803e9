"""What the CRM is told of an order never goes back, in whatever order the facts come."""

import datetime as dt
from itertools import permutations
from types import SimpleNamespace

import pytest

from q2c.canonical.base import Source
from q2c.canonical.contract import OrderStatus
from q2c.canonical.schema import to_json
from q2c.flows.status_to_crm import build_status

AT = dt.datetime(2027, 3, 1, 12, tzinfo=dt.UTC)
LATER = AT + dt.timedelta(days=20)
TXN = SimpleNamespace(id="t1", lane="order:006A")


def said(kind="invoice", id="in_1", at=AT, **parts):
    source = Source(connection="stripe", object_type=kind, object_id=id)
    return OrderStatus(source=source, order_id="006A", at=at, **parts)


def shown_after(*statements):
    """The CRM's fields after these were told in this order."""
    shown, lane = {}, []
    links = SimpleNamespace(in_lane=lambda flow, lane_name: lane)
    for statement in statements:
        lane.append(to_json(statement))
        telling = build_status(statement, links, TXN)
        shown |= {} if telling is None else telling.fields
    shown.pop("link", None)
    return shown


OPEN, PAID = said(invoice_status="open"), said(invoice_status="paid", payment_status="paid")  # in one second
POSTED = said(invoice_status="posted", at=AT - dt.timedelta(hours=1))  # dated as the invoice


@pytest.mark.parametrize("order", list(permutations([OPEN, POSTED, PAID])))
def test_a_paid_invoice_stays_paid_whenever_the_ledger_has_it(order):
    assert shown_after(*order) == {"invoice_status": "paid", "payment_status": "paid"}


def test_each_step_forward_is_told():
    assert shown_after(OPEN) == {"invoice_status": "open"}
    assert shown_after(OPEN, POSTED) == {"invoice_status": "posted"}


def test_an_uncollectible_invoice_may_still_be_paid():
    gone = said(invoice_status="uncollectible", at=LATER)
    assert shown_after(OPEN, gone, said(invoice_status="paid", at=LATER))["invoice_status"] == "paid"


def test_a_payment_that_failed_and_then_succeeded_has_succeeded():
    failed = said(payment_status="failed", at=AT)
    assert shown_after(PAID, failed)["payment_status"] == "paid"
    assert shown_after(failed, PAID)["payment_status"] == "paid"


@pytest.mark.parametrize("order", list(permutations([0, 1])))
def test_the_newer_invoice_of_an_order_is_the_one_that_shows(order):
    second = said(id="in_2", invoice_status="open", at=LATER)
    assert shown_after(*([PAID, second][n] for n in order))["invoice_status"] == "open"


def test_a_subscription_that_ended_is_not_active_again():
    active = said("subscription", "sub_1", subscription_status="active", at=LATER)
    ended = said("subscription", "sub_1", subscription_status="canceled", at=LATER)
    assert shown_after(ended, active) == {"status": "canceled"}
    assert shown_after(active, ended) == {"status": "canceled"}


def test_a_subscription_that_is_late_and_pays_is_active_again():
    late = said("subscription", "sub_1", subscription_status="past_due", at=AT)
    active = said("subscription", "sub_1", subscription_status="active", at=LATER)
    assert shown_after(late, active) == {"status": "active"}
    assert shown_after(active, late) == {"status": "active"}
