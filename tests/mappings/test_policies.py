"""Who has to agree: by kind and entity as rules say, and a change of that takes the signatures of before."""

from __future__ import annotations

import pytest

from mappings import policies
from mappings.drafts import Line
from mappings.kinds import APPROVALS, CONTROLLER, KINDS, ONE, TWO, TWO_CONTROLLERS, TWO_ONE_CONTROLLER
from mappings.models import MappingRule
from q2c.core.approvals import ApprovalRefused
from tests.core.people import make_person
from tests.mappings.rules import make_rule
from tests.mappings.test_change_sets import START, approve, faults_of, item, propose

pytestmark = pytest.mark.django_db


def says(kind: str, value: str, **facts) -> Line:
    return Line(kind="approval", key=kind, value=value, effective_from=START, **facts)


def asked(*lines: Line):
    return policies.approval_for(policies.places_of(lines))


def test_accounts_and_policy_are_controllerships_and_where_money_goes_takes_two():
    by_kind = {kind.code: kind.approval for kind in KINDS}
    assert {code for code, row in by_kind.items() if row == ONE} == {
        "item", "billing_product", "tax_code", "department", "class", "location", "payment_terms", "customer",
        "retry_policy", "service_level",
    }  # fmt: skip
    assert {code for code, row in by_kind.items() if row == TWO_ONE_CONTROLLER} == {"gateway_bank", "intercompany"}
    assert set(by_kind.values()) == {ONE, CONTROLLER, TWO_ONE_CONTROLLER}


@pytest.mark.scenario(37)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.allows_fallback], ids=lambda kind: kind.code)
def test_a_fallback_is_refused_wherever_policy_allows_none(kind, mira):
    said = faults_of([Line(kind=kind.code, key="*", value="1", effective_from=START, is_fallback=True)], mira)
    assert f"policy allows no fallback for {kind.title}" in [text for *_, text in said]


def test_only_items_may_fall_back():
    assert {kind.code for kind in KINDS if kind.allows_fallback} == {"item"}


def test_the_stricter_of_two_satisfies_both():
    assert TWO.joined(CONTROLLER) == TWO_ONE_CONTROLLER == ONE.joined(TWO_ONE_CONTROLLER)
    assert TWO_ONE_CONTROLLER.joined(CONTROLLER) == TWO_ONE_CONTROLLER == TWO.joined(TWO_ONE_CONTROLLER)
    assert TWO_ONE_CONTROLLER.joined(TWO_CONTROLLERS) == TWO_CONTROLLERS
    for one in APPROVALS.values():
        for other in APPROVALS.values():
            assert one.joined(other) == other.joined(one)
            assert one.joined(other) in APPROVALS.values()


def test_the_rule_of_an_entity_comes_before_the_one_for_all_and_a_set_takes_the_strictest():
    make_rule("approval", "item", "2 approvers")
    make_rule("approval", "item", "1 controller", legal_entity="GB01")
    assert asked(item("A", "1", legal_entity="US01")) == TWO
    assert asked(item("A", "1", legal_entity="GB01")) == CONTROLLER
    assert asked(item("A", "1")) == TWO_ONE_CONTROLLER  # it's a rule of every entity, GB01 too
    assert asked(item("A", "1", legal_entity="US01"), item("B", "1", legal_entity="GB01")) == TWO_ONE_CONTROLLER
    assert asked(Line(kind="location", key="GB01", value="1", effective_from=START)) == ONE


def test_a_mapping_admin_alone_approves_no_account(ben, mira, cora):
    change_set = propose([Line(kind="account", key="bank", value="1010", effective_from=START)], ben)
    with pytest.raises(ApprovalRefused, match="Your role doesn't approve this for every entity"):
        approve(change_set, mira)
    assert approve(change_set, cora).state == "approved"


def test_where_payouts_go_takes_two_people_one_of_controllership(ben, mira, cora):
    bank = Line(kind="gateway_bank", key="stripe", value="1010", effective_from=START)
    change_set = propose([bank], ben)
    assert change_set.proposal.content["policy"]["words"] == "2 with a controller"
    assert approve(change_set, mira).state == "proposed"
    with pytest.raises(ApprovalRefused, match="One of its signatures has to be of Controllership"):
        approve(change_set, make_person("max", "mapping_admin"))
    assert approve(change_set, cora).number == 1


def test_changing_who_approves_takes_the_signatures_of_before(mira, cora):
    assert approve(propose([says("item", "2 controllers")], mira), cora).state == "approved"
    milder = propose([says("item", "1 approver", act="change", rule_id=MappingRule.objects.get().pk)], mira)
    assert milder.proposal.content["policy"]["words"] == "2 controllers"
    assert approve(milder, cora).state == "proposed"
    assert approve(milder, make_person("carl", "controller")).state == "approved"
    assert asked(item("A", "1")) == ONE


def test_what_was_proposed_under_a_milder_policy_is_void_once_a_stricter_one_holds(mira, cora):
    change_set = propose([item("A", "1")], mira)
    make_rule("approval", "item", "2 with a controller", number=None)
    decision = approve(change_set, cora)
    assert (decision.state, decision.why) == (
        "void", "Who has to approve it was changed meanwhile: it takes 2 with a controller now.",
    )  # fmt: skip


def test_billing_prepares_rules_but_not_who_approves_them(ben):
    wanted = "your role proposes no Who approves a change of rules for every entity; Mapping administration or"
    assert faults_of([says("item", "1 approver")], ben)[0][2].startswith(wanted)


@pytest.mark.parametrize(
    ("line", "field", "text"),
    [
        (says("item", "3 approvers"), "value", "3 approvers isn't 1 approver, 2 approvers, 1 controller, 2 with a"),
        (says("colour", "1 approver"), "key", "colour isn't one of item, billing_product"),
        (
            Line(kind="posting_policy", key="close_freeze", value="a week", effective_from=START),
            "value",
            "a week isn't such as WD-2 to WD+3, or WD-2 to close",
        ),
        (
            Line(kind="posting_policy", key="release_over", value="lots", effective_from=START),
            "value",
            "lots isn't an amount in the book's currency",
        ),
        (
            Line(kind="posting_policy", key="detail", value="both", effective_from=START),
            "value",
            "both isn't line or summary",
        ),
    ],
)
def test_a_policy_that_says_nothing_known_names_what_it_may_say(mira, line, field, text):
    ((_, at, said),) = faults_of([line], mira)
    assert (at, text in said) == (field, True)


def test_a_set_that_too_few_people_may_sign_says_so_and_names_the_way_out(mira, cora):
    make_rule("approval", "item", "2 approvers")
    assert policies.too_few(propose([item("A", "1")], mira).proposal) == (
        "It needs 2 signatures, and beside its proposer 1 may sign. Have it proposed by somebody who doesn't approve,"
        " or ask for an emergency approval."
    )
    make_person("max", "mapping_admin")
    assert policies.too_few(propose([item("B", "1")], mira).proposal) == ""
