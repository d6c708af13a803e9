"""A document that somebody typed into the ERP by hand: found, compared, agreed to, linked, and never sent."""

import json

import pytest

from connectors.netsuite import outbound
from exceptions.models import ExceptionCase
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import deciding, linking
from mappings.models import CrossReference
from q2c.reconciliation.control_totals import compute_totals
from q2c.transactions.models import BusinessTransaction
from tests.journeys.test_holds import person

pytestmark = pytest.mark.django_db(transaction=True)
EXISTS = {
    "type": "about:blank", "title": "Bad Request", "status": 400,
    "o:errorDetails": [{"detail": "This record already exists", "o:errorCode": "USER_ERROR"}],
}  # fmt: skip


def test_what_was_typed_in_by_hand_is_linked_only_when_every_figure_is_the_same(house):
    customer = house.customer()
    house.carry()
    house.fault(
        "netsuite", "status", when={"method": "POST", "path": "*/invoice", "times": 1}, status=400, body=EXISTS
    )  # fmt: skip
    house.invoice(customer)
    house.carry(until=lambda: house.held() == ["document_exists"])
    txn, case = BusinessTransaction.objects.get(state="held"), ExceptionCase.objects.get(closed_at__isnull=True)
    assert linking.find_candidates(txn.pk, txn.number) == []
    body = json.loads(json.dumps(outbound.ar_invoice(linking.posting_of(txn.pk)), default=float))
    del body["externalId"]
    (line,) = body["item"]["items"]
    dearer = {**body, "item": {"items": [{**line, "rate": 110.0, "amount": 110.0}]}}
    other, same = house.make("netsuite", "invoice", [dearer, body])
    found = {row.found.id: row for row in linking.find_candidates(txn.pk, txn.number)}
    assert {i: row.fits for i, row in found.items()} == {other: False, same: True}
    maker, checker = person("billing_ops"), person("controller")
    with pytest.raises(ResolutionRefused, match=r"amount: ours 100\.00, there 110\.00"):
        linking.link(case, by=maker, reason="typed in", transaction_id=txn.pk, chosen=found[other])
    proposal, _ = linking.link(case, by=maker, reason="typed in on Friday", transaction_id=txn.pk, chosen=found[same])
    sent = len([e for e in house.sandboxes.log("netsuite", after=house.marks["netsuite"]) if e["effect"] == "created"])
    assert deciding.decide(proposal, by=checker, approve=True)[0] == "approved"
    house.carry()
    txn.refresh_from_db()
    assert (txn.state, txn.target_id) == ("completed", same)
    created = [e for e in house.sandboxes.log("netsuite", after=house.marks["netsuite"]) if e["effect"] == "created"]
    assert len(created) == sent
    reference = CrossReference.objects.get(connection__code="netsuite", external_id=same)
    assert reference.transaction_id == txn.pk
    totals = compute_totals(["stripe"])
    assert (totals.linked, totals.erp_differences) == (1, ())
    house.invoice(customer, amount=7_000)
    house.carry()
    totals = compute_totals(["stripe"])
    assert (totals.agrees, totals.linked) == (True, 1)
    assert sum(row.measures["posted"].count for row in totals.rows) == 2
