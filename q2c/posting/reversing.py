"""What takes a posted journal back: its opposite, line by line, and how that changes the ledger. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import structs

from q2c.canonical.posting import Journal, JournalLine, PostedDocument
from q2c.canonical.unwinding import Reversal, Reversed
from q2c.core.ids import external_id
from q2c.core.money import ZERO, spoken_money
from q2c.core.problems import Category, Problem
from q2c.posting.plans import Plan, Step, by_account, turned

TAKEN_BACK, POSTED_AGAIN, MADE_OF_IT = "rev", "re", "rvo"  # of the external ids
LATER = ("failed", "won")  # movements that take an earlier one of the same object back by themselves


def named(prefix: str, *, connection: str, name: str) -> str:
    """The external id of what a decision (`name`) posts."""
    return external_id(prefix, source=connection, object_id=name)


def opposite_of(
    journal: Journal, *, external_id: str, on: dt.date, period: str, memo: str, rate: Decimal | None = None
) -> Journal:
    """The journal with its sides exchanged: the same accounts, amounts, currency and dimensions, of another day."""
    return structs.replace(
        journal, external_id=external_id, posting_date=on, period=period, memo=memo[:999], lines=turned(journal.lines),
        exchange_rate=rate, reversal_date=None,
    )  # fmt: skip


def posted_again(
    journal: Journal, *, external_id: str, reason: str, rate: Decimal | None = None
) -> Journal:  # fmt: skip
    """The journal as today's mappings make it, under an external id of its own and at the rate of the first, so that no
    gain or loss comes of it."""
    memo = f"{journal.memo}, posted again: {reason}"[:999]
    return structs.replace(journal, external_id=external_id, memo=memo, exchange_rate=rate or journal.exchange_rate)


def is_opposite(opposite: Journal, held: Iterable[JournalLine]) -> bool:
    """Whether this takes exactly that back which the ERP holds, account by account with their dimensions."""
    both: dict[tuple[str, ...], Decimal] = {}
    for line in (*opposite.lines, *held):
        place = (line.account, line.department, line.class_, line.location, line.customer)
        both[place] = both.get(place, ZERO) + line.debit - line.credit
    return not any(both.values())


def why_not_as_agreed(taken: Reversed, held: PostedDocument, lines: Iterable[JournalLine], made_of_it: str) -> str:
    """What the ERP holds otherwise of a journal than what would be taken back, as a sentence; empty where nothing.
    `made_of_it` is the entry of the ERP's own that stands against it, as we know it."""
    name = f"journal {held.number or taken.number or taken.document}"
    if not held.is_in_ledger:
        return f"the ERP’s ledger doesn’t have {name} yet"
    if held.reversal != made_of_it:
        if held.reversal:
            return f"{name} was reversed in the ERP already, by its journal {held.reversal}"
        return f"what took {name} back isn’t there any more"
    if held.total is not None and held.total != taken.opposite.total:
        total = spoken_money(held.total, taken.opposite.currency_code)
        return f"{name} is over {total} there"
    if not is_opposite(taken.opposite, lines):
        return f"{name} has other lines there than we posted"
    return ""


def moved(reversal: Reversal, summary: str) -> Problem:
    """What people agreed on isn't there any more."""
    return Problem(
        "plan_moved",
        Category.CONFLICT,
        summary[:1].upper() + summary[1:],
        connection=reversal.source.connection,
        document=reversal.object_id,
    )


def plan_reversal(reversal: Reversal, periods: Mapping[str, str], *, hint: str = "") -> Plan:
    """The steps that take a journal back, and those that post it again. `periods` are their names by the ERP's id;
    `hint` says what takes it back without a plan."""
    steps, erp, money = [], reversal.erp, reversal.currency
    if (second := reversal.made_of_it) is not None:
        steps.append(_reverse(second, erp, money, periods, "It took the accrual back; nothing is left to take back."))
    effect = f"The same accounts with their sides exchanged, at the same rate. {hint}".strip()
    steps.append(_reverse(reversal.journal, erp, money, periods, effect))
    if (again := reversal.again) is not None:
        steps.append(
            Step(
                f"Post {inside(reversal.name)} again over {spoken_money(again.total, money)}", erp, "post_journal",
                periods.get(again.period, ""), again.lines, "As a new journal, by today’s mappings.", currency=money,
            )
        )  # fmt: skip
        if again.reversal_date is not None:
            period = next((name for i, name in periods.items() if second and i == second.opposite.period), "")
            title = f"Take that back on {again.reversal_date:%-d %B %Y}"
            effect = "The ERP does it by itself, in the same act."
            steps.append(Step(title, erp, "post_journal", period, turned(again.lines), effect, currency=money))
    net = by_account(line for step in steps for line in step.journal)
    return Plan(tuple(steps), net=net)


def inside(name: str) -> str:
    """A name inside a sentence."""
    return name[:1].lower() + name[1:]


def _reverse(taken: Reversed, erp: str, money: str, periods: Mapping[str, str], effect: str) -> Step:
    opposite = taken.opposite
    title = f"Reverse journal {taken.number or taken.document} over {spoken_money(opposite.total, money)}"
    return Step(
        f"{title} on {opposite.posting_date:%-d %B %Y}", erp, "reverse", periods.get(opposite.period, ""),
        opposite.lines, effect, currency=money,
    )  # fmt: skip
