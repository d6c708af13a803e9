"""Bulk actions: a frozen set, a minute to undo it, one effect for each document whatever happens in between."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import Error, connection
from django.db.transaction import atomic
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connectors.models import RoleAssignment
from exceptions import bulk, bulk_agreeing, cases, freezing, resolutions, tallies
from exceptions.freezing import BulkRefused
from exceptions.models import BulkAction, BulkItem, CaseNote, ExceptionCase, Occurrence, Waiver
from q2c import ports
from q2c.core import audit, leases
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import AuditEntry, LegalEntity, Membership, Person
from q2c.core.problems import Category, Problem
from q2c.portal.decisions import decide
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests.core.people import make_person
from tests.exceptions.problems import held, missing_item
from tests.factories import make_connection, make_subsidiary, make_transaction
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
WHY = "The item is in NetSuite now"


@pytest.fixture
def asking():
    """In GB01 a repost of more than GBP 15 asks for a colleague."""
    make_subsidiary("GB01")
    RoleAssignment.objects.create(family="erp", connection=make_connection("netsuite"))
    ports.forget_kept()
    return make_rule("resolution_approval", "repost", "nobody; 1 colleague over 15", legal_entity="GB01")


def hold(problem: Problem | None = None, count: int = 1, **facts) -> tuple[ExceptionCase, list[UUID]]:
    """Held transactions in one case."""
    problem = problem or missing_item()
    values = {"state": "held", "problem_code": problem.code, "legal_entity_code": "GB01"} | facts
    txns = [make_transaction(**values) for _ in range(count)]
    rows = [
        held(problem, transaction_id=t.pk, number=t.number, legal_entity_code=t.legal_entity_code, currency=t.currency)
        for t in txns
    ]
    found = cases.open_for_steps(rows)
    return ExceptionCase.objects.get(pk=found[txns[0].pk]), sorted(t.pk for t in txns)


def negative_price() -> Problem:
    return Problem("negative_price", Category.VALIDATION, "SKU B has a negative price", connection="stripe", sku="B")


def freeze(by: Person, what: str = "repost", **facts) -> BulkAction:
    """All that the person sees, frozen."""
    return freezing.freeze(what, by=by, cases=tallies.cases_visible_to(by), chosen={}, words="All", **facts)


def begin(action: BulkAction, by: Person, **facts) -> BulkAction:
    """Confirmed, and its minute over."""
    bulk.confirm(action, by=by, **({"why": WHY} | facts))
    BulkAction.objects.filter(pk=action.pk).update(starts_at=timezone.now())
    return action


def states(ids) -> list[str]:
    return list(BusinessTransaction.objects.filter(pk__in=ids).order_by("pk").values_list("state", flat=True))


def results(action: BulkAction) -> dict[UUID, tuple[str, str]]:
    return {i: (r, s) for i, r, s in action.items.values_list("transaction_id", "result", "says")}


def counts(action: BulkAction) -> tuple[str, int, int]:
    action.refresh_from_db()
    return action.state, action.done_count, action.refused_count


def test_a_set_is_frozen_with_its_money_and_who_may_act_on_what():
    scoped = make_person("gb", "billing_ops", entity="GB01")
    Membership.objects.create(person=scoped, role="mapping_admin")  # sees every entity, and reposts nothing
    _, mine = hold(count=2)
    _, foreign = hold(missing_item("GTX-1", "US01"), legal_entity_code="US01", currency="USD")
    _, others_kind = hold(Problem("outcome_unknown", Category.UNKNOWN_OUTCOME, "?", connection="n", document="I"))
    action = freeze(scoped)
    assert results(action) == {
        mine[0]: ("pending", ""),
        mine[1]: ("pending", ""),
        foreign[0]: ("refused", "your role doesn't reach its entity"),
        others_kind[0]: (
            "refused",
            "Outcome unknown isn't solved by this, but by: look in the target again, link to a document of the target",
        ),
    }
    assert [row[2:] for row in action.totals if row[5]] == [["GB01", "2026-11", "GBP", True, 2, "20.000000"]]
    assert [row[2:] for row in action.totals if not row[5] and row[2] == "US01"] == [
        ["US01", "2026-11", "USD", False, 1, "10.000000"]
    ]
    assert (action.item_count, action.refused_count, action.state) == (4, 2, "draft")
    assert states([*mine, *foreign]) == ["held"] * 3


def test_the_statements_of_freezing_and_of_a_chunk_do_not_grow_with_the_set(ben):
    def statements(count: int) -> tuple[int, int]:
        hold(count=count)
        person = Person.objects.get(pk=ben.pk)
        with CaptureQueriesContext(connection) as freezing_:
            action = begin(freeze(person), person)
        with CaptureQueriesContext(connection) as carrying:
            assert bulk.carry_chunk(action.pk)
        return len(freezing_), len(carrying)

    assert statements(2) == statements(40)


def test_what_is_frozen_stays_so_in_the_database_too(ben):
    hold()
    action = freeze(ben)
    for rows, change in ((action.items, {"amount": 1}), (BulkAction.objects, {"totals": []})):
        with pytest.raises(Error, match="Cannot update"), atomic():
            rows.update(**change)


def test_a_confirmed_action_waits_a_minute_then_reposts_and_tells(ben):
    case, ids = hold(count=3)
    action = bulk.confirm(freeze(ben), by=ben, why=WHY)
    wait = action.starts_at - action.confirmed_at
    bulk.run_due()
    assert (wait, states(ids), action.state) == (dt.timedelta(seconds=60), ["held"] * 3, "waiting")
    BulkAction.objects.update(starts_at=timezone.now())
    bulk.run_due()
    assert (counts(action), states(ids)) == (("done", 3, 0), ["running"] * 3)
    assert set(WorkItem.objects.values_list("priority", flat=True)) == {5}
    assert list(case.notes.filter(verb="reposted").values_list("text", "data__documents")) == [
        (f"{WHY} ({action.number})", 3)
    ]
    told = AuditEntry.objects.order_by("sequence").values_list("verb", "actor", "subject_type")
    assert list(told) == [
        ("confirm_bulk", "ben", "bulk_action"),
        ("repost", "ben", "case"),
        ("finish_bulk", "ben", "bulk_action"),
    ]
    assert AuditEntry.objects.get(verb="repost").data == {"transactions": [str(i) for i in ids], "bulk": action.pk}
    assert audit.verify().holds


def test_undoing_within_the_minute_leaves_everything_as_it_was_and_afterwards_comes_too_late(ben, cora):
    _, ids = hold(count=2)
    action = bulk.confirm(freeze(ben), by=ben, why=WHY)
    assert not bulk.undo(action, by=cora)
    assert bulk.undo(action, by=ben)
    BulkAction.objects.update(starts_at=timezone.now())
    bulk.run_due()
    assert (counts(action), states(ids)) == (("undone", 0, 0), ["held", "held"])
    late = begin(freezing.freeze_again(action, by=ben), ben)
    assert not bulk.undo(late, by=ben)
    bulk.run_due()
    assert (counts(late), states(ids)) == (("done", 2, 0), ["running", "running"])


def test_a_document_that_moved_after_it_was_chosen_drops_out_alone_and_is_named(ben, cora):
    _, ids = hold(count=4)
    action = begin(freeze(ben), ben)
    resolutions.repost_documents([ids[0]], by=cora, reason="by hand", permission=None)
    BusinessTransaction.objects.filter(pk=ids[1]).update(attempt=2)
    other, _ = hold(missing_item("OTHER"))
    Occurrence.objects.filter(transaction_id=ids[2]).update(case=other)
    bulk.run_due()
    moved = "it moved after it was chosen"
    assert results(action) == {
        ids[0]: ("refused", f"{moved}: it is running already"),
        ids[1]: ("refused", f"{moved}: it was tried again since"),
        ids[2]: ("refused", f"{moved}: {other.number} holds it now"),
        ids[3]: ("done", ""),
    }
    assert counts(action) == ("done", 1, 3)


@pytest.mark.scenario(62, of="cases")
def test_a_crash_in_the_middle_leaves_finished_ones_alone_and_the_next_process_does_the_rest(ben, monkeypatch):
    case, ids = hold(count=7)
    action = begin(freeze(ben), ben)
    monkeypatch.setattr(bulk, "CHUNK", 2)
    carried = []

    def dies_after_two(action_id, size):
        if len(carried) == 2:
            raise KeyboardInterrupt
        carried.append(size)
        return carry_chunk(action_id, size)

    carry_chunk = bulk.carry_chunk
    with monkeypatch.context() as killed:
        killed.setattr(bulk, "carry_chunk", dies_after_two)
        with pytest.raises(KeyboardInterrupt):
            bulk.run_due()
    assert counts(action) == ("running", 4, 0)
    before = {t.pk: t.state_at for t in BusinessTransaction.objects.filter(state="running")}
    assert len(before) == 4
    leases.take_lease(f"bulk:{action.pk}", holder="dead", seconds=600)
    bulk.run_due()
    assert counts(action) == ("running", 4, 0)  # another process is thought to be at it
    leases.release_lease(f"bulk:{action.pk}", holder="dead")
    bulk.run_due()
    assert (counts(action), states(ids)) == (("done", 7, 0), ["running"] * 7)
    now = BusinessTransaction.objects.filter(pk__in=before)
    assert {t.pk: (t.state_at, t.attempt) for t in now} == {pk: (at, 2) for pk, at in before.items()}
    assert case.notes.filter(verb="reposted").count() == 1
    assert WorkItem.objects.count() == 7


def test_a_document_that_nobody_can_do_is_refused_by_name_and_stops_no_other(ben, monkeypatch):
    _, ids = hold(count=12)
    action = begin(freeze(ben), ben)
    continue_held = resolutions.continue_held

    def breaks_on_one(chosen, **facts):
        if ids[5] in chosen:
            raise ValueError("nobody foresaw it")
        return continue_held(chosen, **facts)

    monkeypatch.setattr(resolutions, "continue_held", breaks_on_one)
    monkeypatch.setattr(bulk, "CHUNK", 10)
    bulk.run_due()
    assert counts(action) == ("done", 11, 1)
    assert results(action)[ids[5]] == ("refused", "we couldn't do it (ValueError); the log has it")


@pytest.mark.scenario(9)
@pytest.mark.parametrize("first", [0, 1])
def test_two_people_with_overlapping_sets_have_one_effect_on_each_document(ben, cora, first):
    _, ids = hold(count=4)
    occurrences = list(Occurrence.objects.order_by("transaction_id").values_list("pk", flat=True))
    sets = [
        begin(freeze(ben, occurrences=occurrences[:3]), ben),
        begin(freeze(cora, occurrences=occurrences[1:]), cora),
    ]
    for action in sets[::-1] if first else sets:
        bulk.run_action(action.pk)
    found = [counts(action) for action in sets]
    assert found == [("done", 3, 0), ("done", 1, 2)][:: -1 if first else 1]
    assert set(BusinessTransaction.objects.values_list("state", "attempt")) == {("running", 2)}
    assert WorkItem.objects.filter(pk__in=ids).count() == 4


def test_a_right_taken_away_after_the_confirmation_refuses_all_with_the_reason(ben):
    _, ids = hold(count=2)
    action = begin(freeze(ben), ben)
    Membership.objects.filter(person=ben).update(ended_at=timezone.now())
    Membership.objects.create(person=ben, role="auditor")
    bulk.run_due()
    assert (counts(action), states(ids)) == (("done", 0, 2), ["held", "held"])
    assert set(results(action).values()) == {("refused", "your role doesn't allow it any more")}


def test_an_entity_or_a_queue_taken_away_refuses_what_is_in_it(ben):
    _, gb = hold()
    _, us = hold(missing_item("GTX-1", "US01"), legal_entity_code="US01")
    action = begin(freeze(ben), ben)
    make_person("gb", "billing_ops", entity="GB01")
    Membership.objects.filter(person=ben).update(ended_at=timezone.now())
    Membership.objects.create(person=ben, role="billing_ops", legal_entity=LegalEntity.objects.get(code="GB01"))
    bulk.run_due()
    assert results(action) == {gb[0]: ("done", ""), us[0]: ("refused", "you don't see its case any more")}


def test_only_who_chose_a_set_confirms_it_once_with_a_reason_and_something_in_it(ben, cora):
    hold()
    action = freeze(ben)
    for by, why, said in (
        (cora, WHY, "Somebody else"),
        (ben, " ", "Say why"),
    ):
        with pytest.raises(BulkRefused, match=said):
            bulk.confirm(action, by=by, why=why)
    bulk.confirm(action, by=ben, why=WHY)
    with pytest.raises(BulkRefused, match="decided already"):
        bulk.confirm(action, by=ben, why=WHY)
    with pytest.raises(BulkRefused, match="nothing in it"):
        bulk.confirm(freeze(ben, "look_again"), by=ben, why=WHY)
    with pytest.raises(BulkRefused, match="Nothing of it is open"):
        freeze(ben, occurrences=[])


def test_again_takes_what_was_refused_and_what_came_back_and_nothing_that_is_on_its_way(ben):
    _, ids = hold(count=3)
    action = begin(freeze(ben), ben)
    BusinessTransaction.objects.filter(pk=ids[0]).update(attempt=2)
    bulk.run_due()
    back = BusinessTransaction.objects.filter(pk=ids[1])
    back.update(state="held", problem_code="missing_item_mapping")
    WorkItem.objects.filter(pk=ids[1]).delete()
    cases.open_for_steps([held(missing_item("OTHER"), transaction_id=ids[1], attempt=2)])
    again = freezing.freeze_again(action, by=ben)
    assert sorted(results(again)) == sorted([ids[0], ids[1]])
    assert (again.again_of, again.chosen_words) == (action, f"What {action.number} left or brought back")
    bulk.run_action(begin(again, ben).pk)
    assert counts(again) == ("done", 2, 0)


def test_waiving_in_bulk_takes_the_right_and_the_kind_of_a_single_one_and_never_what_may_be_posted(ben, cora):
    case, ids = hold(negative_price(), count=2)
    _, mapping = hold()
    _, intended = hold(negative_price(), open_intent={"step": "post"})
    assert {says for _, says in results(freeze(ben, "waive")).values()} == {
        "your role doesn't reach its entity",
        "Missing item mapping isn't solved by this, but by: map and repost, correct at source, repost",
    }
    with pytest.raises(BulkRefused, match="Choose one of the reasons"):
        bulk.confirm(freeze(cora, "waive"), by=cora, why=WHY)
    action = begin(freeze(cora, "waive"), cora, code="bad_debt")
    assert results(action)[intended[0]][1] == "the target may hold it: its outcome must be known first"
    bulk.run_due()
    assert (counts(action), states(ids), states([*mapping, *intended])) == (
        ("done", 2, 2), ["cancelled"] * 2, ["held"] * 2,
    )  # fmt: skip
    assert set(Occurrence.objects.filter(closed_how="waived").values_list("transaction_id", flat=True)) == set(ids)
    assert case.notes.filter(verb="waived").count() == 1
    assert set(Waiver.objects.values_list("transaction_id", "code", "why")) == {(i, "bad_debt", WHY) for i in ids}


def test_where_the_rules_ask_for_a_second_person_the_minute_begins_with_their_signature(ben, cora, asking):
    _, ids = hold(count=2)
    action = bulk.confirm(freeze(ben), by=ben, why=WHY)
    proposal = bulk_agreeing.proposal_of(action)
    assert (action.state, action.starts_at, proposal.title) == (
        "asked", None, f"Repost 2 documents at once, {action.number}",
    )  # fmt: skip
    bulk.run_due()
    assert states(ids) == ["held", "held"]
    with pytest.raises(ApprovalRefused):
        decide(proposal, by=ben, approve=True, why="", seen_hash=proposal.content_hash)
    decide(proposal, by=cora, approve=True, why="", seen_hash=proposal.content_hash)
    assert counts(action) == ("waiting", 0, 0)
    BulkAction.objects.update(starts_at=timezone.now())
    bulk.run_due()
    assert (counts(action), states(ids)) == (("done", 2, 0), ["running"] * 2)


def test_a_set_with_a_document_of_no_entity_is_agreed_to_by_somebody_of_all(ben, asking):
    hold(count=2)
    hold(legal_entity_code="")
    proposal = bulk_agreeing.proposal_of(bulk.confirm(freeze(ben), by=ben, why=WHY))
    assert proposal.legal_entities == []
    local = make_person("local", "controller", entity="GB01")
    with pytest.raises(ApprovalRefused, match="for every entity"):
        decide(proposal, by=local, approve=True, why="", seen_hash=proposal.content_hash)


def test_what_waits_for_a_second_person_is_taken_back_or_rejected_and_nothing_happens(ben, cora, asking):
    _, ids = hold(count=2)
    back = bulk.confirm(freeze(ben), by=ben, why=WHY)
    assert bulk.undo(back, by=ben)
    with pytest.raises(ApprovalRefused):
        decide(bulk_agreeing.proposal_of(back), by=cora, approve=True, why="", seen_hash="")
    rejected = bulk.confirm(freeze(ben), by=ben, why=WHY)
    decide(bulk_agreeing.proposal_of(rejected), by=cora, approve=False, why="Not before the call", seen_hash="")
    bulk.run_due()
    assert (counts(back)[0], counts(rejected)[0], states(ids)) == ("undone", "undone", ["held", "held"])
    few = bulk.confirm(freeze(ben, occurrences=[Occurrence.objects.first().pk]), by=ben, why=WHY)
    assert few.state == "waiting"  # 10 GBP are under the limit


def test_correcting_at_the_source_marks_what_waits(ben):
    _, ids = hold(count=2)
    bulk.run_action(begin(freeze(ben, "correct_at_source"), ben).pk)
    assert set(Occurrence.objects.filter(source_asked_at__isnull=False).values_list("transaction_id", flat=True)) == {
        *ids
    }


def test_assigning_gives_cases_to_whoever_works_their_queue_and_leaves_what_somebody_took(ben, cora):
    one, _ = hold()
    taken, _ = hold(missing_item("OTHER"))
    foreign, _ = hold(missing_item("GTX-1", "US01"), legal_entity_code="US01")
    mia = make_person("mia", "billing_ops", entity="GB01")
    action = begin(freeze(cora, "assign"), cora, why="", assign_to=mia)
    cases.assign(taken, cora, by=cora)
    bulk.run_due()
    said = dict(action.items.values_list("case", "says"))
    assert said == {
        one.pk: "",
        taken.pk: "it moved after it was chosen: Cora has it now",
        foreign.pk: "Mia doesn't work its queue",
    }
    one.refresh_from_db()
    assert (one.assignee, one.state, one.history.count()) == (mia, "in_review", 2)
    assert list(one.notes.filter(verb="assigned").values_list("by", "text")) == [(cora.pk, "Mia")]
    assert counts(action) == ("done", 1, 2)


def test_drafts_that_nobody_confirmed_go_after_a_week(ben):
    hold()
    kept = freeze(ben)
    old = freeze(ben)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('pgtrigger.ignore', %s, true)", ["{exceptions_bulkaction:bulk_set}"])
    assert bulk.forget_drafts() == 0
    old_day = timezone.now() + dt.timedelta(days=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk.timezone, "now", lambda: old_day)
        assert bulk.forget_drafts() == 2
    assert not BulkItem.objects.filter(action__in=[kept.pk, old.pk]).exists()


def test_money_of_a_set_is_exact_to_the_last_digit(ben):
    case, _ = hold(count=1)
    Occurrence.objects.filter(case=case).update(amount=Decimal("0.000001"))
    assert freeze(ben).totals[0][-1] == "0.000001"
    assert CaseNote.objects.filter(case=case, verb="reposted").count() == 0


def test_a_running_action_is_stopped_between_chunks_and_the_rest_is_left_by_name_and_chosen_again(ben, cora):
    _, ids = hold(count=3)
    action = begin(freeze(ben), ben)
    assert bulk.stop(action, by=ben) is None  # it doesn't run yet: that is undone, not stopped
    assert bulk.carry_chunk(action.pk, 1)
    assert (bulk.stop(action, by=cora), bulk.stop(action, by=ben), bulk.stop(action, by=ben)) == (None, 2, None)
    assert not bulk.carry_chunk(action.pk)
    assert counts(action) == ("done", 1, 2)
    told = [results(action)[i] for i in ids]
    assert sorted(told) == [("done", ""), *[("refused", "stopped before it was done")] * 2]
    assert sorted(states(ids)) == ["held", "held", "running"]
    assert AuditEntry.objects.filter(verb="stop_bulk").values_list("data", flat=True).get() == {"done": 1, "left": 2}
    again = freezing.freeze_again(action, by=ben)
    assert (again.item_count, again.refused_count) == (2, 0)
