"""What came into force while a proposal waited: it is void with words about which rule, and never fails."""

from __future__ import annotations

import pytest

from mappings import approvals, drafts
from mappings.models import ChangeLine, ChangeSet, MappingRule
from q2c.core import audit
from tests.core.people import make_person
from tests.mappings.test_change_sets import APRIL, MARCH, START, activate, approve, item, propose, value_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def ben():
    return make_person("ben", "mapping_admin")


def route(key: str, queue: str) -> drafts.Line:
    return drafts.line_for(drafts.Line(kind="routing", key=key, value=queue, effective_from=START))


def test_a_pattern_that_could_win_as_well_voids_the_proposal(mira, ben, cora):
    """Who gets a case of category mapping and kind missing_item_mapping? Both are equally specific."""
    mine = propose([item("OTHER", "1"), route("mapping|*|*", "billing_ops")], mira)
    activate([route("*|missing*|*", "sales_ops")], ben, cora)
    rival = MappingRule.objects.get()
    decision = approve(mine, cora)
    said = f"this and rule {rival.pk} (*|missing*|* = sales_ops) could both win"
    assert (decision.state, decision.why) == ("void", f"A rule came into force meanwhile: of row 2 {said}.")
    mine.refresh_from_db()
    assert (mine.state, mine.proposal.state, MappingRule.objects.count()) == ("void", "void", 1)


@pytest.mark.parametrize("key", ["HT*", "G*", "GT1"])
def test_a_rule_that_couldnt_win_as_well_voids_nothing(mira, ben, cora, key):
    mine = propose([item("GT*", "2")], mira)
    activate([item(key, "3")], ben, cora)
    assert approve(mine, cora).is_in_force


def test_what_comes_while_a_proposal_is_checked_is_newer_than_it(mira, ben, cora, monkeypatch):
    draft = drafts.save_draft("Map", "new SKUs", lines=[item("GT*", "2")], by=mira)
    check = approvals.check_lines

    def check_and_lose(lines, **facts):
        faults = check(lines, **facts)
        monkeypatch.setattr(approvals, "check_lines", check)
        activate([item("GT*", "3", effective_to=APRIL)], ben, cora)
        return faults

    monkeypatch.setattr(approvals, "check_lines", check_and_lose)
    approvals.propose_change_set(draft, by=mira)
    assert approve(draft, cora).why == "Another rule for item GT* came into force meanwhile."


def test_what_only_the_database_refuses_is_void_with_words_and_nothing_of_it_is_kept(client, mira, ben, cora):
    """As for a rule that was written past the services: no signature fails, and none counts."""
    mine = propose([item("A", "2", effective_from=MARCH), item("B", "2")], mira)
    number = activate([item("C", "1")], ben, cora)
    MappingRule.objects.create(
        kind="item", key="A", value="9", specificity=1, effective_from=START, known_from=number - 1,
        proposed_by=ben, approved_by=cora,
    )  # fmt: skip
    client.force_login(cora)
    answer = client.post(
        f"/mappings/change-sets/{mine.pk}/sign/", {"verdict": "approve", "seen_hash": mine.proposal.content_hash}
    )
    assert answer.status_code == 302
    page = client.get(answer["Location"]).content.decode()
    assert "two rules of the same key and scope would hold on the same days" in page
    mine.refresh_from_db()
    assert (mine.state, mine.number, mine.proposal.state) == ("void", None, "void")
    assert (mine.proposal.signatures.count(), value_of("B", MARCH)) == (0, None)
    assert ChangeLine.objects.filter(change_set=mine).count() == 2
    assert ChangeSet.objects.exclude(number=None).count() == 1
    assert audit.verify().holds
