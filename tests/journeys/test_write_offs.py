"""What people give up of an invoice leaves receivables by one document of the ERP, applied to the open item."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.models import ReferenceEntry
from exceptions.models import Adjustment, ExceptionCase
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import adjustments, deciding
from mappings.models import MappingRule
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import Person
from q2c.flows.tasks import carry
from q2c.transactions.models import BusinessTransaction, LineageLink, PreparedPosting, StepRun
from tests.journeys.ledger import RECEIVABLES, Ledger
from tests.journeys.scenes import write_off
from tests.journeys.test_exchange_rates import GAINS, RATE_AT_PAYMENT, RATE_AT_SALE, agree_on
from tests.journeys.test_voids import held_by_erp
from tests.mappings.rules import make_rule, next_number

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_given_up_invoice_is_written_off_once_by_two_people_and_its_open_item_is_settled(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.carry()
    house.credit(invoice, amount=3_000, metadata={"legal_entity": "GB01"})
    house.carry()
    house.ask_stripe(f"invoices/{invoice}/mark_uncollectible")
    house.carry()
    (case,) = ExceptionCase.objects.all()
    people = {person.username: person for person in Person.objects.all()}
    proposal, _ = adjustments.adjust(case, by=people["billing_ops"], reason="gone bankrupt", resolution="write_off")
    assert (proposal.title.startswith("Write off GBP 70.00 of "), proposal.content["documents"][0]["amount"]) == (
        True, "70.00",
    )  # fmt: skip
    assert house.states("write_off_to_erp") == {}
    with pytest.raises(ApprovalRefused, match="somebody else has to approve"):
        deciding.decide(proposal, by=people["billing_ops"], approve=True)
    state, (result,) = deciding.decide(proposal, by=people["controller"], approve=True)
    assert (state, result.is_restarted) == ("approved", True)
    house.carry()
    assert house.held() == []
    name = f"wo-stripe-{invoice}-1"
    assert (name, Decimal(70), Decimal(0)) in held_by_erp(house, "creditMemo")
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", Decimal(100), Decimal(0))]
    assert [e["external_id"] for e in house.made("netsuite", "creditMemo")].count(name) == 1
    posting = PreparedPosting.objects.get(transaction_id=result.transaction_id)
    codes = dict(ReferenceEntry.objects.filter(list_name="accounts").values_list("external_id", "code"))
    booked = zip(posting.accounts, posting.debits, posting.credits, strict=True)
    assert {codes[account]: debit - credit for account, debit, credit in booked} == {"8100": 70, "1100": -70}
    case.refresh_from_db()
    assert (case.state, case.resolution) == ("resolved", "written_off")
    told = LineageLink.objects.filter(transaction_id=result.transaction_id)
    assert set(told.values_list("source_type", "target_type", "relation")) == {
        ("write_off", "ar_credit_memo", "became"), ("invoice", "write_off", "written off by"),
        ("ar_credit_memo", "ar_invoice", "applied to"),
    }  # fmt: skip
    assert (Adjustment.objects.get().amount, Adjustment.objects.get().by) == (Decimal(70), people["billing_ops"])


def test_what_was_paid_before_it_was_posted_is_not_written_off_and_a_case_says_so(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.carry()
    write_off(house, invoice)
    house.pay(invoice)
    house.carry(without="write_off_to_erp")
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", Decimal(100), Decimal(0))]
    carry("write_off_to_erp", seconds=5)
    assert house.held() == ["open_amount_moved"]
    assert house.made("netsuite", "creditMemo") == []
    txn = BusinessTransaction.objects.get(flow="write_off_to_erp")
    assert (txn.open_intent, StepRun.objects.filter(transaction_id=txn.pk, step="post_write_off").count()) == (None, 1)


def test_what_is_left_after_another_amount_was_open_is_decided_anew_and_the_held_one_makes_way(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.carry()
    write_off(house, invoice)
    house.credit(invoice, amount=3_000, metadata={"legal_entity": "GB01"})
    house.carry(without="write_off_to_erp")
    carry("write_off_to_erp", seconds=5)
    assert house.held() == ["open_amount_moved"]
    case = ExceptionCase.objects.get(kind="open_amount_moved")
    people = {person.username: person for person in Person.objects.all()}
    proposal, _ = adjustments.adjust(
        case, by=people["billing_ops"], reason="most of what is left", resolution="write_off", amount=Decimal(50)
    )
    posts, books, tax, *_ = proposal.content["happens"]
    assert posts.endswith(
        f"applied to {proposal.content['documents'][0]['number']}, of which GBP 20.00 then stays open."
    )
    assert books.startswith("It debits GBP 50.00 to 8100 Bad Debt Expense, and credits GBP 50.00 to 1100 Accounts Rec")
    assert tax == "The invoice’s tax stays as it was declared."
    deciding.decide(proposal, by=people["controller"], approve=True)
    house.carry()
    assert (house.held(), house.states("write_off_to_erp")) == ([], {"cancelled": 1, "completed": 1})
    assert (f"wo-stripe-{invoice}-2", Decimal(50), Decimal(0)) in held_by_erp(house, "creditMemo")
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", Decimal(100), Decimal(20))]
    case.refresh_from_db()
    assert (case.state, case.resolution) == ("resolved", "written_off")
    assert "; GBP 20.00 of it stays open: most of" in case.notes.get(verb="written_off").text


def test_a_difference_is_accepted_within_its_limits_and_over_one_it_is_refused_by_name(house):
    invoice = house.invoice(house.customer(), amount=450)
    house.carry()
    with pytest.raises(ResolutionRefused, match="No rule says up to what amount GB01 accepts a difference"):
        write_off(house, invoice, "accept_difference")
    make_rule("adjustment_limit", "accept_difference|item", "5", legal_entity="GB01")
    customer = make_rule("adjustment_limit", "accept_difference|customer", "4", legal_entity="GB01")
    with pytest.raises(ResolutionRefused, match=r"of which 0.00 is used: GBP 4.50 is 0.50 over it"):
        write_off(house, invoice, "accept_difference")
    MappingRule.objects.filter(pk=customer.pk).update(known_to=next_number())
    write_off(house, invoice, "accept_difference")
    house.carry()
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", Decimal("4.5"), Decimal(0))]
    assert held_by_erp(house, "creditMemo") == [(f"wo-stripe-{invoice}-1", Decimal("4.5"), Decimal(0))]


def test_an_invoice_from_before_summary_posting_is_written_off_its_own_receivables_account(house):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.carry()
    house.post_in_summary("GB01")
    write_off(house, invoice)
    house.carry()
    assert house.held() == []
    books = Ledger(house.sandboxes)
    assert books.open_items() == {}
    assert {account: amount for account, amount in books.balances().items() if account[0] == "1"} == {}


def test_what_is_written_off_leaves_at_the_invoices_rate_whatever_policy_says_of_credits(house):
    agree_on(RATE_AT_SALE)
    invoice = house.invoice(house.customer(), amount=10_000, currency="eur")
    house.carry()
    books = Ledger(house.sandboxes)
    assert books.balances()[RECEIVABLES] == Decimal("50.00")
    agree_on(RATE_AT_PAYMENT)
    make_rule("posting_policy", "credit_rate", "document", legal_entity="GB01")
    write_off(house, invoice)
    house.carry()
    ended = books.balances()
    assert (house.held(), RECEIVABLES in ended, GAINS in ended) == ([], False, False)
    assert ended["8100"] == Decimal("50.00")
