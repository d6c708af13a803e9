"""Saying which document of the ERP a held one is: found there by people, compared, agreed to, and never sent again.

The ERP is asked at once, by its own id and by the number that people typed. Only a document with the same number,
customer, amount and currency, in the same book, on the same date and in the same period is linked; anything else is
refused with the figures side by side. When several fit, a person chooses among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from exceptions.kind_words import LINK
from exceptions.models import ExceptionCase
from exceptions.resolutions import MAY_REPOST, ResolutionRefused, check_case, repost_documents
from exceptions.resolving.agreeing import Agreed, Wished, note_choices, wish
from exceptions.resolving.held import document_of_case, held_documents, why_not_held
from mappings.models import CrossReference
from mappings.resolve import Snapshot
from q2c import ports
from q2c.canonical.posting import PostedDocument
from q2c.core.models import Person, Proposal
from q2c.core.money import round_money
from q2c.core.problems import Problem
from q2c.flows import trial
from q2c.flows.steps.post import NUMBERED, date_of, total_of
from q2c.transactions.batch import LINK as ABOUT
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.restart import Restarted
from q2c.transactions.workers import run_now

TYPES = {
    "ArInvoice": "ar_invoice", "ArCreditMemo": "ar_credit_memo", "CashReceipt": "receipt", "CashRefund": "ar_refund",
    "Journal": "journal",
}  # fmt: skip


@dataclass(frozen=True)
class Compared:
    """One figure on both sides."""

    what: str
    ours: str
    theirs: str

    @property
    def is_equal(self) -> bool:
        """Whether both say the same."""
        return self.ours == self.theirs


@dataclass(frozen=True)
class Candidate:
    """A document of the ERP beside ours; `taken_by` names whoever it's linked to already."""

    found: PostedDocument
    rows: tuple[Compared, ...]
    taken_by: str

    @property
    def fits(self) -> bool:
        """Whether it may be linked."""
        return not self.taken_by and all(row.is_equal for row in self.rows)

    @property
    def differs(self) -> str:
        """What isn't the same, with both figures, in a sentence's words."""
        if self.taken_by:
            return f"it’s {self.taken_by} already"
        return "; ".join(f"{row.what}: ours {row.ours or 'none'}, there {row.theirs or 'none'}"
                         for row in self.rows if not row.is_equal)  # fmt: skip


def find_candidates(transaction_id: UUID, wanted: str) -> list[Candidate]:
    """What the ERP has of this id or number, compared with what would be sent; asked now. Raises ResolutionRefused when
    the ERP can't say, or when what would be sent isn't known."""
    txn = BusinessTransaction.objects.get(pk=transaction_id)
    prepared = posting_of(transaction_id)
    kind = TYPES[type(prepared).__name__]
    try:
        erp = ports.target(txn.target_connection)
        found = run_now(partial(_ask, erp, kind, wanted.strip()))
    except Problem as problem:
        raise ResolutionRefused(f"The ERP can’t be asked: {problem.summary}.") from problem
    taken = _taken(txn, [document.id for document in found])
    return [Candidate(row, compare(row, prepared), taken.get(row.id, "")) for row in found]


def compare(found: PostedDocument, prepared: Any) -> tuple[Compared, ...]:
    """Ours and the ERP's, figure by figure. Amounts in the document's currency; customer, book and period by the ERP's
    ids."""
    code = prepared.currency_code
    rows = [
        Compared("amount", _figure(total_of(prepared), code), _figure(found.total, code)),
        Compared("currency", code, found.currency_code or code),
        Compared("currency there", prepared.currency, found.currency),
        Compared("customer", getattr(prepared, "customer", ""), found.customer),
        Compared("book", prepared.subsidiary, found.subsidiary),
        Compared("date", date_of(prepared).isoformat(), found.posting_date.isoformat() if found.posting_date else ""),
        Compared("period", prepared.period, found.period),
    ]
    if type(prepared).__name__ in NUMBERED:
        rows.insert(0, Compared("number", prepared.number, found.number))
    return tuple(rows)


def link(
    case: ExceptionCase, *, by: Person, reason: str, transaction_id: UUID, chosen: Candidate
) -> tuple[Proposal | None, list[Restarted]]:
    """Wish that a held document be that one of the ERP. Raises ResolutionRefused with the figures that differ."""
    check_case(case, reason, LINK)
    if not held_documents(case, by, MAY_REPOST).filter(transaction_id=transaction_id).exists():
        gone = document_of_case(case, by, MAY_REPOST, transaction_id)
        raise ResolutionRefused(why_not_held(gone) if gone else "That document isn’t held in this case.")
    if not chosen.fits:
        raise ResolutionRefused(f"{chosen.found.number or chosen.found.id} isn’t it: {chosen.differs}.")
    txn = BusinessTransaction.objects.defer("fact").get(pk=transaction_id)
    name = ports.connections()[txn.target_connection].name
    number = txn.number or txn.source_id
    there = chosen.found.number or chosen.found.id
    return wish(
        Wished(
            resolution=LINK, case=case, by=by, reason=reason, permission=MAY_REPOST,
            title=f"Link {number} to {there} of {name}",
            happens=[
                f"{number} is taken for {there} of {name} (its id there: {chosen.found.id}), which says the same: "
                + ", ".join(f"{row.what} {row.theirs}" for row in chosen.rows if row.theirs) + ".",
                "Nothing is sent. It’s read there once more, and linked if it still says the same.",
                "It keeps the external id that it has there; whoever made it is its author.",
            ],
            documents=[transaction_id],
            terms={"document": chosen.found.id, "document_type": chosen.found.document_type, "url": chosen.found.url,
                   "compared": [[row.what, row.ours, row.theirs] for row in chosen.rows]},
            chosen={transaction_id: {
                ABOUT: {"document_type": chosen.found.document_type, "document": chosen.found.id}
            }},
        ),
        apply_link,
    )  # fmt: skip


def apply_link(agreed: Agreed) -> list[Restarted]:
    """Note which document it is, and let the machine look at that one."""
    note_choices(agreed, ABOUT)
    return repost_documents(agreed.documents, by=agreed.by, reason=f"linked: {agreed.why}", permission=None)


async def _ask(erp: Any, document_type: str, wanted: str) -> list[PostedDocument]:
    found = {row.id: row for row in await erp.find_by_number(document_type, wanted)}
    if wanted.isdigit() and wanted not in found:
        try:
            row = await erp.read(document_type, wanted)
        except Problem as problem:
            if problem.code != "record_gone":
                raise
        else:
            found[row.id] = row
    return [found[i] for i in sorted(found)]


def posting_of(transaction_id: UUID) -> Any:
    """What would be sent of a held document. Raises ResolutionRefused when that isn't known."""
    tried = trial.try_held([transaction_id], Snapshot.load([]))
    sent = tried[0].prepared if tried else None
    if sent is None or type(sent).__name__ not in TYPES:
        why = f": {tried[0].says}" if tried and tried[0].says else ""
        raise ResolutionRefused(f"What would be sent of it isn’t known, so nothing can be compared{why}.")
    return sent


def _taken(txn: BusinessTransaction, ids: list[str]) -> dict[str, str]:
    """Which of these documents another record or transaction is linked to, in words."""
    references = CrossReference.objects.filter(connection__code=txn.target_connection, external_id__in=ids)
    taken = {
        external_id: f"the {record_type.replace('_', ' ')} {number or key}"
        for external_id, record_type, number, key in references.exclude(transaction_id=txn.pk).values_list(
            "external_id", "record_type", "number", "record_key"
        )
    }
    others = BusinessTransaction.objects.filter(target_connection=txn.target_connection, target_id__in=ids)
    taken.update(dict(others.exclude(pk=txn.pk).values_list("target_id", "number")))
    return taken


def _figure(amount: Decimal | None, currency: str) -> str:
    """An amount to its currency's places, so that 120 and 120.00 are one figure."""
    return "" if amount is None else f"{round_money(amount, currency):,}"
