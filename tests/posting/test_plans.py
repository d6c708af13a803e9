"""Both plans are computed from what exists alone: what moves, on which day, and entries that come to zero."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from q2c.canonical.base import Source
from q2c.canonical.posting import ArCreditMemo, ArInvoice, JournalLine
from q2c.canonical.unwinding import Unwinding
from q2c.core.problems import Problem
from q2c.posting import plans
from q2c.posting import unwinding as rules
from q2c.posting.facts import ItemUse
from q2c.posting.plans import Going, Holder, Posted

TOTAL = Decimal("120.00")


def posted(is_open=True, open_amount="120.00", holders=(), **facts) -> Posted:
    return Posted(
        number="INV-1", document="501", currency="GBP", total=TOTAL, open_amount=Decimal(open_amount),
        dated=dt.date(2026, 10, 12), period="Oct 2026", is_open=is_open, holders=tuple(holders),
        next_day=dt.date(2026, 11, 1), next_period="Nov 2026", **facts,
    )  # fmt: skip


def receipt(amount: str, is_open: bool | None = True) -> Holder:
    return Holder("receipt", "901", Decimal(amount), "Oct 2026", is_open, "PYMT1")


def unwinding(found: Posted, *, reposts: bool = True) -> Unwinding:
    day, _ = plans.choose_day(found)
    return Unwinding(
        source=Source(connection="stripe", object_type="unwinding", object_id="in_1-1"), generation=1,
        invoice_id="in_1", invoice_number="INV-1", customer_id="cus_1", customer_name="Northwind",
        legal_entity="GB01", erp="netsuite", erp_invoice="501", currency="GBP", total=TOTAL,
        open_amount=found.open_amount, on=day, reposts=reposts, settled=plans.choose_settlements(found),
    )  # fmt: skip


def document(kind, debit: str, credit: str, **facts):
    journal = (JournalLine(account=debit, debit=TOTAL), JournalLine(account=credit, credit=TOTAL))
    day = dt.date(2026, 10, 12)
    return kind(
        external_id="x", number="INV-1-U1", customer="7", subsidiary="2", currency="1", currency_code="GBP",
        document_date=day, posting_date=day, period="10", lines=(), total=TOTAL, journal=journal, **facts,
    )  # fmt: skip


MEMO, AGAIN = document(ArCreditMemo, "wrong", "AR"), document(ArInvoice, "AR", "right")


def test_it_posts_on_its_own_day_while_its_period_is_open_and_else_on_the_first_of_the_next():
    assert plans.choose_day(posted()) == (dt.date(2026, 10, 12), "Oct 2026")
    assert plans.choose_day(posted(is_open=False)) == (dt.date(2026, 11, 1), "Nov 2026")


@pytest.mark.parametrize(
    ("holder", "steps", "open_then", "left"),
    [
        (None, ["post_credit_memo", "post_invoice"], "120.00", "0.00"),
        (receipt("50.00"), ["apply_payment", "post_credit_memo", "post_invoice", "apply_payment"], "120.00", "0.00"),
        (receipt("50.00", False), ["post_credit_memo", "post_invoice", "apply_credit_memo"], "70.00", "50.00"),
        (receipt("120.00", None), ["post_credit_memo", "post_invoice", "apply_credit_memo"], "0.00", "120.00"),
    ],
)
def test_what_stands_in_a_closed_period_isnt_touched_and_the_credit_memo_settles_the_new_one(
    holder, steps, open_then, left
):
    holders = [holder] if holder else []
    found = posted(open_amount=str(TOTAL - sum(row.amount for row in holders)), holders=holders)
    asked = unwinding(found)
    plan = plans.plan_unwinding(asked, MEMO, AGAIN, period="Oct 2026")
    assert [step.verb for step in plan.steps] == steps
    assert (asked.open_then, asked.credit_left) == (Decimal(open_then), Decimal(left))
    assert sum(row.amount for row in rules.applied_back(asked)) == Decimal(open_then)
    into = rules.settling_of(asked, reposted="502", credit_memo="801")
    settled = sum((row.apply_to[0].amount for row in into.applications), Decimal(0)) if into else Decimal(0)
    assert settled == TOTAL - found.open_amount
    assert plan.is_balanced
    assert plan.net == {"right": -TOTAL, "wrong": TOTAL}
    assert plans.by_class(plan.net, {"wrong": "asset", "right": "revenue"}) == {"result": TOTAL, "balance": TOTAL}


def test_what_is_not_posted_again_ends_with_what_a_person_does_at_the_source():
    by_hand = plans.Step("Void INV-1 in Stripe", does=plans.PERSON)
    plan = plans.plan_unwinding(unwinding(posted(), reposts=False), MEMO, None, period="Oct 2026", source=by_hand)
    assert [(step.verb, step.does) for step in plan.steps] == [("post_credit_memo", "portal"), ("", "person")]
    assert plan.net == {"AR": -TOTAL, "wrong": TOTAL}


def test_it_says_why_nothing_can_be_taken_back():
    assert "GBP 20.00 of INV-1 is settled by something" in plans.why_not_unwound(posted(open_amount="100.00"))
    closed = Posted(**{**vars(posted(is_open=False)), "next_day": None, "next_period": ""})
    assert plans.why_not_unwound(closed).startswith("Oct 2026 is closed for receivables, and no later period")
    assert "under way" in plans.why_not_unwound(posted(), has_successor=True)
    assert plans.why_not_unwound(posted()) == ""


MEMO_OF_20 = Holder("credit_memo", "801", Decimal("20.00"), "Oct 2026", True)
VOID_IT = "twice. Void it in billing: its void takes back what is left."
BY_HAND = "GBP 20.00 of INV-1 is settled by a credit memo that isn’t of billing"


@pytest.mark.parametrize(
    ("holders", "is_credited", "reposts", "says"),
    [
        ([MEMO_OF_20], True, False, VOID_IT),
        ([], True, False, VOID_IT),  # taken off by hand in the ERP, or given after it was paid
        ([MEMO_OF_20], False, False, BY_HAND),  # a write-off
        ([MEMO_OF_20], True, True, ""),  # it settles what is posted again
        ([receipt("20.00")], False, False, ""),
    ],
)
def test_what_was_credited_before_isnt_credited_again_by_taking_it_back_for_good(holders, is_credited, reposts, says):
    found = posted(open_amount=str(TOTAL - sum(row.amount for row in holders)), holders=holders)
    why_not = plans.why_not_unwound(found, reposts=reposts, is_credited=is_credited)
    assert (says in why_not) if says else why_not == ""


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ("0.0", "GBP 120.00 of INV-1 was to be open in the ERP, and GBP 0.00 is open"),
        ("1120", "GBP 120.00 of INV-1 was to be open in the ERP, and GBP 1,120.00 is open"),
        (None, "GBP 120.00 of INV-1 was to be open in the ERP, and nobody can say what is open"),
    ],
)
def test_what_is_open_in_the_erp_is_said_to_the_currencys_places(found, says):
    with pytest.raises(Problem) as told:
        rules.check_open(unwinding(posted()), Decimal("120.000000"), None if found is None else Decimal(found))
    assert told.value.summary == says


def test_forward_names_what_each_lacks_and_says_when_nothing_has_to_go_on():
    held = Going("Payment P-1", "held", "held", "No mapping for currency KWD")
    plan = plans.plan_forward("INV-1", [held], items=["QB-API: A becomes B"], is_posted=True)
    assert [step.title for step in plan.steps] == [
        "Payment P-1", "INV-1 stays as it is, until it’s taken back and posted again",
    ]  # fmt: skip
    assert plan.steps[0].needs == ("No mapping for currency KWD",)
    nothing = plans.plan_forward("INV-1", [], items=[], is_posted=True)
    assert nothing.why_not.endswith("If it’s booked wrongly, change the mapping first.")


def entry(debit: str, credit: str, amount: str):
    return JournalLine(account=debit, debit=Decimal(amount)), JournalLine(account=credit, credit=Decimal(amount))


CLASSES = {"netsuite": {"rev": "revenue", "fees": "expense", "AR": "receivable", "bank": "bank"}}
INVOICE = (("Nov 2026", entry("AR", "rev", "100.05")),)
CREDIT = (("Nov 2026", entry("rev", "AR", "33.34")),)
PAYOUT = (("Nov 2026", entry("fees", "bank", "0.01")),)
ACCRUAL = (("Oct 2026", entry("AR", "rev", "9.99")), ("Nov 2026", plans.turned(entry("AR", "rev", "9.99"))))


def goes(*entries, would="posts", currency="GBP", **facts):
    return Going("It", "held", would, "", system="netsuite", currency=currency, entries=entries, **facts)


@pytest.mark.parametrize(
    ("going", "effects", "uncounted"),
    [
        ([goes(*INVOICE)], [("Nov 2026", "GBP", "100.05", {"AR": "100.05", "rev": "-100.05"})], 0),
        ([goes(*INVOICE), goes(*CREDIT), goes(*PAYOUT)],
         [("Nov 2026", "GBP", "66.70", {"AR": "66.71", "bank": "-0.01", "fees": "0.01", "rev": "-66.71"})], 0),
        ([goes(*INVOICE), goes(*CREDIT, currency="EUR")],
         [("Nov 2026", "GBP", "100.05", {"AR": "100.05", "rev": "-100.05"}),
          ("Nov 2026", "EUR", "-33.34", {"AR": "-33.34", "rev": "33.34"})], 0),
        ([goes(*ACCRUAL)], [("Oct 2026", "GBP", "9.99", {"AR": "9.99", "rev": "-9.99"}),
                            ("Nov 2026", "GBP", "-9.99", {"AR": "-9.99", "rev": "9.99"})], 0),
        ([goes(would="held", is_uncounted=True), goes(*PAYOUT)],
         [("Nov 2026", "GBP", "-0.01", {"bank": "-0.01", "fees": "0.01"})], 1),
    ],
)  # fmt: skip
def test_going_on_has_a_period_and_an_effect_as_taking_back_has_to_the_cent(going, effects, uncounted):
    plan = plans.plan_forward("INV-1", going, items=None, is_posted=False)
    assert [
        (row.period, row.currency, str(row.result), {a: str(n) for a, n in row.net.items()})
        for row in plans.effects_of(plan.steps, CLASSES)
    ] == effects
    assert (plan.is_balanced, len(plan.uncounted)) == (True, uncounted)


@pytest.mark.parametrize(
    ("state", "would", "says", "effect", "needs"),
    [
        ("held", "posts", "", "It would post now.", ()),
        ("held", "posts", "with the day's summary", "It would post now, with the day's summary.", ()),
        ("waiting", "posts", "", "It’s waiting, and then posts.", ()),
        ("waiting", "waits", "the invoice in the ERP", "It’s waiting.", ("the invoice in the ERP",)),
        ("held", "held", "No mapping", "It’s held.", ("No mapping",)),
        ("unknown", "", "", "It’s unknown.", ()),
    ],
)
def test_each_step_forward_says_what_becomes_of_it_and_what_it_lacks(state, would, says, effect, needs):
    (step,) = plans.plan_forward("INV-1", [Going("It", state, would, says)], items=None, is_posted=False).steps
    assert (step.effect, step.needs) == (effect, needs)


def test_a_sku_that_todays_mappings_book_otherwise_is_named_with_both_accounts():
    then, now = ItemUse(item="1", label="Goods", income_account="a"), ItemUse(item="2", income_account="b")
    same = {"POST": then}
    assert plans.differing_items({"X": then, **same}, {"X": now, **same}, {"a": "4150 Goods"}) == [
        "X: Goods on 4150 Goods becomes 2 on b"
    ]


def test_other_lines_than_those_signed_for_are_refused_and_other_dates_arent():
    asked = unwinding(posted())
    agreed = Unwinding(**{f: getattr(asked, f) for f in asked.__struct_fields__} | {
        "agreed": rules.lines_hash(MEMO, AGAIN)})  # fmt: skip
    later = document(ArCreditMemo, "wrong", "AR", memo="posted late")
    assert rules.check_agreed(agreed, later, AGAIN)
    with pytest.raises(Problem) as told:
        rules.check_agreed(agreed, MEMO, None)
    assert told.value.code == "plan_moved"
