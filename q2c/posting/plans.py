"""Two ways out of a chain that stopped half way, computed from what exists: forward, and back. Pure.

Nothing here asks a system or decides: whoever looks hands over what stands where, and people decide.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial

from msgspec import structs

from q2c.canonical.posting import ArCreditMemo, ArInvoice, JournalLine
from q2c.canonical.unwinding import SettledBy, Unwinding
from q2c.core.money import ZERO, spoken_money
from q2c.posting.facts import ItemUse

PORTAL, PERSON = "portal", "person"  # who carries a step out
RESULT = ("revenue", "expense")  # the classes of accounts that a period's result is made of


@dataclass(frozen=True)
class Holder:
    """A receipt or credit memo that settles a part of an invoice. `is_open` says whether the period that it stands in
    still takes entries of receivables; None where nobody knows the period."""

    kind: str  # receipt, credit_memo
    document: str  # the ERP's id
    amount: Decimal
    period: str
    is_open: bool | None
    number: str = ""


@dataclass(frozen=True)
class Posted:
    """A posted invoice as the ERP has it. Amounts in its currency; `next_day` and `next_period` are the first day and
    the name of the next period that is open for receivables, empty where none is."""

    number: str
    document: str
    currency: str
    total: Decimal
    open_amount: Decimal
    dated: dt.date
    period: str
    is_open: bool
    holders: tuple[Holder, ...]
    next_day: dt.date | None = None
    next_period: str = ""

    @property
    def unexplained(self) -> Decimal:
        """What of it is settled by something that we don't know; zero where all is known."""
        return self.total - self.open_amount - sum((row.amount for row in self.holders), ZERO)


@dataclass(frozen=True)
class Step:
    """One step of a plan: what is done, in which system, by which verb of it, and what it changes. `journal` is what
    the ledger will hold of it; `needs` what must be so before; `does` who carries it out."""

    title: str
    system: str = ""
    verb: str = ""
    period: str = ""
    journal: tuple[JournalLine, ...] = ()
    effect: str = ""
    needs: tuple[str, ...] = ()
    does: str = PORTAL
    link: str = ""
    is_done: bool = False
    currency: str = ""  # of its entry


@dataclass(frozen=True)
class Effect:
    """What the steps of a plan that are still to be done change in one period of one ERP, in one currency. `net` is by
    account, a debit positive; `result` is that of the period's result, where income is positive."""

    system: str
    period: str
    currency: str
    net: Mapping[str, Decimal]
    result: Decimal = ZERO


@dataclass(frozen=True)
class Plan:
    """Ordered steps, or why there are none. `net` is what they change together by account; a debit is positive.
    `uncounted` names what would post something of which nobody can say yet what it is."""

    steps: tuple[Step, ...] = ()
    why_not: str = ""
    net: Mapping[str, Decimal] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()

    @property
    def is_balanced(self) -> bool:
        """Whether every step's entry, and so their sum, comes to zero."""
        return all(not sum((row.debit - row.credit for row in step.journal), ZERO) for step in self.steps)


@dataclass(frozen=True)
class Going:
    """A transaction that isn't at its end: what it would do now, and what it lacks. `entries` are what it would post,
    each with its period; `is_uncounted` where it would post something and nobody can say yet what."""

    title: str
    state: str
    would: str  # posts, waits, held, ends; empty where nobody tried
    says: str
    link: str = ""
    system: str = ""
    currency: str = ""
    entries: tuple[tuple[str, tuple[JournalLine, ...]], ...] = ()
    is_uncounted: bool = False


def choose_day(posted: Posted) -> tuple[dt.date | None, str]:
    """The day and period of what takes it back: its own while they are open, else the first day of the next open
    period; None where there's none."""
    return (posted.dated, posted.period) if posted.is_open else (posted.next_day, posted.next_period)


def choose_settlements(posted: Posted) -> tuple[SettledBy, ...]:
    """What settles the invoice, and whether it moves: only what stands in an open period is touched. What stands in a
    closed one keeps the old invoice settled, and the credit memo settles the new one in its place."""
    return tuple(
        SettledBy(
            kind="receipt" if row.kind == "receipt" else "credit_memo", document=row.document, number=row.number,
            amount=row.amount, moves=row.is_open is True,
        )
        for row in posted.holders
    )  # fmt: skip


def why_not_unwound(
    posted: Posted, *, reposts: bool = True, is_credited: bool = False, has_successor: bool = False
) -> str:  # fmt: skip
    """Why the invoice can't be taken back by a plan, as a sentence; empty where it can. One that isn't posted again is
    credited over all of it, so nothing of it may be credited before (`is_credited`: by a credit note of billing)."""
    if has_successor:
        return f"A plan about {posted.number} is under way already."
    if not reposts and is_credited:
        return (
            f"A credit note took back a part of {posted.number} already, and taking it back for good would credit that "
            "part twice. Void it in billing: its void takes back what is left."
        )
    credited = sum((row.amount for row in posted.holders if row.kind == "credit_memo"), ZERO)
    if not reposts and credited:
        return (
            f"{spoken_money(credited, posted.currency)} of {posted.number} is settled by a credit memo that isn’t of "
            "billing, and taking it back for good would credit that part twice. Take the credit memo back in the ERP "
            "first."
        )
    if posted.unexplained:
        return (
            f"{spoken_money(posted.unexplained, posted.currency)} of {posted.number} is settled by something in the "
            "ERP that we don’t know. Look there, and take it off by hand first."
        )
    if choose_day(posted)[0] is None:
        return f"{posted.period} is closed for receivables, and no later period is open in the ERP’s own list."
    return ""


def plan_unwinding(
    unwinding: Unwinding, posting: ArCreditMemo, reposting: ArInvoice | None, *, period: str, source: Step | None = None
) -> Plan:
    """The steps that take a posted invoice back, in reverse order of how they came, and those that post it again.
    `source` is what a person does where the invoice was made, when it isn't posted again."""
    money, number = partial(spoken_money, currency=unwinding.currency), unwinding.invoice_number
    steps = [
        Step(
            f"Take {_named(row)} off {number}", unwinding.erp, _verb(row),
            effect=f"{money(row.amount)} of it is on account, and as much of {number} is open; no entry in "
            "the ledger unless a rate moved.",
        )
        for row in unwinding.moving
    ]  # fmt: skip
    steps.append(
        Step(
            f"Post credit memo {posting.number} over {money(posting.total)}", unwinding.erp, "post_credit_memo",
            period, posting.journal, _credit_effect(unwinding),
            needs=(f"{money(unwinding.open_then)} of {number} is open then",), currency=unwinding.currency,
        )
    )  # fmt: skip
    if reposting is not None:
        steps.append(
            Step(
                f"Post {number} again over {money(reposting.total)}", unwinding.erp, "post_invoice", period,
                reposting.journal, "It keeps its number and its own date, and goes by today’s mappings.",
                currency=unwinding.currency,
            )
        )  # fmt: skip
        steps += [
            Step(f"Apply {_named(row)} to the new {number}", unwinding.erp, _verb(row),
                 effect=f"{money(row.amount)} of the new invoice is settled.")
            for row in unwinding.moving
        ]  # fmt: skip
        if left := unwinding.credit_left:
            steps.append(
                Step(f"Apply {posting.number} to the new {number}", unwinding.erp, "apply_credit_memo",
                     effect=f"{money(left)} of the new invoice is settled.")
            )  # fmt: skip
    elif source is not None:
        steps.append(source)
    postings: list[ArCreditMemo | ArInvoice] = [posting, *([reposting] if reposting is not None else [])]
    return Plan(tuple(steps), net=by_account(line for made in postings for line in made.journal))


def plan_order_back(
    order: str, *, subscription: Step, invoices: Sequence[Step], is_ended: bool, sale: Step
) -> Plan:  # fmt: skip
    """The steps that take back what an order became, in reverse order of how it came: what was billed, then what
    billing goes on billing by, then the sale. Each invoice is taken back by its own plan before anything is ended."""
    if is_ended and all(step.is_done for step in invoices):
        return Plan(why_not=f"What {order} became is ended in billing, and nothing of it stands in an ERP.")
    return Plan((*invoices, replace(subscription, is_done=is_ended), sale))


def plan_forward(
    number: str, going: Iterable[Going], *, items: Sequence[str] | None, is_posted: bool, held: str = ""
) -> Plan:
    """What goes on from here without taking anything back: each transaction that isn't at its end, and what it lacks.

    `items` are the lines that today's mappings would book otherwise (None: nobody could try, and `held` says why).
    """
    going = list(going)
    steps = [step for row in going for step in _going_steps(row)]
    if is_posted and items:
        steps.append(
            Step(
                f"{number} stays as it is, until it’s taken back and posted again",
                effect="; ".join(items) + ".",
                needs=("The unwinding beside this, with posting it again: a posted document is never edited",),
                does=PERSON,
            )
        )
    elif is_posted and held:
        steps.append(Step(f"Have {number} mapped so that it can be posted again", needs=(held,), does=PERSON))
    if steps:
        net = by_account(line for step in steps for line in step.journal)
        return Plan(tuple(steps), net=net, uncounted=tuple(row.title for row in going if row.is_uncounted))
    if is_posted:
        return Plan(
            why_not=f"{number} is posted, and today’s mappings would post it as it is. Nothing has to go on. If it’s "
            "booked wrongly, change the mapping first."
        )
    return Plan(why_not="Nothing of this journey waits or is held.")


def _going_steps(row: Going) -> list[Step]:
    """What one of them does from here: a step for each entry that it would post, or one without any."""
    does = f"It’s {row.state}."
    if row.would == "posts":
        also = f", {row.says}" if row.says else ""
        does = f"It would post now{also}." if row.state == "held" else f"It’s {row.state}, and then posts{also}."
    needs = () if row.would in ("posts", "") else (row.says,)
    first, *more = row.entries or (("", ()),)
    steps = [Step(row.title, row.system, period=first[0], journal=first[1], effect=does, needs=needs, does=PERSON,
                  link=row.link, currency=row.currency)]  # fmt: skip
    return steps + [
        Step(f"The next entry of {row.title}", row.system, period=period, journal=journal,
             effect="It posts with the one before.", does=PERSON, link=row.link, currency=row.currency)
        for period, journal in more
    ]  # fmt: skip


def differing_items(before: Mapping[str, ItemUse], now: Mapping[str, ItemUse], names: Mapping[str, str]) -> list[str]:
    """The SKUs that today's mappings book otherwise, each as "QB-API: item 12, account 4000, becomes item 13, account
    4100". `names` are the ERP's accounts by id."""
    found = []
    for sku, then in sorted(before.items()):
        today = now.get(sku)
        if today is not None and then != today:
            found.append(f"{sku}: {_use(then, names)} becomes {_use(today, names)}")
    return found


def turned(journal: Iterable[JournalLine]) -> tuple[JournalLine, ...]:
    """What takes these lines back: the same with their sides exchanged."""
    return tuple(structs.replace(line, debit=line.credit, credit=line.debit) for line in journal)


def by_account(lines: Iterable[JournalLine]) -> dict[str, Decimal]:
    """What lines change by account; a debit is positive. What comes to nothing is left out."""
    sums: dict[str, Decimal] = {}
    for line in lines:
        sums[line.account] = sums.get(line.account, ZERO) + line.debit - line.credit
    return {account: amount for account, amount in sorted(sums.items()) if amount}


def effects_of(steps: Iterable[Step], classes: Mapping[str, Mapping[str, str]]) -> tuple[Effect, ...]:
    """What steps change, period by period, as they come; those that are done change nothing any more. `classes` are
    each ERP's accounts with what they mean."""
    journals: dict[tuple[str, str, str], list[JournalLine]] = {}
    for step in steps:
        if step.journal and not step.is_done:
            journals.setdefault((step.system, step.period, step.currency), []).extend(step.journal)
    found = []
    for (system, period, currency), lines in journals.items():
        changed = by_account(lines)
        result = by_class(changed, classes.get(system, {}))["result"]
        found.append(Effect(system, period, currency, changed, result))
    return tuple(found)


def by_class(net: Mapping[str, Decimal], classes: Mapping[str, str]) -> dict[str, Decimal]:
    """What a plan changes by what it means: receivables and what else is owed (`balance`), and the period's result,
    where income is positive."""
    result = -sum((amount for account, amount in net.items() if classes.get(account) in RESULT), ZERO)
    return {"result": result, "balance": sum(net.values(), ZERO) + result}


def _credit_effect(unwinding: Unwinding) -> str:
    money = unwinding.currency
    if not unwinding.credit_left:
        return f"{unwinding.invoice_number} is settled by it."
    then = unwinding.open_then
    settled = f"{spoken_money(then, money)} of it settles {unwinding.invoice_number}" if then else ""
    rest = f"{spoken_money(unwinding.credit_left, money)} stays on account" + (
        " until the new invoice is there" if unwinding.reposts else ": give it back or use it up in billing"
    )
    closed = "what settles the rest stands in a closed period and isn’t touched"
    return "; ".join(part for part in (settled, rest, closed) if part) + "."


def _verb(row: SettledBy) -> str:
    return "apply_payment" if row.kind == "receipt" else "apply_credit_memo"


def _named(row: SettledBy) -> str:
    return f"{row.kind.replace('_', ' ')} {row.number or row.document}"


def _use(use: ItemUse, names: Mapping[str, str]) -> str:
    account = use.deferral_account or use.income_account
    booked = f" on {names.get(account, account)}" if account else ""
    return f"{use.label or use.item}{booked}"
