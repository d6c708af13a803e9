"""Around a period's end no rule comes into force without a second signature of controllership, or in an emergency."""

from __future__ import annotations

import datetime as dt

import pytest
import time_machine

from mappings import approvals, freezes
from mappings.drafts import save_draft
from q2c.core.approvals import ApprovalRefused
from tests import factories
from tests.core.people import make_person
from tests.mappings.rules import make_rule
from tests.mappings.test_change_sets import approve, item, never, propose

pytestmark = pytest.mark.django_db
BEFORE = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)  # a Thursday; November ends on the Monday after
INSIDE = dt.datetime(2026, 11, 27, 12, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def november():
    with time_machine.travel(BEFORE, tick=False):
        factories.make_period("GB01")
        make_rule("posting_policy", "close_freeze", "WD-2 to WD+3", legal_entity="GB01")
        yield


def at(when: dt.datetime):
    return time_machine.travel(when, tick=False)


@pytest.mark.parametrize(
    ("when", "is_frozen"),
    [
        ("2026-11-26T23:59:59+00:00", False),
        ("2026-11-27T00:00:00+00:00", True),  # WD-2: Friday
        ("2026-12-03T23:59:59+00:00", True),  # WD+3: Thursday
        ("2026-12-04T00:00:00+00:00", False),
    ],
)
def test_it_holds_from_wd_minus_2_to_wd_plus_3_on_the_entitys_own_clock(when, is_frozen):
    with at(dt.datetime.fromisoformat(when)):
        assert bool(freezes.frozen_now({"GB01"})) is bool(freezes.frozen_now({""})) is is_frozen
        assert freezes.frozen_now({"US01"}) == []


def test_tokyos_begins_and_ends_nine_hours_earlier():
    factories.make_period("JP01")
    make_rule("posting_policy", "close_freeze", "WD-1 to close", legal_entity="JP01")
    with at(dt.datetime(2026, 11, 29, 15, tzinfo=dt.UTC)):
        assert freezes.words_of(freezes.frozen_now({"JP01"})) == (
            "JP01 is frozen around the end of Nov 2026, until Nov 2026 is closed in the ERP"
        )
    with at(dt.datetime(2026, 11, 29, 14, 59, tzinfo=dt.UTC)):
        assert freezes.frozen_now({"JP01"}) == []


def test_it_ends_with_the_close_in_the_erp():
    with at(INSIDE):
        period = factories.make_period("GB01")
        period.is_receivables_open = False
        period.save()
        assert len(freezes.frozen_now({"GB01"})) == 1  # the ledger is open still
        period.is_ledger_open = False
        period.save()
        assert freezes.frozen_now({"GB01"}) == []


def test_what_was_proposed_before_it_is_not_signed_inside_and_says_what_to_do(mira, cora):
    change_set = propose([item("A", "1", legal_entity="GB01")], mira)
    elsewhere = propose([item("B", "1", legal_entity="US01")], mira)
    with at(INSIDE):
        with pytest.raises(ApprovalRefused) as refused:
            approve(change_set, cora)
        assert refused.value.code == "frozen"
        assert refused.value.why == (
            "GB01 is frozen around the end of Nov 2026, until the end of Thu 3 Dec 2026 (GMT). Withdraw it and propose"
            " it anew: it then takes two signatures, one of controllership. Or ask for an emergency approval, or sign"
            " it afterwards."
        )
        assert approve(elsewhere, cora).state == "approved"
        approvals.sign_change_set(change_set, by=cora, approve=False, alarm=never, why="not now")
        assert change_set.state == "rejected"


def test_inside_drafts_and_proposals_go_on_and_two_signatures_put_it_in_force(ben, mira, cora):
    with at(INSIDE):
        draft = save_draft("Map", "new SKU", lines=[item("A", "1")], by=ben)  # of every entity, so of GB01
        proposal = approvals.propose_change_set(draft, by=ben)
        assert (proposal.signatures_needed, proposal.also_permission) == (2, "mappings.approve_policy")
        assert proposal.content["policy"]["over"] == [
            "GB01 is frozen around the end of Nov 2026, until the end of Thu 3 Dec 2026 (GMT)"
        ]
        draft.refresh_from_db()
        assert approve(draft, mira).state == "proposed"
        assert approve(draft, cora).number is not None


def test_the_first_signature_before_it_and_the_last_inside_is_refused_at_the_last(ben, mira, cora):
    make_rule("approval", "item", "2 approvers")
    change_set = propose([item("A", "1", legal_entity="GB01")], ben)
    assert approve(change_set, mira).state == "proposed"
    with at(INSIDE), pytest.raises(ApprovalRefused, match="GB01 is frozen"):
        approve(change_set, cora)


def test_in_an_emergency_one_signature_goes_through_it(mira):
    change_set = propose([item("A", "1", legal_entity="GB01")], mira)
    with at(INSIDE):
        decision = approvals.sign_change_set(
            change_set, by=make_person("dev", "emergency"), approve=True, alarm=never, why="Bills stand still",
            emergency_hours=2,
        )  # fmt: skip
    assert decision.state == "approved"


def test_a_rule_that_would_begin_inside_is_named_at_the_proposal_and_takes_two(ben):
    monday = dt.date(2026, 11, 30)
    change_set = propose([item("A", "1", legal_entity="GB01", effective_from=monday), item("B", "1")], ben)
    policy = change_set.proposal.content["policy"]
    assert (policy["words"], policy["over"]) == (
        "2 with a controller",
        ["A begins on 2026-11-30, while GB01 is frozen until the end of Thu 3 Dec 2026 (GMT)"],
    )
    after = propose([item("C", "1", legal_entity="GB01", effective_from=dt.date(2026, 12, 4))], ben)
    assert after.proposal.content["policy"]["words"] == "1 approver"
