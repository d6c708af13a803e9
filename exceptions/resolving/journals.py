"""Which journal of the ERP stands for a payout, a dispute or an accrual now, what people call it, and what takes it
back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from mappings.models import CrossReference
from q2c.canonical import schema
from q2c.canonical.billing import Dispute, Payout
from q2c.canonical.posting import Accrual, Journal, PostedDocument
from q2c.canonical.unwinding import Reversal
from q2c.core.money import spoken_money
from q2c.flows import catalog
from q2c.flows.reversal_to_erp import REVERSAL_TO_ERP
from q2c.flows.steps.cash import movement_key
from q2c.flows.told import record_key
from q2c.posting.cash import name_payout
from q2c.posting.reversing import LATER
from q2c.transactions.models import BusinessTransaction, StepRun
from q2c.transactions.steps import decode_output

# Whose journals may be taken back: our type of record, and what takes them back without a plan.
FLOWS = {"payout_to_erp": "payout", "dispute_to_erp": "dispute", "accrual_to_erp": "accrual"}
BY_ITSELF = {
    "payout_to_erp": "Where the bank sends it back, billing says so and the opposite journal posts by itself: a "
    "plan is for a journal that is wrong.",
    "dispute_to_erp": "When its money comes back, billing says so and that posts by itself: a plan is for a "
    "journal that is wrong.",
    "accrual_to_erp": "Where the accrual is right, nothing has to be done: the ERP takes it back by itself in the next "
    "period.",
}
State = BusinessTransaction.State


@dataclass(frozen=True)
class Booked:
    """The journal that stands for a transaction now, and what the ERP said of it."""

    reference: CrossReference
    journal: Journal
    posted: PostedDocument


def name_of(txn: BusinessTransaction) -> str:
    """What people call what a journal stands for."""
    document = document_of(txn)
    if isinstance(document, Payout):
        return name_payout(document)
    if isinstance(document, Dispute):
        won = "won dispute" if document.is_returned else "dispute"
        return f"The {won} over {spoken_money(document.amount, document.currency)} of {document.at:%-d %B %Y}"
    return f"The accrual of {document.number}" if isinstance(document, Accrual) else txn.number or txn.source_id


def is_taken_back(txn: BusinessTransaction) -> bool:
    """Whether a plan took its journal back for good."""
    latest = latest_of(txn)
    return latest is not None and latest.state == State.COMPLETED and not decided_of(latest).reposts


def document_of(txn: BusinessTransaction) -> Any:
    """What it carries; None where that can't be read any more."""
    try:
        return schema.from_json(bytes(txn.fact), catalog.BY_CODE[txn.flow].fact_type)
    except msgspec.DecodeError:
        return None


def key_of(document: Any) -> str:
    """Under which key its cross-reference stands: a later movement has one of its own."""
    return record_key(document.source) if isinstance(document, Accrual) else movement_key(document)


def booked_of(txn: BusinessTransaction) -> Booked | None:
    """The journal that stands for it: its own, or the one of the last plan that posted it again. None where it isn't
    posted, or what it was posted with isn't kept any more."""
    document = document_of(txn)
    if txn.state != State.COMPLETED or document is None:
        return None
    reference = CrossReference.objects.filter(
        record_type=FLOWS[txn.flow], record_key=key_of(document), connection__code=txn.target_connection,
        external_type="journal",
    ).first()  # fmt: skip
    latest = latest_of(txn)
    if latest is not None and latest.state == State.COMPLETED and decided_of(latest).reposts:
        journal, posted = decided_of(latest).again, _gave(latest, "reposted", PostedDocument)
    else:
        journal, posted = _gave(txn, "posting", Journal), _gave(txn, "journal", PostedDocument)
    if reference is None or journal is None or posted is None:
        return None
    return Booked(reference, journal, posted)


def _gave(txn: BusinessTransaction, fact: str, kind: Any) -> Any:
    """What a step of it gave last; None where that isn't kept any more."""
    rows = StepRun.objects.filter(transaction_id=txn.pk, gave=fact, state=StepRun.State.DONE, output__isnull=False)
    output = rows.order_by("-sequence").values_list("output", flat=True).first()
    return None if output is None else decode_output(bytes(output), kind)


def later_of(txn: BusinessTransaction) -> BusinessTransaction | None:
    """A later movement that takes this one back by itself, posted or on its way, and not taken back itself."""
    if movement_of(txn) in LATER:
        return None
    rows = BusinessTransaction.objects.filter(flow=txn.flow, lane=txn.lane, source_id=txn.source_id)
    for other in rows.exclude(pk=txn.pk).exclude(state=State.CANCELLED).order_by("lane_sequence"):
        is_here = other.target_connection in ("", txn.target_connection)
        if is_here and movement_of(other) in LATER and not is_taken_back(other):
            return other
    return None


def left_behind(made: BusinessTransaction) -> PostedDocument | None:
    """What a plan that was given up had posted already; None where it had posted nothing."""
    written = (_gave(made, fact, PostedDocument | None) for fact in ("other_journal", "journal"))
    return next((document for document in written if document is not None), None)


def movement_of(txn: BusinessTransaction) -> str:
    """Which movement of its object it is; empty for what has one only."""
    return str(getattr(document_of(txn), "movement", ""))


def decided_of(made: BusinessTransaction) -> Reversal:
    """What two people decided."""
    found: Reversal = schema.from_json(bytes(made.fact), Reversal)
    return found


def latest_of(txn: BusinessTransaction) -> BusinessTransaction | None:
    """The transaction that carries, or carried, the newest plan about this one."""
    rows = BusinessTransaction.objects.filter(flow=REVERSAL_TO_ERP.code, lane=txn.lane).order_by("-lane_sequence")
    return next((made for made in rows if decided_of(made).transaction == str(txn.pk)), None)
