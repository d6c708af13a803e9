"""An entity that posts in summary: documents wait, their day becomes one journal per currency, late ones its delta."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from decimal import Decimal
from io import StringIO
from zoneinfo import ZoneInfo

import msgspec
import pytest
from django.core.management import call_command
from django.db.transaction import atomic

from connectors.models import ReferenceEntry
from exceptions.models import ExceptionCase
from q2c import ports
from q2c.canonical.billing import Invoice
from q2c.canonical.schema import from_json
from q2c.core.models import AccountingPeriod, Person
from q2c.flows.dispatch import Fact, dispatch_facts
from q2c.flows.summaries import start_due_summaries, start_summaries_now
from q2c.transactions.contributions import open_days
from q2c.transactions.models import BusinessTransaction, Contribution, LineageLink, StepRun
from q2c.transactions.restart import restart
from q2c.transactions.selectors import trace
from tests.journeys.deaths import bury, carry_and_die
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db(transaction=True)
OWN = ("invoice", "creditMemo", "customerPayment")


def today() -> dt.date:
    return dt.datetime.now(ZoneInfo("Europe/London")).date()


def everything(day) -> bool:
    return True


def contributed(count: int):
    return lambda: Contribution.objects.filter(summary=None).count() == count


def post(house, count: int) -> None:
    """Sum up once so many documents wait, and carry to the end."""
    house.carry(until=contributed(count))
    start_summaries_now(everything)
    house.carry()


def journals(house) -> dict[str, list[tuple[str, str, Decimal]]]:
    """By currency and order: account number, side, amount of each line that NetSuite holds."""
    numbers = dict(ReferenceEntry.objects.filter(list_name="accounts").values_list("external_id", "code"))
    found = {}
    made = {e["id"] for e in house.made("netsuite", "journalEntry")}
    for entry in house.sandboxes.control("GET", "netsuite/documents/journalEntry?limit=500")["items"]:
        if entry["id"] in made:
            found[entry["externalId"].removeprefix(f"sum-portal-GB01-{today()}-")] = sorted(
                (numbers[line["account"]["id"]], side, Decimal(str(line[side])))
                for line in entry["line"]["items"]
                for side in ("debit", "credit")
                if side in line
            )
    return found


def test_a_day_of_two_currencies_becomes_two_journals_without_netting(house):
    house.post_in_summary("GB01")
    customer, euros = house.customer(), house.customer(name="Nordwind GmbH")
    paid, credited = house.invoice(customer, amount=10_000), house.invoice(customer, amount=20_000)
    house.invoice(euros, amount=5_000, currency="eur")
    house.make("stripe", "credit_note", [{"invoice": credited, "amount": 3_000}])
    house.refund(house.pay(paid), 2_000)
    house.carry(until=contributed(6))
    house.carry()
    assert house.made("netsuite", "journalEntry") == []
    waiting = BusinessTransaction.objects.filter(state="waiting")
    assert set(waiting.values_list("waits_for", flat=True)) == {
        f"the summary of GB01 for {today()}, GBP", f"the summary of GB01 for {today()}, EUR",
    }  # fmt: skip
    assert Counter(waiting.values_list("flow", flat=True)) == {
        "invoice_to_erp": 3, "credit_memo_to_erp": 1, "payment_to_erp": 1, "refund_to_erp": 1,
    }  # fmt: skip

    assert [s.number for s in start_summaries_now(everything)] == [f"GB01-{today()}-EUR-0", f"GB01-{today()}-GBP-0"]
    house.carry()
    assert set(house.states()) == {"completed"}
    assert [len(house.made("netsuite", t)) for t in OWN] == [0, 0, 0]
    revenue = journals(house)["EUR-0"][1][0]
    assert journals(house) == {
        "EUR-0": [("1105", "debit", Decimal(50)), (revenue, "credit", Decimal(50))],
        "GBP-0": sorted(
            [
                ("1105", "debit", Decimal(320)),  # 100 and 200 invoiced, 20 refunded
                ("1105", "credit", Decimal(130)),  # 30 credited, 100 received
                (revenue, "credit", Decimal(300)),
                (revenue, "debit", Decimal(30)),
                ("1020", "debit", Decimal(100)),
                ("1020", "credit", Decimal(20)),
            ]
        ),
    }
    applied = BusinessTransaction.objects.get(flow="application_to_erp")
    said = StepRun.objects.get(transaction_id=applied.pk, step="choose_keeper").output
    assert bytes(said) == b'"recorded in billing, nothing to post"'
    invoice = BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=paid)
    summary = BusinessTransaction.objects.get(flow="summary_to_erp", currency="GBP")
    assert (invoice.target_type, invoice.target_id) == ("journal", summary.target_id)
    assert LineageLink.objects.filter(target_id=summary.target_id, relation="summed up in").count() == 5
    out = StringIO()
    call_command("control_totals", source="stripe", stdout=out)
    rows = {(r["document_type"], r["currency"]): r["posted"] for r in json.loads(out.getvalue())["rows"]}
    assert rows == {
        ("invoice", "EUR"): {"count": 1, "lines": 1, "amount": "50.00"},
        ("invoice", "GBP"): {"count": 2, "lines": 2, "amount": "300.00"},
        ("credit_memo", "GBP"): {"count": 1, "lines": 1, "amount": "-30.00"},
        ("payment", "GBP"): {"count": 1, "lines": 0, "amount": "100.00"},
        ("refund", "GBP"): {"count": 1, "lines": 0, "amount": "-20.00"},
    }


@pytest.mark.scenario(49, of="summaries")
def test_what_comes_late_becomes_a_delta_with_lineage_to_both_documents(house):
    house.post_in_summary("GB01")
    customer = house.customer()
    house.invoice(customer, amount=10_000)
    post(house, 1)
    late = house.invoice(customer, amount=700)
    post(house, 1)
    revenue = journals(house)["GBP-0"][-1][0]
    assert journals(house) == {
        "GBP-0": [("1105", "debit", Decimal(100)), (revenue, "credit", Decimal(100))],
        "GBP-1": [("1105", "debit", Decimal(7)), (revenue, "credit", Decimal(7))],
    }
    first, delta = BusinessTransaction.objects.filter(flow="summary_to_erp").order_by("source_id")
    assert LineageLink.objects.filter(source_id=late, target_id=delta.target_id).count() == 1
    hops, _ = trace(None, [("stripe", "invoice", late)])
    reached = {(hop.target_system, hop.target_id) for hop in hops}
    assert {("netsuite", first.target_id), ("netsuite", delta.target_id)} <= reached


def test_the_day_is_summed_up_after_its_end_and_the_cut_off(house):
    house.post_in_summary("GB01")
    house.invoice(house.customer())
    house.carry(until=contributed(1))
    midnight = dt.datetime.combine(today() + dt.timedelta(days=1), dt.time(), tzinfo=ZoneInfo("Europe/London"))
    assert start_due_summaries(midnight + dt.timedelta(minutes=119)) == []
    (started,) = start_due_summaries(midnight + dt.timedelta(minutes=120))
    assert (started.number, started.document_count) == (f"GB01-{today()}-GBP-0", 1)
    assert start_due_summaries(midnight + dt.timedelta(days=9)) == []


def test_a_summary_that_the_period_refuses_is_one_case_with_its_amount_and_holds_no_document(house, client):
    house.post_in_summary("GB01")
    customer = house.customer()
    for _ in range(3):
        house.invoice(customer)
    house.carry(until=contributed(3))
    periods = AccountingPeriod.objects.filter(code=f"{today():%Y-%m}")
    periods.update(is_ledger_open=False)
    ports.forget_kept()
    start_summaries_now(everything)
    house.carry()
    assert house.held() == ["period_closed"]
    assert house.states("invoice_to_erp") == {"waiting": 3}
    case = ExceptionCase.objects.get(kind="period_closed")
    assert case.occurrences.get().amount == Decimal(300)
    assert open_days() == []
    client.force_login(Person.objects.get(username="controller"))
    page = client.get(f"/exceptions/cases/{case.pk}/").content.decode()
    assert ("A day’s summary can’t be given up" in page, f"Waive {case.number}" in page) == (True, False)
    client.post(f"/exceptions/cases/{case.pk}/waive/", {"waive-code": "test", "waive-why": "We booked it by hand"})
    assert house.held() == ["period_closed"]
    periods.update(is_ledger_open=True)
    ports.forget_kept()
    restart([BusinessTransaction.objects.get(flow="summary_to_erp").pk])
    house.carry()
    assert set(house.states()) == {"completed"}
    assert len(house.made("netsuite", "journalEntry")) == 1


def test_a_death_at_the_wait_for_the_summary_doubles_nothing(house):
    house.post_in_summary("GB01")
    customer = house.customer()
    house.carry()
    house.invoice(customer)
    house.carry(
        without="invoice_to_erp",
        until=lambda: BusinessTransaction.objects.filter(flow="invoice_to_erp", state="running").exists(),
    )
    for point in ("await_summary:before", "await_summary:after"):  # before its wait is stored
        assert carry_and_die(house.carry, point)
        bury()
    house.carry(until=contributed(1))
    start_summaries_now(everything)
    house.carry(without="invoice_to_erp", until=lambda: house.states("summary_to_erp") == {"completed": 1})
    for point in ("await_summary:before", "await_summary:after"):  # its summary is in the ledger
        assert carry_and_die(house.carry, point)
        bury()
    house.carry()
    assert set(house.states()) == {"completed"}
    assert [line[2] for line in journals(house)["GBP-0"]] == [Decimal(100), Decimal(100)]
    invoice = BusinessTransaction.objects.get(flow="invoice_to_erp")
    assert LineageLink.objects.filter(transaction_id=invoice.pk, relation="summed up in").count() == 1
    steps = StepRun.objects.filter(transaction_id=invoice.pk)
    assert steps.filter(step="build_posting").count() == 1  # what it contributed was read once


def test_a_change_of_policy_doubles_no_document_that_was_posted(house):
    customer = house.customer()
    before = house.invoice(customer)
    house.carry()
    assert len(house.made("netsuite", "invoice")) == 1
    house.post_in_summary("GB01")
    again(before)
    house.carry()
    assert house.states("invoice_to_erp") == {"completed": 2}
    assert (len(house.made("netsuite", "invoice")), Contribution.objects.count()) == (1, 0)
    after = house.invoice(customer)
    post(house, 1)
    house.post_by_line("GB01")
    again(after)
    house.carry()
    assert set(house.states()) == {"completed"}
    assert [len(house.made("netsuite", t)) for t in ("invoice", "journalEntry")] == [1, 1]


def again(invoice: str) -> None:
    """Another version of the same invoice, with the same amounts."""
    first = BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=invoice)
    document = msgspec.structs.replace(from_json(bytes(first.fact), Invoice), po_number="PO-2")
    fact = Fact(
        flow=first.flow, business_key=f"{first.business_key}-2", lane=first.lane, document=document,
        source_connection=first.source_connection, source_type=first.source_type, source_id=first.source_id,
        number=first.number, legal_entity_code=first.legal_entity_code, currency=first.currency, amount=first.amount,
    )  # fmt: skip
    with atomic():
        dispatch_facts([fact])


def test_what_billing_voids_is_taken_back_in_the_summary_too(house):
    house.post_in_summary("GB01")
    invoice = house.invoice(house.customer(), amount=10_000)
    post(house, 1)
    house.void(invoice)
    post(house, 1)
    assert set(house.states()) == {"completed"}
    assert [len(house.made("netsuite", t)) for t in OWN] == [0, 0, 0]
    revenue = journals(house)["GBP-0"][-1][0]
    assert journals(house)["GBP-1"] == [("1105", "credit", Decimal(100)), (revenue, "debit", Decimal(100))]


def test_a_credit_note_voided_in_billing_is_charged_again_in_the_summary_on_its_own_accounts(house):
    house.post_in_summary("GB01")
    invoice = house.invoice(house.customer(), amount=10_000)
    credit = house.credit(invoice, amount=3_000)
    post(house, 2)
    (item,) = ReferenceEntry.objects.filter(connection__code="netsuite", list_name="items", code="ROUNDING")
    make_rule("item", "QB-API", item.external_id, legal_entity="GB01")
    house.void_credit(credit)
    post(house, 1)
    assert set(house.states()) == {"completed"}
    assert [len(house.made("netsuite", t)) for t in OWN] == [0, 0, 0]
    given, again = journals(house)["GBP-0"], journals(house)["GBP-1"]
    assert [line for line in given if line[2] == Decimal(30)] == sorted(
        (account, {"debit": "credit", "credit": "debit"}[side], amount) for account, side, amount in again
    )
