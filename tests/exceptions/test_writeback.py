"""Which notes are written on records outside: of what, how many at once, in which words, and never in whose name."""

from __future__ import annotations

import datetime as dt
import json
from types import SimpleNamespace

import pytest
from django.db.transaction import atomic
from django.utils import timezone

from connectors import connections
from connectors.models import RoleAssignment
from exceptions import cases, kinds, writeback
from exceptions.hold_words import MESSAGE_MAX, Held, message_of
from exceptions.models import ExceptionCase, Occurrence
from mappings.kinds import BY_CODE as MAPPINGS
from q2c import ports
from q2c.core.problems import Category, Problem
from q2c.flows.hold_to_source import CODE
from q2c.portal.decisions import decide
from q2c.records.documents import Billed, store_documents
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests import factories
from tests.exceptions.problems import AT, held, missing_item

NAMES = {"name": "Kestrel Freight Ltd", "mail": "ap@kestrel.test"}


@pytest.fixture
def vendors(db):
    """Billing and CRM that take notes."""
    ports.forget_kept()
    for code, family in (("stripe", "billing"), ("salesforce", "crm")):
        RoleAssignment.objects.create(family=family, connection=factories.make_connection(code))
    yield
    ports.forget_kept()


def hold(*source_ids, problem=None, **facts):
    """Held invoices of these ids; their transactions' ids."""
    txns = [factories.make_transaction("held", source_id=source_id, **facts) for source_id in source_ids]
    cases.open_for_steps(
        [held(problem or missing_item(), transaction_id=txn.pk, number=txn.number) for txn in txns]
    )  # fmt: skip
    return [txn.pk for txn in txns]


def said():
    """Status of what is to be written, by record, in order."""
    rows = BusinessTransaction.objects.filter(flow=CODE).order_by("id").values_list("source_id", "fact")
    return [(source_id, json.loads(bytes(fact)).get("status", "")) for source_id, fact in rows]


def send():
    """What is on its way has arrived."""
    WorkItem.objects.filter(flow=CODE).delete()
    BusinessTransaction.objects.filter(flow=CODE).update(state="completed")


def close(ids):
    with atomic():
        cases.close_for_transactions(ids, "completed")


def test_a_record_is_told_once_what_holds_it_and_once_that_nothing_does(vendors):
    ids = hold("in_1")
    assert [writeback.tell_sources(), writeback.tell_sources(), said()] == [1, 0, [("in_1", "held")]]
    send()
    close(ids)
    assert [writeback.tell_sources(), writeback.tell_sources(), said()[1:]] == [1, 0, [("in_1", "")]]


def test_what_was_held_for_a_moment_only_is_never_told(vendors):
    close(hold("in_1"))
    assert (writeback.tell_sources(), said()) == (0, [])


def test_what_holds_it_now_is_told_when_that_changes_and_not_when_it_is_the_same_again(vendors):
    (txn,) = hold("in_1")
    writeback.tell_sources()
    cases.open_for_steps([held(missing_item(), transaction_id=txn, attempt=2)])
    assert writeback.tell_sources() == 0
    cases.open_for_steps([held(missing_item("OTHER-1"), transaction_id=txn, attempt=3)])
    assert writeback.tell_sources() == 1
    newest = BusinessTransaction.objects.filter(flow=CODE).latest("id")
    assert "OTHER-1" in json.loads(bytes(newest.fact))["message"]


def test_an_order_is_told_of_what_was_billed_of_it(vendors):
    order = "006000000000001AAA"
    store_documents([Billed("stripe", "invoice", "in_1", "open", AT, order_id=order, currency="GBP")])
    factories.make_transaction(
        flow="status_to_crm", lane=f"order:{order}", source_id="in_1", business_key="status"
    )  # fmt: skip
    ids = hold("in_1")
    assert (writeback.tell_sources(), sorted(said())) == (2, [(order, "held"), ("in_1", "held")])
    send()
    close(ids)
    assert (writeback.tell_sources(), sorted(said()[2:])) == (2, [(order, ""), ("in_1", "")])


def test_thousands_are_told_a_few_at_once_and_those_already_told_again_only_when_they_change(vendors, monkeypatch):
    monkeypatch.setattr(writeback, "AT_ONCE", 3)
    hold(*(f"in_{n}" for n in range(5)))
    assert [writeback.tell_sources(), writeback.tell_sources()] == [3, 0]
    send()
    assert [writeback.tell_sources(), Occurrence.objects.filter(told=1).count()] == [2, 5]


def test_notes_that_wait_for_a_connection_that_is_away_keep_no_others_from_being_told(vendors, monkeypatch):
    monkeypatch.setattr(writeback, "AT_ONCE", 2)
    hold(*(f"in_{n}" for n in range(4)))
    assert [writeback.tell_sources(), writeback.tell_sources()] == [2, 0]
    WorkItem.objects.update(available_at=timezone.now() + dt.timedelta(minutes=5))
    assert writeback.tell_sources() == 2


def test_nothing_is_written_where_it_is_switched_off(vendors):
    row = factories.make_connection("stripe")
    row.settings = {"tells_holds": "no"}
    row.save()
    ports.forget_kept()
    hold("in_1")
    assert (writeback.tell_sources(), said()) == (0, [])


def test_what_was_written_is_taken_away_once_it_is_switched_off_and_written_again_once_it_is_on(vendors):
    hold("in_1", "in_2")
    writeback.tell_sources()
    send()
    row = factories.make_connection("stripe")
    proposal = connections.propose_change(
        row, base_url=row.base_url, settings={"tells_holds": "no"}, by=factories.make_person("platform"), reason="why"
    )
    decide(proposal, by=factories.make_person("controller"), approve=True, why="", seen_hash=proposal.content_hash)
    assert [writeback.tell_sources(), writeback.tell_sources()] == [2, 0]
    assert sorted(said()[2:]) == [("in_1", ""), ("in_2", "")]
    send()
    row.refresh_from_db()
    row.settings = {}
    row.save()
    writeback.tell_anew()
    assert (writeback.tell_sources(), sorted(said()[4:])) == (2, [("in_1", "held"), ("in_2", "held")])


def test_a_note_that_could_not_be_written_is_told_of_nowhere(vendors):
    problem = Problem("hold_not_told", Category.VALIDATION, "stripe doesn't take our notes", connection="stripe")
    hold("in_1", "in_2", problem=problem, flow=CODE)
    assert (writeback.tell_sources(), ExceptionCase.objects.get().kind) == (0, "hold_not_told")


def test_no_message_names_a_customer_whatever_holds_the_document():
    told = []
    for kind in kinds.KINDS:
        for value in NAMES.values():
            names = ("key", "sku", "price", "period", "customer", "account", "field", "legal_entity", "difference")
            subject = dict.fromkeys(names, value) | {"kind": "customer", "wording": value, "error": value}
            for mapping in ({"kind": "customer"}, *({"kind": m.code} for m in MAPPINGS.values())):
                told.append(message_of([Held(value, kind.code, subject | mapping, 7, "billing_ops")]))
    assert [text for text in told if any(name in text for name in NAMES.values())] == []


@pytest.mark.parametrize(
    ("code", "subject", "known", "says"),
    [
        ("missing_item_mapping", {"kind": "item", "key": "GTX-1"}, {},
         "INV-1: Missing item mapping. SKU is “GTX-1”; right would be one that is mapped. With billing operations"),
        ("legal_entity_unknown", {"kind": "selling_entity", "key": "GB99"}, {"right": "one of DE01, GB01"},
         "INV-1: Legal entity unknown. Currency or country is “GB99”; right would be one of DE01, GB01. With"),
        ("period_closed", {"period": "2026-10"}, {"open_period": "2026-11"},
         "INV-1: Period closed. Posting period is “2026-10”; right would be 2026-11. With"),
        ("period_closed", {"period": "2026-10"}, {}, "Posting period is “2026-10”. With"),
        ("order_incomplete", {"missing": "billing frequency, term"}, {}, "Billing frequency, term is missing. With"),
        ("line_term_differs", {"sku": "QB-API", "term": "for 6 months", "order_term": "12 months from 2026-11-01"}, {},
         "Term of QB-API is “for 6 months”; right would be 12 months from 2026-11-01. With"),
        ("customer_without_name", {"customer": "cus_1"}, {}, "Customer’s name is missing. With"),
        ("vendor_refused", {"field": "custbody_po"}, {}, "INV-1: Vendor refused. “custbody_po” was refused. With"),
        ("out_of_balance", {"document": "INV-1"}, {}, "INV-1: Out of balance. With"),
    ],
)  # fmt: skip
def test_a_message_names_the_field_and_what_is_wrong_and_right_in_it(code, subject, known, says):
    text = message_of([Held("INV-1", code, subject, 7, "billing_ops", known)])
    assert says in text


def test_a_message_fits_into_a_text_field_and_says_how_many_more_there_are():
    row = Held("INV-1", "legal_entity_unknown", {"kind": "selling_entity", "key": "GB99"}, 7, "billing_ops",
               {"right": "one of " + ", ".join(f"E{n:03}" for n in range(90))})  # fmt: skip
    text = message_of([row] * 3)
    assert (len(text) <= MESSAGE_MAX, text.endswith("… With billing operations as EX-7. 2 more.")) == (True, True)


def test_the_next_open_period_of_the_same_book_is_named(monkeypatch):
    def period(code, is_open):
        return SimpleNamespace(code=code, is_ledger_open=is_open, is_receivables_open=False)

    book = {("GB01", "netsuite"): [period("2026-09", True), period("2026-10", False), period("2026-11", True)]}
    monkeypatch.setattr(ports, "periods", lambda: book)
    subject = {"period": "2026-10", "legal_entity": "GB01", "connection": "netsuite"}
    known = writeback._known_for([])
    assert known("period_closed", "GB01", {"subject": subject | {"ledger": "ledger"}}) == {"open_period": "2026-11"}
    assert known("period_closed", "GB01", {"subject": subject | {"ledger": "receivables"}}) == {}
    unsaid = {"legal_entity": "GB01", "connection": "netsuite", "ledger": "ledger"}
    assert known("period_closed", "GB01", {"subject": unsaid}) == {}  # an ERP that doesn't say which
