"""A resolution on its way: proposed with what will happen in words, signed by whom the rules ask, then applied once.

Where the rules ask for nobody, it's applied at once by whoever wished it. What is applied is exactly what was signed:
a document that moved since drops out and is named; when none is left, the proposal is void and says what moved.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.transaction import atomic
from django.utils import timezone

from exceptions import cases
from exceptions.models import Choice, ExceptionCase
from exceptions.resolutions import OTHER_ENTITY, WORK, ResolutionRefused
from exceptions.resolving import binding, rules, waiting
from q2c.core import approvals, audit
from q2c.core.access import reach
from q2c.core.models import Person, Proposal
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.restart import Restarted

DOCUMENTS_MAX = 5_000  # on one proposal
PREFIX = waiting.PREFIX
Apply = Callable[["Agreed"], list[Restarted]]


@dataclass(frozen=True, kw_only=True)
class Wished:
    """A resolution that somebody wishes for documents of one case.

    `happens` says in sentences what will be done; `terms` is the same as data; `chosen` what the documents' steps would
    then find, where something would be sent.
    """

    resolution: str
    case: ExceptionCase
    by: Person
    reason: str
    title: str
    happens: Sequence[str]
    documents: Sequence[UUID]
    terms: Mapping[str, Any] = field(default_factory=dict)
    chosen: Mapping[UUID, dict[str, Any]] | None = None
    fields: Sequence[str] = ()
    permission: str = WORK  # that whoever wishes it has for each document's entity
    state: str = "held"  # in which the documents are
    amounts: Mapping[UUID, Decimal] = field(default_factory=dict)  # where it's about less than the documents' own
    others: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)  # occurrences without a document, their facts
    counted: Mapping[UUID, Decimal] = field(default_factory=dict)  # what the rules are asked for, where it's not that


@dataclass(frozen=True, kw_only=True)
class Agreed:
    """What was agreed, to be put into force: the documents that are as they were signed for."""

    case: ExceptionCase
    content: Mapping[str, Any]
    documents: list[UUID]
    proposer: Person
    by: Person
    why: str
    proposal: Proposal | None
    at: dt.datetime = field(default_factory=timezone.now)

    @property
    def terms(self) -> Mapping[str, Any]:
        """What was signed, as data."""
        terms: Mapping[str, Any] = self.content["terms"]
        return terms

    @property
    def others(self) -> list[int]:
        """The occurrences without a document that were signed for."""
        return [row["occurrence"] for row in self.content.get("others", ())]


def note_choices(agreed: Agreed, about: str) -> None:
    """Keep what was chosen of each document about this, for its own steps to find once it's reposted."""
    Choice.objects.bulk_create(
        Choice(
            transaction_id=i, about=about, content=agreed.content["chosen"][str(i)][about], case=agreed.case,
            proposal=agreed.proposal, by=agreed.proposer, at=agreed.at,
        )
        for i in agreed.documents
    )  # fmt: skip


def wish(wished: Wished, apply: Apply) -> tuple[Proposal | None, list[Restarted]]:
    """Propose it, or apply it at once where the rules ask for nobody. Raises ResolutionRefused, for an empty selection,
    a second proposal of its kind, where none of the documents would post, or where the person's role reaches none."""
    check_count([*wished.documents, *wished.others])
    state = binding.state_of(wished.documents, wished.chosen)
    held = [_signed(state[i], wished.amounts.get(i)) for i in wished.documents
            if state[i]["state"] == wished.state]  # fmt: skip
    if not held and not wished.others:
        raise ResolutionRefused("No document of it is held any more.")
    allowed = reach(wished.by, wished.permission)
    documents: list[dict[str, Any]] = []
    foreign: list[dict[str, Any]] = []
    for own in held:
        (documents if allowed.covers(own["legal_entity"], wished.case.kind) else foreign).append(own)
    if not documents and not wished.others:
        raise ResolutionRefused(f"{OTHER_ENTITY[0].upper()}{OTHER_ENTITY[1:]}.")
    counted = [_signed(own, wished.counted.get(UUID(own["transaction"]))) for own in documents]
    asked = rules.asked_for(wished.resolution, [*counted, *wished.others.values()], wished.fields)
    content = {
        "case": wished.case.pk,
        approvals.OF_KIND: wished.case.kind,
        "resolution": wished.resolution,
        "happens": list(wished.happens),
        "terms": dict(wished.terms),
        "asked": asked.as_content(),
        "chosen": {str(i): own for i, own in (wished.chosen or {}).items()},
        "documents": documents,
    }
    if wished.others:
        content["others"] = [{"occurrence": i, **own} for i, own in wished.others.items()]
    kind = PREFIX + wished.resolution
    approval = asked.approval
    if approval is None:
        with atomic():
            agreed = Agreed(
                case=wished.case, content=content, documents=[UUID(d["transaction"]) for d in documents],
                proposer=wished.by, by=wished.by, why=wished.reason, proposal=None,
            )  # fmt: skip
            results = _apply_unmoved(agreed, apply)
            audit.record(wished.by, wished.resolution, "case", wished.case.pk, why=wished.reason, data=_told(content))
        return None, [*results, *(Restarted(UUID(own["transaction"]), False, OTHER_ENTITY) for own in foreign)]
    with atomic():
        case = cases.lock_case(wished.case.pk)
        if case is None or not case.is_open:
            raise ResolutionRefused(f"{wished.case.number} is closed already.")
        _refuse_second(kind, case, {d["transaction"] for d in documents})
        proposal = approvals.propose(
            kind, ("case", case.pk), content=content, by=wished.by, title=wished.title, why=wished.reason,
            permission=approval.permission, signatures=approval.signatures, also=approval.also,
            legal_entities=approvals.concerned(d["legal_entity"] for d in [*documents, *wished.others.values()]),
        )  # fmt: skip
        cases.await_approval(case, by=wished.by, text=wished.title, data={"proposal": str(proposal.pk)})
    return proposal, []


def check_count(documents: Sequence[object]) -> None:
    """Raises ResolutionRefused for none, and for more documents than one decision takes."""
    if not documents:
        raise ResolutionRefused("No document of it is held any more.")
    if len(documents) > DOCUMENTS_MAX:
        raise ResolutionRefused(
            f"{len(documents):,} documents are more than one decision takes ({DOCUMENTS_MAX:,}): choose fewer."
        )


def decide(
    proposal: Proposal, apply: Apply, *, by: Person, approve: bool, why: str = "", seen_hash: str = "",
    emergency_hours: int | None = None,
) -> tuple[str, list[Restarted]]:  # fmt: skip
    """Sign; the last signature puts it into force in the same transaction. What moved voids it, by name. Raises
    ApprovalRefused."""
    proposal.refresh_from_db()
    content = proposal.content
    case = ExceptionCase.objects.get(pk=content["case"])
    moved = _moved(content) if approve and proposal.state == Proposal.State.PROPOSED else {}
    results: list[Restarted] = []
    if moved and len(moved) == len(content["documents"]):
        state = approvals.void(proposal, reason=_void_words(content, moved), by=by)
    else:

        def put(locked: Proposal) -> None:
            ids = [UUID(d["transaction"]) for d in content["documents"] if d["transaction"] not in moved]
            agreed = Agreed(
                case=case, content=content, documents=ids, proposer=locked.proposed_by, by=by, why=locked.why,
                proposal=locked,
            )  # fmt: skip
            results.extend(_apply_unmoved(agreed, apply))
            results.extend(Restarted(UUID(i), False, f"moved: {'; '.join(said)}") for i, said in moved.items())

        state = approvals.sign(
            proposal, by=by, approve=approve, alarm=cases.open_case, why=why, seen_hash=seen_hash, apply=put,
            emergency_hours=emergency_hours,
        )  # fmt: skip
    if state != Proposal.State.PROPOSED:
        waiting.end_waiting(
            case, by=by, text=why or proposal.void_reason or f"“{proposal.title}” is {state}", verb=str(state)
        )
    return state, results


def withdraw(proposal: Proposal, *, by: Person, why: str) -> None:
    """Whoever proposed a resolution takes it back, before it's decided: nothing was done, and the case is worked again.
    Raises ApprovalRefused for anybody else, without a reason, and when it's decided already."""
    if not why.strip():
        raise approvals.ApprovalRefused("no_reason", "Say why you take it back.")
    with atomic():
        approvals.withdraw(proposal, by=by, why=why)
        case = ExceptionCase.objects.get(pk=proposal.content["case"])
        waiting.end_waiting(case, by=by, text=f"“{proposal.title}”: {why}", verb="withdrawn")


def end_stale() -> int:
    """Void the proposals whose case is closed: nothing is left to agree to. Returns how many."""
    rows = Proposal.objects.filter(kind__startswith=PREFIX, state=Proposal.State.PROPOSED, subject_type="case")
    open_ids = {str(i) for i in ExceptionCase.objects.filter(closed_at__isnull=True).values_list("pk", flat=True)}
    count = 0
    for proposal in rows.defer("content").order_by("pk"):
        if proposal.subject_id not in open_ids:
            approvals.void(proposal, reason="Its case is closed: nothing is left to agree to.")
            count += 1
    return count


def _signed(facts: dict[str, Any], amount: Decimal | None) -> dict[str, Any]:
    return facts if amount is None else {**facts, "amount": str(amount)}


def _refuse_second(kind: str, case: ExceptionCase, ids: set[str]) -> None:
    """One wish of a kind stands per document."""
    standing = Proposal.objects.filter(
        kind=kind, subject_type="case", subject_id=str(case.pk), state=Proposal.State.PROPOSED
    ).select_related("proposed_by")
    for proposal in standing:
        if any(row["transaction"] in ids for row in proposal.content["documents"]):
            raise ResolutionRefused(f"{proposal.proposed_by} proposed it already, and it waits for a second person.")


def _moved(content: Mapping[str, Any]) -> dict[str, list[str]]:
    """What moved of each document since it was proposed, by its id."""
    chosen = {UUID(i): own for i, own in content["chosen"].items()} or None
    present = binding.state_of([UUID(d["transaction"]) for d in content["documents"]], chosen)
    found = {d["transaction"]: binding.what_moved(d, present.get(UUID(d["transaction"]))) for d in content["documents"]}
    return {i: moved for i, moved in found.items() if moved}


def _apply_unmoved(agreed: Agreed, apply: Apply) -> list[Restarted]:
    """Lock the documents, leave out what moved between the look and the lock, and apply."""
    rows = BusinessTransaction.objects.select_for_update().filter(pk__in=agreed.documents).order_by("pk")
    list(rows.values_list("pk", flat=True))
    signed = {UUID(d["transaction"]): d for d in agreed.content["documents"]}
    present = binding.state_of(agreed.documents)
    moved = {}
    for i in agreed.documents:
        bare = {k: v for k, v in signed[i].items() if k != "would"}
        if said := binding.what_moved(bare, present.get(i)):
            moved[i] = said
    left = [i for i in agreed.documents if i not in moved]
    results = apply(replace(agreed, documents=left)) if left or agreed.others else []
    return [*results, *(Restarted(i, False, f"moved: {'; '.join(said)}") for i, said in moved.items())]


def _void_words(content: Mapping[str, Any], moved: Mapping[str, list[str]]) -> str:
    first = next(d for d in content["documents"] if d["transaction"] in moved)
    rest = f", and so did {len(moved) - 1:,} others" if len(moved) > 1 else ""
    number = first["number"] or "The document"
    return f"{number} moved{rest}: {'; '.join(moved[first['transaction']])}."


def _told(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "transactions": [d["transaction"] for d in content["documents"]], "terms": content["terms"],
        "asked": content["asked"],
    }  # fmt: skip
