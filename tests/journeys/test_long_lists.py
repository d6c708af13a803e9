"""A catalogue longer than its vendor lets us page through: what was known of it stays, and a person is told."""

from __future__ import annotations

import pytest

from connectors.families import REFERENCE_LISTS
from connectors.models import ReferenceEntry
from connectors.netsuite import client
from exceptions.models import ExceptionCase
from q2c.flows.reference import reference_targets
from q2c.flows.tasks import refresh_lists

pytestmark = pytest.mark.django_db(transaction=True)


def known() -> set[tuple[str, str]]:
    return set(ReferenceEntry.objects.filter(is_active=True).values_list("list_name", "external_id"))


@pytest.mark.scenario(32)
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
