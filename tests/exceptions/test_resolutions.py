"""The way out: reposting, mapping, waiving, correcting at the source, overriding; by whom, and what is refused."""

from __future__ import annotations

import datetime as dt
import threading
from uuid import UUID

import pytest
from django.db import connection
from django.utils import timezone

from connectors.models import RoleAssignment
from exceptions import cases, releases, resolutions
from exceptions.models import ExceptionCase, Occurrence
from exceptions.resolutions import ResolutionRefused
from mappings.drafts import Line
from mappings.kinds import BY_CODE
from mappings.models import MappingRule
from mappings.shapes import key_fault, value_fault
from q2c import ports
from q2c.core import audit
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import AuditEntry
from q2c.core.problems import Category, Problem
from q2c.transactions import restart
from q2c.transactions.models import BusinessTransaction, Dependency, WorkItem
from tests import factories
from tests.core.people import make_person
from tests.exceptions.problems import held, missing_item
from tests.factories import make_transaction
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
START = dt.date(2010, 1, 1)


def hold(problem: Problem | None = None, count: int = 1, **facts) -> tuple[ExceptionCase, list[UUID]]:
    """Held transactions in one case."""
    problem = problem or missing_item()
    values = {"state": "held", "problem_code": problem.code, "legal_entity_code": "GB01"} | facts
    txns = [make_transaction(**values) for _ in range(count)]
    found = cases.open_for_steps(
        [held(problem, transaction_id=t.pk, number=t.number, legal_entity_code=t.legal_entity_code) for t in txns]
    )
    return ExceptionCase.objects.get(pk=found[txns[0].pk]), sorted(t.pk for t in txns)


def negative_price() -> Problem:
    return Problem("negative_price", Category.VALIDATION, "SKU B has a negative price", connection="stripe", sku="B")


def states(ids) -> list[str]:
    return list(BusinessTransaction.objects.filter(pk__in=ids).order_by("pk").values_list("state", flat=True))


def line(value: str = "77", **facts) -> Line:
    return Line(kind="item", key="GTX-1", value=value, effective_from=START, **({"legal_entity": "GB01"} | facts))


def test_what_was_held_as_overdue_goes_on_by_itself_once_its_parent_has_come():
    problem = Problem("dependency_overdue", Category.CONFLICT, "It has waited too long", awaits="invoice:stripe:in_1")
    case, (child, other) = hold(problem, count=2)
    now = timezone.now()
    for one, key in ((child, "invoice:stripe:in_1"), (other, "invoice:stripe:in_2")):
        Dependency.objects.create(transaction_id=one, key=key, since=now, patience_until=now)
    assert resolutions.follow_parents() == []
    restart.release_waits(["invoice:stripe:in_1"])
    assert [r.transaction_id for r in resolutions.follow_parents()] == [child]
    assert (states([child]), states([other])) == (["running"], ["held"])
    assert (case.notes.latest("pk").text, resolutions.follow_parents()) == ("what it waited for has come", [])


def test_a_repost_puts_every_held_document_back_to_work_once(billing):
    case, ids = hold(count=3)
    results = resolutions.repost(case, by=billing, reason="fixed in NetSuite")
    assert [r.transaction_id for r in results if r.is_restarted] == ids
    assert (states(ids), WorkItem.objects.filter(pk__in=ids).count()) == (["running"] * 3, 3)
    again = resolutions.repost(case, by=billing, reason="double click")
    assert [(r.is_restarted, r.why_not) for r in again] == [(False, "it is running already")] * 3
    assert WorkItem.objects.filter(pk__in=ids).count() == 3
    assert list(AuditEntry.objects.filter(verb="repost").values_list("actor", "why")) == [("ben", "fixed in NetSuite")]
    assert list(case.notes.filter(verb="reposted").values_list("text", flat=True)) == ["fixed in NetSuite"]


def test_the_case_stays_until_the_reposted_document_is_carried(billing, commits):
    case, ids = hold()
    resolutions.repost(case, by=billing, reason="fixed")
    assert ExceptionCase.objects.get().is_open
    with commits():
        cases.close_for_transactions(ids, "completed")
    assert ExceptionCase.objects.get().state == "resolved"


def test_a_person_of_one_entity_reposts_only_its_documents_and_is_told_about_the_others():
    _, mine = hold(legal_entity_code="GB01")
    case, all_ids = hold(legal_entity_code="US01")
    person = make_person("gb", "billing_ops", entity="GB01")
    results = {r.transaction_id: r for r in resolutions.repost(case, by=person, reason="fixed")}
    assert sorted(results) == sorted({*mine, *all_ids})
    assert results[mine[0]].is_restarted
    assert results[all_ids[0]].why_not == "your role doesn't reach its entity"
    assert states([mine[0]]) == ["running"]
    assert states(all_ids) == ["held"]


def test_nothing_is_reposted_while_an_outcome_is_unknown_or_without_a_reason(billing):
    unknown = Problem("outcome_unknown", Category.UNKNOWN_OUTCOME, "?", connection="netsuite", document="INV-1")
    case, ids = hold(unknown)
    with pytest.raises(ResolutionRefused, match="isn't solved by this"):
        resolutions.repost(case, by=billing, reason="please")
    other, _ = hold()
    with pytest.raises(ResolutionRefused, match="Say why"):
        resolutions.repost(other, by=billing, reason=" ")
    assert states(ids) == ["held"]


def test_looking_again_brings_the_document_back_with_its_open_intent(billing):
    intent = {"external_id": "inv-1", "is_open": True, "generation": 0}
    unknown = Problem("outcome_unknown", Category.UNKNOWN_OUTCOME, "?", connection="netsuite", document="INV-1")
    case, ids = hold(unknown, open_intent=intent)
    assert [r.is_restarted for r in resolutions.look_again(case, by=billing, reason="NetSuite is back")] == [True]
    assert WorkItem.objects.get(pk=ids[0]).intent == intent
    assert case.notes.last().verb == "looked_again"


@pytest.mark.scenario(35)
def test_map_and_repost_needs_a_second_person_and_releases_exactly_what_lacked_the_mapping(billing, controller):
    case, ids = hold(count=2)
    _, others = hold(missing_item("OTHER"))
    change_set = releases.remap_and_repost(case, by=billing, reason="new SKU", line=line())
    case.refresh_from_db()
    assert (case.state, states(ids), MappingRule.objects.count()) == ("awaiting_approval", ["held", "held"], 0)
    with pytest.raises(ApprovalRefused):
        releases.decide_change_set(change_set, by=billing, approve=True)
    decision, results = releases.decide_change_set(change_set, by=controller, approve=True)
    assert decision.number == 1
    assert [(r.transaction_id, r.is_restarted) for r in results] == [(i, True) for i in ids]
    assert (states(ids), states(others)) == (["running", "running"], ["held"])
    case.refresh_from_db()
    assert case.state == "open"
    assert audit.verify().holds


def test_a_wider_rule_releases_the_documents_of_every_case_that_it_answers(billing, controller):
    case, ids = hold()
    _, others = hold(missing_item("GTX-2"))
    wide = Line(kind="item", key="GTX*", value="77", effective_from=START)
    change_set = releases.remap_and_repost(case, by=billing, reason="all of them", line=wide)
    _, results = releases.decide_change_set(change_set, by=controller, approve=True)
    assert sorted(r.transaction_id for r in results if r.is_restarted) == sorted([*ids, *others])


def test_a_document_that_moved_after_it_was_signed_for_drops_out_alone_and_is_named(billing, controller):
    case, ids = hold(count=2)
    change_set = releases.remap_and_repost(case, by=billing, reason="new SKU", line=line())
    BusinessTransaction.objects.filter(pk=ids[0]).update(attempt=5)
    _, results = releases.decide_change_set(change_set, by=controller, approve=True)
    told = {r.transaction_id: (r.is_restarted, r.why_not) for r in results}
    assert told == {ids[0]: (False, "it moved after it was signed for"), ids[1]: (True, "")}


def test_a_document_that_is_held_after_the_proposal_is_not_released_by_it(billing, controller):
    case, ids = hold()
    change_set = releases.remap_and_repost(case, by=billing, reason="new SKU", line=line())
    _, late = hold()
    _, results = releases.decide_change_set(change_set, by=controller, approve=True)
    assert [r.transaction_id for r in results] == ids
    assert states(late) == ["held"]


def test_a_rejected_mapping_gives_the_case_back(billing, controller):
    case, ids = hold()
    change_set = releases.remap_and_repost(case, by=billing, reason="new SKU", line=line())
    decision, results = releases.decide_change_set(change_set, by=controller, approve=False, why="wrong item")
    case.refresh_from_db()
    assert (decision.state, results, case.state, states(ids)) == ("rejected", [], "open", ["held"])
    assert list(case.notes.order_by("pk").values_list("verb", flat=True)) == ["opened", "proposed", "rejected"]


def test_a_waived_document_posts_nothing_and_keeps_its_reason(controller, commits):
    case, ids = hold(negative_price(), count=2)
    with commits():
        results = resolutions.waive(case, by=controller, reason="bad debt, booked by hand")
    assert [(r.transaction_id, r.is_restarted) for r in results] == [(i, True) for i in ids]
    assert states(ids) == ["cancelled", "cancelled"]
    case.refresh_from_db()
    assert case.state == "waived"
    assert BusinessTransaction.objects.get(pk=ids[0]).waits_for == "waived by Cora: bad debt, booked by hand"
    assert WorkItem.objects.count() == 0


def test_only_who_may_waive_waives_and_a_missing_mapping_is_never_waived(billing, controller):
    case, ids = hold(negative_price())
    results = resolutions.waive(case, by=billing, reason="away with it")
    assert [(r.is_restarted, r.why_not) for r in results] == [(False, "your role doesn't reach its entity")]
    assert states(ids) == ["held"]
    missing, _ = hold()
    with pytest.raises(ResolutionRefused):
        resolutions.waive(missing, by=controller, reason="away with it")


def test_what_the_target_may_hold_is_never_waived(controller):
    case, ids = hold(negative_price(), open_intent={"external_id": "x", "is_open": True})
    results = resolutions.waive(case, by=controller, reason="away with it")
    assert [(r.is_restarted, r.why_not) for r in results] == [
        (False, "the target may hold it: its outcome must be known first")
    ]
    assert states(ids) == ["held"]


def test_a_document_sent_back_makes_way_only_when_its_corrected_version_has_come(billing, commits):
    case, ids = hold(negative_price(), lane="stripe:invoice:in_1", lane_sequence=1, source_id="in_1")
    assert resolutions.correct_at_source(case, by=billing, reason="price is wrong in Stripe") == 1
    assert (states(ids), resolutions.make_way()) == (["held"], [])
    make_transaction(lane="stripe:invoice:in_1", lane_sequence=2, source_id="in_1", state="running")
    with commits():
        assert resolutions.make_way() == ids
    assert (states(ids), Occurrence.objects.get().closed_how) == (["cancelled"], "corrected_at_source")
    assert ExceptionCase.objects.get().state == "resolved"


def test_a_held_document_makes_way_by_itself_for_a_later_version_but_not_what_may_be_posted(commits):
    intent = {"external_id": "inv-3", "is_open": True, "generation": 0}
    lane = {"lane": "stripe:invoice:in_1", "source_id": "in_1"}
    case, ids = hold(negative_price(), lane_sequence=1, **lane)
    hold(negative_price(), lane="stripe:invoice:in_2", lane_sequence=1, source_id="in_2")  # nothing waits behind it
    hold(negative_price(), lane="stripe:invoice:in_3", lane_sequence=1, source_id="in_3", open_intent=intent)
    use = {"lane": "stripe:customer:cus_1", "source_id": "cus_1", "flow": "customer_use_to_erp"}
    hold(negative_price(), lane_sequence=1, **use)
    for facts in (lane, use, {"lane": "stripe:invoice:in_3", "source_id": "in_3"}):
        later = make_transaction(lane_sequence=2, state="running", **facts)
        WorkItem.objects.create(
            transaction=later, flow=later.flow, lane=later.lane, lane_sequence=2, available_at=later.created_at
        )
    with commits():
        assert resolutions.make_way() == ids
    assert Occurrence.objects.get(transaction_id=ids[0]).closed_how == "later_version"
    assert (Occurrence.objects.filter(closed_at=None).count(), case.occurrences.count()) == (3, 4)
    assert resolutions.make_way() == []


def movement(flow, sequence, state, **fact):
    """A movement of one payout, refund or dispute."""
    made = make_transaction(
        state, flow=flow, lane="stripe:x:x_1", source_id="x_1", lane_sequence=sequence, fact=fact,
        number=f"x_1-{sequence}",
    )  # fmt: skip
    if state == "running":
        WorkItem.objects.create(
            transaction=made, flow=flow, lane=made.lane, lane_sequence=sequence, available_at=made.created_at
        )
    return made


FAILED = {"failed_at": "2026-11-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("flow", "first", "later", "makes_way"),
    [
        ("invoice_to_erp", {}, {}, True),
        ("dispute_to_erp", {"status": "withdrawn"}, {"status": "won"}, False),
        ("dispute_to_erp", {"status": "withdrawn"}, {"status": "withdrawn"}, False),  # taken once more
        ("refund_to_erp", {}, FAILED, False),
        ("refund_to_erp", {}, {"legal_entity": "DE01"}, True),  # corrected at its source
        ("payout_to_erp", {}, FAILED, False),
        ("payout_to_erp", {}, {"movements": []}, False),  # another ERP's part
    ],
)
@pytest.mark.parametrize("is_sent_back", [True, False])
def test_money_that_came_back_replaces_nothing(billing, commits, flow, first, later, makes_way, is_sent_back):
    lane = {"flow": flow, "lane": "stripe:x:x_1", "source_id": "x_1", "fact": first, "lane_sequence": 1}
    case, ids = hold(negative_price(), **lane)
    movement(flow, 2, "running", **later)
    with commits():
        if is_sent_back:
            resolutions.correct_at_source(case, by=billing, reason="wrong in Stripe")
        resolutions.make_way()
    assert states(ids) == ["cancelled" if makes_way else "held"]


@pytest.mark.parametrize(
    ("others", "code", "why_not"),
    [
        ([("won", "completed")], "looked_into", resolutions.CAME_BACK),  # which overtook it
        ([("won", "completed")], "booked_by_hand", ""),
        ([("won", "running")], "looked_into", ""),
        ([("withdrawn", "completed"), ("won", "completed")], "looked_into", ""),  # taken once more
    ],
)
def test_money_that_went_is_not_given_up_alone_once_it_came_back_in_the_erp(controller, others, code, why_not):
    for number, (status, state) in enumerate(others):
        movement("dispute_to_erp", number + 1, state, status=status)
    lane = {"flow": "dispute_to_erp", "lane": "stripe:x:x_1", "source_id": "x_1", "lane_sequence": 9}
    case, ids = hold(negative_price(), fact={"status": "withdrawn"}, **lane)
    results = resolutions.waive(case, by=controller, reason="away with it", code=code)
    assert [(r.is_restarted, r.why_not) for r in results] == [(not why_not, why_not)]
    assert states(ids) == ["held" if why_not else "cancelled"]


def test_an_override_lets_one_document_pass_after_a_second_person_and_is_bound_to_it_as_it_was(billing, controller):
    problem = Problem("price_differs", Category.VALIDATION, "?", connection="salesforce", sku="B", currency="GBP")
    case, ids = hold(problem)
    (proposal,) = resolutions.propose_overrides(case, by=billing, reason="agreed by phone")
    with pytest.raises(ResolutionRefused, match="proposed already"):
        resolutions.propose_overrides(case, by=billing, reason="again")
    with pytest.raises(ApprovalRefused):
        resolutions.decide_override(proposal, by=billing, approve=True)
    state, results = resolutions.decide_override(proposal, by=controller, approve=True)
    assert (state, [r.is_restarted for r in results], states(ids)) == ("approved", [True], ["running"])
    assert ports.accepted_problems(ids) == {ids[0]: [("price_differs", problem.subject)]}


def test_an_override_of_a_document_that_moved_is_void(billing, controller):
    problem = Problem("price_differs", Category.VALIDATION, "?", connection="salesforce", sku="B", currency="GBP")
    case, ids = hold(problem)
    (proposal,) = resolutions.propose_overrides(case, by=billing, reason="agreed")
    BusinessTransaction.objects.filter(pk=ids[0]).update(attempt=2)
    assert resolutions.decide_override(proposal, by=controller, approve=True) == ("void", [])
    assert (
        proposal.void_reason
        == f"{proposal.content['document']['number']} moved: its attempt: it was reposted meanwhile."
    )
    assert states(ids) == ["held"]


def test_who_agrees_to_an_override_is_a_rule_by_amount_and_entity_and_never_nobody(billing, controller):
    factories.make_subsidiary("GB01")
    RoleAssignment.objects.create(family="erp", connection=factories.make_connection("netsuite"))
    ports.forget_kept()
    rule = make_rule("resolution_approval", "override", "1 colleague; 2 controllers over 100", legal_entity="GB01")
    problem = Problem("price_differs", Category.VALIDATION, "?", connection="salesforce", sku="B", currency="GBP")
    case, ids = hold(problem, count=2)
    BusinessTransaction.objects.filter(pk=ids[0]).update(amount="99.00", currency="GBP")
    BusinessTransaction.objects.filter(pk=ids[1]).update(amount="101.00", currency="GBP")
    small, large = resolutions.propose_overrides(case, by=billing, reason="agreed by phone")
    asked = [(p.signer_permission, p.signatures_needed, p.content["asked"]["rule"]) for p in (small, large)]
    assert asked == [
        ("exceptions.approve_resolution", 1, rule.pk), ("transactions.approve_posting", 2, rule.pk),
    ]  # fmt: skip
    kind = BY_CODE["resolution_approval"]
    assert [value_fault(kind, key, "nobody") == "" for key in ("waive", "override")] == [True, False]
    fits = ["repost", "override", "edit_fields|po_number", "edit_fields|service_start"]
    assert [key_fault(kind, key, is_fallback=False) for key in fits] == [""] * 4
    assert key_fault(kind, "edit_fields|total", is_fallback=False).startswith("edit_fields|total isn't one of repost, ")


@pytest.mark.scenario(9)
@pytest.mark.django_db(transaction=True)
def test_two_people_who_repost_the_same_case_at_once_make_one_attempt():
    people = [make_person("a", "billing_ops"), make_person("b", "controller")]
    case, ids = hold(count=5)
    gate = threading.Barrier(2)
    started: list[int] = []

    def work(person):
        try:
            gate.wait(60)
            results = resolutions.repost(ExceptionCase.objects.get(pk=case.pk), by=person, reason="fixed")
            started.append(sum(r.is_restarted for r in results))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(started) == [0, 5]
    assert set(BusinessTransaction.objects.values_list("attempt", flat=True)) == {2}
    assert WorkItem.objects.filter(pk__in=ids).count() == 5
