"""Taking a posted journal back: of a payout, a dispute or an accrual, by its opposite in the ERP, and posting it again
where that's wished; carried out by one durable transaction (`q2c/flows/reversal_to_erp.py`).

Proposed and agreed on as an invoice's plan is. What is signed are the journals themselves, line by line: whatever moved
until the signature voids it by name, and whatever moves after it holds the transaction before anything is sent.
"""

from __future__ import annotations

from typing import Any

from msgspec import structs

from connectors import registry
from connectors.manifest import Undo
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import plan_signing, standing
from exceptions.resolving.going import going_of
from exceptions.resolving.journals import (
    BY_ITSELF,
    FLOWS,
    Booked,
    State,
    booked_of,
    document_of,
    is_taken_back,
    key_of,
    later_of,
    latest_of,
    left_behind,
    name_of,
)
from exceptions.resolving.standing import Standing
from exceptions.resolving.unwinding import (
    BROUGHT_BACK,
    Plans,
    effects_of,
    signed_effects,
    signed_rows,
    signed_steps,
)
from mappings.resolve import Snapshot
from q2c import ports
from q2c.canonical import schema
from q2c.canonical.base import Source
from q2c.canonical.billing import Dispute
from q2c.canonical.posting import Accrual, Journal
from q2c.canonical.unwinding import Reversal, Reversed
from q2c.core import audit, ids
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import AccountingPeriod, Person, Proposal
from q2c.core.money import ZERO
from q2c.core.problems import Problem
from q2c.flows import trial
from q2c.flows.dispatch import Fact, dispatch_facts
from q2c.flows.reversal_to_erp import REVERSAL_TO_ERP
from q2c.flows.steps.dates import POSTING_DATE
from q2c.flows.tasks import nudge
from q2c.posting import plans
from q2c.posting import reversing as rules
from q2c.posting.plans import Plan
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.workers import run_now

KIND = "reversal"  # of the proposals
_SAYS_OPPOSITE = "Its money came back: {} says the opposite already. Take that back first."


def plans_of(user: Person, txn: BusinessTransaction, *, asks: bool, reposts: bool, reason: str = "") -> Plans:
    """What exists of this transaction's journey and the two plans over it; with `asks` by a fresh look."""
    found = standing.look(user, txn, asks=asks)
    forward = plans.plan_forward(name_of(txn), going_of(user, found), items=None, is_posted=False)

    def refused(why: str) -> Plans:
        return Plans(found, forward, Plan(why_not=f"{why} {BY_ITSELF[txn.flow]}"))

    booked = booked_of(txn)
    if booked is None:
        if txn.state == State.COMPLETED:
            return refused("What it was posted with isn’t kept any more: have it reversed in the ERP.")
        return refused(f"{name_of(txn)} isn’t posted, so there’s nothing to take back.")
    if why_not := _why_not(txn, booked):
        return refused(why_not)
    day = _day(txn, found, booked)
    if isinstance(day, str):
        return refused(day)
    reversal = _reversal(txn, found, booked, day, reason)
    if isinstance(reversal, str):
        return refused(reversal)
    if asks and (why_not := _held_otherwise(reversal)):
        return refused(why_not)
    if reposts:
        again = _again(txn, reversal, booked)
        if isinstance(again, str):
            return refused(f"It can’t be posted again as things are: {again}. It can be taken back without that.")
        reversal = structs.replace(reversal, again=again)
    names = {period.external_id: period.name for period in found.periods.values()}
    unwind = rules.plan_reversal(reversal, names, hint=BY_ITSELF[txn.flow])
    return Plans(found, forward, unwind, period=day.name, reversal=reversal)


def _why_not(txn: BusinessTransaction, booked: Booked) -> str:
    """Why nothing of it can be taken back, as a sentence; empty where it can."""
    latest, name = latest_of(txn), name_of(txn)
    if latest is not None and latest.state not in (State.COMPLETED, State.CANCELLED):
        return f"A plan about {rules.inside(name)} is under way already."
    if latest is not None and latest.state == State.CANCELLED and (made := left_behind(latest)):
        return (
            f"A plan about {rules.inside(name)} was given up after it posted journal {made.number or made.id}, which "
            "stands in the ERP: see there what is to be done, and do it there."
        )
    if latest is not None and is_taken_back(txn):
        return f"{name} was taken back for good by journal {latest.target_number or latest.target_id}."
    erp = ports.connections().get(txn.target_connection)
    if erp is None or registry.manifest(erp.vendor).undo.get("journal") is not Undo.OPPOSITE:
        return "The ERP doesn’t take a journal back by its opposite."
    if booked.reference.external_id != booked.posted.id:
        return f"{name} stands as another document in the ERP than we posted."
    if later := later_of(txn):
        return _SAYS_OPPOSITE.format(rules.inside(name_of(later)))
    return ""


def _day(txn: BusinessTransaction, found: Standing, booked: Booked) -> AccountingPeriod | str:
    """The period in which it's taken back: its own while the ledger is open there, else the next open one; as a
    sentence, why none. An accrual belongs to its own."""
    own = found.periods.get(booked.posted.period or booked.journal.period)
    if own is None:
        return "The ERP’s own list doesn’t have the period in which it’s posted."
    if own.is_ledger_open:
        return own
    if booked.journal.reversal_date is not None:
        return f"{own.name} is closed in the ledger, and what is accrued there is taken back by the ERP already."
    later = (p for p in found.periods.values() if p.start_date > own.end_date and p.is_ledger_open)
    return next(later, None) or (
        f"{own.name} is closed in the ledger, and no later period is open in the ERP’s own list."
    )


def _reversal(
    txn: BusinessTransaction, found: Standing, booked: Booked, period: AccountingPeriod, reason: str
) -> Reversal | str:
    """What would be proposed, without posting again; or why not."""
    document, journal, posted = document_of(txn), booked.journal, booked.posted
    is_own = period.external_id == (posted.period or journal.period)
    on = journal.posting_date if is_own else period.start_date
    movement = "" if isinstance(document, Accrual) else document.movement
    named = f"{txn.source_id}-{movement}" if movement in rules.LATER else txn.source_id
    generation = BusinessTransaction.objects.filter(flow=REVERSAL_TO_ERP.code, lane=txn.lane).count() + 1
    name, connection = f"{named}-{generation}", txn.source_connection
    book = ports.books().get((txn.legal_entity_code, txn.target_connection))
    rate = posted.exchange_rate if book is not None and book.currency != journal.currency_code else None
    other: Reversed | None = None
    if journal.reversal_date is not None:
        second = _made_of_it(found, booked, name, rate, reason)
        if isinstance(second, str):
            return second
        other = second
    disputed, money = ZERO, ""
    if isinstance(document, Dispute):
        disputed, money = document.original_amount or document.amount, document.original_currency or document.currency
        disputed = -disputed if document.is_returned else disputed
    what = f"{FLOWS[txn.flow]} {txn.number or txn.source_id}"
    return Reversal(
        source=Source(connection=connection, object_type=KIND, object_id=name), generation=generation,
        transaction=str(txn.pk), flow=txn.flow, object_type=txn.source_type, object_id=txn.source_id,
        record_type=FLOWS[txn.flow], record_key=key_of(document), name=name_of(txn),
        legal_entity=txn.legal_entity_code, erp=txn.target_connection, currency=journal.currency_code,
        amount=txn.amount or journal.total, on=on, movement=movement, made_of_it=other,
        payment_id=document.payment_id if isinstance(document, Dispute) else "", disputed=disputed,
        disputed_currency=money, reason=reason[:120],
        journal=Reversed(
            document=posted.id, number=posted.number,
            opposite=rules.opposite_of(
                journal, external_id=rules.named(rules.TAKEN_BACK, connection=connection, name=name), on=on,
                period=period.external_id, rate=rate, memo=_memo(posted.number or posted.id, what, reason),
            ),
        ),
    )  # fmt: skip


def _memo(journal: str, what: str, reason: str) -> str:
    return f"Reverses journal {journal} ({what}): {reason[:120]}"


def _made_of_it(
    found: Standing, booked: Booked, name: str, rate: Any, reason: str
) -> Reversed | str:  # fmt: skip
    """The opposite of the entry by which the ERP takes an accrual back; or why there can't be one."""
    txn, journal, posted, on = found.txn, booked.journal, booked.posted, booked.journal.reversal_date
    assert on is not None
    if not posted.reversal:
        return "The ERP didn’t say which of its journals takes it back."
    period = next((p for p in found.periods.values() if p.start_date <= on <= p.end_date), None)
    if period is None or not period.is_ledger_open:
        which = period.name if period else f"{on:%B %Y}"
        return f"{which} is closed in the ledger, where the ERP took it back: nothing is left to take back."
    theirs = rules.opposite_of(journal, external_id="", on=on, period=period.external_id, memo="")
    opposite = rules.opposite_of(
        theirs, external_id=rules.named(rules.MADE_OF_IT, connection=txn.source_connection, name=name), on=on,
        period=period.external_id, rate=rate, memo=_memo(posted.reversal, "which took an accrual back", reason),
    )  # fmt: skip
    row = found.row((txn.target_connection, "journal", posted.reversal))
    return Reversed(document=posted.reversal, number=row.number if row is not None else "", opposite=opposite)


def _held_otherwise(reversal: Reversal) -> str:
    """What the ERP holds otherwise of the journals, or that it can't say; empty where all is as we posted it."""
    other = reversal.made_of_it
    pairs = [(reversal.journal, other.document if other else "")]
    pairs += [(other, reversal.journal.document)] if other else []

    async def look(erp: Any) -> list[str]:
        return [
            rules.why_not_as_agreed(taken, await erp.read("journal", taken.document),
                                    await erp.journal_lines(taken.document), against)
            for taken, against in pairs
        ]  # fmt: skip

    try:
        erp = ports.target(reversal.erp)
        said = next(filter(None, run_now(lambda: look(erp))), "")
    except Problem as problem:
        return f"The ERP can’t say how it stands: {problem.summary}."
    return f"{said[:1].upper()}{said[1:]}." if said else ""


def _again(txn: BusinessTransaction, reversal: Reversal, booked: Booked) -> Journal | str:
    """The journal that today's mappings make of it, on the same day; or why they don't."""
    day = {"posting_date": reversal.on.isoformat(), "memo": f"posted on {reversal.on:%-d %B %Y}"}
    moved = {POSTING_DATE: day} if reversal.on != booked.journal.posting_date else {}
    run = trial.read_fact(
        txn.flow, document_of(txn), Snapshot.load([]), source_connection=txn.source_connection,
        source_type=txn.source_type, source_id=txn.source_id, number=txn.number, currency=txn.currency,
        amount=txn.amount, lane=txn.lane, chosen=moved,
    )  # fmt: skip
    journal = run.facts.get("posting")
    if not isinstance(journal, Journal):
        says = run.problem.summary if run.problem else run.awaits.summary if run.awaits else run.why_cancelled
        return says or "nobody can say what would post"
    if run.target_connection != txn.target_connection:
        return "it would go to another ERP by today’s rules"
    name = reversal.source.object_id
    again = rules.named(rules.POSTED_AGAIN, connection=txn.source_connection, name=name)
    rate = reversal.journal.opposite.exchange_rate
    return rules.posted_again(journal, external_id=again, reason=reversal.reason, rate=rate)


def propose(txn: BusinessTransaction, *, by: Person, reason: str, reposts: bool) -> Proposal:
    """Propose to take a posted journal back, and to post it again where `reposts`. The ERP is asked first. Raises
    ResolutionRefused with what stands in its way."""
    plan_signing.check_may_propose(txn, by=by, reason=reason)
    made = plans_of(by, txn, asks=True, reposts=reposts, reason=reason)
    if made.reversal is None:
        raise ResolutionRefused(made.unwind.why_not)
    if reposts and not any(row.net for row in effects_of(made)):
        raise ResolutionRefused(BROUGHT_BACK)
    again = " and post it again" if reposts else ""
    content = {
        "reversal": schema.to_builtins(made.reversal), "stands": signed_rows(made),
        "steps": signed_steps(made, made.reversal.erp), "effects": signed_effects(made), "changes": [],
        "currency": made.reversal.currency,
    }  # fmt: skip
    title = f"Take the journal of {rules.inside(made.reversal.name)} back{again}"[:200]
    return plan_signing.propose(KIND, txn, content=content, title=title, by=by, reason=reason)


def decide(proposal: Proposal, *, by: Person, approve: bool, why: str = "", seen_hash: str = "") -> str:
    """Sign a plan; the last signature starts it. The ERP is asked first: what moved since it was proposed voids it by
    name. Raises ApprovalRefused."""
    return plan_signing.decide(
        proposal, by=by, approve=approve, why=why, seen_hash=seen_hash, what_moved=_what_moved, start=_start
    )


def _what_moved(proposal: Proposal) -> str:
    signed: Reversal = schema.from_builtins(proposal.content["reversal"], Reversal)
    txn = BusinessTransaction.objects.get(pk=proposal.subject_id)
    now = (made := plans_of(proposal.proposed_by, txn, asks=True, reposts=signed.reposts, reason=proposal.why)).reversal
    if now is None:
        if made.unwind.why_not.startswith("The ERP can’t say"):
            raise ApprovalRefused("moved", made.unwind.why_not)
        return f"{signed.name} moved: {made.unwind.why_not}"
    for name, what in (
        ("on", "the day on which it would post"), ("generation", "an earlier plan about it"),
        ("journal", "the journal that stands for it"), ("made_of_it", "what the ERP made of it"),
        ("again", "a mapping that its posting rests on"),
    ):  # fmt: skip
        if getattr(now, name) != getattr(signed, name):
            return f"{signed.name} moved: {what}."
    return ""


def _start(proposal: Proposal) -> None:
    """Make the transaction that carries it out, once, in the transaction of the last signature."""
    txn = BusinessTransaction.objects.select_for_update().get(pk=proposal.subject_id)
    reversal: Reversal = schema.from_builtins(proposal.content["reversal"], Reversal)
    latest = latest_of(txn)
    if latest is not None and latest.state not in (State.COMPLETED, State.CANCELLED):
        raise ApprovalRefused("moved", f"A plan about {rules.inside(reversal.name)} is under way already.")
    if (came := later_of(txn)) is not None:  # while the ERP was asked, and it posts by itself
        raise ApprovalRefused("moved", _SAYS_OPPOSITE.format(rules.inside(name_of(came))))
    source = reversal.source
    names = {"connection": source.connection, "object_type": KIND, "object_id": source.object_id}
    # Under the id of what it takes back, where later movements look for it; in its lane, so that a hold covers it.
    later = f"-{reversal.movement}" if reversal.movement in rules.LATER else ""
    fact = Fact(
        flow=REVERSAL_TO_ERP.code,
        business_key=ids.business_key(**names, content_hash=schema.content_hash(reversal)),
        lane=txn.lane, document=reversal, source_connection=txn.source_connection, source_type=KIND,
        source_id=f"{txn.source_id}{later}", number=f"{txn.number}-R{reversal.generation}" if txn.number else "",
        legal_entity_code=txn.legal_entity_code, customer_id=txn.customer_id, customer_name=txn.customer_name,
        currency=reversal.currency, amount=txn.amount, line_count=len(reversal.journal.opposite.lines),
        document_date=reversal.on, correlation_id=txn.correlation_id,
    )  # fmt: skip
    (made_id,) = dispatch_facts([fact]).ids
    audit.record(
        proposal.proposed_by, "reverse_journal", "transaction", made_id, why=proposal.why,
        data={"proposal": proposal.pk, "document": str(txn.pk), "journal": reversal.journal.document,
              "amount": str(reversal.journal.opposite.total), "currency": reversal.currency,
              "reposts": reversal.reposts},
    )  # fmt: skip
    nudge({REVERSAL_TO_ERP.code})
