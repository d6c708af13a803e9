"""What an item of the ERP's list says of the lines that sell it, and the rule that goes before."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pytest

from q2c.flows.steps.codes import item_uses, rule_dates, want_codes
from q2c.posting.facts import ItemUse
from tests.flows.test_rule_dates import TOKYO

DAY = dt.date(2026, 11, 20)
NAMED = {"income_account": "410", "deferral_account": "220", "revenue_rule": "2", "department": "3", "class": "4",
         "location": "5"}  # fmt: skip
CALENDAR = SimpleNamespace(reference=lambda _connection, _name: {"i-1": {"attributes": NAMED}, "i-2": {}})


class Mappings:
    def __init__(self, locations: dict[str, str]) -> None:
        self.locations = locations

    def resolve(self, kind, key, **_asked):
        return SimpleNamespace(value={"SUB": "i-1", "BOX": "i-2"}[key], label="")

    def get(self, kind, key, default="", **_asked):
        return self.locations.get(key, default) if kind == "location" else default


@pytest.mark.parametrize(("locations", "of_sub", "of_box"), [({}, "5", ""), ({"JP01": "9"}, "9", "9")])
def test_lines_take_their_items_dimensions_unless_a_rule_names_the_entitys_location(locations, of_sub, of_box):
    uses = item_uses(["SUB", "BOX"], "JPY", TOKYO, rule_dates(DAY, DAY), Mappings(locations), CALENDAR)
    assert uses["SUB"] == ItemUse(
        item="i-1", income_account="410", deferral_account="220", revenue_rule="2", department="3", class_="4",
        location=of_sub,
    )  # fmt: skip
    assert uses["BOX"] == ItemUse(item="i-2", location=of_box)


def test_the_rules_of_a_document_are_asked_for_at_once():
    document = SimpleNamespace(lines=(SimpleNamespace(sku="SUB", taxes=()),))
    assert set(want_codes(document, TOKYO)) == {("rule", ("item", "SUB")), ("rule", ("location", "JP01"))}
