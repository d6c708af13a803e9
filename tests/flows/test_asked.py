"""The facts of a document that mapping rules may look at, found out only while a rule looks."""

from __future__ import annotations

import dataclasses
import datetime as dt
from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from msgspec import structs

from connectors.families import SubscriptionPlan
from q2c import ports
from q2c.canonical.base import Source
from q2c.canonical.billing import CreditMemo, Dispute, Invoice, InvoiceLine, Payment, Refund, TaxDetail
from q2c.canonical.contract import Order, OrderLine
from q2c.canonical.party import Address, CustomerWanted
from q2c.canonical.schema import content_hash, from_json, to_json
from q2c.flows import customer_to_erp, facts, order_to_subscription
from q2c.flows.steps import asked, codes, originals
from q2c.posting.facts import ItemUse, Original, Policy, use_of
from tests.flows.test_rule_dates import TOKYO
from tests.mappings.rules import make_rule

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


@pytest.mark.parametrize("conditions", [{}, {"customer_country": ["DE"]}])
def test_a_batch_asks_what_rules_look_at_once_for_a_change_set_and_customers_only_while_one_looks(db, conditions):
    ports.forget_kept()
    make_rule("item", "A", "1", conditions=conditions)
    runs = [SimpleNamespace(id=number, known_at=None) for number in range(20)]
    ports.known_rules()

    def carry() -> int:
        batch = ports.BatchContext(runs)
        with CaptureQueriesContext(database) as queries:
            wants: dict[str, set] = {}
            for run in runs:
                rules_of_run = batch.port("mappings", run)
                document = structs.replace(invoice(), customer_id=f"c{run.id}")
                for kind, key in codes.want_codes(document, TOKYO, rules_of_run):
                    wants.setdefault(kind, set()).add(key)
            asks = len(queries)
        assert len(wants.get("fact", ())) == (20 if conditions else 0)
        return asks

    assert [carry(), carry(), carry()] == [1, 0, 0]
    ports.forget_kept()


class Recorder:
    """Looks at everything, answers anything, and notes with which facts each kind was asked."""

    def __init__(self) -> None:
        self.asked: dict[tuple[str, str], Any] = {}

    def looks_at(self, _kind):
        return frozenset({"document_type", "customer_country", "ship_to_country", "charge_type", "payment_method",
                          "region"})  # fmt: skip

    def resolve(self, kind, key, **asked):
        self.get(kind, key, **asked)
        return SimpleNamespace(value="9", label="")

    def get(self, kind, key, default="", *, document=None, **asked):
        self.asked[kind, key] = {**(document or {}), "region": asked.get("region", "")}
        return "9"

    def said(self, kind: str, key: str, *names: str) -> list[str]:
        return [self.asked[kind, key].get(name, "") for name in names]


CALENDAR = SimpleNamespace(reference=lambda _connection, _name: {"9": {"attributes": {}}})
LINKS = SimpleNamespace(fact=links().fact, product_line=lambda _sku: "Software", find=lambda *_key: None)
DAY = dt.date(2026, 11, 20)
ALL = ("document_type", "customer_country", "ship_to_country")


def test_everything_that_is_asked_for_a_document_is_asked_with_what_the_document_says():
    mappings, document = Recorder(), invoice("invoice", line("A", "usage"))
    codes.map_items(document, TOKYO, DAY, DAY, mappings, CALENDAR, LINKS)
    taxes = (TaxDetail(tax_code="t", amount=D(1), base=D(1)),)
    taxed = invoice("invoice", structs.replace(line(), taxes=taxes))
    codes.map_taxes(taxed, TOKYO, DAY, DAY, mappings, CALENDAR, LINKS)
    codes.find_document_accounts(document, TOKYO, DAY, DAY, Policy(), {}, mappings, LINKS)
    assert mappings.said("item", "A", *ALL, "charge_type") == ["invoice", "DE", "US", "usage"]
    for kind, key in (("department", "Software"), ("class", "Software")):
        assert mappings.said(kind, key, *ALL, "charge_type") == ["invoice", "DE", "US", "usage"]
    assert mappings.said("location", "JP01", *ALL) == ["invoice", "DE", "US"]
    assert mappings.said("tax_code", "t", *ALL, "region") == ["invoice", "DE", "US", "DE"]
    for role in ("receivables", "tax", "rounding"):
        assert mappings.said("account", role, *ALL) == ["invoice", "DE", "US"]
    assert mappings.said("item", "#rounding", *ALL) == ["invoice", "DE", "US"]


def test_cash_is_asked_for_with_how_it_was_paid():
    for document, word in ((PAID, "payment"), (REFUND, "refund")):
        mappings = Recorder()
        codes.receipt_accounts("", document, TOKYO, DAY, DAY, Policy(), mappings, LINKS)
        assert mappings.said("account", "clearing:stripe", *ALL, "payment_method") == [word, "DE", "US", "sepa_debit"]
    mappings = Recorder()
    codes.dispute_accounts({}, DISPUTE, TOKYO, DAY, DAY, mappings, LINKS)
    assert mappings.said("account", "disputes", "document_type", "payment_method") == ["dispute", "sepa_debit"]


def test_a_customer_and_an_order_are_asked_for_with_their_countries():
    mappings = Recorder()
    customer = structs.replace(GERMAN, payment_terms="Net 30", currency="EUR")
    customer_to_erp.build_customer(customer, TOKYO, mappings, LINKS)
    assert mappings.said("payment_terms", "Net 30", *ALL) == ["customer", "DE", "US"]
    assert mappings.said("account", "receivables", *ALL) == ["customer", "DE", "US"]
    sold = [OrderLine(line_id=f, sku="A", quantity=D(1), unit_price=D(1), billing_frequency=f)
            for f in ("one_time", "monthly")]  # fmt: skip
    order = Order(source=source("Opportunity"), number="1", customer_id="001", currency="EUR", start_date=DAY,
                  term_months=12, lines=tuple(sold))  # fmt: skip
    asked_for = []
    mappings.resolve = lambda _kind, _key, *, document, **_asked: (
        asked_for.append(document) or SimpleNamespace(value=document["charge_type"])
    )
    products = order_to_subscription.map_products(order, GERMAN, TOKYO, "stripe", mappings)
    assert {(d["customer_country"], d["ship_to_country"]) for d in asked_for} == {("DE", "US")}
    plan = SubscriptionPlan(
        external_id="x", order_id="1", customer_id="c", currency="EUR", start_date=DAY, term_months=12, planned_at=AT,
        lines=tuple(sold), product_ids=products,
    )  # fmt: skip
    assert [plan.product_of(each) for each in sold] == ["one_time", "recurring"]
    before = dataclasses.replace(plan, product_ids={"A": "price_1"})  # as the last release planned it
    assert [before.product_of(each) for each in sold] == ["price_1", "price_1"]


@pytest.mark.parametrize(
    ("names", "items"),
    [
        ((), {"A|usage": "u", "A|recurring": "r"}),  # as the invoice was posted, whatever rules say by now
        (("item",), {"A|usage": "9", "A|recurring": "9"}),  # a rule names credit memos
        (("department",), {"A|usage": "u", "A|recurring": "r"}),
    ],
)
def test_a_credit_takes_each_charge_from_its_invoice_unless_a_rule_names_credit_memos(names, items):
    mappings = Recorder()
    mappings.names_type = lambda kind, _key, **_asked: kind in names
    posted = {"A|usage": ItemUse(item="u", department="d"), "A|recurring": ItemUse(item="r", department="d")}
    document = memo("credit_note", line("A", "usage"), line("A", "recurring"))
    original = Original(document_date=DAY, items=posted)
    found = originals.map_credited_items(document, TOKYO, DAY, DAY, original, mappings, CALENDAR, LINKS)
    assert {key: use.item for key, use in found.items()} == items
    assert {use.department for use in found.values()} == {"9" if "department" in names else "d"}
