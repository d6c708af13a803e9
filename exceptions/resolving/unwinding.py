"""Compensation plans: what could go on from here, and what takes it back; proposed by one person, agreed by another,
carried out by one durable transaction (`q2c/flows/unwinding_to_erp.py`).

A plan is computed from what exists and from the postings that its flow would build. What is signed is bound to both:
whatever moved until the signature voids it by name, and whatever moves after it holds the transaction before anything
is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from connectors import links_out
from connectors.models import Connection
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import given_up, plan_signing, standing
from exceptions.resolving.booking import account_words
from exceptions.resolving.going import going_of
from exceptions.resolving.standing import ABSENT, SILENT, Standing
from mappings.resolve import Snapshot
from q2c import ports
from q2c.canonical import schema
from q2c.canonical.base import Source
from q2c.canonical.billing import Invoice
from q2c.canonical.posting import ArCreditMemo, ArInvoice
from q2c.canonical.unwinding import OrderUnwinding, Reversal, Unwinding
from q2c.core import audit, ids
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import Person, Proposal
from q2c.core.money import spoken_money
from q2c.core.templatetags.words import spoken_noun
from q2c.flows import trial
from q2c.flows.dispatch import Fact, dispatch_facts
from q2c.flows.tasks import nudge
from q2c.flows.unwinding_to_erp import UNWINDING_TO_ERP
from q2c.posting import plans
from q2c.posting.facts import ItemUse
from q2c.posting.plans import Effect, Plan, Step
from q2c.posting.unwinding import lines_hash
from q2c.records.documents import find_statuses
from q2c.transactions.batch import Run
from q2c.transactions.models import BusinessTransaction, LineageLink

KIND = "unwinding"  # of the proposals
VOID, PAID = "void", "paid"  # in billing's words
BROUGHT_BACK = "The mapping says the same as when it was posted: nothing would change by posting it again."


@dataclass(frozen=True)
class Plans:
    """Both ways from what exists. `unwinding` and the postings are what would be proposed; None where nothing can be,
    as `unwind.why_not` says. `forward` is what goes on by itself or by people, elsewhere."""

    standing: Standing
    forward: Plan
    unwind: Plan
    unwinding: Unwinding | None = None
    posting: ArCreditMemo | None = None
    reposting: ArInvoice | None = None
    changes: tuple[str, ...] = ()  # what today's mappings book otherwise
    period: str = ""
    order: OrderUnwinding | None = None  # of an order: what would be proposed instead
    reversal: Reversal | None = None  # of a journal
    why_not_yet: str = ""  # of a plan that is shown, and can't be proposed before something else is done


def plans_of(user: Person, txn: BusinessTransaction, *, asks: bool, reposts: bool, reason: str = "") -> Plans:
    """What exists of this transaction's journey and the two plans over it; with `asks` by a fresh look."""
    found = standing.look(user, txn, asks=asks)
    going = going_of(user, found)
    number = txn.number or txn.source_id
    posted = found.posted
    why_not = found.why_not
    if posted is not None:
        why_not = _why_not_again(found, reposts) or plans.why_not_unwound(
            posted, reposts=reposts, is_credited=not reposts and _is_credited(txn), has_successor=is_under_way(txn)
        )
    if posted is None or why_not:
        is_posted = posted is not None
        forward = plans.plan_forward(number, going, items=None, is_posted=is_posted)
        return Plans(found, forward, Plan(why_not=why_not))
    on, period = plans.choose_day(posted)
    assert on is not None  # it would have been said
    unwinding = _unwinding_of(txn, found, reposts=reposts, reason=reason)
    run = _tried(txn, unwinding)
    again = run if reposts else _tried(txn, msgspec.structs.replace(unwinding, reposts=True))
    changes = _changes(again)
    held = again.problem.summary if again.problem is not None and not again.facts.get("reposting") else ""
    forward = plans.plan_forward(number, going, items=changes, is_posted=True, held=held)
    posting, reposting = run.facts.get("posting"), run.facts.get("reposting")
    if run.problem is not None or not isinstance(posting, ArCreditMemo) or (reposts and reposting is None):
        said = run.problem.summary if run.problem else run.awaits.summary if run.awaits else run.why_cancelled
        return Plans(found, forward, Plan(why_not=f"It can’t be built as things are: {said}."), changes=tuple(changes))
    unwinding = msgspec.structs.replace(unwinding, agreed=lines_hash(posting, reposting))
    unwind = plans.plan_unwinding(unwinding, posting, reposting, period=period, source=_at_source(found))
    return Plans(found, forward, unwind, unwinding, posting, reposting, tuple(changes), period)


def _unwinding_of(txn: BusinessTransaction, found: Standing, *, reposts: bool, reason: str) -> Unwinding:
    posted = found.posted
    assert posted is not None
    invoice: Invoice = schema.from_json(bytes(txn.fact), Invoice)
    on, _ = plans.choose_day(posted)
    assert on is not None
    made = BusinessTransaction.objects.filter(flow=UNWINDING_TO_ERP.code, lane=_lane(txn)).count()
    return Unwinding(
        source=Source(connection=txn.source_connection, object_type=KIND, object_id=f"{txn.source_id}-{made + 1}"),
        generation=made + 1, invoice_id=txn.source_id, invoice_number=txn.number or txn.source_id,
        customer_id=txn.customer_id, customer_name=txn.customer_name, legal_entity=txn.legal_entity_code,
        erp=txn.target_connection, erp_invoice=posted.document, currency=posted.currency, total=invoice.total,
        open_amount=posted.open_amount, on=on, reposts=reposts, settled=plans.choose_settlements(posted),
        reason=reason[:120],
    )  # fmt: skip


def _tried(txn: BusinessTransaction, unwinding: Unwinding) -> Run:
    """What the flow's reading steps would build of it, in memory."""
    return trial.read_fact(
        UNWINDING_TO_ERP.code, unwinding, Snapshot.load([]), source_connection=txn.source_connection,
        source_type=KIND, source_id=txn.source_id, number=txn.number, currency=txn.currency, lane=_lane(txn),
    )  # fmt: skip


def _changes(run: Run) -> list[str]:
    """What today's mappings book otherwise than what is posted."""
    original, now = run.facts.get("original"), run.facts.get("new_items")
    if original is None or not now:
        return []
    uses: list[ItemUse] = [*original.items.values(), *now.values()]
    accounts = {use.deferral_account or use.income_account for use in uses}
    book = run.facts["book"]
    names = {account: account_words(book.connection, account) or account for account in accounts if account}
    found = plans.differing_items(original.items, now, names)
    then, today = original.taxes, run.facts.get("new_taxes") or {}
    return found + [f"Tax code {code} goes to another code of the ERP" for code, use in sorted(then.items())
                    if today.get(code, use) != use]  # fmt: skip


def _at_source(found: Standing) -> Step:
    """What a person does in billing once the ERP has given the invoice back: ticked off by what billing says of it."""
    txn = found.txn
    row = found.row((txn.source_connection, txn.source_type, txn.source_id))
    connection = Connection.objects.filter(code=txn.source_connection).first()
    name = connection.name if connection else txn.source_connection
    return Step(
        f"Void {txn.number} in {name}", txn.source_connection, "look",
        effect="Else billing goes on asking for it. Its void then finds nothing left to take back in the ERP.",
        does=plans.PERSON, link=links_out.record_url(connection, txn.source_type, txn.source_id),
        is_done=row is not None and row.status == VOID,
    )  # fmt: skip


def _why_not_again(found: Standing, reposts: bool) -> str:
    """Why billing's own documents, or an earlier plan, leave nothing to take back; empty where they don't."""
    txn, latest = found.txn, latest_of(found.txn)
    row = found.row((txn.source_connection, txn.source_type, txn.source_id))
    status = row.status if row is not None else ""
    if latest is not None and latest.state == BusinessTransaction.State.COMPLETED and not _reposted(latest):
        return f"{txn.number} was taken back for good by {latest.number}. What bills it anew is a new invoice."
    if latest is not None and found.posted is not None and (said := given_up.why_not_again(latest, found.posted)):
        return said
    if status == VOID:
        return f"{txn.number} is void in billing, and its void takes it back by itself."
    if not reposts and status == PAID:
        return (
            f"{txn.number} is paid in billing. Give a credit note there: it takes the invoice back in the ERP by "
            "itself, and says what becomes of the money."
        )
    return ""


def _is_credited(txn: BusinessTransaction) -> bool:
    """Whether a credit note of billing that isn't void took back a part of it, wherever that was applied."""
    told = LineageLink.objects.filter(
        source_system=txn.source_connection, source_type="invoice", source_id=txn.source_id, relation="credited by"
    )
    credits = set(told.values_list("target_system", "target_id"))
    return bool(credits) and any(find_statuses(credits).get(key) != VOID for key in credits)


def _reposted(made: BusinessTransaction) -> bool:
    decided: Unwinding = schema.from_json(bytes(made.fact), Unwinding)
    return decided.reposts


def is_under_way(txn: BusinessTransaction) -> bool:
    """Whether a plan about this invoice hasn't ended."""
    rows = BusinessTransaction.objects.filter(flow=UNWINDING_TO_ERP.code, lane=_lane(txn))
    return rows.exclude(state__in=("completed", "cancelled")).exists()


def _lane(txn: BusinessTransaction) -> str:
    return ids.lane(connection=txn.source_connection, object_type=KIND, object_id=txn.source_id)


def latest_of(txn: BusinessTransaction) -> BusinessTransaction | None:
    """The transaction that carries, or carried, the newest plan about this invoice."""
    rows = BusinessTransaction.objects.filter(flow=UNWINDING_TO_ERP.code, lane=_lane(txn))
    return rows.defer("fact").order_by("-lane_sequence").first()


def propose(txn: BusinessTransaction, *, by: Person, reason: str, reposts: bool) -> Proposal:
    """Propose to take a posted invoice back, and to post it again where `reposts`. Looks at every system first. Raises
    ResolutionRefused with what stands in its way."""
    plan_signing.check_may_propose(txn, by=by, reason=reason)
    made = plans_of(by, txn, asks=True, reposts=reposts, reason=reason)
    unwinding, posting = made.unwinding, made.posting
    if unwinding is None or posting is None:
        raise ResolutionRefused(made.unwind.why_not)
    if silent := _silent(made):
        raise ResolutionRefused(silent)
    if reposts and not made.unwind.net and not made.changes:
        raise ResolutionRefused(BROUGHT_BACK)
    return plan_signing.propose(
        KIND, txn, content=_content(made, unwinding), title=_title(unwinding), by=by, reason=reason
    )


def decide(proposal: Proposal, *, by: Person, approve: bool, why: str = "", seen_hash: str = "") -> str:
    """Sign a plan; the last signature starts it. Looks at every system first: what moved since it was proposed voids it
    by name. Raises ApprovalRefused."""
    return plan_signing.decide(
        proposal, by=by, approve=approve, why=why, seen_hash=seen_hash, what_moved=_what_moved, start=_start
    )


def _start(proposal: Proposal) -> None:
    """Make the transaction that carries it out, once, in the transaction of the last signature."""
    txn = BusinessTransaction.objects.select_for_update().get(pk=proposal.subject_id)
    unwinding: Unwinding = schema.from_builtins(proposal.content["unwinding"], Unwinding)
    if is_under_way(txn):
        raise ApprovalRefused("moved", f"A plan about {txn.number} is under way already.")
    (made_id,) = dispatch_facts([_fact(txn, unwinding)]).ids
    audit.record(
        proposal.proposed_by, "unwind", "transaction", made_id, why=proposal.why,
        data={"proposal": proposal.pk, "document": str(txn.pk), "amount": str(unwinding.total),
              "currency": unwinding.currency, "reposts": unwinding.reposts},
    )  # fmt: skip
    nudge({UNWINDING_TO_ERP.code})


def _fact(txn: BusinessTransaction, unwinding: Unwinding) -> Fact:
    names = {"connection": txn.source_connection, "object_type": KIND, "object_id": txn.source_id}
    return Fact(
        flow=UNWINDING_TO_ERP.code,
        business_key=ids.business_key(**names, content_hash=schema.content_hash(unwinding)),
        lane=_lane(txn), document=unwinding, source_connection=txn.source_connection, source_type=KIND,
        source_id=txn.source_id, number=f"{unwinding.invoice_number}-U{unwinding.generation}",
        legal_entity_code=txn.legal_entity_code, customer_id=txn.customer_id, customer_name=txn.customer_name,
        currency=unwinding.currency, amount=unwinding.total, line_count=txn.line_count, document_date=unwinding.on,
        correlation_id=txn.correlation_id,
    )  # fmt: skip


def _what_moved(proposal: Proposal) -> str:
    """What isn't any more as it was proposed, as a sentence; empty when all is. Raises ApprovalRefused where a system
    can't say."""
    signed: Unwinding = schema.from_builtins(proposal.content["unwinding"], Unwinding)
    txn = BusinessTransaction.objects.get(pk=proposal.subject_id)
    made = plans_of(proposal.proposed_by, txn, asks=True, reposts=signed.reposts, reason=proposal.why)
    if silent := _silent(made):
        raise ApprovalRefused("moved", silent)
    now = made.unwinding
    if now is None:
        return f"{signed.invoice_number} moved: {made.unwind.why_not}"
    for name, what in (
        ("erp_invoice", "the document that stands for it in the ERP"), ("open_amount", "what is open of it"),
        ("settled", "what settles it"), ("on", "the day on which it would post"), ("total", "its total"),
        ("agreed", "a mapping that its posting rests on"), ("generation", "an earlier plan about it"),
    ):  # fmt: skip
        if getattr(now, name) != getattr(signed, name):
            return f"{signed.invoice_number} moved: {what}."
    return ""


def _silent(made: Plans) -> str:
    """Which of the documents that the plan rests on couldn't be asked about, also whether billing's own is paid or void
    by now, as a sentence; empty where all answered."""
    unwinding, txn = made.unwinding, made.standing.txn
    touched = {(txn.source_connection, txn.source_id)}
    if unwinding is None:  # the screen says why, unless it's for want of an answer
        touched |= {(row.key[0], row.key[2]) for row in made.standing.rows if row.key[1] == "ar_invoice"}
    else:
        in_erp = (unwinding.erp_invoice, *(row.document for row in unwinding.settled))
        touched |= {(unwinding.erp, document) for document in in_erp}
    silent = (SILENT,) if unwinding is None else (SILENT, ABSENT)
    for row in made.standing.rows:
        if (row.key[0], row.key[2]) in touched and row.says in silent:
            return f"{row.system} can’t say how {spoken_noun(row.key[1]).lower()} {row.key[2]} stands: {row.note}"
    return ""


def _title(unwinding: Unwinding) -> str:
    again = " and post it again" if unwinding.reposts else ""
    return f"Take {unwinding.invoice_number} over {spoken_money(unwinding.total, unwinding.currency)} back{again}"


def _content(made: Plans, unwinding: Unwinding) -> dict[str, Any]:
    """What is signed: the decision as the flow will carry it, what it rests on, and its steps in words and figures."""
    return {
        "unwinding": schema.to_builtins(unwinding),
        "stands": signed_rows(made),
        "steps": signed_steps(made, unwinding.erp),
        "net": [_entry(account, amount, unwinding.erp) for account, amount in made.unwind.net.items()],
        "effects": signed_effects(made),
        "changes": list(made.changes),
        "period": made.period,
        "currency": unwinding.currency,
    }


def signed_rows(made: Plans) -> list[dict[str, Any]]:
    """What a plan rests on, as data."""
    return [_stands(row) for row in made.standing.rows]


def signed_steps(made: Plans, erp: str) -> list[dict[str, Any]]:
    """The steps of the way back, as data; `erp` names the accounts."""
    return [_step(step, erp) for step in made.unwind.steps]


def effects_of(made: Plans, plan: Plan | None = None) -> tuple[Effect, ...]:
    """What a plan changes, period by period, with the period's result; the way back, where none is given."""
    steps = (plan or made.unwind).steps
    systems = {step.system for step in steps if step.journal}
    classes = {
        system: {i: str(row["attributes"].get("account_class") or "")
                 for i, row in ports.reference(system, "accounts").items()}
        for system in systems
    }  # fmt: skip
    order = [period.name for period in made.standing.periods.values()]
    found = plans.effects_of(steps, classes)
    return tuple(sorted(found, key=lambda row: order.index(row.period) if row.period in order else 0))


def signed_effects(made: Plans) -> list[dict[str, Any]]:
    """The same as data."""
    return [
        {"period": row.period, "currency": row.currency, "result": str(row.result) if row.result else "",
         "net": [_entry(account, amount, row.system) for account, amount in row.net.items()]}
        for row in effects_of(made)
    ]  # fmt: skip


def _stands(row: standing.Row) -> dict[str, Any]:
    return {
        "system": row.system, "what": spoken_noun(row.key[1]), "id": row.key[2], "number": row.number,
        "says": row.says, "note": row.note, "amount": str(row.amount) if row.amount is not None else "",
        "open": str(row.open_amount) if row.open_amount is not None else "", "currency": row.currency,
        "period": row.period,
    }  # fmt: skip


def _step(step: Step, erp: str) -> dict[str, Any]:
    journal = [
        {"account": account_words(step.system or erp, line.account) or line.account, "debit": str(line.debit or ""),
         "credit": str(line.credit or "")}
        for line in step.journal
    ]  # fmt: skip
    return {"title": step.title, "effect": step.effect, "period": step.period, "needs": list(step.needs),
            "does": step.does, "journal": journal, "currency": step.currency}  # fmt: skip


def _entry(account: str, amount: Any, erp: str) -> dict[str, str]:
    return {"account": account_words(erp, account) or account, "amount": str(amount)}
