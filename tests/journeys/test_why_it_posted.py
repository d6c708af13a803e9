"""An auditor asks of any posted line why it is there, and gets the rules of then, their people, and today's answer."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone

from connectors.models import ReferenceEntry
from connectors.sandbox.remote import ControlDoor
from exceptions import cases
from mappings.approvals import propose_change_set, sign_change_set
from mappings.drafts import Line, save_draft
from mappings.models import MappingRule
from q2c.core.models import Person
from q2c.demo.taxes import make_tax_rates
from q2c.portal.reasons import explain_posting
from q2c.transactions.models import BusinessTransaction

pytestmark = pytest.mark.django_db(transaction=True)


def agree(title: str, *lines: Line) -> None:
    """Proposed by one person, approved by another."""
    maker, checker = (Person.objects.get(username=name) for name in ("mapping_admin", "controller"))
    change_set = save_draft(title, "It changed", lines=list(lines), by=maker)
    propose_change_set(change_set, by=maker)
    assert sign_change_set(change_set, by=checker, approve=True, alarm=cases.open_case).is_in_force


@pytest.fixture
def sold(house):
    """A taxed invoice, paid, partly credited and refunded, paid out: all in the ledger. Returns the invoice's id."""
    rates = make_tax_rates(ControlDoor(house.sandboxes.port))
    tax = {"tax_rates": [rates["gb-vat"]]}
    lines = [{"amount": 12_000, "quantity": 1, "metadata": {"sku": "QB-API"}, **tax}]
    invoice = house.invoice(house.customer(), lines=lines)
    payment = house.pay(invoice)
    house.carry()
    house.credit(invoice, amount=1_000)
    house.refund(payment)
    house.carry()
    house.payout()
    house.carry()
    return invoice


def test_every_line_of_every_posting_names_the_rules_of_then_that_put_it_there(house, sold):
    told = {}
    for txn in BusinessTransaction.objects.filter(state="completed").order_by("id"):
        explained = explain_posting(txn)
        if explained is None:
            continue
        told[txn.flow] = explained
        assert sum(line.debit - line.credit for line in explained.lines) == 0
        assert [line.account for line in explained.lines if not line.reasons] == [], txn.flow
        used = [reason.used for line in explained.lines for reason in line.reasons if reason.used] + explained.others
        for each in used:  # asked again as known then, the same rule wins
            assert (each.looked_at[0].rule.id, each.looked_at[0].verdict[:3]) == (each.rule.pk, "won"), each.rule
            assert each.rule.proposed_by.username != each.rule.approved_by.username
    assert {"invoice_to_erp", "credit_memo_to_erp", "payment_to_erp", "payout_to_erp"} <= told.keys()
    assert told["credit_memo_to_erp"].original.source_id == sold
    words = [reason.text for line in told["credit_memo_to_erp"].lines for reason in line.reasons]
    assert any("as on the credited invoice" in text for text in words), words


def test_the_posting_of_a_void_names_the_document_that_it_takes_back(house):
    invoice = house.invoice(house.customer())
    credit = house.credit(invoice, amount=1_000)
    house.carry()
    house.void_credit(credit)
    house.carry()
    house.void(invoice)
    house.carry()
    said = {}
    for flow in ("credit_void_to_erp", "invoice_void_to_erp"):
        explained = explain_posting(BusinessTransaction.objects.get(flow=flow))
        words = " ".join(reason.text for line in explained.lines for reason in line.reasons)
        said[flow] = (explained.original.source_id, words)
    assert [said[flow][0] for flow in said] == [credit, invoice]
    assert "as on the voided credit memo; the item defers to it" in said["credit_void_to_erp"][1]
    assert "as on the credited invoice; the item defers to it" in said["invoice_void_to_erp"][1]


def test_what_was_posted_keeps_its_reason_when_the_rule_changes(house, sold):
    txn = BusinessTransaction.objects.get(flow="invoice_to_erp")
    rule = MappingRule.objects.get(kind="item", key="QB-API", known_to=None)
    other = ReferenceEntry.objects.filter(list_name="items", is_active=True).exclude(external_id=rule.value).first()
    agree("Another item", Line(
        kind="item", key="QB-API", act="change", rule_id=rule.pk, connection=rule.connection_code,
        legal_entity=rule.legal_entity_code, currency=rule.currency, value=other.external_id, label="Renamed",
        effective_from=timezone.localdate(),
    ))  # fmt: skip
    client = Client()
    client.force_login(Person.objects.get(username="auditor"))
    hits = client.get("/search/", {"q": txn.number}).context["hits"]
    assert f"/transactions/{txn.pk}/" in [hit.url for hit in hits]
    assert f"/transactions/{txn.pk}/posting/" in client.get(f"/transactions/{txn.pk}/").content.decode()
    page = client.get(f"/transactions/{txn.pk}/posting/")
    (reason,) = [
        reason
        for line in page.context["posting"].lines
        for reason in line.reasons
        if reason.used and reason.used.rule.kind == "item"
    ]
    assert (reason.used.rule.value, reason.used.today.value, reason.used.is_same) == (
        rule.value,
        other.external_id,
        False,
    )
    assert "Today it says" in page.content.decode()
