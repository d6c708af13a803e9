"""A mapping changes while documents are on their way: each is what one version of the mappings says, which is kept."""

from __future__ import annotations

import pytest

from connectors.models import ReferenceEntry
from q2c.transactions.models import BusinessTransaction, StepRun
from tests.journeys.house import forget_everything
from tests.sandboxes.netsuite_client import Client as Erp

pytestmark = pytest.mark.django_db(transaction=True)


def items_by_document(house) -> dict[str, set[str]]:
    """The codes of the items on each invoice that NetSuite holds."""
    codes = dict(ReferenceEntry.objects.filter(list_name="items").values_list("external_id", "code"))
    found = {}
    for made in house.made("netsuite", "invoice"):
        lines = Erp(house.sandboxes).read("invoice", made["id"])["item"]["items"]
        found[made["external_id"]] = {codes[line["item"]["id"]] for line in lines}
    return found


def versions(invoice: str) -> set[int]:
    """The change sets by which an invoice's steps went."""
    txn = BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=invoice)
    steps = StepRun.objects.filter(transaction_id=txn.pk, state="done").exclude(change_set=None)
    return set(steps.values_list("change_set", flat=True))


@pytest.mark.scenario(36)
@pytest.mark.parametrize("fault", ["lose_answer", "reset_before"])
def test_what_was_sent_keeps_the_version_that_it_was_made_with_and_what_comes_later_has_the_new_one(house, fault):
    customer = house.customer()
    house.carry()
    house.set_connections(settles_after_seconds="60")
    house.fault("netsuite", fault, when={"method": "POST", "path": "*/invoice", "times": 2})
    line = {"amount": 500, "quantity": 1, "metadata": {"sku": "QB-API"}}
    early = [house.invoice(customer, lines=[line, line]) for _ in range(2)]
    house.carry(until=lambda: house.states("invoice_to_erp") == {"unknown": 2})
    house.map_item("QB-API", "POST")
    house.sandboxes.control("DELETE", "netsuite/faults")
    forget_everything()
    late = house.invoice(customer, lines=[line, line])
    house.carry(until=lambda: sum(house.states("invoice_to_erp").values()) == 3)
    house.carry_to_the_end("invoice_to_erp")
    assert items_by_document(house) == {
        **{f"inv-stripe-{invoice}": {"QB-API"} for invoice in early},
        f"inv-stripe-{late}": {"POST"},
    }
    (then,), (same,), (now,) = (versions(invoice) for invoice in (*early, late))
    assert then == same < now
