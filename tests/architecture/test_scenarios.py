"""docs/scenarios.md says which test proves what, and every scenario is proved."""

from tests.architecture.house import ROOT
from tests.architecture.scenarios import TITLES, print_page, read_marks


def test_every_scenario_has_a_test():
    assert set(TITLES) - set(read_marks()) == set()


def test_every_mark_is_a_known_scenario():
    assert set(read_marks()) - set(TITLES) == set()


def test_the_page_says_what_the_tests_say():
    told = (ROOT / "docs" / "scenarios.md").read_text()
    assert told == print_page(), "python -m tests.architecture.scenarios > docs/scenarios.md"
