"""What an item of the ERP's list says of the lines that sell it, and the rule that goes before."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pytest

from q2c import ports
from q2c.flows.steps.codes import item_uses, rule_dates, want_codes
from q2c.posting.facts import ItemUse
from tests import factories
from tests.flows.test_rule_dates import TOKYO

DAY = dt.date(2026, 11, 20)
NAMED = {"income_account": "410", "deferral_account": "220", "revenue_rule": "2", "department": "3", "class": "4",
         "location": "5"}  # fmt: skip
CALENDAR = SimpleNamespace(reference=lambda _connection, _name: {"i-1": {"attributes": NAMED}, "i-2": {}})


SOLD = {"SUB": ("SUB", ""), "BOX": ("BOX", "")}
DOCUMENT = SimpleNamespace(currency="JPY")
LINKS = SimpleNamespace(product_line=lambda sku: {"SUB": "Subscriptions"}.get(sku, ""))


class Mappings:
    def __init__(self, locations: dict[str, str], **by_line: str) -> None:
        self.locations, self.by_line = locations, by_line

    def looks_at(self, _kind):
        return frozenset()

    def resolve(self, kind, key, **_asked):
        return SimpleNamespace(value={"SUB": "i-1", "BOX": "i-2"}[key], label="")

    def get(self, kind, key, default="", **_asked):
        if kind in ("department", "class"):
            return self.by_line.get(kind, default) if key == "Subscriptions" else default
        return self.locations.get(key, default) if kind == "location" else default


@pytest.mark.parametrize(("locations", "of_sub", "of_box"), [({}, "5", ""), ({"JP01": "9"}, "9", "9")])
def test_lines_take_their_items_dimensions_unless_a_rule_names_the_entitys_location(locations, of_sub, of_box):
    uses = item_uses(SOLD, DOCUMENT, TOKYO, rule_dates(DAY, DAY), Mappings(locations), CALENDAR, LINKS)
    assert uses["SUB"] == ItemUse(
        item="i-1", income_account="410", deferral_account="220", revenue_rule="2", department="3", class_="4",
        location=of_sub,
    )  # fmt: skip
    assert uses["BOX"] == ItemUse(item="i-2", location=of_box)


def test_a_rule_for_the_product_line_goes_before_the_items_own_department_and_class():
    rules = Mappings({}, department="31", **{"class": "41"})
    uses = item_uses(SOLD, DOCUMENT, TOKYO, rule_dates(DAY, DAY), rules, CALENDAR, LINKS)
    assert (uses["SUB"].department, uses["SUB"].class_) == ("31", "41")
    assert (uses["BOX"].department, uses["BOX"].class_) == ("", "")  # of no product line


def test_the_rules_of_a_document_are_asked_for_at_once():
    document = SimpleNamespace(lines=(SimpleNamespace(sku="SUB", taxes=()),))
    assert set(want_codes(document, TOKYO, Mappings({}))) == {
        ("rule", ("item", "SUB", "JP01")), ("rule", ("location", "JP01")), ("product_line", "SUB"),
    }  # fmt: skip


def test_the_product_line_and_its_rules_are_read_for_the_batch(db, monkeypatch):
    monkeypatch.setattr(ports, "_known", [])
    factories.make_change_set("Departments", number=1, state="approved")
    factories.make_record("product", "salesforce:Product2:01t1", number="SUB", content={"family": "Subscriptions"})
    factories.make_record("product", "salesforce:Product2:01t2", number="BOX", content={"family": ""})
    factories.make_rule("Subscriptions", "31", kind="department", connection_code="")
    batch = ports.BatchContext([])
    batch.fetch({"product_line": {"SUB", "BOX", "unknown"}})
    links = batch.port("links", None)
    assert [links.product_line(sku) for sku in ("SUB", "BOX", "unknown")] == ["Subscriptions", "", ""]
    found = ports.known_rules().find("department", "Subscriptions", on=DAY, legal_entity="JP01")
    assert (found.value, ports.known_rules().late_fetch_count) == ("31", 0)
