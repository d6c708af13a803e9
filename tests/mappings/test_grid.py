"""The grid of one kind: what is typed is checked in place, goes on as a sheet, and overwrites nothing of others."""

from __future__ import annotations

import re

import pytest

from mappings.models import MappingRule, Sheet
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
ADDRESS = "/mappings/grid/?kind=item"


def form_of(client, address: str = ADDRESS, **typed: str) -> dict[str, str]:
    """What a browser would send of the grid, with some cells typed over (`value_0="x"`)."""
    shown = client.get(address)
    html = shown.content.decode() if hasattr(shown, "content") else shown
    found = re.findall(r'<input[^>]*? name="([a-z_]+(?:-\d+)?)"[^>]*? value="([^"]*)"', html)
    sent = {name: value for name, value in found if not name.startswith(("retire", "q", "csrf", "form_key"))}
    return sent | {re.sub(r"_(\d+)$", r"-\1", name): text for name, text in typed.items()}


def test_changed_retired_and_new_rows_go_on_as_a_sheet_and_the_rest_is_left_alone(client, maker):
    for key in ("A", "B", "C"):
        make_rule("item", key, "10482", connection="netsuite", conditions={"charge_type": ["usage"]})
    typed = {"value_0": "GTX-MNT-L", "retire_1": "yes", "key_3": "NEW", "value_3": "10482"}
    answer = client.post(ADDRESS, form_of(client, **typed))
    sheet = Sheet.objects.get()
    assert answer["Location"] == f"/mappings/sheets/{sheet.pk}/"
    assert sheet.report["faults"] == []
    assert [(d["act"], d["key"], d["old"], d["new"]) for d in sheet.report["differences"]] == [
        ("change", "A", "10482", "10391 Wall mount L"),
        ("retire", "B", "10482", ""),
        ("create", "NEW", "", "10482 Router 5G"),
    ]
    assert sheet.report["total"] == 3


def test_a_fault_stands_beside_its_cell_and_what_was_typed_is_kept(client, maker):
    make_rule("item", "A", "10482", connection="netsuite")
    answer = client.post(ADDRESS, form_of(client, value_0="1O391"))
    html = answer.content.decode()
    assert answer.status_code == 422
    assert "1 cell to correct" in html
    assert re.search(r'name="value-0" value="1O391"[^>]*aria-describedby="fault-0-value"', html)
    assert "Did you mean 10391 · GTX-MNT-L · Wall mount L?" in html
    assert not Sheet.objects.exists()


def test_of_two_who_edit_one_rule_the_second_sees_the_firsts_change_and_decides(client, maker):
    rule = make_rule("item", "A", "10482", connection="netsuite")
    mine = form_of(client, value_0="10500")
    newer = make_rule("item", "Z", "10482")
    number = newer.known_from
    MappingRule.objects.filter(pk=rule.pk).update(known_to=number)
    make_rule("item", "A", "10391", connection="netsuite", number=number)
    html = client.post(ADDRESS, mine).content.decode()
    assert "Was changed meanwhile. Nothing is overwritten" in html
    assert "It becomes 10391 now; your text is kept." in html
    assert not Sheet.objects.exists()
    again = form_of(FakeClient(html))
    assert again["value-0"] == "10500"
    client.post(ADDRESS, again)
    assert [(d["old"], d["new"]) for d in Sheet.objects.get().report["differences"]] == [("10391", "10500 Twin")]


def test_nothing_typed_makes_nothing(client, maker):
    make_rule("item", "A", "10482", connection="netsuite")
    assert "Nothing was changed." in client.post(ADDRESS, form_of(client)).content.decode()


class FakeClient:
    """A page that was shown already."""

    def __init__(self, html: str) -> None:
        self.html = html

    def get(self, _address: str) -> str:
        return self.html


def test_a_grid_that_is_filtered_by_a_key_begins_no_row_of_it(client, maker):
    make_rule("item", "A", "10482")
    address = f"{ADDRESS}&key=A"
    assert client.post(address, form_of(client, address, value_0="10391")).status_code == 302
    assert re.search(r'name="key-\d+" value="A"', client.get(f"{ADDRESS}&key=A&new=yes").content.decode())


def test_the_grid_of_a_kind_without_rules_says_so(client, maker):
    page = client.get("/mappings/grid/?kind=holiday").content.decode()
    assert "<h1>No rule of kind “Holiday” yet</h1>" in page
