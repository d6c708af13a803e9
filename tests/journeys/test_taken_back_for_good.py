"""An invoice that people took back for good is credited once, whatever billing says of it before, meanwhile and
later; and nobody takes one back for good on half an answer."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec import structs

from connectors.netsuite import inbound
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import order_unwinding, standing, unwinding
from q2c.core.approvals import ApprovalRefused
from q2c.reconciliation.control_totals import compute_totals
from q2c.transactions.models import BusinessTransaction, LineageLink
from tests.journeys.ledger import RECEIVABLES, Ledger
from tests.journeys.scenes import unwind
from tests.journeys.test_unwinding import invoice_of, people
from tests.journeys.test_voids import ends, held_by_erp

pytestmark = pytest.mark.django_db(transaction=True)
GB = {"legal_entity": "GB01"}
FOR_GOOD = {"reposts": False, "reason": "sold by mistake"}


def propose(invoice, *, reposts=False):
    return unwinding.propose(invoice_of(invoice), by=people()["billing_ops"], reason="sold by mistake", reposts=reposts)


def test_a_credit_note_after_it_credits_nothing_again_and_its_refund_pays_out_what_stands_on_account(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.carry()
    unwind(house, invoice, **FOR_GOOD)
    house.carry()
    house.pay(invoice)
    house.carry()
    credit = house.credit(invoice, amount=10_000, refund_amount=10_000, metadata=GB)
    house.carry()
    assert [row[0] for row in held_by_erp(house, "creditMemo")] == [f"unw-stripe-{invoice}-1"]
    assert len(house.made("netsuite", "creditMemo")) == 1
    ((state, why),) = ends(house, "credit_memo_to_erp")
    assert (state, why.partition(" credits ")[2]) == (
        "cancelled", "was taken back for good by a plan, so all of it is credited",
    )  # fmt: skip
    assert house.states("refund_to_erp") == {"completed": 1}
    assert len(house.made("netsuite", "customerRefund")) == 1
    books = Ledger(house.sandboxes)
    assert (books.balances(), books.open_items()) == ({}, {})
    assert compute_totals(["stripe"]).agrees
    told = LineageLink.objects.filter(target_type="ar_refund", relation="given back by")
    assert told.get().source_type == "receipt"
    assert BusinessTransaction.objects.get(source_id__startswith=f"{credit}-").state == "completed"


@pytest.mark.parametrize(("reposts", "state", "left"), [(False, "cancelled", 0), (True, "completed", 80)])
def test_a_credit_note_waits_for_the_plan_that_is_under_way(house, reposts, state, left):
    invoice = house.invoice(house.customer(), sku="85123A", amount=10_000)
    house.carry()
    house.map_item("85123A", "POST")
    unwind(house, invoice, reposts=reposts)
    house.credit(invoice, amount=2_000, metadata=GB)
    waiting = BusinessTransaction.objects.filter(flow="credit_memo_to_erp", state="waiting")
    house.carry(without="unwinding_to_erp", until=waiting.exists)
    assert waiting.get().waits_for.endswith("to be taken back by its plan")
    house.carry()
    assert (house.held(), house.states("credit_memo_to_erp")) == ([], {state: 1})
    books = Ledger(house.sandboxes)
    assert sum(books.open_items().values()) == books.balances().get(RECEIVABLES, 0) == Decimal(left)


def test_a_credited_invoice_isnt_taken_back_for_good_but_voided_which_takes_back_what_is_left(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.credit(invoice, amount=2_000, metadata=GB)
    house.carry()
    with pytest.raises(ResolutionRefused, match=r"already, .* twice\. Void it in billing: its void takes back what is"):
        propose(invoice)
    house.void(invoice)
    house.carry()
    books = Ledger(house.sandboxes)
    assert (house.held(), books.balances(), books.open_items()) == ([], {}, {})


def test_a_paid_invoice_isnt_taken_back_for_good_while_billing_cant_be_asked(house):
    customer = house.customer()
    paid, unpaid = (house.invoice(customer, amount=10_000) for _ in range(2))
    house.carry()
    house.pay(paid)
    house.carry()
    house.fault("stripe", "status", status=503, when={"method": "GET", "path": "/v1/invoices/*"})
    with pytest.raises(ResolutionRefused, match=r"is paid in billing\. Give a credit note there"):
        propose(paid)
    with pytest.raises(ResolutionRefused, match=f"can’t say how invoice {unpaid} stands"):
        propose(unpaid)


def test_an_erp_that_doesnt_say_what_is_open_isnt_answered_for(house, monkeypatch):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.carry()
    proposal, read = propose(invoice), inbound.posted_document
    with monkeypatch.context() as patched:
        patched.setattr(inbound, "posted_document", lambda raw, **more: structs.replace(
            read(raw, **more), open_amount=None))  # fmt: skip
        with pytest.raises(ResolutionRefused, match=r"^The ERP doesn’t say what is open of it\.$"):
            propose(invoice)
    house.fault("netsuite", "status", status=503, when={"method": "GET", "path": "*/record/v1/*"})
    with pytest.raises(ApprovalRefused, match="can’t say how"):
        unwinding.decide(proposal, by=people()["controller"], approve=True)
    proposal.refresh_from_db()
    assert proposal.state == "proposed"


def test_a_plan_rests_on_nothing_that_wasnt_looked_at(house, monkeypatch):
    order = house.win(house.account())
    txn = BusinessTransaction.objects.filter(flow="order_to_subscription", source_id=order)
    house.carry(until=lambda: txn.filter(state="completed").exists())
    house.carry()
    billed = BusinessTransaction.objects.get(flow="invoice_to_erp", state="completed").source_id
    unwind(house, billed, **FOR_GOOD)
    house.carry()
    monkeypatch.setattr(standing, "ROWS_MAX", 2)
    with pytest.raises(ResolutionRefused, match=r"More documents hang together with .* than the 2 that a plan"):
        order_unwinding.propose(txn.get(), by=people()["sales_ops"], reason="the customer withdrew")
    other = house.invoice(house.customer(), amount=10_000)
    house.carry()
    house.credit(other, amount=2_000, metadata=GB)
    house.carry()
    house.map_item("QB-API", "POST")
    seen = unwinding.plans_of(people()["controller"], invoice_of(other), asks=True, reposts=True)
    assert (seen.standing.is_partial, [row.key[1] for row in seen.standing.rows]) == (True, ["invoice", "ar_invoice"])
    monkeypatch.setattr(standing, "SETTLING_MAX", 0)
    with pytest.raises(ResolutionRefused, match="More than 0 documents settle it, and a plan looks at no more of them"):
        propose(other, reposts=True)
