"""Deep links: for every vendor and every type of record that a flow reads or makes, a page of the vendor's own."""

import pytest

from connectors import links_out, registry
from connectors.models import Connection

OF = {
    "netsuite": ("invoice", "creditMemo", "customerPayment", "customer", "journalEntry", "deposit"),
    "salesforce": ("Opportunity", "Order", "Account", "Product2"),
    "stripe": ("invoice", "credit_note", "payment_intent", "refund", "payout", "customer", "subscription"),
}


def test_every_vendor_is_asked():
    assert set(OF) == set(registry.vendors())


@pytest.mark.parametrize(("vendor", "kind"), [(vendor, kind) for vendor, kinds in OF.items() for kind in kinds])
def test_a_record_has_a_page_in_its_system(vendor, kind):
    connection = Connection(code="one", vendor=vendor, settings={"app_url": "https://app.example"})
    url = links_out.record_url(connection, kind, "id_1")
    assert url.startswith("https://app.example/")
    assert "id_1" in url


@pytest.mark.parametrize(
    ("settings", "url"),
    [({}, "https://dashboard.stripe.com/search?query=in_1"), ({"app_url": ""}, "")],
    ids=["default", "emptied"],
)
def test_a_setting_that_nobody_stored_counts_by_its_default_and_an_emptied_one_doesnt(settings, url):
    assert links_out.record_url(Connection(code="one", vendor="stripe", settings=settings), "invoice", "in_1") == url


def test_without_an_address_or_an_id_there_is_no_link():
    bare = Connection(code="one", vendor="netsuite", settings={})
    assert (links_out.record_url(bare, "invoice", "1"), links_out.record_url(None, "invoice", "1")) == ("", "")
    assert (
        links_out.record_url(Connection(vendor="netsuite", settings={"app_url": "javascript:"}), "invoice", "1") == ""
    )
    assert links_out.record_url(Connection(vendor="netsuite", settings={"app_url": "https://x"}), "invoice", "") == ""
