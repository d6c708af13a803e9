"""What a rule's conditions may say, how they read, and whom they let in."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from mappings import condition_fields, conditions, drafts
from mappings.kinds import BY_CODE, KINDS
from mappings.lines import Line, retirement_of
from mappings.models import ChangeLine
from mappings.resolve import TAKES_BACK, Snapshot, latest_change_set
from q2c.core.problems import Problem
from tests import factories
from tests.mappings.rules import START, make_rule
from tests.mappings.sheet_rows import check, faults

pytestmark = pytest.mark.django_db
ON = dt.date(2026, 11, 1)
GERMAN = {"customer_country": ["DE"]}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, ""),
        ({"document_type": ["invoice"], "customer_country": ["DE", "FR"]}, "only invoices to customers in DE, FR"),
        ({"customer_country": "DE"}, "only for customers in DE"),
        ({"ship_to_country": ["US"]}, "only for what is shipped to US"),
        ({"customer_country": ["DE"], "ship_to_country": ["US"]}, "only for customers in DE shipped to US"),
        ({"charge_type": ["usage"]}, "only usage charges"),
        ({"charge_type": ["usage", "one_time"], "document_type": ["credit_memo"]},
         "only usage charges or one-time charges of credit memos"),
        ({"document_type": ["payment", "refund"], "payment_method": ["sepa_debit"]},
         "only payments or refunds paid by sepa debit"),
        ({"payment_method": ["card"]}, "only for what is paid by card"),
    ],
)  # fmt: skip
def test_conditions_read_as_a_sentence(said, words):
    assert conditions.say(said) == words


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"only_payment_method": "sepa debit"}, {"payment_method": ["sepa_debit"]}),  # as a rule itself says it
        ({"only_payment_method": "Card , us bank  account;sepa_debit,"},
         {"payment_method": ["card", "sepa_debit", "us_bank_account"]}),
        ({"only_customer_country": "de fr, GB"}, {"customer_country": ["DE", "FR", "GB"]}),
        ({"only_payment_method": " , ", "only_customer_country": "", "key": "A"}, {}),
    ],
)  # fmt: skip
def test_what_is_written_into_a_condition_is_read_by_its_own_separators(written, read):
    assert condition_fields.read(written) == read


@pytest.mark.parametrize(
    ("kind", "key", "said", "fault"),
    [
        ("item", "A", {"customer_country": ["DE"], "charge_type": ["usage"]}, ""),
        ("item", "A", {"payment_method": ["card"]}, "asks for SKU to ERP item says its payment method"),
        ("item", "A", {"document_type": ["payment"]}, "write one of invoice, credit_memo, write_off"),
        ("item", "A", {"document_type": ["invioce"]}, "no document that asks for SKU to ERP item is invioce"),
        ("item", "A", {"charge_type": ["Usage"]}, "write one of recurring, one_time, usage"),
        ("item", "A", {"customer_country": ["Germany"]}, "write them such as DE"),
        ("item", "A", {"customer_country": ["uk"]}, "write GB"),
        ("item", "A", {"customer_country": ["de"]}, "write DE"),
        ("item", "A", {"customer_country": []}, "say which customer’s country"),
        ("item", "A", {"customer_country": [""]}, "say which customer’s country"),
        ("account", "receivables", {"payment_method": ["card"], "document_type": ["refund"]}, ""),
        ("account", "receivables", {"payment_method": ["Visa Card"]}, "write it such as card or sepa_debit"),
        ("account", "receivables", {"charge_type": ["usage"]}, "says its charge"),
        ("account", "fees", {"customer_country": ["DE"]}, "it may look at document, payment method"),
        ("account", "clearing:stripe", {"payment_method": ["card"], "document_type": ["payment"]}, ""),
        ("account", "clearing:stripe", {"customer_country": ["DE"]}, "it may look at document, payment method"),
        ("account", "bank", {"document_type": ["payout"]}, "isn't asked with a document"),
        ("billing_product", "A", {"charge_type": ["usage"]}, "write one of recurring, one_time"),
        ("gateway_bank", "stripe", {"document_type": ["payout"]}, "isn't asked with a document"),
        ("payment_terms", "Net 30", {"customer_country": ["DE"]}, ""),
        ("tax_code", "txr_1", {"charge_type": ["usage"]}, "says its charge"),
    ],
)  # fmt: skip
def test_a_condition_that_could_never_hold_names_its_field_and_the_way_out(kind, key, said, fault):
    found = "; ".join(conditions.faults(BY_CODE[kind], key, said))
    assert (fault in found) if fault else found == ""


def test_every_kind_looks_only_at_what_the_catalogue_of_facts_holds():
    for kind in KINDS:
        assert set(kind.conditions) <= set(conditions.LABELS), kind.code


def test_a_sheet_with_a_condition_that_cannot_hold_names_the_row(maker):
    report = check("SKU\tBecomes\tConditions\nA\t10482\tcustomer_country=de|fr\nB\t10482\tpayment_method=card\n", maker)
    assert [(row, column) for row, column, _ in faults(report)] == [(3, "Conditions")]
    assert [line.conditions for line in report.lines] == [{"customer_country": ["DE", "FR"]}]


def test_a_rule_whose_field_is_allowed_no_more_still_loads_and_may_be_retired_but_not_changed(maker):
    rule = make_rule("item", "A", "10482", conditions={"payment_method": ["card"]})
    snapshot = Snapshot.load([("item", "A", {})])
    assert snapshot.find("item", "A", on=ON, document={"document_type": "invoice"}) is None
    gone = retirement_of(rule, ON)
    assert drafts.check_lines([gone], by=maker) == []
    change = Line(
        act="change", rule_id=rule.pk, kind="item", key="A", value="10483", conditions=rule.conditions,
        effective_from=ON,
    )  # fmt: skip
    assert "says its payment method" in drafts.check_lines([change], by=maker)[0].text


def test_a_rule_for_credits_and_invoices_alike_tells_no_credit_apart():
    make_rule("item", "A", "both", conditions={"document_type": ["invoice", "credit_memo"]})
    make_rule("item", "A", "german", conditions={"document_type": ["invoice"], **GERMAN})
    snapshot = Snapshot.load([("item", "A", {})])
    credit = {"document_type": "credit_memo", TAKES_BACK: "invoice", "customer_country": "DE"}
    assert snapshot.resolve("item", "A", on=ON, document=credit).value == "german"  # where its invoice went
    assert not snapshot.names_type("item", "A", on=ON, document=credit)


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ({"document_type": "invoice"}, "invoices"),
        ({"document_type": "credit_memo"}, "any"),
        ({"document_type": "credit_memo", TAKES_BACK: "invoice"}, "invoices"),
        ({"document_type": "write_off", TAKES_BACK: "invoice"}, "write-offs"),
        ({"document_type": "write_off"}, "write-offs"),
        (None, "any"),
    ],
)
def test_what_takes_a_document_back_is_asked_as_that_unless_a_rule_names_its_own_type(document, value):
    make_rule("item", "A", "any")
    make_rule("item", "A", "invoices", conditions={"document_type": ["invoice"]})
    make_rule("item", "A", "write-offs", conditions={"document_type": ["write_off"]})
    snapshot = Snapshot.load([("item", "A", {})])
    assert snapshot.resolve("item", "A", on=ON, document=document).value == value


def test_only_the_facts_that_rules_look_at_tell_answers_apart():
    make_rule("item", "A", "any")
    make_rule("item", "A", "german", conditions=GERMAN)
    make_rule("account", "tax", "9")
    snapshot = Snapshot.load([("item", "A", {}), ("account", "tax", {})])
    for number in range(20):
        facts = {"document_type": "invoice", "customer_country": "DE", "payment_method": str(number)}
        assert snapshot.resolve("item", "A", on=ON, document=facts).value == "german"
        assert snapshot.resolve("account", "tax", on=ON, document=facts).value == "9"
    assert len(snapshot._index.memo) == 2


def test_what_rules_look_at_is_known_by_one_statement_for_a_change_set_and_as_it_was_then():
    make_rule("item", "A", "any")
    then = latest_change_set()
    make_rule("item", "B", "1", conditions={"charge_type": ["usage"]})
    make_rule("tax_code", "t", "5", region="DE")
    now, before = Snapshot.load([]), Snapshot.load([], then)
    with CaptureQueriesContext(database) as queries:
        assert now.looks_at("item") == {"charge_type"}
        assert now.looks_at("tax_code") == {"region"}
        assert now.looks_at("account") == frozenset()
    assert len(queries) == 1
    assert before.looks_at("item") == frozenset()


def test_a_missing_mapping_says_that_rules_wait_for_other_documents():
    make_rule("item", "A", "german", conditions=GERMAN)
    with pytest.raises(Problem) as refused:
        Snapshot.load([]).resolve("item", "A", on=ON, document={"customer_country": "FR"})
    assert refused.value.summary.endswith("for SKU A; a rule for it holds only for customers in DE")
    make_rule("item", "A", "french", conditions={"customer_country": ["FR"]})
    with pytest.raises(Problem) as refused:
        Snapshot.load([]).resolve("item", "A", on=ON, document={"customer_country": "AT"})
    assert refused.value.summary.endswith("; 2 rules for it hold only for other documents")


def test_explain_says_for_which_documents_a_rule_is_and_what_this_one_is():
    make_rule("item", "A", "any", on=START)
    make_rule("item", "A", "german", conditions=GERMAN)
    seen = Snapshot.load([("item", "A", {})]).explain("item", "A", on=ON, document={"customer_country": "FR"})
    assert [(each.rule.value, each.verdict) for each in seen] == [
        ("any", "won: exact key"),
        ("german", "only for customers in DE; here: customer’s country FR"),
    ]
    seen = Snapshot.load([("item", "A", {})]).explain("item", "A", on=ON, document={"customer_country": "DE"})
    assert seen[0].verdict == "won: exact key, only for customers in DE"


def wish(**changes) -> dict[str, object]:
    return {
        "key": "A", "value": "10482", "connection_code": "", "legal_entity_code": "", "effective_from": "2026-11-01",
        "why": "Sold by the German shop", "then": "collect", **changes,
    }  # fmt: skip


def test_the_form_offers_what_documents_say_and_keeps_what_was_ticked(client, maker):
    client.force_login(maker)
    page = client.get("/mappings/rules/propose/?kind=item").content.decode()
    assert "Customer’s country is" in page
    assert "Charge is" in page
    assert "Payment method is" not in page  # no document that asks for an item says it
    assert "Only where" not in client.get("/mappings/rules/propose/?kind=gateway_bank").content.decode()
    asked = wish(only_document_type=["invoice"], only_customer_country="de, fr ", only_charge_type=["usage"])
    answer = client.post("/mappings/rules/propose/?kind=item", asked)
    (line,) = ChangeLine.objects.all()
    assert line.conditions == {"document_type": ["invoice"], "customer_country": ["DE", "FR"], "charge_type": ["usage"]}
    page = client.get(answer.url).content.decode()
    assert "only usage charges of invoices to customers in DE, FR" in page


def test_a_value_that_no_document_has_is_refused_beside_its_field_and_what_was_written_stays(client, maker):
    client.force_login(maker)
    answer = client.post("/mappings/rules/propose/?kind=item", wish(only_ship_to_country="DE, UK"))
    page = answer.content.decode()
    assert (answer.status_code, ChangeLine.objects.count()) == (422, 0)
    assert 'id="error_only_ship_to_country">UK isn’t a country’s two letters; write GB.' in page
    assert '<details class="w12 only" open>' in page


def test_a_rules_pages_say_for_which_documents_it_is(client, maker):
    client.force_login(maker)
    factories.make_entity("GB01")
    rule = make_rule("item", "A", "10482", conditions={"document_type": ["invoice"], **GERMAN})
    said = "only invoices to customers in DE"
    for address in (f"/mappings/rules/{rule.pk}/", "/mappings/rules/?kind=item", "/mappings/grid/?kind=item",
                    f"/mappings/rules/propose/?rule={rule.pk}", "/mappings/matrix/?kind=item&show=all"):  # fmt: skip
        assert said in client.get(address).content.decode(), address
