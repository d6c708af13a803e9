"""From message to transaction: verdicts, duplicates, order, poison, refetching."""

import datetime as dt
from decimal import Decimal

import psycopg
import pytest
from django.db import OperationalError, connection
from msgspec.structs import replace

from exceptions.models import ExceptionCase, Occurrence
from q2c.canonical import events
from q2c.canonical.base import Source
from q2c.canonical.billing import CreditMemo, Invoice, Refund
from q2c.canonical.schema import from_json, to_json
from q2c.core.ids import uuid7
from q2c.core.problems import Category, Problem
from q2c.flows.intake import carry_due_events
from q2c.inbox import claims, translate
from q2c.inbox.bodies import read_body
from q2c.inbox.models import InboundEvent, InboundKey
from q2c.inbox.receive import Arrival, receive
from q2c.records.models import BilledDocument
from q2c.transactions.models import BusinessTransaction, WorkItem
from q2c.transactions.workers import connection_parameters
from tests import factories
from tests.inbox.conftest import AT, arrival, invoice, posted

MINUTE = dt.timedelta(minutes=1)
LATER = dt.datetime(2099, 1, 1, tzinfo=dt.UTC)
REFUND = events.RefundMade(
    occurred_at=LATER,
    refund=Refund(
        source=Source(connection="acme", object_type="refund", object_id="in_1"), payment_id="py_1", customer_id="c_1",
        currency="GBP", amount=Decimal(5), refunded_at=AT, gateway="card",
    ),
)  # fmt: skip


def deliver(acme, *arrivals):
    receive(acme.id, arrivals, via="webhook")
    return carry_due_events()


def verdict(key="evt_1"):
    found = InboundKey.objects.get(dedupe_key=key)
    return found.verdict, found.reason_code


def test_an_invoice_becomes_one_transaction_with_work_to_do(acme):
    carried = deliver(acme, arrival(posted(1, legal_entity="GB01"), "evt_1"))
    transaction = BusinessTransaction.objects.get()
    assert (carried.count, carried.flows) == (1, {"invoice_to_erp"})
    assert verdict() == ("translated", "")
    assert transaction.flow == "invoice_to_erp"
    assert transaction.lane == "acme:invoice:in_1"
    assert transaction.lane_sequence == 1
    assert (transaction.number, transaction.amount, transaction.currency) == ("INV-1", Decimal("100"), "GBP")
    assert (transaction.legal_entity_code, transaction.line_count) == ("GB01", 1)
    assert transaction.document_date == dt.date(2026, 11, 1)
    assert transaction.event_id == InboundEvent.objects.get().id
    assert from_json(bytes(transaction.fact), Invoice).source.object_id == "in_1"
    assert WorkItem.objects.get().transaction_id == transaction.id


def test_the_same_fact_again_finds_its_transaction_and_a_changed_one_is_next_in_the_lane(acme):
    deliver(acme, arrival(posted(1), "evt_1"))
    deliver(acme, arrival(posted(1), "evt_2"), arrival(posted(1, "120.00"), "evt_3"), arrival(posted(2), "evt_4"))
    rows = BusinessTransaction.objects.order_by("lane", "lane_sequence").values_list("lane", "lane_sequence", "amount")
    assert list(rows) == [
        ("acme:invoice:in_1", 1, Decimal(100)),
        ("acme:invoice:in_1", 2, Decimal(120)),
        ("acme:invoice:in_2", 1, Decimal(100)),
    ]


@pytest.mark.scenario(43)
def test_a_negative_invoice_goes_to_the_erp_as_a_positive_credit_memo(acme):
    deliver(
        acme,
        arrival(
            posted(1, "-30.00", feed="retail", feed_type="credit_memo", declared_total=Decimal("-30.004")), "evt_1"
        ),
    )
    transaction = BusinessTransaction.objects.get()
    memo = from_json(bytes(transaction.fact), CreditMemo)
    assert transaction.flow == "credit_memo_to_erp"
    assert (memo.total, memo.lines[0].amount, memo.lines[0].quantity, memo.lines[0].unit_price) == (30, 30, 1, 30)
    assert transaction.amount == 30
    assert transaction.rounding == Decimal("-0.004")


def test_a_document_of_zero_is_ignored_and_its_amounts_are_kept(acme):
    deliver(
        acme, arrival(posted(1, "0.00", feed="retail", feed_type="invoice", declared_total=Decimal("0.003")), "evt_1")
    )
    key = InboundKey.objects.get()
    assert verdict() == ("ignored", "zero_amount")
    assert (key.amount, key.line_count, key.feed, key.document_type) == (0, 1, "retail", "invoice")
    assert key.rounding == Decimal("0.003")
    assert BilledDocument.objects.get().ignored_reason == "zero_amount"
    assert not BusinessTransaction.objects.exists()


def test_a_document_of_zero_from_billing_itself_is_left_to_the_entitys_policy(acme):
    deliver(acme, arrival(posted(1, "0.00"), "evt_1"))
    assert verdict() == ("translated", "")
    assert BusinessTransaction.objects.get().flow == "invoice_to_erp"


def test_what_the_manifest_ignores_is_ignored_with_its_reason(acme):
    deliver(acme, Arrival("draft", "x", "evt_1", b"{}"), Arrival("later", "x", "evt_2", b"{}"))
    assert verdict() == ("ignored", "not_needed")
    assert InboundKey.objects.get(dedupe_key="evt_1").reason == "drafts have no effect"
    assert verdict("evt_2") == ("ignored", "not_yet")


def test_an_event_in_none_of_the_columns_is_refused_with_a_case(acme):
    deliver(acme, Arrival("invoice.exploded", "x", "evt_1", b"{}"))
    assert verdict() == ("refused", "unknown_event")
    assert ExceptionCase.objects.get().kind == "unknown_event"
    assert Occurrence.objects.get().event_id == InboundEvent.objects.get().id


@pytest.mark.scenario(55)
def test_a_malformed_body_is_refused_with_the_path_of_its_fault(acme):
    deliver(acme, Arrival("fact", "x", "evt_1", b'{"type": "InvoicePosted", "occurred_at": "2026-11-01T00:00:00Z"}'))
    key = InboundKey.objects.get()
    assert (key.verdict, key.reason_code) == ("refused", "malformed_event")
    assert "invoice" in key.reason


@pytest.mark.parametrize(
    ("later", "closes"),
    [
        (Arrival("fact", "in_1", "evt_2", to_json(posted(1, at=LATER))), True),
        (Arrival("fact", "in_1", "evt_2", to_json(posted(1))), False),  # it happened before, and came late
        (Arrival("fact", "in_1", "evt_2", to_json(posted(1, "0.00", at=LATER, lines=()))), False),  # of no effect
        (Arrival("fact", "in_1", "evt_2", to_json(REFUND)), False),  # a movement of its own
        (Arrival("fact", "in_2", "evt_2", to_json(posted(2, at=LATER))), False),  # of another object
        (Arrival("draft", "in_1", "evt_2", b"{}"), False),  # of another sort
        (Arrival("fact", "in_1", "evt_2", b"{"), False),  # not read either
    ],
)
def test_a_message_that_could_not_be_read_is_over_once_a_later_one_of_its_record_is(
    acme, later, closes, django_capture_on_commit_callbacks
):
    deliver(acme, Arrival("fact", "in_1", "evt_1", b"{"))
    case = ExceptionCase.objects.get()
    with django_capture_on_commit_callbacks(execute=True):
        deliver(acme, later)
    case.refresh_from_db()
    assert (case.state == "resolved", verdict()) == (closes, ("refused", "malformed_event"))
    if closes:
        assert case.close_reason == "Fixed at its source: a later message of the same record could be read."


def test_a_message_that_came_before_closes_nothing_when_it_is_read_late(acme, django_capture_on_commit_callbacks):
    receive(acme.id, [Arrival("fact", "in_1", "evt_1", to_json(posted(1, at=LATER)))], via="webhook")
    InboundKey.objects.update(available_at=AT + 9999 * MINUTE)  # taken up late
    deliver(acme, Arrival("fact", "in_1", "evt_2", b"{"))
    InboundKey.objects.filter(dedupe_key="evt_1").update(available_at=AT)
    with django_capture_on_commit_callbacks(execute=True):
        carry_due_events()
    assert (verdict()[0], ExceptionCase.objects.get().state) == ("translated", "open")


def test_our_own_bug_is_held_as_internal(acme):
    deliver(acme, Arrival("bug", "x", "evt_1", b"{}"))
    assert verdict() == ("refused", "unexpected_error")
    assert ExceptionCase.objects.get().category == Category.INTERNAL


@pytest.mark.scenario(21, of="messages, before any flow")
def test_one_poisonous_message_among_a_hundred_is_isolated_and_the_others_are_carried_once(acme):
    long = replace(invoice(50), legal_entity="L" * 500)  # passes translation, is refused by the database
    poison = events.InvoicePosted(occurred_at=AT, invoice=long)
    good = [arrival(posted(n), f"evt_{n}") for n in range(100) if n != 50]
    bad = Arrival("asked", "in_50", "evt_50", b"{}")
    acme.client.answers["in_50"] = poison
    deliver(acme, *good, bad)
    carry_due_events()
    assert BusinessTransaction.objects.count() == 99
    assert verdict("evt_50") == ("refused", "unexpected_error")
    assert InboundKey.objects.filter(verdict="translated").count() == 99
    assert ExceptionCase.objects.count() == 1


def test_a_refetch_translates_the_present_state_and_asks_once_per_object(acme):
    acme.client.answers["in_1"] = posted(1, "77.00")
    deliver(acme, Arrival("asked", "in_1", "evt_1", b"{}"), Arrival("asked", "in_1", "evt_2", b"{}"))
    assert acme.client.asked == ["in_1"]
    assert BusinessTransaction.objects.get().amount == 77


def test_a_vendor_that_is_away_lets_the_event_wait_and_loses_nothing(acme):
    acme.client.answers["in_1"] = Problem("system_unavailable", Category.AVAILABILITY, "away", wait_seconds=0)
    deliver(acme, Arrival("asked", "in_1", "evt_1", b"{}"))
    assert verdict() == ("received", "")
    assert InboundKey.objects.get().attempt_count == 0
    acme.client.answers["in_1"] = posted(1)
    InboundKey.objects.update(available_at=AT)
    assert carry_due_events().count == 1
    assert BusinessTransaction.objects.count() == 1


@pytest.mark.parametrize(
    ("code", "state", "kind", "verdicts"),
    [
        ("credentials_refused", "paused", "credentials_refused", [("received", ""), ("received", "")]),
        ("vendor_permission", "active", "vendor_permission", [("refused", "vendor_permission"), ("translated", "")]),
    ],
)
def test_a_record_that_we_may_not_read_refuses_its_message_and_pauses_nothing(acme, code, state, kind, verdicts):
    acme.client.answers["in_1"] = Problem(code, Category.AUTHENTICATION, "no", connection="acme")
    paused = code == "credentials_refused"
    acme.client.answers["in_2"] = acme.client.answers["in_1"] if paused else posted(2)
    deliver(acme, Arrival("asked", "in_1", "evt_1", b"{}"), Arrival("asked", "in_2", "evt_2", b"{}"))
    acme.refresh_from_db()
    assert (acme.state, ExceptionCase.objects.get().kind) == (state, kind)
    assert [verdict("evt_1"), verdict("evt_2")] == verdicts


@pytest.mark.scenario(16)
def test_an_older_status_after_a_newer_one_is_ignored_and_recorded(acme):
    def status(word, at):
        return events.InvoiceStatusChanged(
            occurred_at=at, invoice_id="in_1", connection="acme", status=word, order_id="006A"
        )

    deliver(acme, arrival(status("paid", AT + MINUTE), "evt_1"))
    deliver(acme, arrival(status("open", AT), "evt_2"))
    assert verdict("evt_2") == ("ignored", "older_state")
    assert BilledDocument.objects.get().status == "paid"
    assert BusinessTransaction.objects.count() == 1


@pytest.mark.scenario(15)
def test_updated_before_created_ends_in_the_newer_state_with_the_invoice_carried(acme):
    paid = events.InvoiceStatusChanged(occurred_at=AT + MINUTE, invoice_id="in_1", connection="acme", status="paid")
    deliver(acme, arrival(paid, "evt_2"))
    deliver(acme, arrival(posted(1, order_id="006A"), "evt_1"))
    document = BilledDocument.objects.get()
    assert (document.status, document.amount, document.order_id) == ("paid", 100, "006A")
    assert [t.flow for t in BusinessTransaction.objects.all()] == ["invoice_to_erp"]  # no stale "open" for the CRM


def test_an_invoice_with_an_order_also_tells_the_crm_in_the_orders_lane(acme):
    deliver(acme, arrival(posted(1, order_id="006A"), "evt_1"))
    told = BusinessTransaction.objects.get(flow="status_to_crm")
    assert told.lane == "order:006A"


def test_a_body_moves_under_its_customers_key_and_still_opens(acme):
    deliver(acme, arrival(posted(1, customer="cus_9"), "evt_1"))
    event, key = InboundEvent.objects.get(), InboundKey.objects.get()
    assert (key.customer_key.connection_code, key.customer_key.customer_id) == ("acme", "cus_9")
    assert b"INV-1" in read_body(event, key)


@pytest.mark.parametrize("attempts", [0, 3, 32_767])
def test_a_message_whose_month_was_let_go_is_refused_with_a_case_and_stops_nobody(acme, client, attempts):
    receive(acme.id, [arrival(posted(n), f"evt_{n}") for n in range(3)], via="webhook")
    InboundKey.objects.filter(dedupe_key="evt_1").update(event_id=uuid7(), attempt_count=attempts)
    carry_due_events()
    carry_due_events()
    assert [verdict(f"evt_{n}") for n in range(3)] == [("translated", ""), ("refused", "gone"), ("translated", "")]
    assert InboundKey.objects.get(dedupe_key="evt_1").attempt_count < claims.QUARANTINE_AT or attempts
    case = ExceptionCase.objects.get(kind="gone")
    assert list(case.occurrences.values_list("event_id", "closed_at")) == [
        (InboundKey.objects.get(dedupe_key="evt_1").event_id, None)
    ]
    client.force_login(factories.make_person("platform"))
    assert client.get(f"/exceptions/cases/{case.pk}/").status_code == 200


@pytest.mark.scenario(22, of="messages, and documents of any flow")
def test_a_message_that_kills_its_workers_is_quarantined_without_taking_others_along(acme):
    receive(acme.id, [arrival(posted(n), f"evt_{n}") for n in range(4)], via="webhook")
    killer = InboundKey.objects.get(dedupe_key="evt_2")
    for _ in range(20):  # a worker that dies whenever it has claimed the killer
        InboundKey.objects.filter(verdict="received").update(available_at=AT)
        InboundKey.objects.filter(pk=killer.pk).update(available_at=AT - MINUTE)  # of ties any may be first
        seen = InboundKey.objects.get(pk=killer.pk)
        if seen.attempt_count >= claims.QUARANTINE_AT - 1 or InboundKey.objects.filter(verdict="received").count() == 0:
            break
        claimed = claims.claim_events(50)
        if killer.pk not in [c.key_id for c in claimed]:
            for c in claimed:
                InboundKey.objects.filter(pk=c.key_id).update(attempt_count=c.attempts - 1, available_at=AT)
            carry_due_events()
    InboundKey.objects.filter(verdict="received").update(available_at=AT)
    for _ in range(4):
        carry_due_events()
    assert verdict("evt_2") == ("refused", "quarantined")
    assert InboundKey.objects.filter(verdict="translated").count() == 3


@pytest.mark.django_db(transaction=True)
def test_a_message_whose_translator_lost_the_database_isnt_counted_as_its_killer(acme, monkeypatch):
    receive(acme.id, [arrival(posted(1), "evt_1")], via="webhook")
    real = translate.understand

    def lose(items, tools):
        with psycopg.connect(**connection_parameters(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [connection.connection.info.backend_pid])
        real(items, tools)

    with monkeypatch.context() as patched:
        patched.setattr(translate, "understand", lose)
        for _ in range(claims.QUARANTINE_AT + 1):
            with pytest.raises((psycopg.OperationalError, OperationalError)):
                carry_due_events()
    key = InboundKey.objects.get()
    assert (key.verdict, key.attempt_count) == ("received", 0)
    assert carry_due_events().count == 1
    assert verdict() == ("translated", "")


def test_a_late_translator_decides_nothing(acme):
    receive(acme.id, [arrival(posted(1), "evt_1")], via="webhook")
    (claimed,) = claims.claim_events(10)
    assert claims.hold_claims({claimed.key_id: claimed.token}) == {claimed.key_id}
    InboundKey.objects.update(available_at=AT)
    claims.claim_events(10)
    assert claims.hold_claims({claimed.key_id: claimed.token}) == set()


@pytest.mark.scenario(23)
def test_a_storm_of_one_connection_leaves_the_other_its_share(acme):
    from connectors.models import Connection

    other = Connection.objects.create(code="calm", name="Calm", vendor="acme", base_url="http://127.0.0.1:1")
    receive(acme.id, [Arrival("draft", "x", f"s_{n}", b"{}") for n in range(40)], via="webhook")
    receive(other.id, [Arrival("draft", "x", "c_1", b"{}")], via="webhook")
    taken = claims.claim_events(10)
    assert len(taken) == 11
    assert [c.connection_id for c in taken].count(other.id) == 1


def test_a_batch_takes_few_statements(acme, count_statements):
    receive(acme.id, [arrival(posted(n), f"evt_{n}") for n in range(200)], via="webhook")
    with count_statements() as seen:
        carry_due_events()
    assert BusinessTransaction.objects.count() == 200
    assert len(seen) < 30


@pytest.mark.parametrize("status", ["pending", "failed"])
def test_a_refund_that_moved_no_money_is_ignored(acme, status):
    from q2c.canonical.base import Source
    from q2c.canonical.billing import Refund

    refund = Refund(
        source=Source(connection="acme", object_type="refund", object_id="re_1"), payment_id="py_1",
        customer_id="cus_1", currency="GBP", amount=Decimal(5), refunded_at=AT, gateway="acme", status=status,
    )  # fmt: skip
    deliver(acme, arrival(events.RefundMade(occurred_at=AT, refund=refund), "evt_1"))
    assert verdict() == ("ignored", f"refund_{status}")
    assert InboundKey.objects.get().amount == 5
