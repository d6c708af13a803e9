"""A case of several entities: each finds it, sees and works its own documents, and keeps sight of what it did there."""

from __future__ import annotations

import pytest
from django.utils import timezone

from exceptions import bulk, cases, counting, tallies
from exceptions.models import BulkAction, CaseTally, ExceptionCase, Waiver
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import linking, periods
from exceptions.resolving.agreeing import Wished, wish
from exceptions.rolling import roll_up
from q2c.canonical import schema
from q2c.canonical.posting import PostedDocument
from q2c.core.models import LegalEntity, Membership, Proposal
from q2c.core.problems import Category, Problem
from q2c.transactions.models import BusinessTransaction
from tests.core.people import make_person
from tests.exceptions.late import late_case
from tests.exceptions.problems import held
from tests.exceptions.test_bulk import hold
from tests.exceptions.test_edits import INVOICE
from tests.exceptions.test_regrouping import refused
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
FLOWS = {"apply_open": "application_to_erp"}
URLS = {"edit": "edit", "emergency": "emergency-edit", "apply_open": "apply-open"}


@pytest.fixture
def ben():
    return make_person("ben", "billing_ops", entity="GB01")


@pytest.fixture
def dora():
    return make_person("dora", "billing_ops", entity="DE01")


def one_of(entity: str, **facts):
    return held(refused("a memo"), legal_entity_code=entity, **facts)


def sees(person) -> list[int]:
    return list(tallies.cases_visible_to(person).filter(closed_at=None).values_list("document_count", flat=True))


def of_closes(person) -> dict:
    return {place: sums for place, sums in counting.open_by_close(person).items() if sums[0]}


def test_a_case_that_another_entitys_document_joins_is_seen_by_both(ben, dora):
    cases.open_for_steps([one_of("GB01")])
    roll_up()
    case = ExceptionCase.objects.get()
    assert (case.legal_entity_code, sees(ben), sees(dora)) == ("GB01", [1], [])
    cases.open_for_steps([one_of("GB01"), one_of("DE01", currency="EUR")])
    assert tallies.case_visible_to(dora, case.pk) == case  # by its link at once, in her list with the next rolling up
    assert roll_up() == 1
    case.refresh_from_db()
    assert (case.legal_entity_code, sees(ben), sees(dora)) == ("", [3], [3])
    assert tallies.totals_of(dora, [case])[case.pk].document_count == 1
    newest = case.history.latest("history_id")
    assert (newest.legal_entity_code, newest.history_change_reason) == ("", "another entity's document joined it")
    assert (of_closes(ben), of_closes(dora)) == ({}, {})  # cases of several are summed from their tallies
    counting.add_up()
    assert (of_closes(ben), of_closes(dora)) == ({}, {})
    assert roll_up() == 0


def test_more_documents_of_its_own_entity_or_of_none_leave_a_case_its_entitys(ben):
    cases.open_for_steps([one_of("GB01")])
    cases.open_for_steps([one_of("GB01"), one_of("")])
    roll_up()
    assert (ExceptionCase.objects.get().legal_entity_code, sees(ben)) == ("GB01", [3])


@pytest.mark.parametrize(("entities", "left"), [(["GB01"], "GB01"), (["DE01"], ""), (["GB01", "DE01"], "")])
def test_a_case_that_comes_back_for_another_entity_is_of_several(ben, dora, commits, entities, left):
    first = one_of("GB01")
    cases.open_for_steps([first])
    with commits():
        cases.close_for_transactions([first.transaction_id], "completed", worker="w1")
    cases.open_for_steps([one_of(entity) for entity in entities])
    case = ExceptionCase.objects.get()
    assert (case.legal_entity_code, case.regressed_count) == (left, 1)
    assert case.history.latest("history_id").legal_entity_code == left
    assert [bool(sees(person)) for person in (ben, dora)] == ["GB01" in entities, "DE01" in entities]


def hold_of_both(**facts) -> tuple[ExceptionCase, dict[str, BusinessTransaction]]:
    """One case of a document of GB01's and one of DE01's."""
    for entity in ("GB01", "DE01"):
        case, ids = hold(refused("a memo"), legal_entity_code=entity, number=f"{entity}-1", **facts)
    CaseTally.objects.update(worker="")  # as if one process had done all of it: its tallies come back to nothing
    roll_up()
    case.refresh_from_db()
    return case, {txn.legal_entity_code: txn for txn in BusinessTransaction.objects.filter(state="held")}


def test_who_gives_up_the_last_of_their_own_sees_it_and_takes_it_up_again(ben, dora, client, commits):
    case, own = hold_of_both()
    page = f"/exceptions/cases/{case.pk}/"
    Membership.objects.create(person=dora, role="controller", legal_entity=LegalEntity.objects.get(code="DE01"))
    client.force_login(dora)
    with commits():
        sent = client.post(f"{page}waive/", {"waive-code": "looked_into", "waive-why": "a test order"})
    assert (sent.status_code, sent["Location"]) == (303, page)
    assert (client.get(page).status_code, sees(dora), sees(ben)) == (200, [], [2])
    with commits():
        cases.close_for_transactions([own["GB01"].pk], "completed")
    case.refresh_from_db()
    assert case.closed_at is not None
    shown = client.get(page)
    assert (shown.status_code, "take-up" in shown.content.decode()) == (200, True)
    taken = client.post(f"{page}take-up/", {"take_up-why": "it was real"})
    assert (taken.status_code, Waiver.objects.get().undone_by) == (303, dora)
    for person in (dora, ben):
        assert tallies.cases_visible_to(person).filter(pk=case.pk).exists()  # among the closed ones too
    client.force_login(make_person("carl", "billing_ops", entity="FR01"))
    assert client.get(page).status_code == 404


def told_of() -> tuple[ExceptionCase, BusinessTransaction]:
    """A late case of the platform's queue, of which the controller was told."""
    case, (txn,) = hold(refused("a memo"))
    ExceptionCase.objects.filter(pk=case.pk).update(queue="platform", escalation=3, standing="breached")
    return case, BusinessTransaction.objects.get(pk=txn)


@pytest.mark.parametrize("entity", ["", "GB01"])
def test_who_was_told_of_a_late_case_acts_on_its_documents_and_sees_it_once_closed(client, commits, entity):
    case, txn = told_of()
    cora = make_person("cora", "controller", entity=entity)
    client.force_login(cora)
    page = f"/exceptions/cases/{case.pk}/"
    assert (sees(cora), client.get(page).status_code) == ([], 200)
    sent = client.post("/exceptions/bulk/freeze/", {"what": "repost", "of_case": case.pk, "all": "1"})
    action = BulkAction.objects.get()
    assert sent["Location"] == f"/exceptions/bulk/{action.pk}/"
    bulk.confirm(action, by=cora, why="it is there now")
    BulkAction.objects.update(starts_at=timezone.now())
    bulk.run_due()
    assert list(action.items.values_list("result", "says")) == [("done", "")]
    with commits():
        cases.close_for_transactions([txn.pk], "completed")
    assert client.get(page).status_code == 200
    client.force_login(make_person("carl", "controller", entity="FR01"))
    assert client.get(page).status_code == 404


OWN_WAYS = {
    "edit": (
        "edit",
        {"edit_fields-transaction": "{}", "edit_fields-po_number": "PO-9", "edit_fields-why": "as ordered"},
    ),
    "repost": ("repost", {"repost-why": "it is there now"}),
    "waive": ("waive", {"waive-code": "looked_into", "waive-why": "a test order"}),
}


@pytest.mark.parametrize("clause", ["nobody", "1 colleague"])
@pytest.mark.parametrize("way", list(OWN_WAYS))
def test_in_a_case_of_several_one_sees_and_acts_on_ones_own_documents_alone(client, clause, way):
    for name in ("edit_fields", "repost", "waive"):
        make_rule("resolution_approval", name, clause)
    case, own = hold_of_both()
    BusinessTransaction.objects.update(fact=schema.to_json(INVOICE))
    client.force_login(make_person("gina", "controller", entity="GB01"))
    page = f"/exceptions/cases/{case.pk}/"
    shown = client.get(page).content.decode()
    assert ("GB01-1" in shown, "DE01-1" in shown, str(own["DE01"].pk) in shown) == (True, False, False)
    named = client.get(page, {"edit_fields-transaction": str(own["DE01"].pk)}).content.decode()
    assert "DE01-1" not in named
    url, form = OWN_WAYS[way]
    for entity in ("DE01", "GB01"):
        sent = client.post(f"{page}{url}/", {k: v.format(own[entity].pk) for k, v in form.items()})
        if way == "edit":
            assert (sent.status_code, b"isn\xe2\x80\x99t held in this case" in sent.content) == (
                (422, True) if entity == "DE01" else (302 if clause != "nobody" else 303, False)
            )
    own["DE01"].refresh_from_db()
    assert (own["DE01"].state, own["DE01"].attempt) == ("held", 1)
    proposed = [row["transaction"] for p in Proposal.objects.all() for row in p.content["documents"]]
    assert proposed == ([] if clause == "nobody" else [str(own["GB01"].pk)])
    own["GB01"].refresh_from_db()
    left = "held" if clause != "nobody" else "cancelled" if way == "waive" else "running"
    assert own["GB01"].state == left


def test_a_link_of_a_foreign_document_is_neither_offered_nor_taken(client):
    make_rule("resolution_approval", "link", "nobody")
    problem = Problem("outcome_unknown", Category.UNKNOWN_OUTCOME, "?", connection="netsuite", document="INV-1")
    for entity in ("GB01", "DE01"):
        case, _ = hold(problem, legal_entity_code=entity, number=f"{entity}-1")
    roll_up()
    gina, foreign = make_person("gina", "controller", entity="GB01"), BusinessTransaction.objects.get(number="DE01-1")
    client.force_login(gina)
    shown = client.get(f"/exceptions/cases/{case.pk}/").content.decode()
    assert ("GB01-1" in shown, "DE01-1" in shown) == (True, False)
    there = PostedDocument(document_type="ar_invoice", id="71", external_id="x-71", number="INV-1")
    with pytest.raises(ResolutionRefused, match="isn’t held in this case"):
        linking.link(case, by=gina, reason="it is", transaction_id=foreign.pk, chosen=linking.Candidate(there, (), ""))
    foreign.refresh_from_db()
    assert (foreign.state, foreign.attempt) == ("held", 1)


def test_whoever_wishes_something_of_a_document_has_the_right_for_its_entity():
    case, own = hold_of_both()
    gina = make_person("gina", "controller", entity="GB01")
    wished = Wished(
        resolution="edit_fields", case=case, by=gina, reason="x", title="Edit", happens=[], documents=[own["DE01"].pk]
    )
    with pytest.raises(ResolutionRefused, match="Your role doesn't reach its entity"):
        wish(wished, lambda agreed: [])


def test_late_documents_are_those_that_one_may_act_on():
    case, _ = late_case()
    BusinessTransaction.objects.update(legal_entity_code="DE01")
    gina, cora = make_person("gina", "controller", entity="GB01"), make_person("cora", "controller")
    assert [len(periods.late_documents(case, person)) for person in (gina, cora)] == [0, 1]


@pytest.mark.parametrize("way", ["edit", "emergency", "apply_open"])
def test_a_form_about_a_document_that_went_on_meanwhile_says_so_and_keeps_what_was_typed(client, way):
    problem = {"apply_open": Problem("open_amount_exceeded", Category.CONFLICT, "less", connection="n", document="X")}
    case, ids = hold(problem.get(way) or refused("a memo"), count=2, flow=FLOWS.get(way, "invoice_to_erp"))
    BusinessTransaction.objects.update(fact=schema.to_json(INVOICE))
    gone = BusinessTransaction.objects.get(pk=ids[0])
    client.force_login(make_person("cora", "controller"))
    prefix = {"edit": "edit_fields", "emergency": "emergency_edit"}.get(way, way)
    url, why = f"/exceptions/cases/{case.pk}/{URLS[way]}/", "it stands on the purchase order"
    for state, says in (("running", "it’s on the way"), ("completed", "it’s completed")):
        BusinessTransaction.objects.filter(pk=gone.pk).update(state=state)
        cases.close_for_transactions([gone.pk], "completed" if state == "completed" else "reposted")
        sent = client.post(url, {f"{prefix}-transaction": str(gone.pk), f"{prefix}-why": why})
        shown = sent.content.decode()
        number = gone.number or gone.source_id
        assert (sent.status_code, f"{number} isn’t held any more: {says}." in shown) == (422, True)
        assert why in shown
