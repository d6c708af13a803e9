"""Words of a held document that people correct: old and new kept, never an amount, agreed to, read by its steps."""

from __future__ import annotations

import dataclasses
import datetime as dt
from decimal import Decimal

import msgspec
import pytest
import time_machine
from django.utils import timezone

from exceptions.models import Choice
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import deciding, edits
from q2c import ports
from q2c.canonical import schema
from q2c.canonical.base import Source
from q2c.canonical.billing import Invoice, InvoiceLine
from q2c.canonical.edits import EDITABLE, EMERGENCY, NEVER, apply_edits, places_of
from q2c.core.approvals import ApprovalRefused
from q2c.core.emergencies import unreviewed
from q2c.core.models import AuditEntry
from q2c.core.problems import Category, Problem
from q2c.flows import catalog
from q2c.transactions.models import BusinessTransaction
from tests.core.people import make_person
from tests.exceptions.test_resolutions import hold

pytestmark = pytest.mark.django_db
INVOICE = Invoice(
    source=Source("stripe", "invoice", "in_1"), number="INV-1", customer_id="cus_1", customer_name="Northwind",
    currency="GBP", issued_at=dt.datetime(2026, 10, 1, tzinfo=dt.UTC), total=Decimal("120.00"), po_number="PO-1",
    lines=(InvoiceLine(line_id="1", sku="SUB", description="A year", quantity=Decimal(1), unit_price=Decimal(120),
                       amount=Decimal(120)),),
)  # fmt: skip


@pytest.fixture
def maker():
    return make_person("ben", "billing_ops")


@pytest.fixture
def checker():
    return make_person("cleo", "billing_ops")


def held_invoice():
    problem = Problem("revenue_treatment", Category.VALIDATION, "SKU SUB defers", sku="SUB", legal_entity="GB01")
    case, ids = hold(problem, number="INV-1")
    BusinessTransaction.objects.filter(pk__in=ids).update(fact=schema.to_json(INVOICE))
    return case, ids[0]


def test_no_amount_tax_currency_customer_entity_or_period_can_ever_be_edited():
    types = {flow.fact_type.__name__: flow.fact_type for flow in catalog.BY_CODE.values()}
    lines = {field.name for field in msgspec.structs.fields(InvoiceLine)}
    for name, fields in (*EDITABLE.items(), *EMERGENCY.items()):
        own = {field.name for field in msgspec.structs.fields(types[name])}
        assert {field.name for field in fields} & NEVER == set()
        assert all(field.name in (own if field.of == "document" else lines) for field in fields)
    for path in ("total", "currency", "customer_id", "legal_entity", "lines/0/amount", "lines/0/taxes", "lines/9/sku"):
        with pytest.raises(ValueError, match="can’t be edited"):
            apply_edits(INVOICE, [{"path": path, "new": "1"}])


def test_an_edit_gives_another_document_and_leaves_the_sources_own():
    edited = apply_edits(
        INVOICE, [{"path": "po_number", "new": "PO-2"}, {"path": "lines/0/service_start", "new": "2026-10-01"}]
    )
    assert (edited.po_number, edited.lines[0].service_start, edited.total) == (
        "PO-2",
        dt.date(2026, 10, 1),
        INVOICE.total,
    )
    assert (INVOICE.po_number, INVOICE.lines[0].service_start) == ("PO-1", None)
    with pytest.raises(ValueError, match="ends before it starts"):
        apply_edits(edited, [{"path": "lines/0/service_end", "new": "2026-09-30"}])
    assert [dataclasses.astuple(p)[:2] for p in places_of(INVOICE)][:2] == [
        ("po_number", "Purchase order number"), ("due_date", "Due date"),
    ]  # fmt: skip


def test_an_agreed_edit_is_what_the_steps_read_and_stands_with_old_and_new_in_the_chain(maker, checker):
    case, txn = held_invoice()
    values = {"lines/0/service_start": "2026-10-01", "lines/0/service_end": "2027-09-30", "po_number": "PO-1"}
    proposal, _ = edits.edit_fields(case, by=maker, reason="the order says so", transaction_id=txn, values=values)
    assert proposal.content["happens"][0] == "First day of service, line 1 (SUB): “nothing” becomes “2026-10-01”."
    assert (proposal.content["asked"]["level"], Choice.objects.count()) == ("1 colleague", 0)
    with pytest.raises(ApprovalRefused):
        deciding.decide(proposal, by=maker, approve=True)
    state, results = deciding.decide(proposal, by=checker, approve=True)
    assert (state, [r.is_restarted for r in results]) == ("approved", [True])
    kept = ports.choices_of([txn])[txn]["edit"]["changes"]
    assert [(c["path"], c["old"], c["new"]) for c in kept] == [
        ("lines/0/service_start", "", "2026-10-01"), ("lines/0/service_end", "", "2027-09-30"),
    ]  # fmt: skip
    assert AuditEntry.objects.get(verb="edit").data["changes"] == kept
    row = BusinessTransaction.objects.get(pk=txn)
    assert schema.from_json(bytes(row.fact), Invoice) == INVOICE
    assert edits.document_of(row).lines[0].service_end == dt.date(2027, 9, 30)


def test_nothing_changed_a_field_that_may_not_be_and_a_document_that_the_target_may_hold_are_refused(maker):
    case, txn = held_invoice()
    for values, said in (
        ({"po_number": "PO-1"}, "Nothing would change"),
        ({"total": "1.00"}, "Total can’t be edited"),
        ({"po_number": "x" * 46}, "longer than 45"),
    ):
        with pytest.raises(ResolutionRefused, match=said):
            edits.edit_fields(case, by=maker, reason="why not", transaction_id=txn, values=values)
    BusinessTransaction.objects.filter(pk=txn).update(open_intent={"external_id": "x", "is_open": True})
    with pytest.raises(ResolutionRefused, match="outcome must be known first"):
        edits.edit_fields(case, by=maker, reason="PO", transaction_id=txn, values={"po_number": "PO-2"})


def test_a_later_edit_keeps_the_earlier_ones_and_a_document_that_moved_voids_it(maker, checker):
    case, txn = held_invoice()
    first, _ = edits.edit_fields(case, by=maker, reason="PO", transaction_id=txn, values={"po_number": "PO-2"})
    deciding.decide(first, by=checker, approve=True)
    BusinessTransaction.objects.filter(pk=txn).update(state="held")
    second, _ = edits.edit_fields(case, by=maker, reason="due", transaction_id=txn, values={"due_date": "2026-11-30"})
    assert [c["path"] for c in second.content["chosen"][str(txn)]["edit"]["changes"]] == ["po_number", "due_date"]
    with pytest.raises(ResolutionRefused, match="proposed it already"):
        edits.edit_fields(case, by=checker, reason="due", transaction_id=txn, values={"due_date": "2026-12-01"})
    BusinessTransaction.objects.filter(pk=txn).update(
        fact=schema.to_json(msgspec.structs.replace(INVOICE, number="INV-2"))
    )
    assert deciding.decide(second, by=checker, approve=True)[0] == "void"
    second.refresh_from_db()
    assert second.void_reason == "INV-1 moved: the document itself."


def test_in_an_emergency_one_signature_of_its_role_holds_for_hours_and_is_reviewed_and_ended(maker, checker):
    case, txn = held_invoice()
    with pytest.raises(ResolutionRefused, match="can’t be edited"):
        edits.edit_fields(case, by=maker, reason="wrong SKU", transaction_id=txn, values={"lines/0/sku": "SUB-2"})
    proposal, _ = edits.edit_fields(
        case, by=maker, reason="wrong SKU", transaction_id=txn, values={"lines/0/sku": "SUB-2"}, in_emergency=True
    )
    assert proposal.content["asked"]["level"] == "1 in an emergency"
    erna = make_person("erna", "emergency")
    with pytest.raises(ApprovalRefused, match="for how many hours"):
        deciding.decide(proposal, by=erna, approve=True, why="the close is in an hour")
    with pytest.raises(ApprovalRefused, match="Your role doesn't approve this"):
        deciding.decide(proposal, by=checker, approve=True, why="I may not", emergency_hours=2)
    with pytest.raises(ApprovalRefused, match="Say why it can't wait"):
        deciding.decide(proposal, by=erna, approve=True, emergency_hours=2)
    state, _ = deciding.decide(proposal, by=erna, approve=True, why="the close is in an hour", emergency_hours=2)
    assert (state, edits.document_of(BusinessTransaction.objects.get(pk=txn)).lines[0].sku) == ("approved", "SUB-2")
    assert list(unreviewed("GB01").values_list("used_by", "ended_at")) == [(erna.pk, None)]
    assert edits.end_emergencies(by=erna) == 0
    with time_machine.travel(timezone.now() + dt.timedelta(hours=3)):
        assert (edits.end_emergencies(by=erna), edits.end_emergencies(by=erna)) == (1, 0)
    assert edits.document_of(BusinessTransaction.objects.get(pk=txn)).lines[0].sku == "SUB"
    assert Choice.objects.filter(about="edit").count() == 2
