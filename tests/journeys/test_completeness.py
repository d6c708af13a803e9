"""Nothing is lost between Stripe and us: what no webhook brought is found in Stripe's own register within one cycle.

`COMPLETENESS_DOCUMENTS=10000` loses one of so many.
"""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from decimal import Decimal

import pytest
from django.utils import timezone

from connectors import registry
from connectors.models import Connection
from connectors.recorder import Collector
from connectors.stripe import register
from exceptions.models import ExceptionCase
from q2c.inbox.models import InboundEvent, InboundKey
from q2c.inbox.refetch import run_waiting
from q2c.reconciliation import completeness
from q2c.reconciliation.models import FeedDay, FeedGap
from q2c.records.models import BilledDocument

pytestmark = pytest.mark.django_db(transaction=True)
COUNT = int(os.environ.get("COMPLETENESS_DOCUMENTS", "40"))
PATIENCE = max(60, COUNT // 20)  # seconds
AT_ONCE = 500  # the control door takes no more
TYPES = ("invoice", "credit_memo", "payment", "refund")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """What was made a moment ago is judged too."""
    monkeypatch.setattr(completeness, "SETTLES", -dt.timedelta(seconds=5))


def bill(house, count):
    """So many invoices AC-0001, ... of GBP 12.34 each."""
    customer = house.customer()
    line = {"amount": 1234, "quantity": 1, "description": "API", "metadata": {"sku": "QB-API"}}
    given = [
        {"customer": customer, "currency": "gbp", "lines": [line], "metadata": {"legal_entity": "GB01"},
         "number": f"AC-{n:04}"}
        for n in range(1, count + 1)
    ]  # fmt: skip
    return [
        made
        for place in range(0, count, AT_ONCE)
        for made in house.make("stripe", "invoice", given[place : place + AT_ONCE])
    ]


@pytest.mark.scenario(17)
def test_one_lost_webhook_of_many_is_found_named_and_healed_within_one_cycle(house, monkeypatch):
    monkeypatch.setattr(house, "poll", lambda: None)  # which would bring it too
    lost = COUNT * 7 // 10
    house.fault("stripe", "webhook_lose", when={"external_id": f"AC-{lost:04}"})
    ids = bill(house, COUNT)
    house.carry(
        until=lambda: BilledDocument.objects.filter(document_type="invoice").count() == COUNT - 1, seconds=PATIENCE
    )
    found = completeness.check_feed("stripe", "invoice")
    assert (found.listed, found.found, found.read_again, found.failure) == (COUNT, 1, 1, "")
    gap = FeedGap.objects.get()
    assert (gap.number, gap.external_id, gap.amount) == (f"AC-{lost:04}", ids[lost - 1], Decimal("12.34"))
    day = FeedDay.objects.get()
    assert (day.legal_entity_code, day.currency, day.period_code) == ("GB01", "GBP", f"{day.day:%Y-%m}")
    assert (day.source_count, day.source_amount) == (COUNT, COUNT * Decimal("12.34"))
    assert (day.our_count, day.missing_count, day.missing_amount) == (COUNT - 1, 1, Decimal("12.34"))
    assert f"invoice AC-{lost:04} over GBP 12.34, which never reached us" in ExceptionCase.objects.get().summary
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": COUNT}, seconds=PATIENCE)
    assert completeness.check_feed("stripe", "invoice").closed == 1
    day.refresh_from_db()
    assert (day.our_count, day.our_amount, day.missing_count) == (COUNT, COUNT * Decimal("12.34"), 0)
    assert ExceptionCase.objects.get().state == "resolved"
    assert house.states("invoice_to_erp") == {"completed": COUNT}
    assert len(house.made("netsuite", "invoice")) == COUNT


def test_each_sort_of_document_that_no_webhook_brought_is_read_from_the_register_and_posted_once(house):
    invoice = house.invoice(house.customer())
    house.carry()
    house.fault("stripe", "webhook_lose")
    voided = house.invoice(house.customer(name="Second Ltd"))
    payment = house.pay(invoice)
    refund = house.refund(payment)
    credit = house.credit(voided, amount=1000)
    house.sandboxes.control("DELETE", "stripe/faults")
    found = {kind: completeness.check_feed("stripe", kind) for kind in TYPES}
    assert {kind: (f.found, f.read_again) for kind, f in found.items()} == dict.fromkeys(TYPES, (1, 1))
    assert dict(FeedGap.objects.values_list("document_type", "external_id")) == {
        "invoice": voided, "credit_memo": credit, "payment": payment, "refund": refund,
    }  # fmt: skip
    house.carry(until=lambda: BilledDocument.objects.filter(document_type__in=TYPES).count() == 5)
    assert {kind: completeness.check_feed("stripe", kind).closed for kind in TYPES} == dict.fromkeys(TYPES, 1)
    assert set(ExceptionCase.objects.filter(kind="feed_incomplete").values_list("state", flat=True)) == {"resolved"}
    for day in FeedDay.objects.all():
        assert (day.source_count, day.source_amount) == (day.our_count, day.our_amount), day.document_type
    made_by_us = InboundKey.objects.filter(dedupe_key__startswith="register:").values_list("dedupe_key", flat=True)
    assert list(made_by_us) == [f"register:refund.updated:{refund}"]  # of the others Stripe lists its own events
    house.poll()
    house.carry()
    made = Counter(entry["document_type"] for entry in house.made("netsuite"))
    assert {kind: n for kind, n in made.items() if kind != "customer"} == {
        "invoice": 2, "creditMemo": 1, "customerPayment": 1, "journalEntry": 1,
    }  # fmt: skip


@pytest.mark.parametrize("is_listed", [True, False], ids=["as Stripe lists it", "as the object is now"])
@pytest.mark.scenario(17)
def test_a_dispute_of_which_no_webhook_came_is_found_within_one_cycle_and_each_movement_is_carried_once(
    house, monkeypatch, is_listed
):
    if not is_listed:
        monkeypatch.setattr(register, "events_query", lambda wanted, entries: [("created[lte]", "1")])
    payment = house.pay(house.invoice(house.customer()))
    house.carry(until=lambda: house.states("application_to_erp") == {"completed": 1})
    ids: list[str] = []
    steps = (("missing", "withdrawn", {"payment_intent": payment}), ("ended", "won", {"status": "won"}))
    for number, (kind, movement, given) in enumerate(steps, start=1):
        with monkeypatch.context() as without_polls:
            without_polls.setattr(house, "poll", lambda: None)  # which would bring it too
            house.fault("stripe", "webhook_lose")
            ids += house.make("stripe", "dispute", [given | ({"id": ids[0]} if ids else {})])
            house.sandboxes.control("DELETE", "stripe/faults")
            found = completeness.check_feed("stripe", "dispute")
            assert (found.listed, found.found, found.read_again, found.failure) == (1, 1, 1, "")
            gap = FeedGap.objects.get(kind=kind)
            assert (gap.external_id, gap.amount, gap.currency, gap.legal_entity_code) == (ids[0], 100, "GBP", "GB01")
            house.carry(until=lambda so_far=number: house.states("dispute_to_erp") == {"completed": so_far})
            assert completeness.check_feed("stripe", "dispute").closed == 1
        assert journals_of(house, ids[0]) == ["withdrawn", "won"][:number]
        assert movement == journals_of(house, ids[0])[-1]
        day = FeedDay.objects.get(document_type="dispute")
        assert (day.legal_entity_code, day.source_count, day.source_amount) == ("GB01", 1, 100)
        assert (day.our_count, day.our_amount, day.missing_count, day.differing_count) == (1, 100, 0, 0)
    cases = ExceptionCase.objects.filter(kind="feed_incomplete").values_list("state", "legal_entity_code")
    assert set(cases) == {("resolved", "GB01")}
    house.poll()  # and now Stripe's own come too
    house.carry(until=lambda: not InboundKey.objects.filter(verdict="received").exists() and not house.standing())
    assert journals_of(house, ids[0]) == ["withdrawn", "won"]
    assert house.states("dispute_to_erp") == {"completed": 2}
    told = InboundEvent.objects.filter(event_type__startswith="charge.dispute.funds_")
    assert told.count() == (2 if is_listed else 4)  # what we made of the object, and Stripe's own


def journals_of(house, dispute):
    """Which movements of a dispute the ERP says that it made a journal of."""
    made = (entry["external_id"] or "" for entry in house.made("netsuite", "journalEntry"))
    return [called.rpartition("-")[2] for called in made if dispute in called]


def test_a_hole_in_the_invoice_numbers_is_asked_for_at_the_source_and_filled_by_what_is_voided(house):
    customer = house.customer()
    for number in ("NW-0001", "NW-0004"):
        house.invoice(customer, number=number)
    house.carry()
    for _ in range(2):
        completeness.check_feed("stripe", "invoice")
    gap = FeedGap.objects.get()
    assert (gap.kind, gap.number, gap.legal_entity_code) == ("number", "NW-0002 to NW-0003", "GB01")
    for number in ("NW-0002", "NW-0003"):
        voided = house.invoice(customer, number=number)
    house.void(voided)
    completeness.check_feed("stripe", "invoice")
    gap.refresh_from_db()
    assert (gap.closed_how, ExceptionCase.objects.get(kind="number_missing").state) == ("arrived", "resolved")
    house.pass_days(1)  # a search finds what is older than a minute
    client = registry.client_for(Connection.objects.get(code="stripe"), collector=Collector())
    found = run_waiting(client.numbered("invoice", "NW-0003"))
    assert (found.id, found.status, run_waiting(client.numbered("invoice", "NW-0009"))) == (voided, "void", None)


def test_a_payment_begun_in_one_month_and_paid_in_another_belongs_to_the_one_in_which_it_was_paid(house, monkeypatch):
    monkeypatch.setattr(house, "poll", lambda: None)  # which would bring it too
    customer = house.customer()
    house.carry()
    given = {"amount": 10_000, "currency": "gbp", "customer": customer, "payment_method": "pm_card_visa"}
    begun = house.ask_stripe("payment_intents", **given, **{"metadata[legal_entity]": "GB01"})
    house.carry()
    house.fault("stripe", "webhook_lose")
    house.pass_days(40)
    house.ask_stripe(f"payment_intents/{begun['id']}/confirm")
    house.sandboxes.control("DELETE", "stripe/faults")
    assert completeness.check_feed("stripe", "payment").read_again == 1
    house.carry(until=lambda: BilledDocument.objects.filter(external_id=begun["id"]).exclude(content_hash="").exists())
    day = BilledDocument.objects.get(external_id=begun["id"]).document_date
    assert (day - dt.datetime.fromtimestamp(begun["created"], dt.UTC).date()).days in (39, 40, 41)  # in its zone
    assert InboundKey.objects.get(dedupe_key__startswith="register:").dedupe_key.endswith(begun["id"])


def test_a_sale_that_neither_webhook_nor_poll_brought_is_found_in_the_crm_and_carried(house):
    account = house.account()
    house.win(account)
    house.carry()
    assert completeness.check_feed("salesforce", "order") == completeness.Checked(listed=1)
    house.fault("salesforce", "webhook_lose")
    lost = house.win(account, Name="Lost deal")
    found = completeness.check_feed("salesforce", "order")
    assert (found.listed, found.found, found.read_again) == (2, 1, 1)
    gap = FeedGap.objects.get()
    assert (gap.external_id, gap.number, gap.legal_entity_code, gap.currency) == (lost, "Lost deal", "GB01", "GBP")
    house.carry(until=lambda: house.states("order_to_subscription").get("completed") == 2)
    assert completeness.check_feed("salesforce", "order").closed == 1
    day = FeedDay.objects.get()
    assert (day.source_count, day.our_count, day.source_amount) == (2, 2, day.our_amount)
    assert ExceptionCase.objects.get(kind="feed_incomplete").state == "resolved"


def test_a_void_that_nobody_told_us_is_found_and_heard(house):
    invoice = house.invoice(house.customer())
    house.carry()
    house.fault("stripe", "webhook_lose")
    house.void(invoice)
    house.sandboxes.control("DELETE", "stripe/faults")
    assert completeness.check_feed("stripe", "invoice").found == 1
    assert FeedGap.objects.get().kind == "ended"
    house.carry(until=lambda: BilledDocument.objects.get(external_id=invoice).status == "void")
    assert completeness.check_feed("stripe", "invoice").closed == 1


def test_an_old_document_without_an_event_is_read_as_it_is_now_and_a_late_webhook_changes_nothing(house, monkeypatch):
    customer = house.customer()
    house.carry()
    house.fault("stripe", "webhook_lose")
    house.invoice(customer)
    house.sandboxes.control("DELETE", "stripe/faults")
    monkeypatch.setattr(register, "events_query", lambda wanted, entries: [("created[lte]", "1")])
    completeness.check_feed("stripe", "invoice")
    assert InboundKey.objects.get(dedupe_key__startswith="register:invoice.finalized:").is_polled_only
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 1})
    assert house.states("invoice_to_erp") == {"completed": 1}
    house.poll()
    house.carry(until=lambda: not InboundKey.objects.filter(verdict="received").exists() and not house.standing())
    assert InboundEvent.objects.filter(event_type="invoice.finalized").count() == 2
    assert len(house.made("netsuite", "invoice")) == 1
    assert timezone.now() - FeedGap.objects.get().found_at < dt.timedelta(hours=1)
