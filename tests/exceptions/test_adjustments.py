"""Write-offs and accepted differences: limits that two people at once can't both use up, and one effect whoever is
first."""

from __future__ import annotations

import threading
from decimal import Decimal
from types import SimpleNamespace
from uuid import UUID

import pytest
from django.db import connection

from connectors.models import RoleAssignment
from exceptions import cases, resolutions
from exceptions.kind_words import ACCEPT_DIFFERENCE, WRITE_OFF
from exceptions.models import Adjustment, ExceptionCase
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import adjustments, deciding, spending
from q2c import ports
from q2c.canonical import schema
from q2c.canonical.billing import WriteOff
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import AuditEntry, Proposal
from q2c.core.problems import Category, Problem
from q2c.transactions.models import BusinessTransaction
from tests import factories
from tests.core.people import make_person
from tests.mappings.rules import make_rule
from tests.posting.test_write_offs import INVOICE

pytestmark = pytest.mark.django_db


class Open:
    """What the ERP says of an invoice, as far as it's asked here."""

    def __init__(self, amount: str) -> None:
        self.open_amount = Decimal(amount)


@pytest.fixture
def owed(monkeypatch):
    """Posted invoices that the ERP has open, each in a case of its own: by number, what is open."""

    def make(number: str, amount: str = "60.00", customer: str = "cus_1") -> ExceptionCase:
        factories.make_subsidiary("GB01")
        RoleAssignment.objects.get_or_create(family="erp", connection=factories.make_connection("netsuite"))
        ports.forget_kept()
        txn = factories.make_transaction(
            number=number, source_id=f"in_{number}", customer_id=customer, target_type="ar_invoice", target_id="9"
        )
        BusinessTransaction.objects.filter(pk=txn.pk).update(fact=schema.to_json(INVOICE))
        problem = Problem(
            "uncollectible_proposed", Category.CONFLICT, f"Billing gave up {number}", connection="stripe",
            document=number, invoice=f"in_{number}",
        )  # fmt: skip
        monkeypatch.setattr(adjustments, "run_now", lambda ask: Open(amount))
        return ExceptionCase.objects.get(pk=cases.open_case(problem, connection_code="stripe", number=number))

    monkeypatch.setattr(ports, "target", lambda code: type("Erp", (), {"read": print, "name": "NetSuite"})())
    return make


def wish(case: ExceptionCase, by, resolution: str = WRITE_OFF) -> Proposal:
    proposal, _ = adjustments.adjust(case, by=by, reason="gone bankrupt", resolution=resolution)
    assert proposal is not None
    return proposal


def made() -> list[UUID]:
    return list(BusinessTransaction.objects.filter(flow="write_off_to_erp").values_list("pk", flat=True))


def test_who_agrees_follows_the_amount_that_is_open_over_several_levels(owed):
    make_rule("resolution_approval", WRITE_OFF, "1 colleague; 2 with a controller over 50", legal_entity="GB01")
    maker, colleague = make_person("ben", "billing_ops"), make_person("cleo", "billing_ops")
    large = wish(owed("INV-1"), maker)  # 60.00 of 120.00 is open
    assert (large.signatures_needed, large.also_permission) == (2, "transactions.approve_posting")
    assert deciding.decide(large, by=colleague, approve=True) == ("proposed", [])
    with pytest.raises(ApprovalRefused, match="signatures has to be of Controllership"):
        deciding.decide(large, by=make_person("carol", "billing_ops"), approve=True)
    assert made() == []
    assert deciding.decide(large, by=make_person("cora", "controller"), approve=True)[0] == "approved"
    assert wish(owed("INV-2", "50.00"), maker).signatures_needed == 1
    (txn,) = made()
    assert AuditEntry.objects.get(verb=WRITE_OFF).data["amount"] == "60.00"
    assert Adjustment.objects.get().transaction_id == txn


def test_what_is_over_a_limit_is_said_in_the_currencys_own_decimals():
    limit = spending.Limit("item", "of one invoice", "KWD", Decimal("5"), Decimal("4.996"))
    spent = SimpleNamespace(resolution=WRITE_OFF, amount=Decimal("0.008"), entity="KW01")
    assert str(limit) == "of one invoice: KWD 4.996 of 5.000"
    assert spending.why_too_much(spent, [limit]) == (
        "The limit of one invoice is KWD 5.000, of which 4.996 is used: KWD 0.008 is 0.004 over it."
    )


def test_each_limit_is_cumulated_and_the_refusal_says_which_and_by_how_much(owed):
    for of, limit in {"item": "70", "person": "100", "customer": "115", "period": "150"}.items():
        make_rule("adjustment_limit", f"{ACCEPT_DIFFERENCE}|{of}", limit, legal_entity="GB01")
    make_rule("resolution_approval", ACCEPT_DIFFERENCE, "nobody", legal_entity="GB01")
    ben, ann, eve = (make_person(name, "billing_ops") for name in ("ben", "ann", "eve"))

    def accept(number: str, by, amount: str = "60.00", customer: str = "cus_1") -> None:
        case = owed(number, amount, customer)
        adjustments.adjust(case, by=by, reason="bank fee", resolution=ACCEPT_DIFFERENCE)

    accept("INV-1", ben)
    period = Adjustment.objects.get().period_code
    with pytest.raises(ResolutionRefused, match=rf"The limit of Ben in {period} is GBP 100.00, of which 60.00 is used: "
                       r"GBP 60.00 is 20.00 over it."):  # fmt: skip
        accept("INV-2", ben)
    with pytest.raises(ResolutionRefused, match=r"of the customer in .* is 5.00 over it"):
        accept("INV-3", ann)
    with pytest.raises(ResolutionRefused, match=r"of one invoice is GBP 70.00, of which 0.00 is used: GBP 71.00"):
        accept("INV-4", eve, "71.00", "cus_4")
    accept("INV-5", ann, "60.00", "cus_2")
    with pytest.raises(ResolutionRefused, match=r"of GB01 in .* GBP 150.00, of which 120.00 is used.* 30.00 over"):
        accept("INV-6", eve, "60.00", "cus_3")
    BusinessTransaction.objects.filter(pk=Adjustment.objects.earliest("pk").transaction_id).update(state="cancelled")
    accept("INV-6B", eve, "60.00", "cus_3")  # what was never posted uses nothing
    assert [str(row) for row in adjustments.known_before(owed("INV-7"), ACCEPT_DIFFERENCE).limits] == [
        "of one invoice: GBP 0.00 of 70.00", f"of the customer in {period}: GBP 0.00 of 115.00",
        f"of GB01 in {period}: GBP 120.00 of 150.00",
    ]  # fmt: skip


def at_once(acts: list, order: str) -> list[str]:
    """Each act in a thread and connection of its own, one after the other or together: what each was refused with."""
    gate = threading.Barrier(len(acts) if order == "at once" else 1)
    said = [""] * len(acts)

    def run(place: int) -> None:
        try:
            gate.wait(60)
            acts[place]()
        except (ApprovalRefused, ResolutionRefused) as refused:
            said[place] = str(refused)
        finally:
            connection.close()

    places = list(range(len(acts)))
    threads = {place: threading.Thread(target=run, args=(place,)) for place in places}
    for place in reversed(places) if order == "second first" else places:
        threads[place].start()
        if order != "at once":
            threads[place].join(60)
    for thread in threads.values():
        thread.join(60)
    return said


ORDERS = ("first first", "second first", "at once")
in_each_order = pytest.mark.parametrize("order", ORDERS)


@in_each_order
@pytest.mark.django_db(transaction=True)
def test_two_people_at_once_cannot_both_use_the_last_of_a_limit(owed, order):
    make_rule("adjustment_limit", f"{WRITE_OFF}|period", "100", legal_entity="GB01")
    maker, signers = make_person("ben", "billing_ops"), [make_person(n, "controller") for n in ("cora", "carl")]
    wishes = [wish(owed(number), maker) for number in ("INV-1", "INV-2")]
    acts = [
        lambda p=p.pk, by=by: deciding.decide(Proposal.objects.get(pk=p), by=by, approve=True)
        for p, by in zip(wishes, signers, strict=True)
    ]
    said = at_once(acts, order)
    assert (len(made()), sorted(bool(text) for text in said)) == (1, [False, True])
    assert "of GB01 in " in max(said)
    assert max(said).endswith("of which 60.00 is used: GBP 60.00 is 20.00 over it.")
    assert sorted(Proposal.objects.values_list("state", flat=True)) == ["approved", "proposed"]


@in_each_order
@pytest.mark.django_db(transaction=True)
def test_a_write_off_and_an_accepted_difference_of_one_invoice_at_once_post_once(owed, order):
    make_rule("adjustment_limit", f"{ACCEPT_DIFFERENCE}|item", "100", legal_entity="GB01")
    make_rule("resolution_approval", ACCEPT_DIFFERENCE, "nobody", legal_entity="GB01")
    maker, controller, other = (
        make_person("ben", "billing_ops"), make_person("cora", "controller"), make_person("ann", "billing_ops"),
    )  # fmt: skip
    case = owed("INV-1")
    proposal = wish(case, maker)

    def accept() -> None:
        own = ExceptionCase.objects.get(pk=case.pk)
        adjustments.adjust(own, by=other, reason="bank fee", resolution=ACCEPT_DIFFERENCE)

    def sign() -> None:
        deciding.decide(Proposal.objects.get(pk=proposal.pk), by=controller, approve=True)

    said = at_once([sign, accept], order)
    assert (len(made()), Adjustment.objects.count(), sum(map(bool, said))) == (1, 1, 1), said
    assert Adjustment.objects.get().resolution == {"first first": WRITE_OFF, "second first": ACCEPT_DIFFERENCE}.get(
        order, Adjustment.objects.get().resolution
    )


@in_each_order
@pytest.mark.django_db(transaction=True)
def test_a_write_off_and_a_waiver_of_one_case_at_once_have_one_effect(owed, order):
    maker, controller, other = (
        make_person("ben", "billing_ops"), make_person("cora", "controller"), make_person("carl", "controller"),
    )  # fmt: skip
    case = owed("INV-1")
    proposal = wish(case, maker)

    def waive() -> None:
        resolutions.waive(ExceptionCase.objects.get(pk=case.pk), by=other, reason="collected after all")

    def sign() -> None:
        deciding.decide(Proposal.objects.get(pk=proposal.pk), by=controller, approve=True)

    at_once([sign, waive], order)
    case.refresh_from_db()
    closed = set(case.occurrences.values_list("closed_how", flat=True))
    assert (len(made()), closed) in [(1, {"written_off"}), (0, {"waived"})]
    if order != "at once":
        assert len(made()) == (1 if order == "first first" else 0)


def test_a_part_counts_alone_against_the_limits_and_the_case_says_what_stays_open(owed):
    make_rule("adjustment_limit", f"{WRITE_OFF}|item", "50", legal_entity="GB01")
    make_rule("resolution_approval", WRITE_OFF, "nobody", legal_entity="GB01")
    ben = make_person("ben", "billing_ops")
    case = owed("INV-1")  # 60.00 is open

    def take(amount: str | None) -> None:
        own = None if amount is None else Decimal(amount)
        adjustments.adjust(case, by=ben, reason="half is lost", resolution=WRITE_OFF, amount=own)

    for amount, said in {
        "60.01": "GBP 60.00 of INV-1 is open in NetSuite, and no more", "0": "above zero", "9.999": "smallest unit",
    }.items():  # fmt: skip
        with pytest.raises(ResolutionRefused, match=said):
            take(amount)
    with pytest.raises(ResolutionRefused, match=r"GBP 60.00 is 10.00 over it"):
        take(None)
    take("40.00")
    case.refresh_from_db()
    note = case.notes.get(verb="written_off")
    assert (case.state, note.text) == ("open", "GBP 40.00 of INV-1; GBP 20.00 of it stays open: half is lost")
    with pytest.raises(ResolutionRefused, match="taken off INV-1 before isn’t posted yet"):
        take("10.00")
    BusinessTransaction.objects.filter(pk__in=made()).update(state="completed")
    with pytest.raises(ResolutionRefused, match=r"of which 40.00 is used: GBP 11.00 is 1.00 over it"):
        take("11.00")
    take("10.00")
    first, second = (
        schema.from_json(bytes(BusinessTransaction.objects.get(pk=pk).fact), WriteOff) for pk in sorted(made())
    )
    assert [(row.amount, row.open_amount, row.before, row.number) for row in (first, second)] == [
        (Decimal("40.00"), Decimal("60.00"), Decimal(0), "INV-1-WO1"),
        (Decimal("10.00"), Decimal("60.00"), Decimal("40.00"), "INV-1-WO2"),
    ]


def test_parts_ask_for_whom_the_whole_would_ask_for(owed):
    for resolution in (WRITE_OFF, ACCEPT_DIFFERENCE):
        make_rule("adjustment_limit", f"{resolution}|item", "100", legal_entity="GB01")
        make_rule("resolution_approval", resolution, "nobody; 2 with a controller over 50", legal_entity="GB01")
    ben, case = make_person("ben", "billing_ops"), owed("INV-1")  # 60.00 is open

    def take(resolution: str) -> Proposal | None:
        return adjustments.adjust(case, by=ben, reason="half", resolution=resolution, amount=Decimal("30.00"))[0]

    assert take(ACCEPT_DIFFERENCE) is None
    BusinessTransaction.objects.filter(pk__in=made()).update(state="cancelled")  # what was given up isn't counted
    assert take(ACCEPT_DIFFERENCE) is None
    BusinessTransaction.objects.filter(pk__in=made()).exclude(state="cancelled").update(state="completed")
    asked = take(WRITE_OFF)
    assert asked is not None
    assert (asked.signatures_needed, asked.also_permission) == (2, "transactions.approve_posting")
    assert (asked.content["documents"][0]["amount"], asked.title) == ("30.00", "Write off GBP 30.00 of INV-1")


def test_before_anybody_asks_the_form_says_what_is_booked_and_what_would_be_refused_whatever_the_amount(owed):
    before = adjustments.known_before(owed("INV-1"), ACCEPT_DIFFERENCE)
    assert before.why_not == "No rule says up to what amount GB01 accepts a difference."
    account, *_, tax = before.booked
    assert account.startswith("the account of the item #difference, which nobody has mapped for GB01 yet, is debited")
    assert (tax, before.currency) == ("The invoice’s tax stays as it was declared.", "GBP")
    make_rule("posting_policy", "write_off_tax", "take back", legal_entity="GB01")
    given_up = adjustments.known_before(owed("INV-2"), WRITE_OFF)
    assert given_up.why_not == ""
    assert given_up.booked[-1] == "Its part of the invoice’s tax is taken back, in the invoice’s own tax codes."


def test_limits_are_read_for_anybody_before_somebody_proposes(owed):
    case = owed("INV-1")
    owed_now = adjustments.ask_erp(case, make_person("ben", "billing_ops"))
    nobody = adjustments.spent_of(case, WRITE_OFF, None, owed_now)
    assert [row.of for row in spending.limits_of(nobody)] == ["item", "customer", "period"]


def test_whoever_does_not_work_the_invoices_entity_proposes_nothing_even_in_a_case_without_one(owed):
    case = owed("INV-1")
    assert case.legal_entity_code == ""
    with pytest.raises(ResolutionRefused, match="Your role doesn’t reach GB01"):
        wish(case, make_person("dora", "billing_ops", entity="DE01"))
    assert wish(case, make_person("gil", "billing_ops", entity="GB01")).kind.endswith(WRITE_OFF)


def test_an_invoice_counts_against_limits_in_the_book_of_the_erp_that_has_it(owed, monkeypatch):
    case, asked = owed("INV-1"), []
    book = ports.Calendar.book
    monkeypatch.setattr(ports.Calendar, "book", lambda self, *of: asked.append(of) or book(self, *of))
    adjustments.ask_erp(case, make_person("ben", "billing_ops"))
    assert set(asked) == {("GB01", "netsuite")}
