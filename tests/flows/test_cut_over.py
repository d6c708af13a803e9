"""Which ERP a document goes to: by its own date, whenever it arrives; what is about an earlier one goes where that
stands."""

from __future__ import annotations

import datetime as dt
import itertools
from decimal import Decimal as D
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from mappings import resolve
from mappings.fetching import Rule
from mappings.models import MappingRule
from mappings.references import Reference, store_references
from q2c import ports
from q2c.canonical.base import Source
from q2c.canonical.billing import (
    Application,
    BalanceTransaction,
    CreditMemo,
    Dispute,
    DocumentVoid,
    Invoice,
    InvoiceLine,
    Payment,
    Payout,
    Refund,
)
from q2c.canonical.contract import Order, OrderLine
from q2c.canonical.party import Address, Customer, CustomerWanted
from q2c.canonical.schema import to_builtins, to_json
from q2c.core.ids import uuid7
from q2c.core.problems import Awaits, Problem
from q2c.flows import application_to_erp, customer_to_erp, void_to_erp
from q2c.flows.steps import cash, customer, dates, orders, originals, payouts
from q2c.posting.cash import check_movements
from q2c.posting.facts import Book
from q2c.transactions.reading import arguments
from tests import factories
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
DAY = dt.date(2026, 12, 1)
BEFORE, AFTER = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC), dt.datetime(2026, 12, 1, 12, tzinfo=dt.UTC)
OLD, NEW = "netsuite", "netsuite-new"


@pytest.fixture(autouse=True)
def two_erps():
    """Two ERPs and two billing systems; GB01 has a book in both ERPs, and everything in the old one by role."""
    for family, code in (("erp", OLD), ("billing", "stripe")):
        factories.make_connection(code).roles.create(family=family)
    factories.make_connection("stripe-new")
    for code in (OLD, NEW):
        factories.make_subsidiary("GB01", code)
    ports.forget_kept()
    yield
    ports.forget_kept()


def cut(key: str = "erp|*", value: str = NEW, on: dt.date = DAY, **place) -> None:
    """From a day on, what this key names goes there."""
    make_rule("target_system", key, value, on=on, **place)


def source(kind: str, name: str) -> Source:
    return Source(connection="stripe", object_type=kind, object_id=name)


def stands(kind: str, key: str, *erps: str) -> None:
    """One of our records is in these ERPs."""
    rows = [Reference(kind, f"stripe:{key}", erp, kind, f"{key}@{erp}", legal_entity="GB01") for erp in erps]
    assert store_references(rows, BEFORE) == []


def sold(*skus: str) -> tuple[InvoiceLine, ...]:
    return tuple(
        InvoiceLine(line_id=s, sku=s, description=s, quantity=D(1), unit_price=D(9), amount=D(9)) for s in skus
    )


BOOK = Book(code="GB01", name="G", country="GB", currency="GBP", time_zone="UTC", connection="", erp_id="1")
MONEY = {"customer_id": "cus_1", "currency": "GBP", "legal_entity": "GB01"}


def invoice(at: dt.datetime, name: str = "in_1", *skus: str) -> Invoice:
    return Invoice(source=source("invoice", name), number=name, customer_name="", issued_at=at, total=D(9),
                   lines=sold(*skus or ("A",)), **MONEY)  # fmt: skip


def credit(at: dt.datetime, of: str = "", *skus: str, **more) -> CreditMemo:
    return CreditMemo(source=source("credit_note", "cn_1"), number="CN-1", customer_name="", issued_at=at, total=D(9),
                      lines=sold(*skus or ("A",)), invoice_id=of, **MONEY, **more)  # fmt: skip


def payment(at: dt.datetime, *invoices: str) -> Payment:
    return Payment(source=source("payment", "pi_1"), amount=D(9), received_at=at, gateway="stripe",
                   invoice_ids=invoices, **MONEY)  # fmt: skip


def refund(at: dt.datetime) -> Refund:
    return Refund(source=source("refund", "re_1"), payment_id="pi_1", amount=D(9), refunded_at=at, gateway="stripe",
                  **MONEY)  # fmt: skip


def dispute(at: dt.datetime) -> Dispute:
    return Dispute(source=source("dispute", "dp_1"), payment_id="pi_1", currency="GBP", amount=D(9), at=at,
                   status="withdrawn", gateway="stripe", legal_entity="GB01")  # fmt: skip


def application(at: dt.datetime) -> Application:
    return Application(source=source("invoice_payment", "ip_1"), payment_id="pi_1", invoice_id="in_1", amount=D(9),
                       applied_at=at, **MONEY)  # fmt: skip


def payout(on: dt.date, *payments: str) -> Payout:
    moved = [
        BalanceTransaction(source=source("balance_transaction", f"txn_{p}"), kind="payment", currency="GBP",
                           amount=D(100), fee=D(3), at=AFTER, record_type="payment", record_id=p)
        for p in payments
    ]  # fmt: skip
    fee = BalanceTransaction(source=source("balance_transaction", "txn_fee"), kind="fee", currency="GBP",
                             amount=D(-5), fee=D(0), at=AFTER)  # fmt: skip
    return Payout(source=source("payout", "po_1"), currency="GBP", amount=D(97) * len(moved) - 5, arrival_date=on,
                  gateway="stripe", movements=(*moved, fee), legal_entity="GB01")  # fmt: skip


def carried(document: Invoice | Payment | Customer, flow: str, state: str = "running") -> None:
    """A document that we carry."""
    place = document.source
    factories.make_transaction(
        state, flow=flow, source_type=place.object_type, source_id=place.object_id, fact=to_builtins(document)
    )


def ask(function, wants, **facts):
    """What a step gives on a fresh view of the world, once what it wants was fetched; and the rules that it used."""
    ports.forget_kept()
    run = SimpleNamespace(id=uuid7(), known_at=None, facts=facts, source_connection="stripe", legal_entity_code="GB01")
    context = ports.BatchContext([])
    found: dict[str, set] = {}
    for kind, key in wants(**arguments(wants, run, context)):
        found.setdefault(kind, set()).add(key)
    context.fetch(found)
    given = function(**arguments(function, run, context))
    return given, (context.used(run) or {}).get("rules", [])


def erp_of(document, *, name: str = "document") -> str:
    """The ERP of a document, by the very steps of its flow."""
    return ask(*FINDS[type(document)], **{name: document})[0].connection


FINDS = {
    Invoice: (dates.find_book, dates.want_book),
    CreditMemo: (originals.find_book, originals.want_book),
    Payment: (cash.find_customer_book, cash.want_customer_book),
    Refund: (cash.find_payment_book, cash.want_payment_book),
    Dispute: (cash.find_payment_book, cash.want_payment_book),
    Application: (application_to_erp.find_book, application_to_erp.want_both),
}


def test_without_a_rule_everything_goes_to_the_system_that_plays_the_role():
    assert {erp_of(make(AFTER)) for make in (invoice, credit, payment)} == {OLD}


@pytest.mark.parametrize("make", [invoice, credit, payment])
def test_a_documents_own_date_decides_whenever_it_arrives(make):
    cut()
    assert (erp_of(make(BEFORE)), erp_of(make(AFTER))) == (OLD, NEW)


def test_the_day_begins_at_the_entitys_own_midnight():
    factories.make_subsidiary("JP01", OLD)
    factories.make_subsidiary("JP01", NEW)
    cut()
    last = dt.datetime(2026, 11, 30, 14, 59, tzinfo=dt.UTC)
    tokyo = [structs.replace(invoice(at), legal_entity="JP01") for at in (last, last + dt.timedelta(minutes=1))]
    assert [erp_of(document) for document in tokyo] == [OLD, NEW]


def test_a_rule_ends_by_itself_and_each_object_type_entity_region_and_product_line_has_its_own():
    for code in (OLD, NEW):
        factories.make_subsidiary("DE01", code)
    factories.make_record("product", "salesforce:Product2:1", number="T", content={"family": "Training"})
    bill_to = Address(country="IE")
    carried(Customer(source=source("customer", "cus_1"), name="C", bill_to=bill_to), "customer_to_erp", "completed")
    cut("erp|invoice", until=DAY + dt.timedelta(days=1), legal_entity="DE01")
    cut("erp|payment", region="IE")
    cut("erp|credit_memo", product_line="Training")
    german = [structs.replace(invoice(AFTER + dt.timedelta(days=n)), legal_entity="DE01") for n in (0, 1)]
    assert [erp_of(document) for document in (*german, invoice(AFTER))] == [NEW, OLD, OLD]
    assert erp_of(payment(AFTER)) == NEW
    assert erp_of(structs.replace(payment(AFTER), customer_id="", legal_entity="GB01")) == OLD
    assert [erp_of(credit(AFTER, "", sku)) for sku in ("T", "A")] == [NEW, OLD]


def test_lines_of_two_product_lines_that_go_to_two_systems_hold_the_document():
    for number, family in (("T", "Training"), ("S", "Software")):
        factories.make_record("product", f"salesforce:Product2:{number}", number=number, content={"family": family})
    cut("erp|invoice", product_line="Training")
    assert erp_of(invoice(AFTER, "in_1", "T", "X")) == NEW  # what the catalogue doesn't know goes with the others
    with pytest.raises(Problem) as held:
        erp_of(invoice(AFTER, "in_1", "T", "S"))
    said = "in_1 sells what goes to two systems: Software to the one that plays the role, Training to netsuite-new"
    assert (held.value.code, held.value.summary) == ("two_target_systems", said)


def test_what_an_erp_has_already_stays_there_when_a_rule_is_backdated():
    stands("invoice", "invoice:in_1", OLD)
    cut(on=dt.date(2026, 1, 1))
    assert (erp_of(invoice(BEFORE)), erp_of(invoice(BEFORE, "in_2"))) == (OLD, NEW)


@pytest.mark.parametrize("make", [lambda: credit(AFTER, "in_1"), lambda: payment(AFTER, "in_1"),
                                  lambda: application(AFTER)])  # fmt: skip
def test_what_is_about_an_old_invoice_goes_where_that_stands(make):
    cut()
    stands("invoice", "invoice:in_1", OLD)
    book, _ = ask(*FINDS[type(make())], document=make())
    assert (book.connection, book.follows) == (OLD, "stripe:invoice:in_1")


@pytest.mark.parametrize("make", [refund, dispute])
def test_what_takes_a_payment_back_goes_where_that_stands(make):
    cut()
    stands("payment", "payment:pi_1", OLD)
    assert erp_of(make(AFTER)) == OLD


def test_it_goes_where_an_invoice_will_go_that_is_on_its_way():
    cut()
    carried(invoice(BEFORE), "invoice_to_erp")
    assert (erp_of(credit(AFTER, "in_1")), erp_of(payment(AFTER, "in_1"))) == (OLD, OLD)


def test_a_credit_of_an_invoice_from_before_we_began_goes_by_that_invoices_date():
    cut()
    assert erp_of(credit(AFTER, "in_0", invoice_issued_at=BEFORE)) == OLD


def test_a_refund_waits_for_its_payment_which_may_go_either_way():
    cut()
    carried(payment(BEFORE), "payment_to_erp")
    with pytest.raises(Awaits) as wait:
        erp_of(refund(AFTER))
    assert wait.value.key == "payment:stripe:pi_1"


def test_an_open_item_that_people_took_over_is_credited_where_the_rule_says_now():
    cut()
    stands("invoice", "invoice:in_1", OLD, NEW)
    assert (erp_of(credit(AFTER, "in_1")), erp_of(credit(BEFORE, "in_1"))) == (NEW, OLD)


def test_cash_of_one_erp_isnt_applied_to_an_invoice_of_the_other():
    stands("invoice", "invoice:in_1", OLD)
    stands("payment", "payment:pi_1", NEW)
    with pytest.raises(Problem, match="they stand in two ERPs: clear them by a journal") as held:
        erp_of(application(AFTER))
    assert held.value.code == "unsupported_document"


def test_a_voided_credit_memo_is_charged_again_where_it_stands():
    cut()
    stands("credit_memo", "credit_note:cn_1", OLD)
    void = DocumentVoid(source=source("credit_note_void", "cn_1"), document_id="cn_1", number="CN-1", amount=D(9),
                        voided_at=AFTER, **MONEY)  # fmt: skip
    finds = (void_to_erp.find_credit_book, void_to_erp.want_credit_book)
    assert ask(*finds, void=void, document=invoice(AFTER))[0].connection == OLD


def part(document: Payout):
    book, _ = ask(payouts.find_gateway_book, payouts.want_gateway_book, payout=document)
    taken, _ = ask(payouts.take_part, payouts.want_gateway_book, payout=document, book=book)
    return book.connection, taken


def test_a_payout_goes_where_its_cash_is_and_is_parted_where_that_is_in_both():
    cut()
    stands("payment", "payment:pi_1", OLD)
    stands("payment", "payment:pi_2", NEW)
    whole = payout(DAY, "pi_1")
    assert part(whole) == (OLD, whole)
    both = payout(DAY, "pi_1", "pi_2")
    erp, taken = part(both)
    assert (erp, taken.amount, [m.record_id for m in taken.movements]) == (NEW, D(92), ["pi_2", ""])
    rest = payouts.part_of(both, tuple(m for m in both.movements if m not in taken.movements))
    assert (rest.amount, part(rest)) == (D(97), (OLD, rest))


@pytest.mark.parametrize("state", ["running", "cancelled"])  # the rest: on its way, or given up
@pytest.mark.parametrize(("again", "is_parted"), [(("pi_1",), True), (("pi_1", "pi_2"), False), ((), False)])
def test_a_failure_that_came_before_the_rest_of_its_payout_isnt_posted_whole_in_one_erp(again, is_parted, state):
    both = payout(DAY, "pi_1", "pi_2")
    failed = structs.replace(both, failed_at=AFTER, movements=())
    stands("payout", "payout:po_1", NEW)
    on_their_way = [both, failed, *([payout(DAY, *again)] if again else [])]
    for number, document in enumerate(on_their_way):
        factories.make_transaction(state if number == 2 else "running", flow="payout_to_erp",
                                   fact=to_builtins(document), source_id="po_1",
                                   lane="stripe:payout:po_1", lane_sequence=number + 1)  # fmt: skip
    if not is_parted:
        assert part(failed) == (NEW, failed)
        return
    with pytest.raises(Problem, match="came back, and they stand in two ERPs"):
        part(failed)


def test_a_payout_waits_for_cash_whose_erp_isnt_known_yet():
    carried(payment(BEFORE), "payment_to_erp")
    with pytest.raises(Awaits) as wait:
        part(payout(DAY, "pi_1"))
    assert wait.value.key == "payment:stripe:pi_1"


def test_a_payout_that_doesnt_add_up_isnt_hidden_by_parting_it():
    stands("payment", "payment:pi_1", OLD)
    stands("payment", "payment:pi_2", NEW)
    _, taken = part(structs.replace(payout(DAY, "pi_1", "pi_2"), amount=D(190)))
    with pytest.raises(Problem, match="has movements of"):
        check_movements(taken)


def test_a_customer_is_asked_for_in_the_erp_that_lacks_it():
    cut()
    stands("customer", "customer:cus_1", OLD)
    carried(Customer(source=source("customer", "cus_1"), name="Blue Bikes"), "customer_to_erp", "completed")
    book, _ = ask(*FINDS[Invoice], document=invoice(AFTER))
    facts = {"document": invoice(AFTER), "book": book, "document_date": DAY}
    with pytest.raises(Awaits) as wait:
        ask(customer.find_customer, customer.want_customer, **facts)
    wanted = wait.value.needs
    assert (wait.value.key, wanted.name, wanted.erp) == ("customer:stripe:customer:cus_1", "Blue Bikes", NEW)
    found, used = ask(customer_to_erp.find_book, customer_to_erp.want_book, document=wanted)
    assert (found.connection, used) == (NEW, [])


def test_a_new_customer_is_made_in_the_erp_that_takes_customers_today():
    cut("erp|customer", on=dt.date(2020, 1, 1))
    new = CustomerWanted(source=source("customer", "cus_1"), name="C", legal_entity="GB01")
    assert ask(customer_to_erp.find_book, customer_to_erp.want_book, document=new)[0].connection == NEW


@pytest.mark.parametrize(("starts", "system"), [(DAY - dt.timedelta(days=1), "stripe"), (DAY, "stripe-new")])
def test_an_order_goes_to_the_billing_system_that_takes_orders_of_its_start(starts, system):
    cut("billing|order", "stripe-new")
    line = OrderLine(line_id="1", sku="A", quantity=D(1), unit_price=D(9))
    order = Order(source=Source(connection="salesforce", object_type="Opportunity", object_id="006"), number="O-1",
                  customer_id="001", currency="GBP", start_date=starts, term_months=12, lines=(line,),
                  legal_entity="GB01")  # fmt: skip
    book, _ = ask(orders.find_book, orders.want_book, document=order)
    account = Customer(source=source("customer", "x"), name="C")
    given, _ = ask(orders.choose_billing, orders.want_billing, document=order, account=account, book=book)
    assert given == system
    rows = [Reference("order", "salesforce:Opportunity:006", "stripe", "subscription", "sub_1")]
    assert store_references(rows, BEFORE) == []
    assert ask(orders.choose_billing, orders.want_billing, document=order, account=account, book=book)[0] == "stripe"


def test_the_rule_is_noted_with_the_step_that_found_the_book():
    cut()
    _, used = ask(*FINDS[Invoice], document=invoice(AFTER))
    assert [rule for rule, _version in used] == [MappingRule.objects.get(kind="target_system").pk]
    assert ask(*FINDS[Invoice], document=invoice(BEFORE))[1] == []


@given(
    cuts=st.lists(st.integers(-9, 9), max_size=4, unique=True).map(sorted), dated=st.integers(-9, 9),
    credited=st.integers(-9, 9), is_posted=st.booleans(),
)  # fmt: skip
def test_a_credit_goes_where_its_invoice_goes_whatever_is_cut_over_when_and_whichever_comes_first(
    cuts, dated, credited, is_posted
):
    days = [DAY + dt.timedelta(days=n) for n in (*cuts, 99)]
    rules = [
        Rule(9, n, "target_system", "erp|*", "", "GB01", "", "", "", {}, start, end, f"erp-{n}", "", 1, False, True)
        for n, (start, end) in enumerate(itertools.pairwise(days))
    ]

    def get(_kind, _key, default, *, on, **_asked):
        return next((r.value for r in resolve._winners(rules, ("", "GB01", "", "", ""), on, {})), default)

    bill, memo = (
        make(AFTER + dt.timedelta(days=n)) for make, n in ((invoice, dated), (lambda at: credit(at, "in_1"), credited))
    )
    passed = [n for n, day in enumerate(cuts) if day <= dated]
    expected = f"erp-{passed[-1]}" if passed else ""
    stands_in = [expected] if is_posted and expected else []
    known = {
        "mappings": SimpleNamespace(get=get),
        "links": SimpleNamespace(
            fact=lambda flow, *_source: to_json(bill) if flow == "invoice_to_erp" else None, state=lambda *_: "running",
            product_line=lambda _sku: "", systems=lambda kind, _key: stands_in if kind == "invoice" else [],
            entity=lambda *_: "", seller=lambda *_: "GB01",
        ),
        "calendar": SimpleNamespace(
            local_date=lambda _entity, at: at.date(), erps=lambda _entity="": {f"erp-{n}" for n in range(4)},
            book=lambda _entity, erp: structs.replace(BOOK, connection=erp),
        ),
        "txn": SimpleNamespace(),
    }  # fmt: skip
    assert (dates.find_book(bill, **known).connection, originals.find_book(memo, **known).connection) == (expected,) * 2


def test_the_machine_writes_to_the_system_that_a_step_chose_and_else_to_the_one_that_plays_the_role():
    context = ports.BatchContext([])
    run = SimpleNamespace(facts={}, legal_entity_code="GB01")
    assert [context.system(port, run) for port in ("erp", "billing")] == [OLD, "stripe"]
    run.facts = {"book": structs.replace(BOOK, connection=NEW), "billing_system": "stripe-new"}
    assert [context.system(port, run) for port in ("erp", "billing")] == [NEW, "stripe-new"]
