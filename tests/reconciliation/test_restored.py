"""After a restore: what an external id says, what is linked by it, and what is left to a person."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from connectors import registry
from connectors.models import Connection, SyncCursor
from exceptions.models import AlertChannel, ExceptionCase
from mappings.models import CrossReference
from q2c import ports
from q2c.canonical.posting import PostedDocument
from q2c.core.leases import release_lease, take_lease
from q2c.core.models import AuditEntry
from q2c.reconciliation import restored
from q2c.transactions.models import Restore
from tests import factories
from tests.core.people import make_person

pytestmark = pytest.mark.django_db


def listed(external_id: str, document_type: str = "journal", **fields) -> PostedDocument:
    given = {"id": "7", "number": "N7", "total": Decimal(1), **fields}
    return PostedDocument(document_type=document_type, external_id=external_id, **given)


@pytest.mark.parametrize(
    ("document_type", "external_id", "record"),
    [
        ("ar_invoice", "inv-stripe-in_1", ("invoice", "stripe:invoice:in_1")),
        ("ar_credit_memo", "cm-stripe-eu-cn_1-g2", ("credit_memo", "stripe-eu:credit_note:cn_1")),
        ("receipt", "pay-stripe-pi_1", ("payment", "stripe:payment:pi_1")),
        ("ar_credit_memo", "void-stripe-in_1", ("invoice_void", "stripe:invoice_void:in_1")),
        ("ar_invoice", "void-stripe-cn_1", ("credit_void", "stripe:credit_note_void:cn_1")),
        ("journal", "ref-stripe-re_1", ("refund", "stripe:refund:re_1")),
        ("ar_refund", "ref-stripe-re_1", ("refund", "stripe:refund:re_1")),
        ("journal", "ref-stripe-re_1-failed", ("refund", "stripe:refund:re_1:failed")),
        ("journal", "dsp-stripe-du_1-withdrawn", ("dispute", "stripe:dispute:du_1:withdrawn")),
        ("journal", "dsp-stripe-du_1-won", ("dispute", "stripe:dispute:du_1:won")),
        ("journal", "po-stripe-po_1", ("payout", "stripe:payout:po_1")),
        ("journal", "po-stripe-po_1-failed", ("payout", "stripe:payout:po_1:failed")),
        ("ar_credit_memo", "wo-stripe-in_1-1", "a write-off"),
        ("ar_credit_memo", "unw-stripe-in_1-1", "taken back"),
        ("ar_invoice", "re-stripe-in_1-1", "posted again"),
        ("journal", "acc-stripe-invoice-in_1-2026-10", "an accrual"),
        ("journal", "sum-portal-GB01-2026-11-20", "a day’s summary"),
        ("journal", "dsp-stripe-du_1", "no journal such"),
        ("journal", "inv-stripe-in_1", "no journal such"),
        ("ar_invoice", "inv-stripe-a-shortened-one-0123456789", "doesn’t say of what"),
        ("ar_invoice", "cus-stripe-cus_1", "no ar invoice such"),
        ("ar_invoice", "inv-nobody-in_1", "doesn’t say of what"),
        ("ar_invoice", "typed by hand", "doesn’t say of what"),
    ],
)
def test_a_document_of_ours_says_which_record_it_stands_for_or_why_none(document_type, external_id, record):
    found = restored.read_record(listed(external_id, document_type), ["portal", "stripe-eu", "stripe"])
    assert found == record if isinstance(record, tuple) else record in found


@pytest.mark.scenario(60)
def test_a_document_whose_id_is_also_a_customers_is_not_taken_for_known(monkeypatch):
    factories.make_connection("stripe")
    factories.make_subsidiary()
    erp = Connection.objects.get(code="netsuite")
    common = {"connection": erp, "external_id": "7", "at": timezone.now()}
    CrossReference.objects.create(
        record_type="customer", record_key="stripe:customer:cus_1", external_type="customer", **common
    )

    class Erp:
        async def documents_of_ours(self, *, since):
            yield listed("inv-stripe-in_1", "ar_invoice", id="7")

    monkeypatch.setattr(ports, "target", lambda code: Erp())
    found = [restored.link_forgotten(since=dt.date(2026, 1, 1)) for _ in range(2)]
    assert [[f.record_key for f in once] for once in found] == [["stripe:invoice:in_1"], []]


@pytest.mark.scenario(60)
def test_the_case_of_a_forgotten_decision_says_that_it_is_one(monkeypatch):
    factories.make_connection("stripe")
    factories.make_subsidiary()

    class Erp:
        async def documents_of_ours(self, *, since):
            yield listed("wo-stripe-in_1-1", "ar_credit_memo")

    monkeypatch.setattr(ports, "target", lambda code: Erp())
    restored.link_forgotten(since=dt.date(2026, 1, 1))
    (case,) = ExceptionCase.objects.all()
    assert "a write-off or an accepted difference, which two people agreed on after the backup" in case.summary
    assert not CrossReference.objects.exists()


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


DRILL = ["restored", "--by", "pia", "--why", "The drill of spring", "--change", "CHG-8", "--drill"]


def test_a_drill_leaves_no_connection_its_credentials_and_no_channel_on(capsys):
    make_person("pia", "platform")
    for code in ("stripe", "netsuite", "netsuite-eu"):
        registry.store_secrets(factories.make_connection(code), {"api_key": "live"})
    Connection.objects.filter(code="netsuite").update(state="paused", paused_reason="It was already")
    Connection.objects.update(next_secrets=b"waits", secrets_expire_at=timezone.now())
    factories.make_channel("Close room")
    call_command(*DRILL)
    said = "Without credentials and paused: netsuite, netsuite-eu, stripe\nSwitched off: Close room\nUntil "
    assert capsys.readouterr().out.startswith(said)
    for row in Connection.objects.all():
        assert (row.secrets, row.next_secrets, row.secrets_set_at, row.secrets_expire_at) == (None,) * 4
        assert (row.state, row.paused_by) == ("paused", "Pia")
        assert "Without credentials since the restore" in row.paused_reason
        assert row.history.latest().history_change_reason == "The drill of spring CHG-8"
    assert not AlertChannel.objects.filter(is_active=True).exists()
    entries = AuditEntry.objects.filter(verb="cut_off", why="The drill of spring CHG-8", actor="pia")
    assert sorted(entries.values_list("subject_id", flat=True)) == ["netsuite", "netsuite-eu", "stripe"]
    assert Restore.objects.count() == 1


@pytest.mark.parametrize("alive", ["worker:flows@a:1", "beat"])
def test_a_portal_that_works_is_not_taken_for_a_drills_copy(alive):
    make_person("pia", "platform")
    registry.store_secrets(factories.make_connection("stripe"), {"api_key": "live"})
    take_lease(alive, holder="a:1", seconds=60)
    with pytest.raises(CommandError, match="1 processes work on this database, so it’s no copy"):
        call_command(*DRILL)
    assert registry.secrets_of(Connection.objects.get()) == {"api_key": "live"}
    assert not Restore.objects.exists()
    release_lease(alive, holder="a:1")
    call_command(*DRILL)
    assert registry.secrets_of(Connection.objects.get()) == {}


def test_a_restore_that_is_none_of_a_drill_leaves_connections_and_channels_as_they_are():
    make_person("pia", "platform")
    registry.store_secrets(factories.make_connection("stripe"), {"api_key": "live"})
    factories.make_channel("Close room")
    call_command(*DRILL[:-1])
    row = Connection.objects.get()
    assert (registry.secrets_of(row), row.state) == ({"api_key": "live"}, "active")
    assert AlertChannel.objects.filter(is_active=True).exists()
