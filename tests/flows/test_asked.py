"""The facts of a document that mapping rules may look at, found out only while a rule looks."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D
from types import SimpleNamespace

import pytest
from msgspec import structs

from q2c.canonical.base import Source
from q2c.canonical.billing import CreditMemo, Dispute, Invoice, InvoiceLine, Payment, Refund
from q2c.canonical.contract import OrderLine
from q2c.canonical.party import Address, CustomerWanted
from q2c.canonical.schema import content_hash, from_json, to_json
from q2c.flows import facts
from q2c.flows.steps import asked, codes
from q2c.posting.facts import ItemUse, use_of

AT = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
GERMAN = CustomerWanted(
    source=Source(connection="stripe", object_type="customer", object_id="c"), name="C",
    bill_to=Address(country="DE"), ship_to=Address(country="US"),
)  # fmt: skip
AT_HOME = structs.replace(GERMAN, ship_to=Address())
PAID = Payment(
    source=Source(connection="stripe", object_type="payment", object_id="pi_1"), customer_id="c", currency="EUR",
    amount=D(9), received_at=AT, gateway="stripe", method="sepa_debit",
)  # fmt: skip


def source(kind: str) -> Source:
    return Source(connection="stripe", object_type=kind, object_id="x")


def line(sku: str = "A", charge_type: str = "") -> InvoiceLine:
    return InvoiceLine(
        line_id="1", sku=sku, description="", quantity=D(1), unit_price=D(1), amount=D(1), charge_type=charge_type
    )


def invoice(kind: str = "invoice", *lines: InvoiceLine) -> Invoice:
    return Invoice(
        source=source(kind), number="1", customer_id="c", customer_name="C", currency="EUR", issued_at=AT, total=D(1),
        lines=lines or (line(),),
    )  # fmt: skip


def memo(kind: str = "credit_note", *lines: InvoiceLine) -> CreditMemo:
    return CreditMemo(
        source=source(kind), number="1", customer_id="c", customer_name="C", currency="EUR", issued_at=AT, total=D(1),
        lines=lines or (line(),), invoice_id="in_1",
    )  # fmt: skip


REFUND = Refund(
    source=source("refund"), payment_id="pi_1", customer_id="c", currency="EUR", amount=D(9), refunded_at=AT,
    gateway="stripe",
)  # fmt: skip
DISPUTE = Dispute(source=source("dispute"), payment_id="pi_1", currency="EUR", amount=D(9), at=AT, status="lost",
                  gateway="stripe")  # fmt: skip


def rules(*looked_at: str) -> SimpleNamespace:
    return SimpleNamespace(looks_at=lambda _kind: frozenset(looked_at))


def links(customer: CustomerWanted | None = GERMAN) -> SimpleNamespace:
    known = {("customer_to_erp", "stripe", "c"): customer, ("payment_to_erp", "stripe", "pi_1"): PAID}
    return SimpleNamespace(fact=lambda *key: to_json(known[key]) if known.get(key) else None)


@pytest.mark.parametrize(
    ("document", "type_of"),
    [
        (invoice(), ("invoice", "")),
        (memo(), ("credit_memo", "invoice")),
        (memo("invoice"), ("credit_memo", "invoice")),  # an invoice with a negative total
        (memo("write_off"), ("write_off", "invoice")),
        (memo("invoice_void"), ("invoice", "")),  # goes exactly where the invoice went
        (memo("unwinding"), ("invoice", "")),
        (invoice("credit_note_void"), ("credit_memo", "invoice")),
        (PAID, ("payment", "")),
        (REFUND, ("refund", "payment")),
        (DISPUTE, ("dispute", "payment")),
        (GERMAN, ("customer", "")),
    ],
)
def test_each_document_has_our_word_for_it_and_for_what_it_takes_back(document, type_of):
    assert asked.type_of(document) == type_of


@pytest.mark.parametrize(
    ("document", "looked_at", "wants", "facts"),
    [
        (invoice(), (), [], None),
        (invoice(), ("document_type",), [], {"document_type": "invoice", "takes_back": ""}),
        (invoice(), ("customer_country",), ["customer_to_erp"],
         {"document_type": "invoice", "takes_back": "", "customer_country": "DE", "ship_to_country": "US"}),
        (invoice(), ("region",), ["customer_to_erp"], None),
        (PAID, ("payment_method",), [],
         {"document_type": "payment", "takes_back": "", "payment_method": "sepa_debit"}),
        (REFUND, ("payment_method",), ["payment_to_erp"],
         {"document_type": "refund", "takes_back": "payment", "payment_method": "sepa_debit"}),
        (DISPUTE, ("payment_method", "customer_country"), ["payment_to_erp"],
         {"document_type": "dispute", "takes_back": "payment", "payment_method": "sepa_debit"}),
    ],
)  # fmt: skip
def test_nothing_is_found_out_that_no_rule_looks_at(document, looked_at, wants, facts):
    assert [key[0] for _, key in asked.want_facts(document, rules(*looked_at), "account")] == wants
    assert asked.facts_of(document, rules(*looked_at), links(), "account") == facts


def test_without_a_shipping_address_the_billing_address_is_shipped_to():
    found = asked.facts_of(invoice(), rules("ship_to_country"), links(AT_HOME), "item")
    assert (found["customer_country"], found["ship_to_country"]) == ("DE", "DE")
    unknown = asked.facts_of(invoice(), rules("ship_to_country"), links(None), "item")
    assert "customer_country" not in unknown


def test_a_sku_is_asked_for_once_for_each_way_of_charging_only_while_a_rule_looks():
    lines = (line("A", "usage"), line("A", "recurring"), line("B", "usage"), line("B", "usage"))
    assert codes.sold_of(lines, rules()) == {"A": ("A", ""), "B": ("B", "")}
    assert codes.sold_of(lines, rules("charge_type")) == {
        "A|usage": ("A", "usage"), "A|recurring": ("A", "recurring"), "B": ("B", "usage"),
    }  # fmt: skip


def test_a_line_takes_the_use_of_its_own_way_of_charging():
    uses = {"A|usage": ItemUse(item="u"), "A|recurring": ItemUse(item="r"), "B": ItemUse(item="b")}
    assert [use_of(uses, *each).item for each in (("A", "usage"), ("A", "recurring"), ("B", "usage"))] == [
        "u", "r", "b",
    ]  # fmt: skip
    assert use_of(uses, "A", "") is None


@pytest.mark.parametrize("frequency", ["one_time", "monthly", "annual"])
def test_an_orders_line_says_how_it_is_charged_by_its_rhythm(frequency):
    sold = OrderLine(line_id="1", sku="A", quantity=D(1), unit_price=D(1), billing_frequency=frequency)
    assert sold.charge_type == ("one_time" if frequency == "one_time" else "recurring")


@pytest.mark.parametrize("document", [invoice, memo])
def test_a_document_read_again_with_how_it_is_charged_is_no_other_document(document):
    before, now = document(), document(document().source.object_type, line("A", "usage"))
    assert content_hash(facts._read_of(before)) == content_hash(facts._read_of(now))
    assert content_hash(before) != content_hash(now)
    assert from_json(to_json(before), type(before)) == before  # as the last release wrote it
    assert b"charge_type" not in to_json(before)
