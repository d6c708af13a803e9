"""A customer whom people linked to a record of the ERP is neither made there again nor changed by us."""

import pytest

from mappings.identities import Change, store_change
from mappings.references import Reference, store_references
from q2c.canonical.base import Source
from q2c.canonical.party import Customer
from q2c.flows.customer_to_erp import build_customer, tell
from q2c.links import Links, fetch_links
from q2c.posting.facts import Book
from tests import factories
from tests.records.test_merging import AT

pytestmark = pytest.mark.django_db
KEY = "stripe:customer:cus_1"
BOOK = Book(code="GB01", name="Ltd", country="GB", currency="GBP", time_zone="UTC", connection="netsuite", erp_id="1")
DOCUMENT = Customer(source=Source(connection="stripe", object_type="customer", object_id="cus_1"), name="Blue Bikes")


class Mappings:
    """Answers nothing but that no account is named."""

    def get(self, *_args, **_asked):
        return ""

    def looks_at(self, _kind):
        return frozenset()

    def resolve(self, *_args, **_asked):
        raise AssertionError("only a new customer needs a currency")


def build():
    links = Links()
    fetch_links(links, {"xref": {("customer", KEY)}})
    return build_customer(DOCUMENT, BOOK, Mappings(), links)


def test_what_the_flow_made_it_goes_on_to_change_and_what_people_linked_it_leaves_alone():
    factories.make_connection("netsuite")
    store_references([Reference("customer", KEY, "netsuite", "customer", "41")], AT)
    assert build().name == "Blue Bikes"
    store_change(Change(record_type="customer", record_key=KEY, connection="netsuite", external_type="customer",
                        external_id="42", was="41"))  # fmt: skip
    assert build() is None
    assert tell(DOCUMENT, None, None, BOOK) == []
