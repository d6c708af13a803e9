"""A reversing journal is the opposite to the cent, and posts only against what the ERP holds as people saw it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from msgspec import structs

from q2c.canonical.posting import Journal, JournalLine, PostedDocument
from q2c.canonical.unwinding import Reversed
from q2c.posting import plans
from q2c.posting import reversing as rules

DAY = dt.date(2026, 9, 14)
LINES = (
    JournalLine(account="11", debit=Decimal("96.80"), department="3", memo="Payout"),
    JournalLine(account="61", debit=Decimal("3.20")),
    JournalLine(account="12", credit=Decimal(100)),
)
JOURNAL = Journal(
    external_id="po-stripe-po_1", subsidiary="2", currency="1", currency_code="EUR", posting_date=DAY, period="109",
    lines=LINES, memo="Payout po_1", reversal_date=dt.date(2026, 10, 1),
)  # fmt: skip
OPPOSITE = rules.opposite_of(
    JOURNAL, external_id="rev-stripe-po_1-1", on=dt.date(2026, 10, 1), period="110", memo="Reverses journal JE7",
    rate=Decimal("0.86"),
)  # fmt: skip
TAKEN = Reversed(document="901", number="JE7", opposite=OPPOSITE)
HELD = PostedDocument(document_type="journal", id="901", external_id="x", number="JE7", total=Decimal(100))


def test_the_opposite_has_the_same_accounts_amounts_and_dimensions_with_their_sides_exchanged():
    assert [(x.account, x.debit, x.credit, x.department, x.memo) for x in OPPOSITE.lines] == [
        ("11", Decimal(0), Decimal("96.80"), "3", "Payout"),
        ("61", Decimal(0), Decimal("3.20"), "", ""),
        ("12", Decimal(100), Decimal(0), "", ""),
    ]
    assert plans.by_account((*JOURNAL.lines, *OPPOSITE.lines)) == {}
    assert (OPPOSITE.total, OPPOSITE.currency, OPPOSITE.subsidiary) == (JOURNAL.total, "1", "2")
    assert (OPPOSITE.posting_date, OPPOSITE.period, OPPOSITE.reversal_date) == (dt.date(2026, 10, 1), "110", None)
    assert (OPPOSITE.exchange_rate, OPPOSITE.external_id) == (Decimal("0.86"), "rev-stripe-po_1-1")


def changed(**fields) -> PostedDocument:
    return structs.replace(HELD, **fields)


OTHER_ACCOUNT = (structs.replace(LINES[0], account="99"), *LINES[1:])
OTHER_DEPARTMENT = (structs.replace(LINES[0], department="4"), *LINES[1:])


@pytest.mark.parametrize(
    ("held", "lines", "against", "says"),
    [
        (HELD, LINES, "", ""),
        (HELD, tuple(reversed(LINES)), "", ""),
        (changed(reversal="950"), LINES, "950", ""),  # an accrual: the ERP's own opposite is part of the plan
        (changed(reversal="950"), LINES, "", "was reversed in the ERP already, by its journal 950"),
        (HELD, LINES, "950", "what took journal JE7 back isn’t there any more"),
        (changed(is_in_ledger=False), LINES, "", "the ERP’s ledger doesn’t have journal JE7 yet"),
        (changed(total=Decimal(90)), LINES, "", "journal JE7 is over EUR 90.00 there"),
        (HELD, OTHER_ACCOUNT, "", "journal JE7 has other lines there than we posted"),
        (HELD, OTHER_DEPARTMENT, "", "journal JE7 has other lines there than we posted"),
        (HELD, (), "", "journal JE7 has other lines there than we posted"),
    ],
)
def test_what_the_erp_holds_otherwise_is_said_and_nothing_is_reversed(held, lines, against, says):
    assert says in rules.why_not_as_agreed(TAKEN, held, lines, against)
    assert bool(rules.why_not_as_agreed(TAKEN, held, lines, against)) is bool(says)


def step(journal, *, period="Sep 2026", system="netsuite", currency="GBP", is_done=False) -> plans.Step:
    return plans.Step("Take it back", system, "look", period, journal, currency=currency, is_done=is_done)


def test_what_steps_change_is_summed_by_erp_period_and_currency_without_what_is_done():
    sale = (JournalLine(account="11", credit=Decimal(120)), JournalLine(account="40", debit=Decimal(120)))
    classes = {"netsuite": {"40": "revenue", "61": "expense"}, "other": {"40": "asset"}}
    found = plans.effects_of(
        [step(sale), step(sale, period="Oct 2026"), step(sale, currency="EUR"), step(sale, system="other"), step(sale),
         step(sale, period="Nov 2026", is_done=True), step(())],
        classes,
    )  # fmt: skip
    assert [(row.system, row.period, row.currency, dict(row.net), row.result) for row in found] == [
        ("netsuite", "Sep 2026", "GBP", {"11": Decimal(-240), "40": Decimal(240)}, Decimal(-240)),
        ("netsuite", "Oct 2026", "GBP", {"11": Decimal(-120), "40": Decimal(120)}, Decimal(-120)),
        ("netsuite", "Sep 2026", "EUR", {"11": Decimal(-120), "40": Decimal(120)}, Decimal(-120)),
        ("other", "Sep 2026", "GBP", {"11": Decimal(-120), "40": Decimal(120)}, Decimal(0)),
    ]
