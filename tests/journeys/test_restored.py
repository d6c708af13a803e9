"""The database is restored from an older backup: everything is read again, nothing is made again, nothing stays
forgotten."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections import Counter
from decimal import Decimal

import pytest
from django.core.management import call_command

from exceptions import releases
from exceptions.models import ExceptionCase
from mappings.drafts import Line
from mappings.models import CrossReference, MappingRule
from q2c.flows import intake
from q2c.flows.summaries import start_summaries_now
from q2c.flows.tasks import carry
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests.journeys.backup import take_backup
from tests.journeys.deaths import bury, carry_and_die
from tests.journeys.house import forget_everything
from tests.journeys.ledger import Ledger
from tests.journeys.scenes import SCENES, enter, lineage, live_a_day, made_by_vendor
from tests.journeys.stage import await_that
from tests.journeys.test_holds import person
from tests.mappings.rules import START

pytestmark = pytest.mark.django_db(transaction=True)
DOCUMENTS = ("ar_invoice", "ar_credit_memo", "receipt", "ar_refund", "journal")
RECORDS = {"invoice", "credit_memo", "payment", "refund", "dispute", "payout", "invoice_void", "credit_void"}


@pytest.fixture
def backup(house):
    """What is asked of it: take it, restore it. It ends with the test."""
    taken = []
    yield lambda: taken.append(take_backup()) or taken[-1]
    if taken:
        taken[-1].drop()


def ask(*arguments):
    said = io.StringIO()
    call_command(*arguments, stdout=said)
    return said.getvalue()


@pytest.mark.scenario(60, of="everything that was forgotten at once")
def test_after_a_restore_no_document_is_made_again_and_all_lineage_is_back(house, backup):
    live_a_day(house, house.account(Name="Before the backup Ltd"))
    house.poll()
    enter(house, SCENES["invoice_to_erp"], house.customer(name="In the middle Ltd"), "known but not yet posted")
    older = backup()

    house.carry()
    live_a_day(house, house.account(Name="After the backup Ltd", AccountNumber="NW-2"), decides=False)
    before, known, applied = made_by_vendor(house), lineage(), len(house.made("netsuite", "customerPayment", "updated"))

    older.restore()
    forget_everything()
    assert lineage() != known
    ask("restored", "--by", "platform", "--why", "the disk of 21 November", "--change", "CHG-1")

    def is_all_back():
        house.poll()
        return lineage() == known and set(house.states()) == {"completed"}

    house.poll()
    house.carry(seconds=40)
    while start_summaries_now(lambda day: True):  # as the beat does, once the day is over
        house.carry(seconds=40)
    house.carry(until=is_all_back, seconds=60)
    house.poll()
    house.carry(seconds=40)
    assert made_by_vendor(house) == before
    assert len(house.made("netsuite", "customerPayment", "updated")) == applied
    assert lineage() == known
    assert not BusinessTransaction.objects.exclude(state="completed").exists()
    assert json.loads(ask("restored", "--forgotten")) == []


def remap(house, sku):
    """Two people map what is held for lack of it, as they did before."""
    (case,) = ExceptionCase.objects.filter(kind="missing_item_mapping", state__in=ExceptionCase.OPEN_STATES)
    item = MappingRule.objects.get(kind="item", key="QB-API", known_to=None).value
    line = Line(kind="item", key=sku, value=item, effective_from=START, legal_entity="GB01", connection="netsuite")
    changes = releases.remap_and_repost(case, by=person("billing_ops"), reason="a new SKU", line=line)
    releases.decide_change_set(changes, by=person("controller"), approve=True)


@pytest.mark.crash
@pytest.mark.scenario(60)
def test_what_was_in_flight_at_the_time_of_the_backup_ends_right_and_nothing_is_sent_a_second_time(house, backup):
    customer = house.customer()
    disputed, voided = house.invoice(customer, amount=30_000), house.invoice(customer, amount=20_000)
    payment = house.pay(disputed)
    house.carry()
    house.set_connections(settles_after_seconds="60")
    held = house.invoice(customer, sku="NEW-SKU", amount=5_000)
    house.carry(until=lambda: house.states("invoice_to_erp").get("held") == 1)
    house.fault("netsuite", "lose_answer", when={"method": "POST", "path": "*/invoice", "times": 1})
    unknown = house.invoice(customer, amount=6_000)
    house.carry(until=lambda: house.states("invoice_to_erp").get("unknown") == 1)
    enter(house, SCENES["invoice_to_erp"], customer, "sent, and its worker dies before it can tell")
    assert carry_and_die(lambda: carry("invoice_to_erp", seconds=5), "post_invoice:after_answer")
    dispute = house.dispute(payment)
    house.void(voided)
    due = WorkItem.objects.filter(flow__in=("dispute_to_erp", "invoice_void_to_erp"))
    await_that(
        lambda: intake.carry_due_events() is not None and due.count() == 2, seconds=30, what="told of dispute and void"
    )
    assert house.states() == {"completed": 5, "held": 1, "unknown": 1, "running": 3}
    assert WorkItem.objects.exclude(intent=None).count() == 2
    older = backup()

    bury()
    house.hasten()
    house.carry(until=lambda: set(house.states()) == {"completed", "held"})
    remap(house, "NEW-SKU")
    house.make("stripe", "dispute", [{"id": dispute, "status": "won"}])
    house.carry()
    assert set(house.states()) == {"completed"}
    before, known, sent = made_by_vendor(house), lineage(), house.count_arrivals()
    books = Ledger(house.sandboxes)
    balances, open_items = books.balances(), books.open_items()

    older.restore()
    forget_everything()
    ask("restored", "--by", "platform", "--why", "the disk of 21 November", "--change", "CHG-1")
    bury()
    house.hasten()
    house.poll()
    house.carry(until=lambda: house.held() == ["missing_item_mapping"] and set(house.states()) == {"completed", "held"})
    assert BusinessTransaction.objects.get(state="held").source_id == held
    remap(house, "NEW-SKU")
    house.carry()
    assert set(house.states()) == {"completed"}
    assert (made_by_vendor(house), lineage()) == (before, known)
    assert house.count_arrivals() == sent
    assert (books.balances(), books.open_items()) == (balances, open_items)
    assert not ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES).exists()
    assert json.loads(ask("restored", "--forgotten")) == []
    assert BusinessTransaction.objects.get(source_id=unknown).state == "completed"


@pytest.mark.scenario(60)
def test_what_was_posted_after_the_backup_and_then_voided_is_found_and_taken_back_and_what_wasnt_is_never_posted(
    house, backup
):
    customer = house.customer()
    held = house.invoice(customer, sku="NEW-SKU", amount=5_000)
    house.carry()
    older = backup()
    remap(house, "NEW-SKU")
    posted = house.invoice(customer, amount=10_000)
    house.carry()
    never = house.invoice(customer, amount=7_000)
    for invoice in (held, posted, never):
        house.void(invoice)
    books = Ledger(house.sandboxes)
    assert books.open_items() == {f"inv-stripe-{held}": Decimal(50), f"inv-stripe-{posted}": Decimal(100)}

    older.restore()
    forget_everything()
    ask("restored", "--by", "platform", "--why", "the disk of 21 November", "--change", "CHG-1")
    house.poll()
    house.carry()
    assert house.held() == ["missing_item_mapping"], "nobody knows yet whether the ERP has it"
    remap(house, "NEW-SKU")
    house.carry()
    assert set(house.states()) == {"completed", "cancelled"}
    assert set(BusinessTransaction.objects.filter(state="cancelled").values_list("source_id", flat=True)) == {never}
    assert (books.open_items(), books.balances()) == ({}, {})
    made = Counter(
        (e["document_type"], e["external_id"]) for e in house.made("netsuite") if "stripe-in_" in e["external_id"]
    )
    assert made == Counter(
        (kind, f"{prefix}-stripe-{invoice}") for invoice in (held, posted)
        for kind, prefix in (("invoice", "inv"), ("creditMemo", "void"))
    )  # fmt: skip


@pytest.mark.scenario(60)
def test_every_document_is_linked_again_to_the_record_that_its_own_flow_names(house):
    live_a_day(house, house.account(), decides=False)  # what people decide no feed brings back
    customer = house.customer(name="Voids Ltd")
    voided, lowered = house.invoice(customer), house.invoice(customer)
    credit = house.credit(lowered, amount=1_000)
    house.carry()
    house.void(voided)
    house.void_credit(credit)
    house.carry()
    made = CrossReference.objects.filter(connection__code="netsuite", external_type__in=DOCUMENTS).exclude(
        record_type="summary")  # fmt: skip
    fields = ("record_type", "record_key", "external_type", "external_id", "number")
    known = sorted(made.values_list(*fields))
    assert {row[0] for row in known} == RECORDS
    made.delete()
    ask("restored", "--forgotten", "--since", "2020-01-01")
    assert sorted(made.values_list(*fields)) == known
    assert not ExceptionCase.objects.filter(kind="forgotten_document").exists()


@pytest.mark.scenario(60)
def test_a_document_that_was_posted_late_is_listed_by_the_day_on_which_it_was_made(house):
    invoice = house.invoice(house.customer())
    house.poll()
    house.pass_days(3)
    house.carry()
    dated = BusinessTransaction.objects.get(flow="invoice_to_erp").document_date
    CrossReference.objects.filter(record_type="invoice").delete()
    (row,) = json.loads(ask("restored", "--forgotten", "--since", (dated + dt.timedelta(days=2)).isoformat()))
    assert row["linked_to"] == f"stripe:invoice:{invoice}"


@pytest.mark.scenario(60)
def test_what_no_feed_brings_back_is_listed_and_linked_by_its_external_id(house):
    invoice = house.invoice(house.customer())
    house.carry()
    posted = BusinessTransaction.objects.get(flow="invoice_to_erp")
    CrossReference.objects.filter(record_type="invoice").delete()
    (row,) = json.loads(ask("restored", "--forgotten", "--since", "2020-01-01"))
    assert row == {
        "connection": "netsuite", "document_type": "ar_invoice", "id": posted.target_id,
        "number": posted.target_number, "external_id": f"inv-stripe-{invoice}",
        "linked_to": f"stripe:invoice:{invoice}",
    }  # fmt: skip
    again = CrossReference.objects.get(record_type="invoice")
    assert (again.record_key, again.external_id) == (f"stripe:invoice:{invoice}", posted.target_id)
    assert json.loads(ask("restored", "--forgotten", "--since", "2020-01-01")) == []
    assert len(house.made("netsuite", "invoice")) == 1
