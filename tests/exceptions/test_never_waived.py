"""A day's summary can't be given up, by whatever way: the documents in it would wait for ever, and in no case."""

from __future__ import annotations

import pytest

from exceptions import freezing, resolutions, tallies
from exceptions.models import ExceptionCase, Waiver
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import deciding, waivers
from exceptions.sheets import checking
from q2c.core.models import AuditEntry
from q2c.transactions.models import BusinessTransaction
from tests.core.people import make_person
from tests.exceptions.late import late_case
from tests.exceptions.test_sheets import export, fill
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
WHY = (
    "its documents post by nothing else: have its period reopened or put right in the ERP what it refuses, then repost"
)


@pytest.fixture
def case():
    """A day's summary in a closed period."""
    case, _ = late_case(flow="summary_to_erp", number="SUM-1")
    case.occurrences.update(flow="summary_to_erp")
    return case


@pytest.fixture
def mixed():
    """A day's summary and an invoice, both held by the same closed period."""
    case, (invoice, summary) = late_case(2)
    rows = BusinessTransaction.objects.filter(pk=summary)
    rows.update(flow="summary_to_erp")
    case.occurrences.filter(transaction_id=summary).update(flow="summary_to_erp")
    return case, invoice, summary


def states() -> list[str]:
    return sorted(BusinessTransaction.objects.values_list("state", flat=True))


def alone(case, by):
    with pytest.raises(ResolutionRefused, match=f"^A day’s summary can’t be given up, since {WHY}.$"):
        waivers.waive(case, by=by, reason="booked by hand", code="booked_by_hand")


def where_a_rule_asks(case, by):
    make_rule("resolution_approval", "waive", "1 controller", legal_entity="GB01")
    alone(case, by)


def signed_before(case, by):
    """What two people agreed to before it was so: nothing is given up, and that is said."""
    document = BusinessTransaction.objects.get()
    (row,) = resolutions.waive(case, by=by, reason="x", code="test", transaction_ids=[document.pk])
    assert (row.is_restarted, row.why_not.endswith(WHY)) == (False, True)


def in_bulk(case, by):
    action = freezing.freeze("waive", by=by, cases=tallies.cases_visible_to(by), chosen={}, words="All")
    (item,) = action.items.all()
    assert (item.result, item.says.endswith(WHY)) == ("refused", True)


def in_bulk_at_last(case, by):
    """As a bulk action does it that an older release had frozen."""
    (row,) = resolutions.give_up([BusinessTransaction.objects.get().pk], by=by, reason="x", code="test")
    assert (row.is_restarted, row.why_not.endswith(WHY)) == (False, True)


def by_a_sheet(case, by):
    content = fill(export(by), {"SUM-1": {"act": "Waive", "code": "duplicate", "why": "twice"}})
    (line,) = checking.check_sheet(content, by=by).refused
    assert line.refused.endswith(WHY)


@pytest.mark.parametrize(
    "way", [alone, where_a_rule_asks, signed_before, in_bulk, in_bulk_at_last, by_a_sheet], ids=lambda way: way.__name__
)
def test_a_summary_stays_held_and_the_ways_instead_are_named(case, way):
    way(case, make_person("cora", "controller"))
    assert states() == ["held"]
    assert not Waiver.objects.exists()
    assert ExceptionCase.objects.get().is_open


def test_beside_it_other_documents_of_its_case_are_given_up(mixed):
    case, invoice, summary = mixed
    rows = {row.transaction_id: row for row in waivers.waive(
        case, by=make_person("cora", "controller"), reason="booked by hand", code="booked_by_hand")[1]}  # fmt: skip
    assert (rows[invoice].is_restarted, rows[summary].is_restarted) == (True, False)
    assert rows[summary].why_not.endswith(WHY)
    assert (states(), Waiver.objects.get().transaction_id) == (["cancelled", "held"], invoice)
    assert ExceptionCase.objects.get().is_open


def test_what_two_people_sign_says_what_stays(mixed):
    case, invoice, summary = mixed
    make_rule("resolution_approval", "waive", "1 controller", legal_entity="GB01")
    proposal, _ = waivers.waive(case, by=make_person("cora", "controller"), reason="booked", code="booked_by_hand")
    assert proposal.title.startswith("Waive 1 document of ")
    assert proposal.content["happens"][-1] == f"What stays held: a day’s summary can’t be given up, since {WHY}."
    deciding.decide(proposal, by=make_person("carl", "controller"), approve=True)
    assert states() == ["cancelled", "held"]


def test_its_page_offers_no_waiver_and_says_why(client, case):
    client.force_login(make_person("cora", "controller"))
    page = client.get(f"/exceptions/cases/{case.pk}/").content.decode()
    assert ("A day’s summary can’t be given up" in page, f"Waive {case.number}" in page) == (True, False)
    sent = client.post(f"/exceptions/cases/{case.pk}/waive/", {"waive-code": "test", "waive-why": "x"})
    assert (sent.status_code, AuditEntry.objects.count()) == (422, 0)


def test_the_page_of_a_mixed_case_offers_it_for_the_others(client, mixed):
    client.force_login(make_person("cora", "controller"))
    page = client.get(f"/exceptions/cases/{mixed[0].pk}/").content.decode()
    assert "What stays held: a day’s summary can’t be given up" in page
    assert f"Waive {mixed[0].number}" in page
