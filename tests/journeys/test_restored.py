"""The database is restored from an older backup: everything is read again, nothing is made again, nothing stays
forgotten."""

from __future__ import annotations

import datetime as dt
import io
import json

import pytest
from django.core.management import call_command

from exceptions.models import ExceptionCase
from mappings.models import CrossReference
from q2c.transactions.models import BusinessTransaction, LineageLink
from tests.journeys.backup import take_backup
from tests.journeys.house import forget_everything
from tests.journeys.scenes import SCENES, enter, live_a_day, made_by_vendor

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


def lineage():
    fields = ("source_system", "source_type", "source_id", "target_system", "target_type", "target_id", "relation")
    return sorted(LineageLink.objects.values_list(*fields))


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
    live_a_day(house, house.account(Name="After the backup Ltd", AccountNumber="NW-2"))
    before, known, applied = made_by_vendor(house), lineage(), len(house.made("netsuite", "customerPayment", "updated"))

    older.restore()
    forget_everything()
    assert lineage() != known
    ask("restored", "--by", "platform", "--why", "the disk of 21 November", "--change", "CHG-1")

    def is_all_back():
        house.poll()
        return lineage() == known and set(house.states()) == {"completed"}

    house.carry(until=is_all_back, seconds=60)
    house.poll()
    house.carry(seconds=40)
    assert made_by_vendor(house) == before
    assert len(house.made("netsuite", "customerPayment", "updated")) == applied
    assert lineage() == known
    assert not BusinessTransaction.objects.exclude(state="completed").exists()
    assert json.loads(ask("restored", "--forgotten")) == []


@pytest.mark.scenario(60)
def test_every_document_is_linked_again_to_the_record_that_its_own_flow_names(house):
    live_a_day(house, house.account())
    customer = house.customer(name="Voids Ltd")
    voided, lowered = house.invoice(customer), house.invoice(customer)
    credit = house.credit(lowered, amount=1_000)
    house.carry()
    house.void(voided)
    house.void_credit(credit)
    house.carry()
    made = CrossReference.objects.filter(connection__code="netsuite", external_type__in=DOCUMENTS)
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
