"""Rules with conditions, end to end: each document goes where the rule for documents like it sends it, and says why."""

from __future__ import annotations

import datetime as dt

import pytest
from django.test import Client

from connectors.models import ReferenceEntry
from connectors.sandbox.remote import ControlDoor
from exceptions import releases
from exceptions.models import ExceptionCase
from mappings.drafts import Line, save_draft
from mappings.models import EvidenceDocument, MappingRule
from q2c import ports
from q2c.core.models import Person
from q2c.demo.taxes import make_tax_rates
from q2c.portal.reasons import explain_posting
from q2c.transactions.models import BusinessTransaction, StepRun
from tests.journeys.scenes import unwind
from tests.journeys.test_taxes import bill, held_by_netsuite
from tests.mappings.rules import make_rule, next_number

pytestmark = pytest.mark.django_db(transaction=True)
SKU, LONG_AGO = "QB-API", dt.date(2010, 1, 1)
GERMAN, FRENCH, ONCE = {"customer_country": ["DE"]}, {"customer_country": ["FR"]}, {"charge_type": ["one_time"]}


def person(name: str) -> Person:
    return Person.objects.get(username=name)


def names(list_name: str) -> dict[str, ReferenceEntry]:
    rows = ReferenceEntry.objects.filter(connection__code="netsuite", list_name=list_name, is_active=True)
    return {row.code: row for row in rows}


def known(kind: str, key: str) -> MappingRule:
    """The seeded rule of the UK entity, or of all."""
    rules = MappingRule.objects.filter(kind=kind, key=key, known_to=None, conditions_key="")
    return rules.filter(legal_entity_code__in=("GB01", "")).order_by("-legal_entity_code", "currency")[0]


def narrow(kind: str, key: str, value: str, conditions: dict, **dimensions: str) -> MappingRule:
    """A rule beside the seeded one, for some documents only."""
    beside = known(kind, key)
    place = {
        "connection": beside.connection_code, "legal_entity": beside.legal_entity_code, "currency": beside.currency,
        **dimensions,
    }  # fmt: skip
    made = make_rule(kind, key, value, conditions=conditions, **{name: v for name, v in place.items() if v})
    ports.forget_kept()
    return made


def others(count: int) -> list[ReferenceEntry]:
    """Items that earn on an account without deferring, other than the SKU's own."""
    mine = known("item", SKU).value
    rows = sorted(names("items").values(), key=lambda row: row.external_id)
    found = [
        row for row in rows
        if row.external_id != mine and row.attributes.get("income_account")
        and not row.attributes.get("deferral_account")
    ]  # fmt: skip
    return found[:count]


def in_country(house, country: str, **changes) -> str:
    return house.customer(name=f"Customer in {country}", address={"country": country}, **changes)


def items_of(document: dict) -> list[str]:
    return [line["item"]["id"] for line in document["item"]["items"]]


def posted(house, document_type: str = "invoice") -> dict[str, list[str]]:
    """The items of the ERP's own documents, by our external id."""
    return {name: items_of(each) for name, each in held_by_netsuite(house, document_type).items()}


def subscribe(house, customer: str) -> str:
    """A subscription of the same SKU, made by hand in Stripe; the id of its first invoice."""
    product = house.ask_stripe("products", name="API", **{"metadata[sku]": SKU})["id"]
    price = house.ask_stripe(
        "prices", product=product, currency="gbp", unit_amount=500, **{"recurring[interval]": "month"}
    )["id"]
    made = house.ask_stripe("subscriptions", customer=customer, collection_method="send_invoice", days_until_due=30,
                            **{"items[0][price]": price, "metadata[legal_entity]": "GB01"})  # fmt: skip
    return str(made["latest_invoice"])


def test_an_item_differs_by_country_and_by_charge_and_a_credit_goes_to_the_same(house):
    german, once = others(2)
    by_country = narrow("item", SKU, german.external_id, GERMAN)
    by_charge = narrow("item", SKU, once.external_id, {**ONCE, "customer_country": ["FR"]})
    plain = known("item", SKU).value
    customers = {country: in_country(house, country) for country in ("DE", "FR", "GB")}
    invoices = {country: house.invoice(customer) for country, customer in customers.items()}
    recurring = subscribe(house, customers["FR"])
    house.carry()
    assert house.held() == []
    assert posted(house) == {
        f"inv-stripe-{invoices['DE']}": [german.external_id], f"inv-stripe-{invoices['FR']}": [once.external_id],
        f"inv-stripe-{invoices['GB']}": [plain], f"inv-stripe-{recurring}": [plain],
    }  # fmt: skip
    # The rules change, and a credit still takes what its invoice was posted with.
    MappingRule.objects.filter(pk__in=[by_country.pk, by_charge.pk]).update(known_to=next_number())
    for country in ("DE", "FR"):
        house.credit(invoices[country], amount=1_000)
    house.carry()
    assert house.held() == []
    assert sorted(posted(house, "creditMemo").values()) == sorted([[german.external_id], [once.external_id]])
    told = explain_posting(BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=invoices["DE"]))
    used = [reason.used for line in told.lines for reason in line.reasons if reason.used]
    (own,) = [each for each in used if each.rule.kind == "item"]
    assert (own.rule.pk, own.rule.only) == (by_country.pk, "only for customers in DE")
    assert own.looked_at[0].verdict.endswith("only for customers in DE")
    client = Client()
    client.force_login(person("controller"))
    txn = BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=invoices["DE"])
    page = client.get(f"/transactions/{txn.pk}/posting/").content.decode()
    assert "only for customers in DE" in page


def test_a_rule_for_credit_memos_goes_before_what_the_invoice_was_posted_with(house):
    german, credits = others(2)
    narrow("item", SKU, german.external_id, {**GERMAN, "document_type": ["invoice"]})
    customer = in_country(house, "DE")
    first, second = house.invoice(customer), house.invoice(customer)
    house.carry()
    house.credit(first, amount=1_000)
    house.carry()
    assert list(posted(house, "creditMemo").values()) == [[german.external_id]]  # as what it takes back
    narrow("item", SKU, credits.external_id, {"document_type": ["credit_memo"], **GERMAN})
    house.credit(second, amount=1_000)
    house.void(first)
    house.carry()
    assert house.held() == []
    found = list(posted(house, "creditMemo").items())
    assert sorted(items for _, items in found) == sorted(
        [[german.external_id], [credits.external_id], [german.external_id]]  # a void takes back all of it, as it was
    )


def test_a_payment_and_its_refund_go_to_the_account_of_the_method_that_paid(house):
    accounts = names("accounts")
    usual = known("account", "clearing:stripe")
    other = next(row for row in sorted(accounts.values(), key=lambda row: row.code)
                 if row.attributes.get("account_class") == "asset" and row.external_id != usual.value)  # fmt: skip
    seeded = MappingRule.objects.filter(kind="account", key="clearing:stripe", currency__in=("GBP", ""), known_to=None)
    for rule in list(seeded):
        place = {"connection": rule.connection_code, "legal_entity": rule.legal_entity_code, "currency": rule.currency}
        for method, account in (("card", other.external_id), ("sepa_debit", usual.value)):
            paid = {"payment_method": [method], "document_type": ["payment"]}
            given = {name: value for name, value in place.items() if value}
            make_rule("account", "clearing:stripe", account, conditions=paid, **given)
    ports.forget_kept()
    invoice = house.invoice(house.customer())
    house.carry()
    payment = house.pay(invoice)
    house.carry()
    house.refund(payment)
    house.carry()
    assert house.held() == []
    (receipt,) = held_by_netsuite(house, "customerPayment").values()
    assert receipt["account"]["id"] == other.external_id
    (refund,) = held_by_netsuite(house, "journalEntry").values()  # as the payment that it gives back
    assert [line["account"]["id"] for line in refund["line"]["items"] if line.get("credit")] == [other.external_id]


def test_a_tax_code_goes_by_the_region_of_the_customer(house):
    rates = make_tax_rates(ControlDoor(house.sandboxes.port))
    exempt = names("tax_codes")["GB VAT exempt"].external_id
    narrow("tax_code", rates["gb-vat"], exempt, {}, region="DE")
    lines = [{"amount": 10_000, "tax_rates": ["gb-vat"]}]
    found = {}
    for country in ("DE", "GB"):
        invoice = bill(house, in_country(house, country), rates, "GB01", "gbp", lines)
        house.carry()
        (tax,) = held_by_netsuite(house, "invoice")[f"inv-stripe-{invoice}"]["taxDetails"]["items"]
        found[country] = tax["taxCode"]["refName"]
    assert house.held() == []
    assert found == {"DE": "GB VAT exempt", "GB": "GB VAT standard"}


def test_a_change_set_is_tried_and_back_tested_with_conditions_as_posting_has_them(house):
    german, french = others(2)
    old = known("item", SKU)
    customers = {country: in_country(house, country) for country in ("DE", "FR")}
    posted_before = {country: house.invoice(customer, amount=12_000) for country, customer in customers.items()}
    house.carry()
    draft = save_draft("Germany", "Sold by the German shop", by=person("mapping_admin"), lines=[
        Line(kind="item", key=SKU, value=german.external_id, label=german.name, connection=old.connection_code,
             legal_entity=old.legal_entity_code, currency=old.currency, conditions=GERMAN, effective_from=LONG_AGO),
    ])  # fmt: skip
    found = releases.ask_evidence(draft)
    assert (found.content["derived"]["documents"], found.content["derived"]["changed"]) == (2, 1)
    changed = EvidenceDocument.objects.exclude(part="held").values_list("transaction_id", flat=True)
    assert [BusinessTransaction.objects.get(pk=i).source_id for i in changed] == [posted_before["DE"]]
    # Without the plain rule, only what has a rule of its own posts: the held say so, and a rule for them releases them.
    MappingRule.objects.filter(pk=old.pk).update(known_to=next_number())
    narrowed = {"connection": old.connection_code, "legal_entity": old.legal_entity_code, "currency": old.currency}
    make_rule("item", SKU, german.external_id, conditions=GERMAN, **{k: v for k, v in narrowed.items() if v})
    ports.forget_kept()
    for customer in customers.values():
        house.invoice(customer)
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 3, "held": 1})
    case = ExceptionCase.objects.get(kind="missing_item_mapping")
    assert "a rule for it holds only for customers in DE" in StepRun.objects.filter(
        state="failed", step="map_items").latest("at").problem["summary"]  # fmt: skip
    draft = save_draft("France", "Sold by the French shop", by=person("mapping_admin"), case_id=case.pk, lines=[
        Line(kind="item", key=SKU, value=french.external_id, label=french.name, conditions=FRENCH,
             effective_from=LONG_AGO, **narrowed),
    ])  # fmt: skip
    releases.ask_evidence(draft)
    (tried,) = EvidenceDocument.objects.filter(part="held", evidence__change_set=draft)
    assert tried.outcome == "posts"
    releases.propose_change_set(draft, by=person("mapping_admin"))
    draft.refresh_from_db()
    releases.decide_change_set(draft, by=person("controller"), approve=True)
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 4})
    latest = BusinessTransaction.objects.filter(flow="invoice_to_erp").latest("pk")
    assert [french.external_id] in posted(house).values(), latest
    # What was posted by the plain rule is taken back as it was, and posted again as rules with conditions say today.
    unwind(house, posted_before["FR"])
    house.carry()
    assert house.held() == []
    assert posted(house)[f"re-stripe-{posted_before['FR']}-1"] == [french.external_id]
    assert posted(house, "creditMemo")[f"unw-stripe-{posted_before['FR']}-1"] == [old.value]
