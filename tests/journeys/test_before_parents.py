"""What is told before what it is about waits, visibly and without a failure, and goes on once in the right order."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from uuid import UUID

import pytest
from django.test import Client

from exceptions.models import ExceptionCase
from q2c.core.models import Person
from q2c.inbox.models import InboundKey
from q2c.transactions.models import BusinessTransaction, StepRun, WorkItem
from tests.journeys.ledger import CLEARING, CLEARING_EUR, Ledger
from tests.journeys.test_events import Post

pytestmark = pytest.mark.django_db(transaction=True)


def tell(house, post, *types):
    """The webhooks of these types, the newest first; then all that can be carried is."""
    events = house.sandboxes.control("GET", "stripe/documents/event?limit=1000")["items"]
    for event in reversed([event for event in events if event["type"] in types]):
        assert post.send(event) < 300

    def rests():
        is_read = not InboundKey.objects.filter(verdict="received").exists()
        return is_read and "running" not in house.states()

    house.carry(until=rests)


def waiting(told):
    """What waits newly, and adds it to what was told: flow and what for."""
    rows = BusinessTransaction.objects.filter(state="waiting").exclude(pk__in=told)
    found = {pk: (flow, what) for pk, flow, what in rows.values_list("pk", "flow", "waits_for")}
    told |= set(found)
    return sorted(found.values())


def shown(txn):
    client = Client()
    client.force_login(Person.objects.get(username="controller"))
    return client.get(f"/transactions/{txn.pk}/").content.decode()


@pytest.mark.scenario(38)
def test_each_document_that_comes_before_what_it_is_about_waits_for_it_and_posts_once(house, live_server):
    post = Post(house, live_server)
    house.poll = lambda: 0  # a poll, which comes after a while, would tell all at once
    customer = house.customer()
    paid, credited = house.invoice(customer), house.invoice(customer, amount=20_000)
    payment = house.pay(paid)
    notes = house.credit(paid, amount=1_000, refund_amount=1_000), house.credit(credited, amount=2_000)
    settled = {"currency": "gbp", "exchange_rate": "0.80"}
    euros = {"customer": customer, "amount": 10_000, "currency": "eur", "settled": settled}
    (converted,) = house.make("stripe", "payment_intent", [euros])
    payout = house.payout()
    (refund,) = house.sandboxes.control("GET", "stripe/documents/refund?limit=50")["items"]
    told: set[UUID] = set()
    for sort, waits in (
        ("payout.paid", [("payout_to_erp", f"payment {converted} in the ERP")]),
        ("refund.created", [("refund_to_erp", f"payment {payment} in the ERP")]),
        ("credit_note.created", [
            ("application_to_erp", f"refund {refund['id']} in the ERP"),
            *(("credit_memo_to_erp", f"invoice {invoice} from stripe") for invoice in (paid, credited)),
        ]),
        ("invoice_payment.paid", [("application_to_erp", f"invoice {paid} in the ERP")]),
        ("payment_intent.succeeded", [("payment_to_erp", f"customer {customer} in the ERP")] * 2),
        ("invoice.finalized", [("invoice_to_erp", f"customer {customer} in the ERP")] * 2),
    ):  # fmt: skip
        tell(house, post, sort)
        assert waiting(told) == sorted(waits), sort
        assert house.states() == {"waiting": len(told)}  # those before too, though they may wait for the next by now
    assert house.made("netsuite") == house.arrived("netsuite", "POST", "*/record/v1/*") == []
    for txn in BusinessTransaction.objects.all():
        assert "Waiting" in shown(txn)
        assert " in the ERP" in shown(txn) or " from stripe" in shown(txn), txn.waits_for
    has_failed_nowhere()
    tell(house, post, "customer.created")
    house.carry(seconds=60, until=lambda: set(house.states()) == {"completed"})
    has_failed_nowhere()
    assert set(BusinessTransaction.objects.values_list("attempt", flat=True)) == {1}
    kinds = [entry["document_type"] for entry in house.made("netsuite")]
    assert Counter(kinds) == {
        "customer": 1, "invoice": 2, "creditMemo": 2, "customerPayment": 2, "customerRefund": 1, "journalEntry": 1,
    }  # fmt: skip
    place = {entry["external_id"].rpartition("-")[2]: n for n, entry in enumerate(house.made("netsuite"))}
    assert place[customer] == 0
    assert (place[paid] < place[notes[0]], place[credited] < place[notes[1]]) == (True, True)
    assert max(place[payment], place[notes[0]]) < place[refund["id"]]
    assert place[converted] < place[payout]
    assert house.arrived_twice() == []
    books = Ledger(house.sandboxes)
    owed, on_account = books.open_items().values()
    assert (owed, on_account) == (Decimal(180), Decimal(100))
    assert not {CLEARING, CLEARING_EUR} & set(books.balances())


def has_failed_nowhere():
    """No case, no failed step, and no wait that counted as an attempt."""
    assert not ExceptionCase.objects.exists()
    assert not StepRun.objects.filter(state="failed").exists()
    assert set(WorkItem.objects.values_list("wait_count", flat=True)) <= {0}
