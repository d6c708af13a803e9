"""A customer's balance at Stripe: credit that is used, debt that is collected, and what a voided invoice gives back."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.stripe.balances import balance_entries, collected_debts, uses_balance


def ledger(*rows: tuple) -> list[dict]:
    """Entries, oldest first: amount, invoice or credit note, type."""
    found = []
    for number, (amount, about, *kind) in enumerate(rows):
        is_note = about.startswith("cn")
        used = "credit_note" if is_note else "applied_to_invoice" if about else "adjustment"
        found.append(
            {
                "id": f"cbtxn_{number}", "amount": amount, "currency": "gbp", "customer": "cus_1",
                "created": 1772323205, "type": kind[0] if kind else used,
                "invoice": None if is_note else about or None, "credit_note": about if is_note else None,
            }
        )  # fmt: skip
    return found


SMALL, BACK = "invoice_too_small", "unapplied_from_invoice"


@pytest.mark.parametrize(
    ("rows", "invoice", "entries", "debts"),
    [
        ([(30, ""), (-30, "in_2"), (-5000, "cn"), (5000, "in_3")], "in_3", [("cn", "50.00", "")], []),
        ([(30, ""), (-30, "in_2"), (-5000, "cn"), (5000, "in_3")], "in_2", [], [("", "0.30")]),
        ([(30, "in_1", SMALL), (-30, "in_2"), (-5000, "cn"), (5000, "in_3")], "in_2", [], [("in_1", "0.30")]),
        ([(30, "in_1", SMALL), (20, "in_2", SMALL), (-50, "in_3")], "in_3", [], [("in_1", "0.30"), ("in_2", "0.20")]),
        ([(30, "in_1", SMALL), (-5000, "cn"), (4970, "in_2")], "in_2", [("cn", "49.70", "")], []),
        ([(-4000, "cn"), (4000, "in_1"), (-4000, "in_1", BACK), (4000, "in_2")], "in_2", [("cn", "40.00", "in_1")], []),
        ([(-4000, "cn"), (4000, "in_1"), (-4000, "in_1", BACK)], "in_1", [("cn", "40.00", "")], []),
        (
            [(30, "in_1", SMALL), (-30, "in_2"), (30, "in_2", BACK), (-30, "in_3")],
            "in_3", [], [("in_1", "0.30")],
        ),
        (
            [(-1000, "cn_a"), (-3000, "cn_b"), (2500, "in_1"), (1500, "in_2")],
            "in_1", [("cn_a", "10.00", ""), ("cn_b", "15.00", "")], [],
        ),
    ],
)  # fmt: skip
def test_each_part_of_the_balance_is_what_its_ledger_says(rows, invoice, entries, debts):
    raws = ledger(*rows)
    used = balance_entries(raws, invoice, "stripe")
    assert [(e.from_id, str(e.amount), e.given_back_by) for e in used] == entries
    assert [(d.invoice_id, str(d.amount)) for d in collected_debts(raws, invoice)] == debts


def test_parts_of_one_entry_have_ids_of_their_own():
    used = balance_entries(ledger((-1000, "cn_a"), (-3000, "cn_b"), (2500, "in_1")), "in_1", "stripe")
    assert [entry.source.object_id for entry in used] == ["cbtxn_2", "cbtxn_2-1"]
    assert sum(entry.amount for entry in used) == Decimal(25)


@pytest.mark.parametrize(
    ("start", "end", "uses"),
    [(-4000, 0, True), (-4000, -1000, True), (30, 0, True), (0, 30, False), (0, -30, False), (-40, -90, False),
     (None, None, False)],
)  # fmt: skip
def test_an_invoice_that_moved_its_balance_towards_zero_used_or_collected_it(start, end, uses):
    assert uses_balance({"starting_balance": start, "ending_balance": end}) is uses
