"""Webhooks that come twice, in another order, never, late, forged or poisoned: each fact has its effect once."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from connectors.stripe.sandbox.webhooks import sign
from exceptions.models import ExceptionCase
from q2c.core.models import Person
from q2c.flows import invoice_to_erp
from q2c.inbox import replay
from q2c.inbox.models import InboundKey, Refusal
from q2c.transactions.models import BusinessTransaction
from tests.journeys.scene import over
from tests.journeys.scenes import every_scene

pytestmark = pytest.mark.django_db(transaction=True)
NO_WEBHOOK = {"hold_to_source": "no webhook brings what our cases say"}


@pytest.mark.scenario(17, not_for=NO_WEBHOOK)
@over([scene for scene in every_scene() if scene.code not in NO_WEBHOOK])
def test_webhooks_that_come_twice_in_another_order_or_never_have_their_effect_once(house, scene):
    code, senders = scene.code, [player.vendor for player in house.cast.players() if player.sends_webhooks]
    prepared = scene.prepare(house)
    house.carry()
    for do in ("webhook_duplicate", "webhook_reorder", "webhook_lose"):
        before = len(scene.records(house))
        for vendor in senders:
            house.fault(vendor, do, **({"seconds": 0.3} if do == "webhook_reorder" else {}))
        scene.act(house, prepared, do)

        def is_made(do=do, before=before):
            if do == "webhook_lose":
                house.poll()
            return len(scene.records(house)) > before and set(house.states(code)) == {"completed"}

        house.carry(until=is_made)
        for vendor in senders:
            house.sandboxes.control("DELETE", f"{vendor}/faults")
        house.poll()
        house.carry()
        assert len(scene.records(house)) == before + 1, do
        assert set(house.states()) == {"completed"}, do


class Post:
    """Stripe's messages, sent by hand in any order and number to the portal's own door."""

    def __init__(self, house, live_server):
        self.house, self.url = house, f"{live_server.url}/webhooks/stripe/"
        self.secret = house.sandboxes.vendor("stripe")["credentials"]["webhook_secret"]
        house.fault("stripe", "webhook_lose")  # only what is sent here arrives

    def events(self, *types):
        """The newest event of each of these types."""
        items = self.house.sandboxes.control("GET", "stripe/documents/event?limit=1000")["items"]
        newest = {event["type"]: event for event in items}
        return [newest[t] for t in types]

    def send(self, event, *, secret="", at=0.0, body=b""):
        """One message; the status that the portal answers."""
        raw, now = body or json.dumps(event).encode(), int(at or time.time())
        signature = f"t={now},v1={sign(secret or self.secret, now, raw)}"
        headers = {"Stripe-Signature": signature, "Content-Type": "application/json"}
        return requests.post(self.url, data=raw, headers=headers, timeout=30).status_code


@pytest.fixture
def post(house, live_server):
    return Post(house, live_server)


def known(event):
    return InboundKey.objects.get(dedupe_key=event["id"])


@pytest.mark.scenario(14, of="messages, before any flow")
def test_the_same_webhook_five_times_at_once_is_one_effect_and_four_duplicates(house, post):
    house.invoice(house.customer())
    customer, finalized = post.events("customer.created", "invoice.finalized")
    post.send(customer)
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _n: post.send(finalized), range(5)))
    house.carry(until=lambda: house.states() == {"completed": 2})
    assert all(200 <= status < 300 for status in answers)
    assert known(finalized).duplicate_count == 4
    assert len(house.made("netsuite", "invoice")) == 1


@pytest.mark.scenario(15, 16, of="messages, before any flow")
def test_a_newer_state_may_come_before_and_an_older_one_after_it_is_ignored_and_recorded(house, post):
    customer = house.customer(name="Old name Ltd")
    stripe = house.sandboxes.vendor("stripe")
    requests.post(
        f"{stripe['url']}/v1/customers/{customer}", data={"name": "New name Ltd"},
        headers={"Authorization": f"Bearer {stripe['credentials']['api_key']}"}, timeout=30,
    ).raise_for_status()  # fmt: skip
    created, updated = post.events("customer.created", "customer.updated")
    updated["created"] = created["created"] + 5
    assert [post.send(updated)] == [200]
    house.carry(until=lambda: house.states() == {"completed": 1})
    assert [post.send(created)] == [200]
    house.carry(until=lambda: known(created).verdict != "received")
    assert (known(created).verdict, known(created).reason_code) == ("ignored", "older_state")
    (made,) = house.made("netsuite", "customer")
    items = house.sandboxes.control("GET", "netsuite/documents/customer?limit=1000")["items"]
    assert [c["companyName"] for c in items if c["id"] == made["id"]] == ["New name Ltd"]
    assert BusinessTransaction.objects.count() == 1


@pytest.mark.scenario(20, of="the door, before any flow")
def test_what_cant_prove_itself_is_refused_and_counted_and_posts_nothing(house, post):
    house.customer()
    (event,) = post.events("customer.created")
    body = json.dumps(event).encode()
    answers = [
        post.send(event, secret="whsec_of_somebody_else"),
        post.send(event, at=time.time() - 3600),
        requests.post(post.url, data=body, timeout=30).status_code,
        requests.post(
            post.url, data=body.replace(b", ", b","), timeout=30,
            headers={"Stripe-Signature": f"t={int(time.time())},v1={sign(post.secret, int(time.time()), body)}"},
        ).status_code,
    ]  # fmt: skip
    assert answers == [401, 401, 401, 401]
    assert sum(Refusal.objects.values_list("count", flat=True)) == 4
    assert (InboundKey.objects.count(), house.made("netsuite")) == (0, [])
    assert post.send(event) == 200
    house.carry(until=lambda: house.states() == {"completed": 1})
    assert len(house.made("netsuite", "customer")) == 1


@pytest.mark.scenario(20)
def test_both_secrets_let_a_message_in_while_the_vendor_rolls_them(house, live_server):
    before = Refusal.objects.count()
    roll_secret(house, live_server)
    house.customer()
    house.carry()
    assert (house.states(), Refusal.objects.count()) == ({"completed": 1}, before)
    assert len(house.made("netsuite", "customer")) == 1


def roll_secret(house, live_server):
    """Stripe signs with another secret, and for a day with the one that the portal knows."""
    door = {"url": f"{live_server.url}/webhooks/stripe/", "secret": "whsec_the_new_one"}
    house.sandboxes.control("POST", "stripe/webhooks", door)


def test_what_a_journey_rolled_is_put_back_before_the_next_one_lets_days_pass(house, live_server):
    """The vendor keeps its doors from journey to journey; the old secret signs for a day only."""
    roll_secret(house, live_server)
    house.point_webhooks()  # as each opening does
    house.pass_days(2)
    house.customer()
    house.carry(until=lambda: house.states() == {"completed": 1} or Refusal.objects.exists())
    assert (house.states(), list(Refusal.objects.values_list("reason", flat=True))) == ({"completed": 1}, [])


@pytest.mark.scenario(19, 21, of="messages, before any flow")
def test_one_poisoned_document_of_a_hundred_is_held_and_the_others_post_once_though_all_come_again(house, monkeypatch):
    customer = house.customer()
    real = invoice_to_erp.build_ar_invoice

    def build(document, **asked):
        if document.source.object_id == poisoned:
            raise ZeroDivisionError("a message that nobody foresaw")
        return real(document, **asked)

    poisoned = ""
    monkeypatch.setattr(invoice_to_erp, "build_ar_invoice", build)
    house.carry()
    house.fault("stripe", "webhook_duplicate")
    poisoned = house.invoices(customer, 100)[37]  # nobody carries it meanwhile
    house.carry(seconds=60, until=lambda: house.states("invoice_to_erp") == {"completed": 99, "held": 1})
    for event_id in InboundKey.objects.values_list("event_id", flat=True):
        replay.replay_event(event_id, by=Person.objects.get(username="platform"), reason="delivered again")
    house.carry(seconds=60)
    assert house.states("invoice_to_erp") == {"completed": 99, "held": 1}
    assert house.held() == ["unexpected_error"]
    assert len({e["external_id"] for e in house.made("netsuite", "invoice")}) == 99
    assert len(house.made("netsuite", "invoice")) == 99
    assert ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES).count() == 1
