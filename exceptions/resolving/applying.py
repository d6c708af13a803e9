"""Applying what is open of an invoice where a payment or credit is more: the ERP is asked, two people agree.

What billing said stays as it is. The amount that people agree to stands beside it, and counts only while the ERP has
open what they saw.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from uuid import UUID

from exceptions.kind_words import APPLY_OPEN
from exceptions.models import ExceptionCase
from exceptions.resolutions import WORK, ResolutionRefused, check_case, repost_documents
from exceptions.resolving.agreeing import Agreed, Wished, note_choices, wish
from exceptions.resolving.held import document_of_case, held_documents, why_not_held
from mappings.resolve import Snapshot
from q2c import ports
from q2c.canonical import schema
from q2c.canonical.billing import Application
from q2c.canonical.posting import CashApplication
from q2c.core.models import Person, Proposal
from q2c.core.money import round_money
from q2c.core.problems import Problem
from q2c.flows import trial
from q2c.flows.application_to_erp import APPLICATION_TO_ERP
from q2c.flows.steps.open_items import APPLY_OPEN as ABOUT
from q2c.flows.steps.open_items import read_room
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.restart import Restarted
from q2c.transactions.workers import run_now


def applications_of(case: ExceptionCase, by: Person) -> list[BusinessTransaction]:
    """The applications that are held in the case and that this person may act on, the newest hundred."""
    ids = held_documents(case, by, WORK).values_list("transaction_id", flat=True)
    newest = [i for i in ids[:100] if i is not None]
    return list(BusinessTransaction.objects.filter(pk__in=newest, flow=APPLICATION_TO_ERP.code, state="held"))


def wish_to_apply(
    case: ExceptionCase, *, by: Person, reason: str, transaction_id: UUID
) -> tuple[Proposal | None, list[Restarted]]:
    """Wish that only what the ERP has open, asked now, be applied of a held application. Raises ResolutionRefused where
    nothing is, or all of it, and while its outcome isn't known."""
    check_case(case, reason, APPLY_OPEN)
    txn = next((row for row in applications_of(case, by) if row.pk == transaction_id), None)
    if txn is None:
        gone = document_of_case(case, by, WORK, transaction_id)
        said = why_not_held(gone) if gone else "That isn’t an application that is held in this case."
        raise ResolutionRefused(said)
    if txn.open_intent is not None:
        raise ResolutionRefused("The ERP may have applied it already: its outcome must be known first.")
    document: Application = schema.from_json(bytes(txn.fact), Application)
    number, room = _ask(txn)
    if room <= 0:
        raise ResolutionRefused(f"Nothing of {number} is open in the ERP: refund it in billing, or waive it.")
    amount = round_money(min(room, document.amount), document.currency)
    left = document.amount - amount
    if not left and ABOUT not in ports.choices_of([txn.pk]).get(txn.pk, {}):
        raise ResolutionRefused(f"All of it is open on {number} by now: repost it.")
    name, money = ports.connections()[txn.target_connection].name, document.currency
    return wish(
        Wished(
            resolution=APPLY_OPEN, case=case, by=by, reason=reason,
            title=f"Apply {money} {amount:,} of {document.amount:,} to {number}",
            happens=[
                f"{money} {amount:,} is applied to {number} in {name}, which has {money} {room:,} of it open.",
                *([f"{money} {left:,} stays on account there, and is nobody’s until people apply or refund it."]
                  if left else []),
                "What billing said of it stays as it is.",
                "If another amount is open there when it’s applied, nothing is, and the case says so.",
            ],
            documents=[txn.pk],
            terms={"amount": str(amount), "open": str(room), "currency": money, "invoice": number, "left": str(left)},
            chosen={txn.pk: {ABOUT: {"amount": str(amount), "open": str(room)}}},
        ),
        apply_open,
    )  # fmt: skip


def apply_open(agreed: Agreed) -> list[Restarted]:
    """Note the amount, and let it be applied."""
    note_choices(agreed, ABOUT)
    return repost_documents(agreed.documents, by=agreed.by, reason=f"applied in part: {agreed.why}", permission=None)


def _ask(txn: BusinessTransaction) -> tuple[str, Decimal]:
    """The invoice's number, and how much of it this may settle: of what would be sent now."""
    (tried,) = trial.try_held([txn.pk], Snapshot.load([]))
    posting = tried.prepared
    if not isinstance(posting, CashApplication) or not posting.apply_to:
        raise ResolutionRefused(f"It can’t be applied yet: {tried.says or 'what would be sent isn’t known'}.")
    invoice = posting.apply_to[0].document
    try:
        erp = ports.target(txn.target_connection)
        found, room = run_now(partial(read_room, erp, invoice, payment=posting.payment, kind=posting.kind))
    except Problem as problem:
        raise ResolutionRefused(f"The ERP can’t be asked: {problem.summary}.") from problem
    if room is None:
        raise ResolutionRefused(f"{erp.name} doesn’t say what is open.")
    return found.number or found.id, room
