"""A late invoice is accrued: its own period shows what it earned, the next takes that back and holds the invoice."""

from __future__ import annotations

import pytest

from connectors.models import ReferenceEntry
from exceptions import resolutions
from exceptions.kind_words import ACCRUE, CHOOSE_PERIOD
from exceptions.models import ExceptionCase
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import deciding, periods
from q2c.core.models import AccountingPeriod, AuditEntry
from q2c.flows.reference import refresh_reference
from q2c.transactions.models import BusinessTransaction, LineageLink, PreparedPosting
from tests.journeys.scenes import EARNED_AT_ONCE, accrue, reverse
from tests.journeys.test_half_way import REFUSED
from tests.journeys.test_holds import person, this_month

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_a_late_invoice_earned_is_shown_in_its_period_and_taken_back_where_it_posts(house):
    customer = house.customer()
    house.carry()
    house.lock_receivables()
    invoice = house.invoice(customer, sku=EARNED_AT_ONCE)
    proposal = accrue(house, invoice)
    months = AccountingPeriod.objects.filter(subsidiary__legal_entity__code="GB01", code__gte=this_month()["period"])
    own, following = months.order_by("start_date")[:2]
    assert proposal.content["happens"][0] == (
        f"GBP 100.00, net of tax, is accrued in {own.name} of GB01, for 1 of 1 document: it debits GBP 100.00 to 1110 "
        "Accounts Receivable – Unbilled, and credits GBP 100.00 to 4160 Postage and Carriage Recovered."
    )
    assert proposal.content["terms"]["clauses"][0]["says"] == "either"
    house.carry()
    assert (house.held(), house.states("accrual_to_erp"), house.states("invoice_to_erp")) == (
        [], {"completed": 1}, {"completed": 1},
    )  # fmt: skip
    entries = house.sandboxes.control("GET", "netsuite/documents/journalEntry?limit=10")["items"]
    assert sorted((e["tranDate"], e["postingPeriod"]["id"], e["total"]) for e in entries) == [
        (own.end_date.isoformat(), own.external_id, 100.0),
        (following.start_date.isoformat(), following.external_id, 100.0),
    ]
    assert [e["external_id"] for e in house.made("netsuite", "journalEntry") if e["external_id"]] == [
        f"acc-stripe-invoice-{invoice}-{own.code}"
    ]
    codes = dict(ReferenceEntry.objects.filter(list_name="accounts").values_list("external_id", "code"))
    posting = PreparedPosting.objects.get(external_id__startswith="acc-")
    booked = zip(posting.accounts, posting.debits, posting.credits, strict=True)
    assert {codes[account]: debit - credit for account, debit, credit in booked} == {"1110": 100, "4160": -100}
    (booked,) = house.sandboxes.control("GET", "netsuite/documents/invoice?limit=10")["items"]
    assert booked["postingPeriod"]["id"] == following.external_id
    txn = BusinessTransaction.objects.get(flow="accrual_to_erp")
    told = LineageLink.objects.filter(transaction_id=txn.pk).values_list("source_type", "target_type", "relation")
    assert set(told) == {
        ("accrual", "journal", "became"), ("invoice", "accrual", "accrued by"), ("journal", "journal", "reversed by"),
    }  # fmt: skip
    assert AuditEntry.objects.get(verb="accrue").data["amount"] == "100.00"


def test_where_the_whole_ledger_is_closed_or_all_is_deferred_nothing_is_accrued_and_the_reason_is_said(house):
    customer = house.customer()
    house.carry()
    house.lock_receivables()
    house.invoice(customer)
    house.carry(until=lambda: house.held() == ["period_closed"])
    case = ExceptionCase.objects.get(closed_at__isnull=True)
    with pytest.raises(ResolutionRefused, match="Nothing of them is accrued: their lines defer revenue"):
        periods.choose_period(case, by=person("billing_ops"), reason="came late", option=ACCRUE)
    AccountingPeriod.objects.filter(code=this_month()["period"]).update(is_ledger_open=False)
    options = {row.code: row.why_not for row in periods.options_of(periods.late_documents(case, person("billing_ops")))}
    assert options[CHOOSE_PERIOD] == ""
    assert "is closed for the whole ledger, so nothing can be accrued in it." in options[ACCRUE]
    assert [house.made("netsuite", kind) for kind in ("invoice", "journalEntry")] == [[], []]


@pytest.mark.parametrize("is_taken_back", [False, True], ids=["it stands", "taken back for good"])
def test_a_corrected_version_of_what_is_accrued_does_not_post_in_that_period_too(house, is_taken_back):
    customer = house.customer()
    house.carry()
    house.lock_receivables()
    invoice = house.invoice(customer, sku=EARNED_AT_ONCE)
    accrue(house, invoice)
    refused = house.fault("netsuite", "status", status=400, body=REFUSED, when={"method": "POST", "path": "*/invoice"})
    house.carry()
    assert (house.states("accrual_to_erp"), len(house.held())) == ({"completed": 1}, 1)
    house.let_go_on("netsuite", refused)
    if is_taken_back:
        reverse("accrual_to_erp", reposts=False)
        house.carry()
    unlock(house)
    house.ask_stripe(f"invoices/{invoice}", **{"metadata[po_number]": "PO-7"})
    house.carry()
    resolutions.make_way()
    house.carry()
    own, following = AccountingPeriod.objects.filter(
        subsidiary__legal_entity__code="GB01", code__gte=this_month()["period"]
    ).order_by("start_date")[:2]
    if not is_taken_back:
        assert (house.held(), house.made("netsuite", "invoice")) == (["period_closed"], [])
        txn = BusinessTransaction.objects.get(state="held")
        assert txn.problem["summary"] == (
            f"{own.name} is closed in GB01 for what is accrued there: posted there too, it would count twice"
        )
        choose(ExceptionCase.objects.get(closed_at__isnull=True), CHOOSE_PERIOD)
        house.carry()
    assert (house.held(), house.states("invoice_to_erp")) == ([], {"cancelled": 1, "completed": 1})
    (booked,) = house.sandboxes.control("GET", "netsuite/documents/invoice?limit=10")["items"]
    assert booked["postingPeriod"]["id"] == (own if is_taken_back else following).external_id


def unlock(house) -> None:
    """The ERP's people reopen the month for something else, and the portal reads that."""
    for locked in house.locked:
        house.cast.erp.unlock(house, locked)
    refresh_reference("netsuite", ("periods",))


def choose(case: ExceptionCase, option: str) -> None:
    proposal, _ = periods.choose_period(case, by=person("billing_ops"), reason="accrued already", option=option)
    if proposal is not None:
        deciding.decide(proposal, by=person("controller"), approve=True)
