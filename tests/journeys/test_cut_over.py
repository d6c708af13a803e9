"""Two ERPs side by side: by date the new one, late ones and what is about old documents the old one; each made once."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal as D

import pytest

from connectors import registry
from connectors.models import Connection
from connectors.sandbox.testing import Sandboxes
from exceptions import releases
from mappings.drafts import Line, save_draft
from q2c import ports
from q2c.core.models import Person, Subsidiary
from q2c.demo import seed
from q2c.flows.reference import refresh_reference
from q2c.portal.reasons import explain_posting
from q2c.transactions.models import BusinessTransaction
from tests.journeys.ledger import BANK, CLEARING, Ledger
from tests.mappings.rules import make_rule, next_number

pytestmark = pytest.mark.django_db(transaction=True)
NEW = "netsuite-2027"


@pytest.fixture
def starting(tmp_path):
    """A second account of NetSuite, that starts while the journey begins."""
    second = Sandboxes(tmp_path / "second", vendors=["netsuite"])
    with ThreadPoolExecutor(1) as threads:
        yield threads.submit(second.start)
    second.stop()


def connect(second: Sandboxes, home) -> Connection:
    """The second ERP among the connections; a rule gives GB01 its book there, and its own lists bring the periods."""
    facts = second.vendor("netsuite")
    plain, secret = seed._split("netsuite", {k: v for k, v in facts["credentials"].items() if v}, home)
    settings = {**plain, "settles_after_seconds": "2"}
    row = Connection.objects.create(code=NEW, name="NetSuite 2027", vendor="netsuite", base_url=facts["url"],
                                    settings=settings, is_sandbox=True)  # fmt: skip
    registry.store_secrets(row, secret)
    book = Subsidiary.objects.get(legal_entity__code="GB01", connection__code="netsuite")
    make_rule("subsidiary", "GB01", book.external_id, number=next_number(), connection=NEW)
    ports.forget_kept()
    refresh_reference(NEW)
    return row


def agree(*lines: Line):
    """Proposed by one person with its evidence, approved by another."""
    maker, checker = (Person.objects.get(username=name) for name in ("mapping_admin", "controller"))
    change_set = save_draft("Cut-over", "The new ERP goes live", lines=list(lines), by=maker)
    proposal = releases.propose_change_set(change_set, by=maker)
    change_set.refresh_from_db()
    decision, _ = releases.decide_change_set(change_set, by=checker, approve=True)
    assert decision.state == "approved"
    return proposal.content["evidence"]


def ids(made: list[dict], document_type: str) -> list[str]:
    return [e["external_id"] for e in made if e["document_type"] == document_type]


def test_from_a_day_on_the_new_erp_takes_documents_and_the_old_one_what_is_about_old_ones(house, starting, home):
    customer = house.customer()
    old = house.invoice(customer)
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 1})
    second = starting.result(timeout=60)
    second.control("POST", "netsuite/limits", {"enforced": False})
    connect(second, home)
    today = dt.datetime.now(dt.UTC).date()
    told = agree(
        Line(kind="target_system", key="erp|*", value=NEW, label="NetSuite 2027", legal_entity="GB01",
             effective_from=today + dt.timedelta(days=1))
    )  # fmt: skip
    assert told["altered"] == []
    house.pass_days(1)
    second.control("POST", "clock", {"offset_seconds": 86400})
    new = house.invoice(customer, amount=20_000)
    late = house.invoice(customer, amount=5_000, effective_at=int(dt.datetime.now(dt.UTC).timestamp()))
    for invoice in (old, new):
        house.pay(invoice)
    house.credit(late, amount=1_000)
    house.carry(seconds=60)
    house.payout()
    house.ask_stripe(f"customers/{customer}", name="Northwind Two")
    house.carry(seconds=60)
    assert house.standing() == []
    in_old, in_new = house.made("netsuite"), second.log("netsuite", effect="created")
    assert ids(in_old, "invoice") == [f"inv-stripe-{old}", f"inv-stripe-{late}"]
    assert ids(in_new, "invoice") == [f"inv-stripe-{new}"]
    assert [len(ids(made, "customer")) for made in (in_old, in_new)] == [1, 1]
    assert [len(ids(made, "customerPayment")) for made in (in_old, in_new)] == [1, 1]
    assert [len(ids(made, "creditMemo")) for made in (in_old, in_new)] == [1, 0]
    payouts = [ids(made, "journalEntry") for made in (in_old, in_new)]
    assert payouts[0] == payouts[1] != []
    parts = BusinessTransaction.objects.filter(flow="payout_to_erp").values_list("target_connection", "amount")
    assert sorted(parts) == [("netsuite", D("96.80")), (NEW, D("193.90"))]
    for books, net in ((Ledger(house.sandboxes), D("96.80")), (Ledger(second), D("193.90"))):
        assert (books.balances()[BANK], CLEARING in books.balances()) == (net, False)
        named = {row["companyname"] for row in books.client.query("SELECT companyname FROM customer")}
        assert named & {"Northwind Ltd", "Northwind Two"} == {"Northwind Two"}
    explain(old, "plays the role of ERP for GB01"), explain(new, "by the rule below")
    (why,) = [u for u in explain(new, "NetSuite 2027").others if u.rule.kind == "target_system"]
    assert [seen.verdict[:3] for seen in why.looked_at] == ["won"]
    backdated = Line(kind="target_system", key="erp|invoice", value=NEW, legal_entity="GB01", effective_from=today)
    draft = save_draft("Earlier", "Today already", lines=[backdated], by=Person.objects.get(username="mapping_admin"))
    releases.ask_evidence(draft)
    said = draft.evidence.documents.values_list("number", "outcome", "says")
    assert {(row[1:]) for row in said} == {("differs", "it would have gone to NetSuite 2027")}
    assert {number for number, *_ in said} == {number_of(old), number_of(late)}


def number_of(invoice: str) -> str:
    return BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=invoice).number


def explain(invoice: str, words: str):
    explained = explain_posting(BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=invoice))
    assert words in explained.system
    return explained
