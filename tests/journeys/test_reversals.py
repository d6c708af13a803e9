"""A posted journal is taken back by two people: its opposite posts once, whatever happens, and again on wish."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from connectors.models import ReferenceEntry
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import accruals, reversing
from mappings.models import CrossReference
from q2c import ports
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import AccountingPeriod, AuditEntry
from q2c.flows.reversal_to_erp import REVERSAL_TO_ERP
from q2c.reconciliation.control_totals import compute_totals
from q2c.reconciliation.documents import month_of
from q2c.reconciliation.flash import flash_of
from q2c.transactions.models import BusinessTransaction, LineageLink, StepRun
from tests.journeys.deaths import carry_through_deaths, write_points
from tests.journeys.ledger import BANK, CLEARING, DISPUTES, FEES, Ledger
from tests.journeys.scenes import EARNED_AT_ONCE, accrue, reverse
from tests.journeys.test_holds import person, this_month
from tests.sandboxes.netsuite_client import Client

pytestmark = pytest.mark.django_db(transaction=True)
WRITES = {"payout_to_erp": ["reverse_journal", "post_again"], "dispute_to_erp": ["reverse_journal", "post_again"],
          "accrual_to_erp": ["reverse_other", "reverse_journal", "post_again"]}  # fmt: skip


def make_payout(house) -> str:
    house.pay(house.invoice(house.customer()))
    payout = house.payout()
    house.carry(seconds=40)
    return payout


def make_dispute(house) -> str:
    payment = house.pay(house.invoice(house.customer(), amount=30_000))
    house.carry(seconds=40)
    dispute = house.dispute(payment)
    house.carry(seconds=40)
    return dispute


def make_accrual(house) -> str:
    customer = house.customer()
    house.carry()
    house.lock_receivables()
    accrue(house, house.invoice(customer, sku=EARNED_AT_ONCE))
    house.carry()
    return own("accrual_to_erp").source_id


MAKES = {"payout_to_erp": make_payout, "dispute_to_erp": make_dispute, "accrual_to_erp": make_accrual}
ROLES = {"payout_to_erp": ("stripe", "1050", "gateway_bank"), "dispute_to_erp": ("disputes", "1050"),
         "accrual_to_erp": ("accrued_revenue", "1050")}  # fmt: skip


def own(flow: str) -> BusinessTransaction:
    return BusinessTransaction.objects.get(flow=flow)


def account(number: str) -> str:
    return ReferenceEntry.objects.get(list_name="accounts", code=number).external_id


def journals(house) -> list[str]:
    return [e["external_id"] for e in house.made("netsuite", "journalEntry") if e["external_id"]]


def held(house) -> dict[str, dict]:
    return {
        e.get("externalId") or e["id"]: e
        for e in house.sandboxes.control("GET", "netsuite/documents/journalEntry?limit=50")["items"]
    }


def cash(house) -> dict[str, D]:
    found = Ledger(house.sandboxes).balances()
    return {account: found[account] for account in ("1050", BANK, CLEARING, FEES) if account in found}


def sides(entry: dict) -> list[tuple]:
    return sorted((x["account"]["id"], x.get("debit") or 0, x.get("credit") or 0) for x in entry["line"]["items"])


def turned(entry: dict) -> list[tuple]:
    return sorted((a, credit, debit) for a, debit, credit in sides(entry))


@pytest.mark.parametrize("flow", MAKES)
def test_a_journal_is_taken_back_for_good_by_its_opposite(house, flow):
    MAKES[flow](house)
    txn, before = own(flow), Ledger(house.sandboxes).balances()
    accrued = list(BusinessTransaction.objects.filter(flow="invoice_to_erp")) if flow == "accrual_to_erp" else []
    assert accruals.standing_of(accrued, txn.period_code) == [row.number for row in accrued]
    proposal = reverse(flow, reposts=False)
    assert proposal.content["effects"][0]["period"] == AccountingPeriod.objects.get(
        subsidiary__legal_entity__code="GB01", code=txn.period_code).name  # fmt: skip
    house.carry()
    assert (house.held(), house.states("reversal_to_erp")) == ([], {"completed": 1})
    made, entries = BusinessTransaction.objects.get(flow="reversal_to_erp"), held(house)
    original = next(e for e in entries.values() if e["id"] == txn.target_id)
    opposite = next(e for name, e in entries.items() if name.startswith("rev-stripe-"))
    assert sides(opposite) == turned(original)
    for name in ("currency", "exchangeRate", "subsidiary", "tranDate", "postingPeriod"):
        assert opposite[name] == original[name]
    assert original["tranId"] in opposite["memo"]
    told = set(LineageLink.objects.filter(transaction_id=made.pk).values_list("source_type", "target_type", "relation"))
    kind = txn.source_type
    assert {(kind, "reversal", "reversed by"), ("reversal", "journal", "became"),
            ("journal", "journal", "reversed by")} <= told  # fmt: skip
    assert AuditEntry.objects.get(verb="reverse_journal").data["journal"] == original["id"]
    books = Ledger(house.sandboxes).balances()
    if flow == "accrual_to_erp":
        other = next(e for name, e in entries.items() if name.startswith("rvo-stripe-"))
        theirs = next(e for e in entries.values() if e["id"] == original["reversalEntry"]["id"])
        assert sides(other) == turned(theirs)
        assert (other["tranDate"], other["postingPeriod"]) == (theirs["tranDate"], theirs["postingPeriod"])
        assert books == before
    else:
        assert not {BANK, FEES, DISPUTES} & books.keys()
        assert books[CLEARING] == {"payout_to_erp": D(100), "dispute_to_erp": D(300)}[flow]
    assert compute_totals(["stripe"]).agrees
    assert accruals.standing_of(accrued, txn.period_code) == []
    with pytest.raises(ResolutionRefused, match="was taken back for good by journal"):
        reverse(flow, reposts=False)


@pytest.mark.crash
@pytest.mark.scenario(4, 5)
@pytest.mark.parametrize("flow", MAKES)
def test_a_reversal_killed_around_each_of_its_writes_makes_each_journal_once(house, flow):
    MAKES[flow](house)
    txn, before = own(flow), journals(house)
    house.map_account(*ROLES[flow])
    reverse(flow)
    points = [point for point in write_points(REVERSAL_TO_ERP) if point.split(":")[0] in WRITES[flow]]
    carry_through_deaths(house.carry, points)
    assert (house.held(), house.states("reversal_to_erp")) == ([], {"completed": 1})
    prefixes = ["rvo", "rev", "re"] if flow == "accrual_to_erp" else ["rev", "re"]
    assert journals(house)[len(before) :] == [f"{prefix}-stripe-{txn.source_id}-1" for prefix in prefixes]
    assert house.arrived_twice() == []
    made = BusinessTransaction.objects.get(flow="reversal_to_erp")
    done = StepRun.objects.filter(transaction_id=made.pk, state="done", kind="write", output__isnull=False)
    assert [s for s in done.order_by("sequence").values_list("step", flat=True) if s in WRITES[flow]] == WRITES[flow]
    again = held(house)[f"re-stripe-{txn.source_id}-1"]
    assert account("1050") in {line["account"]["id"] for line in again["line"]["items"]}
    reference = CrossReference.objects.get(record_type=reversing.FLOWS[flow], external_type="journal")
    assert reference.external_id == again["id"] != txn.target_id
    assert LineageLink.objects.get(transaction_id=made.pk, relation="reposted as").target_id == again["id"]
    assert compute_totals(["stripe"]).agrees


def test_a_payout_that_was_posted_again_is_taken_back_once_more_and_the_bank_may_still_send_it_back(house):
    payout = make_payout(house)
    house.map_account("stripe", "1050", "gateway_bank")
    reverse("payout_to_erp")
    house.carry()
    assert cash(house) == {"1050": D("96.80"), FEES: D("3.20")}
    house.map_account("stripe", BANK, "gateway_bank")
    reverse("payout_to_erp")
    house.carry()
    assert cash(house) == {BANK: D("96.80"), FEES: D("3.20")}
    assert journals(house)[1:] == [f"{p}-stripe-{payout}-{n}" for n in (1, 2) for p in ("rev", "re")]
    house.make("stripe", "payout", [{"id": payout, "status": "failed"}])
    house.carry(seconds=40)
    assert house.states("payout_to_erp") == {"completed": 2}
    assert cash(house) == {CLEARING: D("96.80"), FEES: D("3.20")}
    with pytest.raises(ResolutionRefused, match=r"Its money came back.*Take that back first"):
        reverse("payout_to_erp", reposts=False, is_first=True)


@pytest.mark.parametrize(("flow", "back"), [("payout_to_erp", "failed"), ("dispute_to_erp", "won")])
def test_money_that_comes_back_of_what_was_taken_back_for_good_is_not_booked_again(house, flow, back):
    source = MAKES[flow](house)
    reverse(flow, reposts=False)
    house.carry(without="reversal_to_erp")
    after_signature = journals(house)
    house.make("stripe", flow.removesuffix("_to_erp"), [{"id": source, "status": back}])
    waiting = BusinessTransaction.objects.filter(flow=flow, state="waiting")
    house.carry(without="reversal_to_erp", until=waiting.exists)
    assert "to be taken back by its plan" in waiting.get().waits_for
    house.carry(seconds=40)
    assert house.states(flow) == {"completed": 1, "cancelled": 1}
    assert journals(house) == [*after_signature, f"rev-stripe-{source}-1"]


def test_money_that_comes_back_while_the_erp_is_asked_for_the_signature_is_not_booked_twice(house, monkeypatch):
    source, look = make_payout(house), reversing._what_moved

    def looks_meanwhile(proposal):
        said = look(proposal)
        house.make("stripe", "payout", [{"id": source, "status": "failed"}])
        house.carry(seconds=40)
        return said

    monkeypatch.setattr(reversing, "_what_moved", looks_meanwhile)
    with pytest.raises(ApprovalRefused, match=r"Its money came back.*says the opposite already"):
        reverse("payout_to_erp", reposts=False)
    house.carry()
    assert (house.states("payout_to_erp"), house.states("reversal_to_erp")) == ({"completed": 2}, {})
    assert cash(house) == {CLEARING: D("96.80"), FEES: D("3.20")}


def test_a_dispute_that_was_taken_back_leaves_its_payment_unapplied_as_before(house):
    payment = house.pay(house.invoice(house.customer(), amount=30_000))
    house.carry(seconds=40)
    month = month_of("GB01", this_month()["period"])

    def unapplied():
        return {row.title: row.unapplied.gross for row in flash_of(month).lines}

    before = unapplied()
    house.dispute(payment)
    house.carry(seconds=40)
    reverse("dispute_to_erp", reposts=False)
    house.carry()
    after = unapplied()
    assert {title: after[title] for title in before} == before


def close(house, flow: str, *, ledger: bool = True) -> str:
    """The ledger of the month in which it's posted is closed."""
    row = AccountingPeriod.objects.get(subsidiary__legal_entity__code="GB01", code=own(flow).period_code)
    AccountingPeriod.objects.filter(pk=row.pk).update(is_ledger_open=not ledger, is_receivables_open=not ledger)
    return row.name


def test_in_a_closed_ledger_it_posts_on_the_first_day_of_the_next_open_period(house):
    make_payout(house)
    name = close(house, "payout_to_erp")
    reverse("payout_to_erp", reposts=False)
    house.carry()
    following = AccountingPeriod.objects.filter(
        subsidiary__legal_entity__code="GB01", is_ledger_open=True, code__gt=own("payout_to_erp").period_code
    ).order_by("start_date")[0]
    (opposite,) = (e for i, e in held(house).items() if i.startswith("rev-"))
    assert (opposite["tranDate"], opposite["postingPeriod"]["id"]) == (
        following.start_date.isoformat(), following.external_id,
    )  # fmt: skip
    assert name != following.name


def test_where_no_later_period_is_open_or_an_accruals_own_is_closed_its_refused_in_words(house):
    make_accrual(house)
    name = close(house, "accrual_to_erp")
    with pytest.raises(ResolutionRefused, match=f"{name} is closed in the ledger, and what is accrued there is taken"):
        reverse("accrual_to_erp", reposts=False)
    AccountingPeriod.objects.filter(code=own("accrual_to_erp").period_code).update(is_ledger_open=True)
    AccountingPeriod.objects.filter(code__gt=own("accrual_to_erp").period_code).update(is_ledger_open=False)
    with pytest.raises(ResolutionRefused, match="is closed in the ledger, where the ERP took it back"):
        reverse("accrual_to_erp", reposts=False)
    assert BusinessTransaction.objects.filter(flow="reversal_to_erp").count() == 0


def test_a_period_that_closes_after_the_signature_holds_it_before_anything_is_sent(house):
    make_payout(house)
    before = journals(house)
    reverse("payout_to_erp", reposts=False)
    close(house, "payout_to_erp")
    ports.forget_kept()
    house.carry()
    assert house.held() == ["period_closed"]
    assert journals(house) == before


def test_nobody_agrees_to_their_own_plan_and_a_second_one_isnt_proposed_beside_it(house):
    make_dispute(house)
    txn, billing = own("dispute_to_erp"), person("billing_ops")
    proposal = reversing.propose(txn, by=billing, reason="booked to the wrong account", reposts=False)
    with pytest.raises(ApprovalRefused):
        reversing.decide(proposal, by=billing, approve=True)
    with pytest.raises(ResolutionRefused, match="proposed a plan about it already"):
        reversing.propose(txn, by=person("controller"), reason="the same", reposts=False)
    with pytest.raises(ResolutionRefused, match="nothing would change by posting it again"):
        reversing.propose(txn, by=billing, reason="booked to the wrong account", reposts=True)
    assert house.states("reversal_to_erp") == {}
    assert reversing.decide(proposal, by=person("controller"), approve=False, why="it is right") == "rejected"


def test_what_somebody_reversed_in_the_erp_voids_the_plan_by_name_and_holds_one_that_is_signed(house):
    make_payout(house)
    txn = own("payout_to_erp")
    proposal = reversing.propose(txn, by=person("billing_ops"), reason="twice in the books", reposts=False)
    reverse_by_hand(house, txn)
    assert reversing.decide(proposal, by=person("controller"), approve=True) == "void"
    assert "was reversed in the ERP already" in proposal.void_reason


def test_what_is_reversed_in_the_erp_after_the_signature_holds_it_before_anything_is_sent(house):
    make_payout(house)
    before = journals(house)
    reverse("payout_to_erp", reposts=False)
    reverse_by_hand(house, own("payout_to_erp"))
    house.carry()
    assert house.held() == ["plan_moved"]
    assert journals(house) == before


def reverse_by_hand(house, txn) -> None:
    """Somebody gives the journal a reversal date in NetSuite, which makes its reversing entry."""
    day = AccountingPeriod.objects.filter(
        subsidiary__legal_entity__code="GB01", code__gt=txn.period_code, is_ledger_open=True
    ).order_by("start_date")[0]
    change = {"reversalDate": day.start_date.isoformat()}
    answer = Client(house.sandboxes).send("PATCH", f"journalEntry/{txn.target_id}", change)
    assert answer.status_code == 204, answer.text
