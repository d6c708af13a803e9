"""What the ERP makes of a document otherwise than it was sent: its own tax, its own number, approval by a box, an
application that it took and didn't make. Nothing of it counts as posted, and each has a way out."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from connectors import http
from exceptions.models import ExceptionCase
from exceptions.resolutions import propose_overrides, repost
from q2c.core.models import Person
from q2c.transactions.models import BusinessTransaction, LineageLink, StepRun
from q2c.transactions.steps import AWAITED_IN_ERP
from tests.journeys.scenes import unwind, write_off
from tests.journeys.test_two_people import decide
from tests.journeys.test_voids import held_by_erp
from tests.sandboxes.netsuite_client import Client as Erp

pytestmark = pytest.mark.django_db(transaction=True)
USUAL = {"approval": False, "shows_approval": True, "numbers_itself": False, "determines_tax": False}


@pytest.fixture
def account(house):
    """Sets what NetSuite's account is set to, and ends as usual."""

    def set_to(**wanted):
        return house.sandboxes.control("POST", "netsuite/account", wanted)

    yield set_to
    set_to(**USUAL)


def the_case() -> ExceptionCase:
    return ExceptionCase.objects.get(state__in=ExceptionCase.OPEN_STATES)


def person(username: str = "billing_ops") -> Person:
    return Person.objects.get(username=username)


def test_a_dollar_that_the_account_calls_usa_is_posted(house):
    american = {"legal_entity": "US01"}
    customer = house.customer(address={"country": "US", "city": "Reno"}, metadata=american)
    invoice = house.invoice(customer, currency="usd", metadata=american)
    house.carry()
    assert house.held() == []
    (made,) = house.made("netsuite", "invoice")
    assert made["external_id"] == f"inv-stripe-{invoice}"
    assert Erp(house.sandboxes).read("invoice", made["id"])["currency"]["refName"] == "USA"


def test_where_the_erp_would_tax_an_untaxed_document_it_is_told_that_nothing_is_taxed(house, account):
    account(determines_tax=True)
    invoice = house.invoice(house.customer(), amount=10_000)
    house.carry()
    house.credit(invoice, amount=3_000, metadata={"legal_entity": "GB01"})
    house.carry()
    write_off(house, invoice)
    house.carry()
    assert house.held() == []
    assert held_by_erp(house, "invoice") == [(f"inv-stripe-{invoice}", Decimal(100), Decimal(0))]
    credits_ = sorted(total for _name, total, _open in held_by_erp(house, "creditMemo"))
    assert credits_ == [Decimal(30), Decimal(70)]
    customer = Erp(house.sandboxes).read("invoice", house.made("netsuite", "invoice")[0]["id"])["entity"]
    (item,) = house.sandboxes.control("GET", "netsuite/documents/serviceSaleItem?limit=1")["items"]
    plain = {"entity": customer, "item": {"items": [{"item": {"id": item["id"]}, "amount": 100}]}}
    taxed = house.make("netsuite", "invoice", [plain])[0]
    assert Erp(house.sandboxes).read("invoice", taxed)["taxTotal"] == 20  # what the account does unless it's told


def test_a_journal_that_waits_by_the_box_approved_alone_isnt_posted_until_it_is_ticked(house, account):
    account(approval=True, shows_approval=False)
    house.customer()
    house.carry()
    account(approval=False)
    payment = house.pay(house.invoice(house.customer()))
    house.carry()
    account(approval=True)
    house.dispute(payment)
    house.carry(until=lambda: house.states("dispute_to_erp") == {"waiting": 1})
    assert BusinessTransaction.objects.get(flow="dispute_to_erp").waits_for == AWAITED_IN_ERP
    (made,) = house.made("netsuite", "journalEntry")
    shown = Erp(house.sandboxes).read("journalEntry", made["id"])
    assert ("approvalStatus" in shown, shown["approved"]) == (False, False)
    assert account(approve="all")["approve"] == [made["id"]]
    house.carry_to_the_end("dispute_to_erp")
    assert len(house.made("netsuite", "journalEntry")) == 1


@pytest.mark.parametrize("way", ["put right there", "accepted by two"])
def test_a_number_of_the_erps_own_is_held_and_leads_out_by_a_repost_or_by_two_people(house, account, way):
    account(numbers_itself=True)
    house.invoice(house.customer())
    house.carry(until=lambda: house.held() == ["posted_differently"])
    txn = BusinessTransaction.objects.get(flow="invoice_to_erp")
    (made,) = house.made("netsuite", "invoice")
    taken = Erp(house.sandboxes).read("invoice", made["id"])["tranId"]
    assert (txn.number in the_case().summary, taken in the_case().summary) == (True, True)
    repost(the_case(), by=person(), reason="asked the ERP's people")
    house.carry(until=lambda: BusinessTransaction.objects.filter(pk=txn.pk, state="held", attempt__gt=txn.attempt))
    assert house.held() == ["posted_differently"]  # still ours, and not somebody else's document
    if way == "put right there":
        assert Erp(house.sandboxes).send("PATCH", f"invoice/{made['id']}", {"tranId": txn.number}).status_code == 204
        repost(the_case(), by=person(), reason="numbered as billing did")
        house.carry_to_the_end("invoice_to_erp")
        assert StepRun.objects.get(step="post_invoice", state="done").used == {"found": True}
    else:
        propose_overrides(the_case(), by=person(), reason="the account numbers by itself")
        assert decide("controller", approve=True, kind="override") == "approved"
        house.carry_to_the_end("invoice_to_erp")
        step = StepRun.objects.get(step="post_invoice", state="done")
        assert step.used == {"found": True, "accepted": "posted_differently"}
    assert house.states("invoice_to_erp") == {"completed": 1}
    assert len(house.made("netsuite", "invoice")) == 1


@pytest.fixture
def deaf_erp(monkeypatch):
    """An ERP that takes a change of what is applied with 204, and makes nothing of it (a script of the account's)."""
    asks, patched = http.Telephone.call, []

    async def call(telephone, method, path, **more):
        if method == "PATCH" and "apply" in (more.get("json") or {}):
            patched.append(path)
            reply = await asks(telephone, "GET", path, **{**more, "json": None})
            return replace(reply, status=204, body=b"", is_write=True)
        return await asks(telephone, method, path, **more)

    monkeypatch.setattr(http.Telephone, "call", call)
    return patched


def applied(house) -> list[tuple[str, Decimal, Decimal]]:
    return held_by_erp(house, "invoice")


def test_an_application_that_the_erp_took_and_didnt_make_is_held_and_made_by_a_repost(house, deaf_erp, monkeypatch):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.pay(invoice)
    house.carry(until=lambda: house.held() == ["posted_differently"])
    assert len(deaf_erp) == 1
    assert applied(house) == [(f"inv-stripe-{invoice}", Decimal(100), Decimal(100))]
    assert "GBP 100.00 is to be applied, and the ERP has GBP 0.00" in the_case().summary
    monkeypatch.undo()
    repost(the_case(), by=person(), reason="the script is off")
    house.carry_to_the_end("application_to_erp")
    assert applied(house) == [(f"inv-stripe-{invoice}", Decimal(100), Decimal(0))]
    assert len(house.made("netsuite", "customerPayment", "updated")) == 1


@pytest.fixture
def short_erp(monkeypatch):
    """An ERP that applies 90.00 where 100.00 is asked for."""
    asks, patched = http.Telephone.call, []

    async def call(telephone, method, path, **more):
        if method == "PATCH" and "apply" in (more.get("json") or {}):
            patched.append(path)
            for row in more["json"]["apply"]["items"]:
                row["amount"] = 90
        return await asks(telephone, method, path, **more)

    monkeypatch.setattr(http.Telephone, "call", call)
    return patched


def test_an_application_that_two_people_accepted_as_it_came_isnt_sent_again_and_lineage_tells_what_is_there(
    house, short_erp
):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.pay(invoice)
    house.carry(until=lambda: house.held() == ["posted_differently"])
    propose_overrides(the_case(), by=person(), reason="the bank kept ten")
    assert decide("controller", approve=True, kind="override") == "approved"
    house.carry_to_the_end("application_to_erp")
    assert (house.held(), len(short_erp)) == ([], 1)
    assert applied(house) == [(f"inv-stripe-{invoice}", Decimal(100), Decimal(10))]
    assert len(house.made("netsuite", "customerPayment", "updated")) == 1
    settles = LineageLink.objects.filter(relation="settles").values_list("amount", flat=True)
    assert list(settles) == [Decimal(90)]


def test_a_release_that_the_erp_took_and_didnt_make_is_held_and_made_by_a_repost(house, request, monkeypatch):
    invoice = house.invoice(house.customer(), amount=10_000)
    house.pay(invoice)
    house.carry()
    house.map_item("QB-API", "POST")
    request.getfixturevalue("deaf_erp")
    unwind(house, invoice)
    house.carry(until=lambda: house.held() == ["posted_differently"])
    assert "GBP 0.00 is to be applied, and the ERP has GBP 100.00" in the_case().summary
    assert house.made("netsuite", "creditMemo") == []
    monkeypatch.undo()
    repost(the_case(), by=person(), reason="the script is off")
    house.carry_to_the_end("unwinding_to_erp")
    assert sorted(applied(house)) == [
        (f"inv-stripe-{invoice}", Decimal(100), Decimal(0)), (f"re-stripe-{invoice}-1", Decimal(100), Decimal(0)),
    ]  # fmt: skip
