"""A rule that says which system takes a document names what is wrong with it, and the way out, before anybody signs."""

from __future__ import annotations

import datetime as dt

import pytest

from connectors.models import Connection
from mappings import forms, suggestions
from mappings.drafts import Line, check_lines
from mappings.kinds import BY_CODE
from mappings.lists import ValueReader
from q2c.core.models import AccountingPeriod
from tests import factories

pytestmark = pytest.mark.django_db
KIND = BY_CODE["target_system"]


@pytest.fixture
def systems():
    """Two ERPs and two others; GB01 has a book in both ERPs, DE01 in the first alone. October is closed in GB01."""
    for code in ("netsuite", "netsuite-new", "stripe", "salesforce"):
        factories.make_connection(code)
    Connection.objects.filter(code="netsuite-new").update(name="NetSuite 2027")
    for entity, erp in (("GB01", "netsuite"), ("GB01", "netsuite-new"), ("DE01", "netsuite")):
        factories.make_subsidiary(entity, erp)
    factories.make_period("GB01", "2026-10", is_open=False)
    factories.make_period("GB01", "2026-11", is_receivables_open=False)
    factories.make_period("GB01", "2026-12")
    assert AccountingPeriod.objects.count() == 3


def faults(key: str, value: str, *, entity: str = "GB01", on: dt.date = dt.date(2026, 12, 1)) -> list[str]:
    line = Line(kind="target_system", key=key, value=value, legal_entity=entity, effective_from=on)
    found = check_lines([line], by=factories.make_person("mapping_admin"))
    return [f"{fault.field}: {fault.text}" for fault in found]


@pytest.mark.parametrize(
    ("key", "value", "more", "said"),
    [
        ("erp|*", "netsuite-new", {}, []),
        ("erp|invoice", "netsuite", {"entity": "", "on": dt.date(2026, 12, 15)}, []),
        ("billing|order", "stripe", {"on": dt.date(2026, 10, 1)}, []),
        ("erp|invoice", "netsuit", {}, ["value: there is no connection netsuit; ERP systems are NetSuite (netsuite), "
                                        "NetSuite 2027 (netsuite-new)"]),
        ("erp|invoice", "stripe", {}, ["value: Stripe is no ERP system; those are NetSuite (netsuite), NetSuite 2027 "
                                       "(netsuite-new)"]),
        ("billing|order", "netsuite", {}, ["value: NetSuite is no billing system; those are Stripe (stripe)"]),
        ("erp|*", "netsuite-new", {"entity": "DE01"}, ["value: NetSuite 2027 has no book of DE01; map their subsidiary "
                                                       "for NetSuite 2027 and refresh its lists"]),
        ("erp|*", "netsuite-new", {"entity": ""}, ["value: NetSuite 2027 has no book of DE01; map their subsidiary for "
                                                   "NetSuite 2027 and refresh its lists, or name the entities that go "
                                                   "there"]),
        ("erp|*", "netsuite-new", {"on": dt.date(2026, 10, 31)}, ["effective_from: Oct 2026 is closed in GB01 "
                                                                  "(NetSuite); the first date allowed is 2026-12-01"]),
        ("erp|inv*", "netsuite", {}, [f"key: erp|inv* isn't one of {', '.join(KIND.keys)}"]),
        ("crm|order", "salesforce", {}, [f"key: crm|order isn't one of {', '.join(KIND.keys)}"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_the_way_out(systems, key, value, more, said):
    assert faults(key, value, **more) == said


def test_connections_are_offered_and_read_by_code_or_name(systems):
    assert [t.text for t in suggestions.entries(KIND, connection="")] == [
        "netsuite · NetSuite", "netsuite-new · NetSuite 2027", "stripe · Stripe",
    ]  # fmt: skip
    assert suggestions.read_value(KIND, "erp|*", "netsuite 2027", connection="") == "netsuite-new"
    where = {"connection": "", "legal_entity": "", "key": "erp|*"}
    assert ValueReader().read(KIND, "netsuite-new · NetSuite 2027", **where) == ("netsuite-new", "NetSuite 2027")
    with pytest.raises(ValueError, match=r"The portal has no connection netsuit. Did you mean netsuite · NetSuite\?"):
        suggestions.read_value(KIND, "erp|*", "netsuit", connection="")
    form = forms.RuleForm(kind="target_system", user=factories.make_person("mapping_admin"))
    assert [key for key, _ in form.fields["key"].choices] == list(KIND.keys)
    assert "netsuite" in suggestions.label_of(KIND, "netsuite", connection="").lower()
