"""A list that is too long to be paged through, whose page fails or that is suddenly empty: what was known of it stays,
and a person is told."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from connectors.families import REFERENCE_LISTS
from connectors.models import ReferenceEntry
from connectors.netsuite import client
from exceptions import resolutions
from exceptions.models import ExceptionCase
from q2c.flows import reference
from q2c.flows.reference import reference_targets
from q2c.flows.tasks import refresh_lists
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def known() -> set[tuple[str, str, str]]:
    rows = ReferenceEntry.objects.filter(is_active=True).values_list("list_name", "external_id", "attributes")
    return {(list_name, external_id, json.dumps(facts, sort_keys=True)) for list_name, external_id, facts in rows}


@pytest.mark.scenario(32, of="reading a list")
def test_a_list_that_is_too_long_is_never_cut_short_and_its_case_closes_once_it_can_be_read(house, monkeypatch):
    before = known()
    monkeypatch.setattr(client, "PAGE", 2)
    monkeypatch.setattr(client, "PAGES_MAX", 1)
    for code in reference_targets():
        refresh_lists(code)
    assert known() == before
    cases = ExceptionCase.objects.filter(kind="list_unread")
    assert {case.state for case in cases} == {"open"}
    assert cases.count() == len(REFERENCE_LISTS)
    assert any("items can't be read whole: NetSuite has more than 2 rows" in case.summary for case in cases)
    monkeypatch.undo()
    for code in reference_targets():
        refresh_lists(code)
    assert {case.state for case in cases.all()} == {"resolved"}
    assert known() == before


@pytest.mark.scenario(30, of="reading a list")
@pytest.mark.parametrize(("status", "said"), [(400, ["answered with 400"]), (503, [])])
@pytest.mark.parametrize(
    ("list_name", "rows"),
    [("accounts", 2), ("items", 30), ("tax_codes", 2), ("periods", 300)],  # of the periods, each book's own come first
)
def test_a_page_in_the_middle_that_fails_changes_nothing_and_what_an_outage_doesnt_explain_is_told(
    house, monkeypatch, list_name, rows, status, said
):
    house.lock_receivables()
    before, target = known(), "netsuite"
    monkeypatch.setattr(client, "PAGE", rows)
    house.fault(target, "status", status=status, when={"path": "*/suiteql", "nth": 3})
    seen = read_alone(target, list_name, monkeypatch)
    (fault,) = house.sandboxes.control("GET", "netsuite/faults")["faults"]
    assert (fault["hits"], known()) == (1, before)
    told = ExceptionCase.objects.filter(kind="list_unread", state="open").values_list("summary", flat=True)
    assert ["answered with 400" for summary in told if "answered with 400" in summary] == said
    assert len(told) == len(said)
    assert seen() == before
    assert ExceptionCase.objects.filter(kind="list_unread", state="resolved").count() == len(said)


@pytest.mark.scenario(31, of="reading a list")
@pytest.mark.parametrize("list_name", ["accounts", "items", "tax_codes", "periods"])
def test_a_list_that_is_suddenly_empty_is_no_list_that_was_read(house, monkeypatch, list_name):
    before, target = known(), "netsuite"
    gone = {row for row in before if row[0] == list_name}
    house.fault(target, "status", status=200, body={"items": [], "hasMore": False}, when={"path": "*/suiteql"})
    seen = read_alone(target, list_name, monkeypatch)
    assert known() == before
    case = ExceptionCase.objects.get(kind="list_unread")
    assert (case.state, f"it came empty, where {len(gone)} rows are known" in case.summary) == ("open", True)
    assert seen() == before  # it's empty still
    case.refresh_from_db()
    assert case.state == "open"
    resolutions.waive(case, by=factories.make_person("controller"), reason="nobody uses it any more")
    assert seen() == before - gone
    assert ExceptionCase.objects.get(kind="list_unread").state == "waived"
    house.sandboxes.control("DELETE", "netsuite/faults")
    assert seen() == before


def read_alone(target: str, list_name: str, monkeypatch) -> Callable[[], set[tuple[str, str, str]]]:
    """Reads this list as the beat does, now and whenever what is given is called: then it says what is known."""
    monkeypatch.setattr(reference, "REFERENCE_LISTS", (list_name,))

    def read() -> set[tuple[str, str]]:
        refresh_lists(target)
        return known()

    read()
    return read
