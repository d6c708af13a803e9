"""Whatever stands behind the question mark, a list answers: no query string makes a 500."""

import base64
import json

import pytest

from exceptions.workbench.filters import CaseFilter
from mappings.workbench.rules import RuleFilter
from q2c.portal.filters import EventFilter, TransactionFilter
from tests import factories

pytestmark = pytest.mark.django_db
LISTS = {
    "/transactions/": [*TransactionFilter.base_filters],
    "/inbox/": [*EventFilter.base_filters],
    "/exceptions/cases/": [*CaseFilter.base_filters],
    "/mappings/rules/": [*RuleFilter.base_filters],
    "/mappings/targets/": ["kind", "key", "entity", "connection", "q"],
    "/mappings/change-sets/": ["state"],
    "/mappings/change-sets/{change_set}/documents/": ["part", "entity", "period", "account"],
    "/decisions/": ["state", "kind"],
    "/audit/": [],
    "/schedules/": [],
    "/pauses/": [],
    "/backfills/": [],
    "/backfills/{backfill}/": ["show", "phase"],
    "/operations/": ["entity", "period"],
    "/operations/flows/invoice_to_erp/": ["entity", "span"],
    "/connections/": [],
    "/search/": ["q"],
    "/lineage/": ["system", "type", "id", "transaction"],
    "/": [],
}
ODD = ("0001-01-01", "9999-12-31", "2026-02-30", "-1", "-1e999999", "1e-999999", "NaN", "9" * 400, "a\x00b", "\ud800",
       "%s'\"\\", "🦆" * 300, "٣", "all")  # fmt: skip
PLACES = ([10**30, 10**30], [-1, "x"], ["0001-01-01T00:00:00+14:00", 1], ["9999-12-31T23:59:59-12:00", 1], [None],
          [[1], {}], ["\x00"], [1], ["NaN"], [True, 1e308])  # fmt: skip


def place(values):
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


@pytest.fixture
def reader(sign_in):
    factories.make_entity("GB01")
    factories.make_case(transactions=[factories.make_transaction("held"), factories.make_transaction()])
    return sign_in("auditor")


@pytest.mark.parametrize("url", LISTS)
def test_no_value_of_any_filter_breaks_a_list(reader, url):
    backfill = factories.make_backfill(factories.make_person("platform")) if "backfill}" in url else None
    made = {"change_set": factories.make_change_set().pk, "backfill": backfill.pk if backfill else 0}
    names, url = LISTS[url], url.format(**made)
    for odd in ODD:
        value = odd.encode("utf-8", "surrogatepass").decode("latin-1")
        assert reader.get(url, dict.fromkeys([*names, "at", "after"], value)).status_code < 500, odd


@pytest.mark.parametrize("url", ["/transactions/", "/inbox/", "/exceptions/cases/", "/mappings/rules/", "/audit/"])
def test_no_made_up_place_breaks_a_list(reader, url):
    for values in PLACES:
        assert reader.get(url, {"before": place(values)}).status_code < 500, values


def test_a_date_outside_of_every_clock_is_named_and_the_list_stays(reader):
    for name, value in (("received_from", "0001-01-01"), ("received_to", "9999-12-31")):
        page = reader.get("/transactions/", {name: value, "state": "held"})
        assert "Write a date of the years 1971 to 2999." in page.content.decode()
        assert len(page.context["page"].rows) == 1
