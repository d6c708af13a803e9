"""The receivables account gets another number while documents are on their way: what takes an open item back or settles
it stands on that item's own account, and what is new on the new one."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.models import ReferenceEntry
from tests.journeys.ledger import CLEARING, RECEIVABLES, Ledger
from tests.journeys.scenes import write_off
from tests.journeys.test_unwinding import RIGHT, WRONG, unwind
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db(transaction=True)
RENUMBERED = "1120"


def renumber(house) -> None:
    """From now on GB01's receivables are another account of the ERP."""
    account = ReferenceEntry.objects.get(list_name="accounts", code=RENUMBERED, connection__code="netsuite")
    make_rule("account", "receivables", account.external_id, legal_entity="GB01")


def accounts_of(house, record: str, field: str = "account") -> dict[str, str]:
    """Which receivables account each document stands on, as the ERP holds it, by our external id."""
    client = Ledger(house.sandboxes).client
    numbers = dict(ReferenceEntry.objects.filter(list_name="accounts").values_list("external_id", "code"))
    held: list[dict[str, Any]] = [client.read(record, entry["id"]) for entry in house.made("netsuite", record)]
    return {document["externalId"]: numbers[document[field]["id"]] for document in held}


def test_what_takes_an_invoice_back_or_pays_it_stands_on_the_invoices_account(house):
    customer = house.customer()
    credited, voided, paid, given_up = (house.invoice(customer, amount=10_000) for _ in range(4))
    house.carry(seconds=60)
    renumber(house)
    house.credit(credited, amount=10_000, metadata={"legal_entity": "GB01"})
    house.void(voided)
    house.pay(paid)
    signed = write_off(house, given_up)
    assert "to 1100 Accounts Receivable" in signed.content["happens"][1]
    house.carry(seconds=60)
    assert house.held() == []
    assert set(accounts_of(house, "creditMemo").values()) == {RECEIVABLES}
    assert len(accounts_of(house, "creditMemo")) == 3
    assert set(accounts_of(house, "customerPayment", "arAcct").values()) == {RECEIVABLES}
    books = Ledger(house.sandboxes)
    assert (books.open_items(), {RECEIVABLES, RENUMBERED} & books.balances().keys()) == ({}, set())
    later = house.invoice(customer, amount=10_000)
    house.carry(seconds=60)
    house.pay(later)
    house.carry(seconds=60)
    assert house.held() == []
    assert accounts_of(house, "invoice")[f"inv-stripe-{later}"] == RENUMBERED
    assert sorted(accounts_of(house, "customerPayment", "arAcct").values()) == [RECEIVABLES, RENUMBERED]
    assert books.open_items() == {}


def test_a_refund_its_failure_and_a_credit_charged_again_stand_where_their_first_stands(house):
    customer = house.customer()
    invoice, other = house.invoice(customer, amount=10_000), house.invoice(customer, amount=10_000)
    house.carry(seconds=60)
    payment = house.pay(invoice)
    note = house.credit(other, amount=4_000, metadata={"legal_entity": "GB01"})
    house.carry(seconds=60)
    renumber(house)
    named = house.credit(invoice, amount=6_000, refund_amount=6_000)
    bare = house.refund(payment, 1_000)
    house.void_credit(note)
    house.carry(seconds=60)
    assert house.held() == []
    assert accounts_of(house, "creditMemo")[f"cm-stripe-{named}"] == RECEIVABLES
    assert set(accounts_of(house, "customerRefund", "arAcct").values()) == {RECEIVABLES}
    assert accounts_of(house, "invoice")[f"void-stripe-{note}"] == RECEIVABLES
    house.make("stripe", "refund", [{"id": bare, "status": "failed"}])
    house.carry(seconds=60)
    assert house.held() == []
    assert RENUMBERED not in Ledger(house.sandboxes).balances()


def test_a_plan_takes_an_invoice_back_where_it_stands_and_posts_it_again_on_todays_account(house):
    invoice = house.invoice(house.customer(), sku=WRONG, amount=10_000)
    house.carry(seconds=60)
    renumber(house)
    house.map_item(WRONG, RIGHT)
    unwind(house, invoice)
    house.carry(seconds=60)
    assert house.held() == []
    assert list(accounts_of(house, "creditMemo").values()) == [RECEIVABLES]
    assert accounts_of(house, "invoice") == {
        f"inv-stripe-{invoice}": RECEIVABLES, f"re-stripe-{invoice}-1": RENUMBERED
    }  # fmt: skip
    house.credit(invoice, amount=10_000, metadata={"legal_entity": "GB01"})
    house.carry(seconds=60)
    assert house.held() == []
    assert accounts_of(house, "creditMemo").popitem()[1] == RENUMBERED
    balances = Ledger(house.sandboxes).balances()
    assert {RECEIVABLES, RENUMBERED, CLEARING} & balances.keys() == set()
