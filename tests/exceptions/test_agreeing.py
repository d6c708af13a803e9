"""What is agreed on of a case: bound to each document as it is, applied once, by people who may, as the rules ask."""

from __future__ import annotations

import datetime as dt
import threading

import pytest
from django.db import DatabaseError, connection
from django.db.transaction import atomic

from connectors.models import RoleAssignment
from exceptions import resolutions
from exceptions.kind_words import CHOOSE_PERIOD, REOPEN_PERIOD
from exceptions.models import Choice, ExceptionCase, Snooze
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import agreeing, deciding, periods, reposts
from q2c import ports
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import AuditEntry, Membership, Person, Proposal, Signature
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests import factories
from tests.core.people import make_person
from tests.exceptions.late import late_case
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db


def wish(case, by, option=CHOOSE_PERIOD, why="came two days late") -> Proposal:
    proposal, _ = periods.choose_period(case, by=by, reason=why, option=option)
    assert proposal is not None
    return proposal


def states(ids) -> list[str]:
    return list(BusinessTransaction.objects.filter(pk__in=ids).order_by("pk").values_list("state", flat=True))


def test_late_documents_go_on_with_their_new_date_once_another_person_agrees(billing, controller):
    case, ids = late_case(2)
    proposal = wish(case, billing)
    case.refresh_from_db()
    assert (case.state, states(ids), Choice.objects.count()) == ("awaiting_approval", ["held", "held"], 0)
    assert proposal.content["happens"][0].startswith("2 documents of GB01 in ")
    assert proposal.content["asked"] == {
        "level": "1 controller", "clause": "1 controller", "rule": None, "version": None,
    }  # fmt: skip
    with pytest.raises(ApprovalRefused, match="somebody else has to approve"):
        deciding.decide(proposal, by=billing, approve=True)
    state, results = deciding.decide(proposal, by=controller, approve=True)
    assert (state, [(r.transaction_id, r.is_restarted) for r in results]) == ("approved", [(i, True) for i in ids])
    assert states(ids) == ["running", "running"]
    assert [(c.transaction_id, c.content["posting_date"], c.by) for c in Choice.objects.order_by("transaction_id")] == [
        (i, "2026-10-01", billing) for i in ids
    ]
    with pytest.raises(ApprovalRefused, match="approved meanwhile"):
        deciding.decide(proposal, by=make_person("carl", "controller"), approve=True)
    assert WorkItem.objects.filter(pk__in=ids).count() == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attempt": 3}, "its attempt: it was reposted meanwhile"),
        ({"fact": b'{"number": "INV-1", "total": "121.00", "lines": []}'}, "the document itself"),
        ({"state": "running"}, "its state: it isn’t held any more"),
        ({"problem_code": "out_of_balance"}, "what holds it"),
    ],
)
def test_what_moved_since_it_was_proposed_voids_it_by_name(billing, controller, change, said):
    case, ids = late_case(number="INV-1")
    proposal = wish(case, billing)
    BusinessTransaction.objects.filter(pk=ids[0]).update(**change)
    assert deciding.decide(proposal, by=controller, approve=True) == ("void", [])
    proposal.refresh_from_db()
    assert proposal.void_reason == f"INV-1 moved: {said}."
    assert (Choice.objects.count(), WorkItem.objects.count()) == (0, 0)


def test_of_several_documents_only_the_one_that_moved_drops_out_and_is_named(billing, controller):
    case, ids = late_case(2)
    proposal = wish(case, billing)
    BusinessTransaction.objects.filter(pk=ids[1]).update(attempt=2)
    state, results = deciding.decide(proposal, by=controller, approve=True)
    assert state == "approved"
    assert {r.transaction_id: (r.is_restarted, r.why_not) for r in results} == {
        ids[0]: (True, ""), ids[1]: (False, "moved: its attempt: it was reposted meanwhile"),
    }  # fmt: skip
    assert states(ids) == ["running", "held"]


def test_a_double_click_proposes_once_and_a_closed_case_nothing(billing):
    case, _ = late_case()
    wish(case, billing)
    with pytest.raises(ResolutionRefused, match="Ben proposed it already"):
        periods.choose_period(case, by=billing, reason="again", option=CHOOSE_PERIOD)
    assert Proposal.objects.count() == 1
    ExceptionCase.objects.filter(pk=case.pk).update(state="resolved", closed_at=dt.datetime.now(dt.UTC))
    assert agreeing.end_stale() == 1
    assert Proposal.objects.get().void_reason == "Its case is closed: nothing is left to agree to."


def test_a_superuser_cannot_agree_to_their_own_wish_and_a_lost_role_counts_at_once(billing, controller):
    case, ids = late_case()
    root = Person.objects.create_superuser("root", password="x")
    Membership.objects.create(person=root, role="controller")
    proposal = wish(case, root)
    with pytest.raises(ApprovalRefused):
        deciding.decide(proposal, by=root, approve=True)
    with pytest.raises(DatabaseError), atomic():
        Signature.objects.create(
            proposal=proposal, proposed_by=root, signed_by=root, signed_at=dt.datetime.now(dt.UTC), is_approval=True,
            signed_hash=proposal.content_hash,
        )  # fmt: skip
    list(controller.memberships.all())
    Membership.objects.filter(person=controller).delete()
    with pytest.raises(ApprovalRefused, match="Your role doesn't approve this"):
        deciding.decide(proposal, by=controller, approve=True)
    assert states(ids) == ["held"]


def test_what_was_looked_at_before_it_was_proposed_anew_is_refused_as_stale(billing, controller):
    case, _ = late_case()
    first = wish(case, billing)
    deciding.decide(first, by=controller, approve=False, why="ask for a reopening")
    second = wish(case, billing, why="no reopening: the quarter is filed")
    with pytest.raises(ApprovalRefused, match="changed since you looked"):
        deciding.decide(second, by=controller, approve=True, seen_hash="0" * 64)
    assert Choice.objects.count() == 0


def test_the_rule_asks_by_amount_for_levels_and_for_nobody_below(billing, controller):
    RoleAssignment.objects.create(family="erp", connection=factories.make_connection("netsuite"))
    ports.forget_kept()
    rule = make_rule("resolution_approval", CHOOSE_PERIOD, "nobody; 2 with a controller over 200", legal_entity="GB01")
    case, ids = late_case()  # GBP 120
    proposal, results = periods.choose_period(case, by=billing, reason="small", option=CHOOSE_PERIOD)
    assert (proposal, [r.is_restarted for r in results], states(ids)) == (None, [True], ["running"])
    assert AuditEntry.objects.get(verb=CHOOSE_PERIOD).data["asked"]["rule"] == rule.pk
    BusinessTransaction.objects.filter(pk__in=ids).update(state="completed")
    case, ids = late_case(2)  # GBP 240 together
    large = wish(case, billing)
    assert (large.signatures_needed, large.also_permission) == (2, "transactions.approve_posting")
    colleague = make_person("cleo", "billing_ops")
    assert deciding.decide(large, by=colleague, approve=True) == ("proposed", [])
    with pytest.raises(ApprovalRefused, match="signatures has to be of Controllership"):
        deciding.decide(large, by=make_person("carol", "billing_ops"), approve=True)
    assert states(ids) == ["held", "held"]
    assert deciding.decide(large, by=controller, approve=True)[0] == "approved"
    assert states(ids) == ["running", "running"]


def test_the_policy_of_an_entity_closes_one_of_the_ways_and_stands_in_the_decision(billing):
    rule = make_rule("posting_policy", "late_documents", "reopen", legal_entity="GB01")
    case, _ = late_case()
    with pytest.raises(ResolutionRefused, match="policy of GB01 has late documents wait for a reopening"):
        periods.choose_period(case, by=billing, reason="late", option=CHOOSE_PERIOD)
    asked = wish(case, billing, REOPEN_PERIOD)
    assert asked.content["terms"]["clauses"] == [
        {"entity": "GB01", "field": "late_documents", "says": "reopen", "rule": rule.pk, "version": 1}
    ]


def test_where_a_rule_asks_for_it_a_repost_waits_for_a_colleague_and_else_for_nobody(billing):
    case, ids = late_case()
    make_rule("resolution_approval", "repost", "1 colleague", legal_entity="US01")
    assert [r.is_restarted for r in reposts.repost(case, by=billing, reason="reopened")[1]] == [True]
    BusinessTransaction.objects.filter(pk__in=ids).update(state="completed")
    case, ids = late_case(entity="US01")
    proposal, _ = reposts.repost(case, by=billing, reason="reopened")
    assert (states(ids), proposal.content["asked"]["level"]) == (["held"], "1 colleague")
    assert deciding.decide(proposal, by=make_person("cleo", "billing_ops"), approve=True)[0] == "approved"
    assert states(ids) == ["running"]


def test_an_agreed_reopening_sends_nothing_itself(billing, controller):
    case, ids = late_case()
    deciding.decide(wish(case, billing, REOPEN_PERIOD), by=controller, approve=True)
    case.refresh_from_db()
    assert (states(ids), WorkItem.objects.count(), case.snoozed_at is None) == (["held"], 0, False)
    assert Snooze.objects.get().wakes == {"places": [["GB01", "netsuite", "2026-09", "receivables"]]}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("order", ["decide first", "repost first", "at once"])
def test_one_who_agrees_and_one_who_reposts_have_one_effect_in_either_order_and_at_once(order):
    billing, controller = make_person("ben", "billing_ops"), make_person("cora", "controller")
    case, ids = late_case(2)
    proposal = wish(case, billing)
    gate = threading.Barrier(2 if order == "at once" else 1)

    def decide() -> None:
        gate.wait(60)
        deciding.decide(Proposal.objects.get(pk=proposal.pk), by=controller, approve=True)

    def repost() -> None:
        gate.wait(60)
        resolutions.repost(ExceptionCase.objects.get(pk=case.pk), by=billing, reason="reopened by hand")

    acts = [repost, decide] if order == "repost first" else [decide, repost]
    threads = [threading.Thread(target=lambda act=act: (act(), connection.close())) for act in acts]
    for thread in threads:
        thread.start()
        if order != "at once":
            thread.join(60)
    for thread in threads:
        thread.join(60)
    assert set(BusinessTransaction.objects.values_list("attempt", "state")) == {(2, "running")}
    assert WorkItem.objects.filter(pk__in=ids).count() == 2
    decided = (Proposal.objects.get().state, Choice.objects.count())
    ways = {"decide first": {("approved", 2)}, "repost first": {("void", 0)}}
    assert decided in ways.get(order, {("approved", 2), ("approved", 0), ("void", 0)})


def test_whoever_proposed_takes_it_back_with_a_reason_and_the_case_waits_on_for_what_else_stands(billing, controller):
    case, ids = late_case(2)
    first = wish(case, billing)
    other, _ = periods.choose_period(case, by=controller, reason="close was early", option=REOPEN_PERIOD)
    with pytest.raises(ApprovalRefused, match="Only its proposer"):
        agreeing.withdraw(first, by=controller, why="I know better")
    with pytest.raises(ApprovalRefused, match="Say why"):
        agreeing.withdraw(first, by=billing, why=" ")
    agreeing.withdraw(first, by=billing, why="the customer asks for September")
    case.refresh_from_db()
    assert (first.state, first.void_reason, case.state) == (
        "withdrawn", "the customer asks for September", "awaiting_approval",
    )  # fmt: skip
    entry = AuditEntry.objects.get(verb="withdraw")
    assert (entry.why, entry.data) == ("the customer asks for September", {"proposal": str(first.pk)})
    with pytest.raises(ApprovalRefused, match="withdrawn meanwhile"):
        deciding.decide(first, by=controller, approve=True)
    agreeing.withdraw(other, by=controller, why="not needed")
    case.refresh_from_db()
    assert (case.state, states(ids), case.notes.filter(verb="withdrawn").count()) == ("open", ["held", "held"], 2)
    wish(case, billing, why="after all")


def test_the_page_lets_its_proposer_alone_take_it_back(client, billing, controller):
    case, _ = late_case()
    proposal = wish(case, billing)
    url = f"/decisions/{proposal.pk}/"
    client.force_login(controller)
    assert "Withdraw it" not in client.get(url).content.decode()
    refused = client.post(f"{url}withdraw/", {"withdraw-why": "why not"})
    assert (refused.status_code, "Only its proposer" in refused.content.decode()) == (422, True)
    client.force_login(billing)
    assert "Withdraw it" in client.get(url).content.decode()
    assert client.post(f"{url}withdraw/", {"withdraw-why": "a mistake"}).status_code == 302
    proposal.refresh_from_db()
    assert proposal.state == "withdrawn"
    assert "Withdraw it" not in client.get(url).content.decode()


def test_a_signer_who_may_not_open_cases_gets_no_link_to_one(client, billing):
    case, _ = late_case()
    proposal = wish(case, billing)
    client.force_login(make_person("eve", "emergency"))
    page = client.get(f"/decisions/{proposal.pk}/").content.decode()
    assert (f"EX-{case.pk}" in page, f"/exceptions/cases/{case.pk}/" in page) == (True, False)
    client.force_login(billing)
    assert f'href="/exceptions/cases/{case.pk}/"' in client.get(f"/decisions/{proposal.pk}/").content.decode()
