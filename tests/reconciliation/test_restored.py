"""After a restore: what an external id says, what is linked by it, and what is left to a person."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from connectors.models import SyncCursor
from exceptions.models import ExceptionCase
from mappings.models import CrossReference
from q2c import ports
from q2c.canonical.posting import PostedDocument
from q2c.core.models import AuditEntry
from q2c.reconciliation import restored
from q2c.transactions.models import Restore
from tests import factories
from tests.core.people import make_person

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("external_id", "record"),
    [
        ("inv-stripe-in_1", ("invoice", "stripe:invoice:in_1")),
        ("cm-stripe-eu-cn_1-g2", ("credit_memo", "stripe-eu:credit_note:cn_1")),
        ("po-stripe-po_1", ("payout", "stripe:payout:po_1")),
        ("inv-stripe-a-shortened-one-0123456789", None),
        ("cus-stripe-cus_1", None),
        ("inv-nobody-in_1", None),
        ("typed by hand", None),
    ],
)
def test_an_external_id_says_which_record_it_stands_for(external_id, record):
    assert restored.read_external_id(external_id, ["stripe-eu", "stripe"]) == record


@pytest.mark.scenario(60)
def test_a_document_that_nobody_understands_opens_a_case_and_the_others_are_linked(monkeypatch):
    factories.make_connection("stripe")
    factories.make_subsidiary()
    documents = [
        PostedDocument(
            document_type="ar_invoice", id="7", external_id="inv-stripe-in_1", number="INV7", total=Decimal(1)
        ),
        PostedDocument(document_type="ar_invoice", id="8", external_id="inv-nobody-1", number="INV8", total=Decimal(1)),
    ]

    class Erp:
        async def documents_of_ours(self, *, since):
            for document in documents:
                yield document

    monkeypatch.setattr(ports, "target", lambda code: Erp())
    found = restored.link_forgotten(since=dt.date(2026, 1, 1))
    assert [(f.document.id, f.record_key) for f in found] == [("7", "stripe:invoice:in_1"), ("8", "")]
    assert list(CrossReference.objects.values_list("record_key", "external_id")) == [("stripe:invoice:in_1", "7")]
    (case,) = ExceptionCase.objects.all()
    assert (case.kind, case.state) == ("forgotten_document", "open")
    assert [f.document.id for f in restored.link_forgotten(since=dt.date(2026, 1, 1))] == ["8"]
    assert ExceptionCase.objects.count() == 1


@pytest.mark.scenario(60)
def test_the_command_names_a_person_and_a_change_and_has_every_feed_listed_whole():
    make_person("pia", "platform")
    make_person("ben", "billing_ops")
    stripe = factories.make_connection("stripe")
    SyncCursor.objects.create(connection=stripe, stream="events", position={"created": 5, "full_at": 900})
    for given in (
        ["--by", "nobody", "--why", "x", "--change", "1"],
        ["--by", "ben", "--why", "x", "--change", "1"],
        ["--by", "pia", "--change", "1"],
    ):
        with pytest.raises(CommandError):
            call_command("restored", *given)
    assert not Restore.objects.exists()
    call_command("restored", "--by", "pia", "--why", "disk lost", "--change", "CHG-7", "--days", "10")
    restore = Restore.objects.get()
    assert (restore.by, restore.why, restore.looks_until - restore.at) == (
        "pia",
        "disk lost CHG-7",
        dt.timedelta(days=10),
    )
    assert SyncCursor.objects.get().position == {"created": 5, "full_at": 0}
    assert AuditEntry.objects.filter(verb="restored", actor="pia").exists()
