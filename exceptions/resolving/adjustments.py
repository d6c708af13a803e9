"""Taking what is open of a posted invoice, or a part of it, off receivables: written off, or accepted as a difference.

The ERP is asked what is open, and people sign for that or for less of it, in the invoice's currency. Once all have
signed, one transaction of its own posts it (`q2c/flows/write_off_to_erp.py`); nothing else of the invoice changes, and
what isn't taken off stays open: the case says so, and stays open too where it's about the invoice itself.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any, Literal
from uuid import UUID

from django.db.models import Exists, OuterRef, Sum

from exceptions import cases
from exceptions.kind_words import ACCEPT_DIFFERENCE, WRITE_OFF
from exceptions.limits import total_in_book
from exceptions.models import Adjustment, ExceptionCase
from exceptions.resolutions import ResolutionRefused, check_case
from exceptions.resolving import booking, spending, unwinding
from exceptions.resolving.agreeing import Agreed, Wished, wish
from mappings.models import CrossReference
from q2c import ports
from q2c.canonical import schema
from q2c.canonical.base import Source
from q2c.canonical.billing import Invoice, WriteOff
from q2c.core import access, audit, ids
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import Person, Proposal
from q2c.core.money import ZERO, round_money, spoken_money
from q2c.core.problems import Problem
from q2c.flows.dispatch import Fact, dispatch_facts
from q2c.flows.tasks import nudge
from q2c.flows.write_off_to_erp import WRITE_OFF_TO_ERP
from q2c.posting.facts import Book
from q2c.posting.write_offs import turn_write_off
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.restart import Restarted, cancel
from q2c.transactions.workers import run_now

INVOICES = "invoice_to_erp"
WORK_CASE = "exceptions.work_case"
_VERBS = {WRITE_OFF: "Write off", ACCEPT_DIFFERENCE: "Accept a difference of"}
_KINDS: dict[str, Literal["write_off", "difference"]] = {WRITE_OFF: "write_off", ACCEPT_DIFFERENCE: "difference"}
DONE = {WRITE_OFF: "written_off", ACCEPT_DIFFERENCE: "difference_accepted"}  # how the occurrence closes


@dataclass(frozen=True)
class Owed:
    """A posted invoice, what the ERP says is open of it, and what of that is taken off (`amount`, also in the book's
    currency)."""

    invoice: BusinessTransaction
    open_amount: Decimal
    amount: Decimal
    book_amount: Decimal
    book_currency: str
    on: dt.date
    period: str

    @property
    def stays(self) -> Decimal:
        """What stays open of it."""
        return self.open_amount - self.amount


def invoice_of(case: ExceptionCase) -> BusinessTransaction | None:
    """The posted invoice that the case is about; None where it isn't posted, or not known."""
    subject: Mapping[str, Any] = case.subject
    rows = BusinessTransaction.objects.filter(flow=INVOICES, source_connection=subject.get("connection", ""))
    named = subject.get("invoice")
    rows = rows.filter(source_id=named) if named else rows.filter(number=subject.get("document", ""))
    return rows.filter(state="completed").order_by("-pk").first()


def spent_of(
    case: ExceptionCase, resolution: str, by: Person | None, owed: Owed, instead_of: tuple[UUID, ...] = ()
) -> spending.Spent:
    """What this would use of the limits; what it takes the place of uses nothing."""
    txn = owed.invoice
    return spending.Spent(
        resolution=resolution, entity=txn.legal_entity_code, currency=owed.book_currency, invoice=txn.pk, person=by,
        customer_key=_customer_key(txn), period=owed.period, amount=owed.book_amount,
        instead_of=instead_of,
    )  # fmt: skip


@dataclass(frozen=True)
class Before:
    """What can be said before anybody asks the ERP: the limits with what is used of them, what would be booked, and why
    it would be refused whatever the amount."""

    limits: list[spending.Limit]
    booked: list[str]
    currency: str
    why_not: str = ""


def known_before(case: ExceptionCase, resolution: str) -> Before:
    """The limits and accounts of the case's invoice; empty where it isn't posted."""
    txn = invoice_of(case)
    if txn is None:
        return Before([], [], "")
    calendar = ports.Calendar()
    try:
        book = calendar.book(txn.legal_entity_code, txn.target_connection)
    except Problem:
        return Before([], [], txn.currency)
    on = calendar.local_now(txn.legal_entity_code).date()
    owed = Owed(txn, ZERO, ZERO, ZERO, book.currency, on, _period_of(book, on))
    spent = spent_of(case, resolution, None, owed)
    limits = spending.limits_of(spent)
    booked = booking.in_general(booking.booking_of(txn, resolution, book, on))
    return Before(limits, booked, txn.currency, spending.why_too_much(spent, limits))


def _period_of(book: Book, on: dt.date) -> str:
    period = ports.Calendar().period(book, on)
    return period.code if period else f"{on:%Y-%m}"


def ask_erp(case: ExceptionCase, by: Person, amount: Decimal | None = None) -> Owed:
    """What is open of the case's invoice, asked now, to take `amount` of it off (None: all). Raises ResolutionRefused
    where nothing is, less than that, or nobody can say, and for whoever doesn't work the invoice's entity: a case may
    name none."""
    txn = invoice_of(case)
    if txn is None:
        raise ResolutionRefused("Its invoice isn’t posted, so there is nothing to take off.")
    if not access.reach(by, WORK_CASE).covers(txn.legal_entity_code, case.kind):
        raise ResolutionRefused(f"Your role doesn’t reach {txn.legal_entity_code or 'an invoice without an entity'}.")
    if txn.target_type != "ar_invoice":
        raise ResolutionRefused("It went to the ledger in a summary: billing keeps what is open of it.")
    if unwinding.is_under_way(txn):
        raise ResolutionRefused(
            f"{txn.number} is being taken back by a plan: what is open of it is known once that has ended."
        )
    try:
        erp = ports.target(txn.target_connection)
        found = run_now(partial(erp.read, "ar_invoice", _stands_as(txn)))
        book = ports.Calendar().book(txn.legal_entity_code, txn.target_connection)
    except Problem as problem:
        raise ResolutionRefused(f"The ERP can’t be asked: {problem.summary}.") from problem
    if found.open_amount is None or found.open_amount <= 0:
        raise ResolutionRefused(f"Nothing of {txn.number} is open in {erp.name}.")
    on = ports.Calendar().local_now(txn.legal_entity_code).date()
    is_open = round_money(found.open_amount, txn.currency)
    amount = _part(amount, is_open, txn, erp.name)
    in_book = total_in_book(txn.legal_entity_code, [{"amount": amount, "currency": txn.currency}],
                            connection=txn.target_connection)  # fmt: skip
    if in_book is None:
        raise ResolutionRefused(f"The ERP has no rate of {txn.currency} to {book.currency}: no limit can be counted.")
    return Owed(txn, is_open, amount, in_book, book.currency, on, _period_of(book, on))


def _stands_as(txn: BusinessTransaction) -> str:
    """The ERP's id of the invoice: another one than was posted first, where a plan posted it again."""
    rows = CrossReference.objects.filter(
        record_type="invoice", record_key=f"{txn.source_connection}:invoice:{txn.source_id}",
        connection__code=txn.target_connection, external_type=txn.target_type,
    )  # fmt: skip
    return rows.values_list("external_id", flat=True).first() or txn.target_id


def _part(amount: Decimal | None, is_open: Decimal, txn: BusinessTransaction, erp: str) -> Decimal:
    if amount is None:
        return is_open
    if amount <= 0 or amount != round_money(amount, txn.currency):
        raise ResolutionRefused(f"Say an amount of {txn.currency} above zero, to its smallest unit.")
    if amount > is_open:
        raise ResolutionRefused(f"{spoken_money(is_open, txn.currency)} of {txn.number} is open in {erp}, and no more.")
    return round_money(amount, txn.currency)


def adjust(
    case: ExceptionCase, *, by: Person, reason: str, resolution: str, amount: Decimal | None = None
) -> tuple[Proposal | None, list[Restarted]]:
    """Wish that what is open of the case's invoice (or `amount` of it, in its currency) be written off or accepted as a
    difference. Who agrees follows what is taken off together with what was before: parts don't ask for less. Raises
    ResolutionRefused with the limit that it goes over and by how much, and while an earlier one isn't posted; one that
    is held in this case makes way, once all have agreed."""
    check_case(case, reason, resolution)
    owed = ask_erp(case, by, amount)
    txn, verb = owed.invoice, _VERBS[resolution]
    made = Adjustment.objects.filter(invoice_transaction_id=txn.pk)
    open_ones = BusinessTransaction.objects.filter(pk__in=made.values("transaction_id"))
    in_case = case.occurrences.filter(closed_at__isnull=True, transaction_id__isnull=False).values("transaction_id")
    instead = tuple(open_ones.filter(state="held", pk__in=in_case).order_by("pk").values_list("pk", flat=True))
    if open_ones.exclude(state__in=("completed", "cancelled")).exclude(pk__in=instead).exists():
        raise ResolutionRefused(f"What was taken off {txn.number} before isn’t posted yet.")
    spent = spent_of(case, resolution, by, owed, instead)
    limits = spending.limits_of(spent)
    if said := spending.why_too_much(spent, limits):
        raise ResolutionRefused(said)
    money = spoken_money(owed.amount, txn.currency)
    name = ports.connections()[txn.target_connection].name
    book = ports.Calendar().book(txn.legal_entity_code, txn.target_connection)
    where = booking.booking_of(txn, resolution, book, owed.on)
    before = taken_before(txn, instead)
    invoice: Invoice = schema.from_json(bytes(txn.fact), Invoice)
    document = _document(txn, owed, made.count() + 1, resolution, reason, before)
    try:
        memo = turn_write_off(document, invoice, takes_tax_back=not where.keeps_tax)
    except Problem as problem:
        raise ResolutionRefused(f"{problem.summary}.") from problem
    stays = spoken_money(owed.stays, txn.currency)
    settles = f"of which {stays} then stays open" if owed.stays else "which is then settled"
    return wish(
        Wished(
            resolution=resolution, case=case, by=by, reason=reason, title=f"{verb} {money} of {txn.number}",
            happens=[
                f"A credit memo over {money}, dated {owed.on.day} {owed.on:%B %Y}, is posted in {name} and applied to "
                f"{txn.number}, {settles}.",
                *booking.with_amounts(where, currency=txn.currency, amount=owed.amount, tax=memo.tax_total),
                "If another amount is open there when it’s posted, nothing is posted and a case says so.",
                *(["What was to be taken off before, and is held, is given up."] if instead else []),
                *(f"Used so far {row}." for row in limits),
            ],
            documents=[txn.pk], state="completed", amounts={txn.pk: owed.amount},
            counted={txn.pk: owed.amount + taken_before(txn, instead, _KINDS)},
            terms={
                "amount": str(owed.amount), "currency": txn.currency, "on": owed.on.isoformat(),
                "open": str(owed.open_amount), "before": str(before),
                "period": owed.period, "book_amount": str(owed.book_amount), "book_currency": owed.book_currency,
                "number": made.count() + 1, "instead_of": [str(i) for i in instead],
                "clauses": [where.tax] if resolution == WRITE_OFF else [],
                "limits": [[row.of, str(row.limit or ""), str(row.used), row.rule, row.version] for row in limits],
            },
        ),
        apply_adjustment,
    )  # fmt: skip


def apply_adjustment(agreed: Agreed) -> list[Restarted]:
    """Make the transaction that posts it, once: under the invoice's lock, its entity's limits and its case's. Raises
    ApprovalRefused when a limit is used up meanwhile, or somebody else was first."""
    terms, resolution = agreed.terms, agreed.content["resolution"]
    txn = BusinessTransaction.objects.get(pk=agreed.documents[0])
    spending.hold_limits(txn.legal_entity_code)
    made = Adjustment.objects.filter(invoice_transaction_id=txn.pk)
    if made.count() + 1 != terms["number"]:
        who = made.select_related("by").latest("number").by
        raise ApprovalRefused("moved", f"What is open of {txn.number} was taken off meanwhile, as {who} proposed.")
    instead = tuple(UUID(i) for i in terms["instead_of"])
    if instead and set(cancel(list(instead), why=agreed.why)) != set(instead):
        raise ApprovalRefused("moved", f"What was to be taken off {txn.number} before isn’t held any more.")
    locked = cases.lock_case(agreed.case.pk)
    if locked is None or not locked.is_open:
        raise ApprovalRefused("moved", f"{agreed.case.number} is closed already.")
    owed = Owed(  # what was proposed before parts could be taken off is about all that was open
        txn, Decimal(terms.get("open", terms["amount"])), Decimal(terms["amount"]), Decimal(terms["book_amount"]),
        terms["book_currency"], dt.date.fromisoformat(terms["on"]), terms["period"],
    )  # fmt: skip
    spent = spent_of(agreed.case, resolution, agreed.proposer, owed, instead)
    if said := spending.why_too_much(spent, spending.limits_of(spent)):
        raise ApprovalRefused("limit", said)
    if not _close(agreed.case, DONE[resolution], instead, keeps=owed.stays > 0):
        raise ApprovalRefused("moved", f"What {agreed.case.number} is about was settled meanwhile.")
    document = _document(txn, owed, terms["number"], resolution, agreed.why, Decimal(terms.get("before", "0")))
    (made_id,) = dispatch_facts([_fact(txn, document)]).ids
    Adjustment.objects.create(
        resolution=resolution, case=agreed.case, proposal=agreed.proposal, transaction_id=made_id,
        invoice_transaction_id=txn.pk, number=terms["number"], legal_entity_code=txn.legal_entity_code,
        customer_key=_customer_key(txn), period_code=owed.period, currency=txn.currency, amount=owed.amount,
        book_amount=owed.book_amount, by=agreed.proposer, why=agreed.why, at=agreed.at,
    )  # fmt: skip
    facts = {"transaction": str(made_id), "documents": 1, "how": resolution}
    money, stays = (spoken_money(amount, txn.currency) for amount in (owed.amount, owed.stays))
    part = f"{money} of {txn.number}; {stays} of it stays open: "
    text = f"{part}{agreed.why}" if owed.stays else agreed.why
    cases.note(agreed.case, verb=DONE[resolution], text=text, by=agreed.proposer, data=facts)
    audit.record(agreed.proposer, resolution, "transaction", made_id, why=agreed.why,
                 data={"case": agreed.case.pk, "amount": str(owed.amount), "currency": txn.currency})  # fmt: skip
    nudge({WRITE_OFF_TO_ERP.code})
    return [Restarted(made_id, True)]


def _close(case: ExceptionCase, how: str, instead: tuple[UUID, ...], *, keeps: bool) -> int:
    """Close what the case says of the invoice, or what makes way only, where it keeps being about the rest. Waits for
    whoever closes it at this moment, and is 0 after them."""
    left = case.occurrences.select_for_update().filter(closed_at__isnull=True).order_by("pk")
    events = list(left.values_list("event_id", flat=True))
    closed = cases.close_for_transactions(instead, how, case_id=case.pk)
    if keeps:
        return len(events)
    return closed + cases.close_for_events([i for i in events if i is not None], how) + cases.close_loose(case, how)


def taken_before(
    txn: BusinessTransaction, instead_of: tuple[UUID, ...] = (), resolutions: Iterable[str] = (WRITE_OFF,)
) -> Decimal:
    """What was taken off this invoice before by these resolutions and stands, in its currency. Of what was written off
    tax is taken back over all of it."""
    gone = BusinessTransaction.objects.filter(pk=OuterRef("transaction_id"), state="cancelled")
    rows = Adjustment.objects.filter(invoice_transaction_id=txn.pk, resolution__in=list(resolutions)).exclude(
        Exists(gone)
    )
    found: Decimal | None = rows.exclude(transaction_id__in=instead_of).aggregate(sum=Sum("amount"))["sum"]
    return found or ZERO


def _document(
    txn: BusinessTransaction, owed: Owed, number: int, resolution: str, why: str, before: Decimal
) -> WriteOff:
    invoice: Invoice = schema.from_json(bytes(txn.fact), Invoice)
    return WriteOff(
        source=Source(
            connection=txn.source_connection, object_type="write_off", object_id=f"{txn.source_id}-{number}"
        ),
        invoice_id=txn.source_id, invoice_number=txn.number, number=f"{txn.number}-WO{number}",
        customer_id=invoice.customer_id, customer_name=invoice.customer_name, currency=txn.currency,
        amount=owed.amount, open_amount=owed.open_amount, before=before if resolution == WRITE_OFF else ZERO,
        decided_on=owed.on, kind=_KINDS[resolution], reason=why[:200], legal_entity=txn.legal_entity_code,
    )  # fmt: skip


def _fact(txn: BusinessTransaction, document: WriteOff) -> Fact:
    source = document.source
    names = {"connection": source.connection, "object_type": source.object_type, "object_id": source.object_id}
    return Fact(
        flow=WRITE_OFF_TO_ERP.code,
        business_key=ids.business_key(**names, content_hash=schema.content_hash(document)),
        lane=ids.lane(connection=source.connection, object_type="write_off", object_id=txn.source_id),
        document=document, source_connection=source.connection, source_type="write_off", source_id=source.object_id,
        number=document.number, legal_entity_code=txn.legal_entity_code, customer_id=document.customer_id,
        customer_name=document.customer_name, currency=txn.currency, amount=document.amount, line_count=1,
        document_date=document.decided_on, correlation_id=txn.correlation_id,
    )  # fmt: skip


def _customer_key(txn: BusinessTransaction) -> str:
    return f"{txn.source_connection}:{txn.customer_id}"
