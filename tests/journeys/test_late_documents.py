"""A document that comes after its period was closed: where it goes is chosen, agreed to by another, and posts once."""

import pytest

from connectors.models import ReferenceEntry
from exceptions.kind_words import CHOOSE_PERIOD, REOPEN_PERIOD
from exceptions.models import Choice, ExceptionCase, Snooze
from exceptions.resolving import deciding, periods
from exceptions.tasks import sweep_cases
from q2c.core.models import AccountingPeriod, AuditEntry, Proposal
from q2c.flows.reference import refresh_reference
from q2c.transactions.models import BusinessTransaction
from tests.journeys.test_holds import person, this_month

pytestmark = pytest.mark.django_db(transaction=True)


def close_this_month(house) -> AccountingPeriod:
    """The ERP's controller closes receivables, and the portal reads its list; the period after it."""
    house.sandboxes.control("POST", "netsuite/account", {"close_period": this_month()})
    refresh_reference("netsuite", ("periods",))
    return AccountingPeriod.objects.filter(
        subsidiary__legal_entity__code="GB01", code__gt=this_month()["period"], is_receivables_open=True
    ).first()


def held_invoice(house, customer) -> tuple[BusinessTransaction, ExceptionCase]:
    house.invoice(customer)
    house.carry(until=lambda: house.held() == ["period_closed"])
    return BusinessTransaction.objects.get(state="held"), ExceptionCase.objects.get(closed_at__isnull=True)


def test_a_late_document_posts_in_the_next_open_period_under_its_own_date_or_after_a_reopening(house):
    customer = house.customer()
    house.carry()
    following = close_this_month(house)
    late, case = held_invoice(house, customer)
    maker, checker = person("billing_ops"), person("controller")
    proposal, _ = periods.choose_period(case, by=maker, reason="came two days late", option=CHOOSE_PERIOD)
    (signed,) = proposal.content["documents"]
    assert signed["would"]["outcome"] == "posts"
    assert (signed["would"]["posting_date"], signed["would"]["period"]) == (
        following.start_date.isoformat(), following.external_id,
    )  # fmt: skip
    assert proposal.content["terms"]["clauses"] == [
        {"entity": "GB01", "field": "late_documents", "says": "either", "rule": None, "version": None}
    ]
    state, results = deciding.decide(proposal, by=checker, approve=True)
    assert (state, [r.is_restarted for r in results]) == ("approved", [True])
    house.carry()
    assert house.states("invoice_to_erp") == {"completed": 1}
    assert len(house.made("netsuite", "invoice")) == 1
    (booked,) = house.sandboxes.control("GET", "netsuite/documents/invoice?limit=10")["items"]
    assert booked["postingPeriod"]["id"] == following.external_id
    assert booked["tranDate"] == late.document_date.isoformat()
    assert f"dated {late.document_date.isoformat()}, posted late" in booked["memo"]
    assert Choice.objects.get().proposal == proposal

    second, other = held_invoice(house, customer)
    asked, _ = periods.choose_period(other, by=maker, reason="it belongs to this month", option=REOPEN_PERIOD)
    assert deciding.decide(asked, by=checker, approve=True) == ("approved", [])
    sweep_cases()
    assert (house.held(), Snooze.objects.get().woken_at) == (["period_closed"], None)
    house.sandboxes.control("POST", "netsuite/account", {"open_period": this_month()})
    refresh_reference("netsuite", ("periods",))
    sweep_cases()
    house.carry()
    assert house.states("invoice_to_erp") == {"completed": 2}
    assert len(house.made("netsuite", "invoice")) == 2
    assert BusinessTransaction.objects.get(pk=second.pk).period_code == this_month()["period"]
    assert Snooze.objects.get().woken_by == f"{this_month()['period']} is open in GB01"
    assert Proposal.objects.filter(state="approved", kind__startswith="resolve:").count() == 2
    assert list(AuditEntry.objects.filter(verb="wake").values_list("actor", flat=True)) == ["portal"]
    assert not ReferenceEntry.objects.filter(list_name="periods", is_active=False).exists()
