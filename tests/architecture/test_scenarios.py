"""docs/scenarios.md says which test proves what, over which flows and systems, and every scenario is proved."""

from q2c.flows import catalog
from tests.architecture.house import ROOT
from tests.architecture.scenarios import TITLES, Proof, gaps, print_page, read_proofs
from tests.journeys.scenes import SCENES


def test_every_scenario_has_a_test():
    assert set(TITLES) - set(read_proofs()) == set()


def test_every_mark_is_a_known_scenario():
    assert set(read_proofs()) - set(TITLES) == set()


def test_a_scenario_is_played_over_each_flow_or_its_mark_says_why_not():
    assert gaps(read_proofs(), catalog.BY_CODE) == []


def test_a_flow_that_a_scenario_leaves_out_without_a_word_is_named():
    scene, word = SCENES["invoice_to_erp"], {"hold_to_source": "no books"}
    proofs = {1: [Proof("test_a", (scene,), not_for=word)], 2: [Proof("test_b")], 3: [Proof("test_c", of="the inbox")]}
    said = gaps(proofs, ["invoice_to_erp", "payout_to_erp", "hold_to_source"])
    assert said == [
        "scenario 1 (test_a) isn't played over payout_to_erp: play it in `over(every_scene())`, or write in its mark"
        ' why it can\'t befall it, `not_for={"payout_to_erp": "..."}`',
        "scenario 2 (test_b) is played over no flow: write in a mark what it's about, `of=...`, or use `over`",
    ]


def test_the_page_says_what_the_tests_say():
    told = (ROOT / "docs" / "scenarios.md").read_text()
    assert told == print_page(), "python -m tests.architecture.scenarios > docs/scenarios.md"
