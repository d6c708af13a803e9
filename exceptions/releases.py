"""A change set's way through the cases: its evidence, the documents that it releases, and what became of each.

What is signed is what was found out; what is released is what was signed. Whatever a lost nudge or a process that died
left unfinished is finished by the sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from celery import current_app
from django.db.transaction import atomic, on_commit

from exceptions import cases, evidence
from exceptions.concerned import facts_of
from exceptions.kind_words import REMAP_AND_REPOST, RESOLUTION_WORDS
from exceptions.limits import over_limit
from exceptions.models import ExceptionCase
from exceptions.resolutions import check_case, repost_documents
from mappings import approvals as mapping_approvals
from mappings import building
from mappings import emergencies as mapping_emergencies
from mappings.drafts import DraftRefused, Line, save_draft
from mappings.kinds import ROUTING
from mappings.models import ChangeSet, Evidence
from q2c.core import approvals, leases
from q2c.core import emergencies as uses
from q2c.core.models import Person, Proposal
from q2c.flows import trial
from q2c.flows.done import portal_person
from q2c.transactions import restart
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.restart import Restarted

EVIDENCE_LEASE_SECONDS = 120.0


def remap_and_repost(case: ExceptionCase, *, by: Person, reason: str, line: Line) -> ChangeSet:
    """Propose the mapping that is missing; once another person approves (`decide_change_set`), its documents repost.

    Raises ResolutionRefused, mappings.drafts.DraftRefused with each fault, or ApprovalRefused.
    """
    check_case(case, reason, REMAP_AND_REPOST)
    title = f"{RESOLUTION_WORDS[REMAP_AND_REPOST]}: {line.key} to {line.label or line.value}"
    with atomic():
        change_set = save_draft(title, reason, lines=[line], by=by, case_id=case.pk)
        cases.await_approval(case, by=by, text=title, data={"change_set": change_set.pk})
        propose_change_set(change_set, by=by)
    return change_set


def propose_change_set(change_set: ChangeSet, *, by: Person) -> Proposal | None:
    """Propose a draft with its evidence, and the held documents that it releases, frozen as they are.

    None while the evidence of a large one is computed: it's proposed by itself then. Raises DraftRefused, and
    ApprovalRefused for somebody else's draft or for what it would alter in a closed period.
    """
    found = Evidence.objects.filter(change_set=change_set).first()
    if not evidence.is_fresh(found, change_set):
        found = evidence.ask(change_set, proposes=True, run_later=_gather_later)
    if found is None or found.state != Evidence.State.READY:
        return None
    if said := evidence.closed_words(found.content):
        raise approvals.ApprovalRefused("closed_period", said)
    rows = found.documents.filter(part=evidence.HELD)
    outcomes = {
        row[0]: {"outcome": row[1], "says": row[2]} for row in rows.values_list("transaction_id", "outcome", "says")
    }
    held = BusinessTransaction.objects.filter(pk__in=list(outcomes), state="held")
    frozen = [facts | outcomes[i] for i, facts in facts_of(held.values_list("pk", flat=True))]
    posting = [facts for facts in frozen if facts["outcome"] != trial.HELD]
    return mapping_approvals.propose_change_set(
        change_set, by=by, affected=frozen, evidence=found.content, evidence_at=found.as_of, over=over_limit(posting)
    )


def ask_evidence(change_set: ChangeSet, *, periods: int | None = None) -> Evidence:
    """Find out what a draft would do: now, or in a task where that is much; its back-test goes so many periods back."""
    return evidence.ask(change_set, periods=periods, run_later=_gather_later)


def propose_anew(change_set: ChangeSet, *, by: Person) -> tuple[ChangeSet, Proposal | None]:
    """Propose what was ended once more, on the rules of now and with evidence of now. Raises as `propose_change_set`,
    and DraftRefused for rows that don't fit any more."""
    with atomic():
        draft = building.begin_anew(change_set, by=by)
        if draft.case is not None and draft.case.is_open:
            cases.await_approval(draft.case, by=by, text=draft.title, data={"change_set": draft.pk})
        return draft, propose_change_set(draft, by=by)


def withdraw_change_set(change_set: ChangeSet, *, by: Person) -> None:
    """Its author takes a draft or proposal back; its case waits no more. Raises ApprovalRefused."""
    with atomic():
        mapping_approvals.withdraw_change_set(change_set, by=by)
        if change_set.case is not None:
            cases.end_waiting(change_set.case, by=by, text=f"{by} withdrew “{change_set.title}”", verb="withdrawn")


def gather_evidence(change_set_id: int) -> None:
    """Compute the evidence that was asked for, and propose the draft if its author wanted that.

    One process does it at a time: a broker hands a long task out again while it still runs.
    """
    name, me = f"evidence:{change_set_id}", leases.this_process()
    if not leases.take_lease(name, holder=me, seconds=EVIDENCE_LEASE_SECONDS):
        return
    try:
        _gather_evidence(change_set_id, lambda: leases.take_lease(name, holder=me, seconds=EVIDENCE_LEASE_SECONDS))
    finally:
        leases.release_lease(name, holder=me)


def finish_change_sets() -> None:
    """What a lost nudge or a process that died has left: evidence that was asked for, documents that were released."""
    for change_set_id in evidence.unfinished():
        gather_evidence(change_set_id)
    for change_set_id in evidence.unreleased():
        with atomic():  # whoever signed it may be reposting at this moment
            change_set = ChangeSet.objects.select_for_update().get(pk=change_set_id)
            if change_set_id in evidence.unreleased():
                repost_released(change_set, by=_last_signer(change_set))


def end_emergencies() -> None:
    """Take back what emergencies put in force whose hours are over; what posted by it stays."""
    if uses.due_to_end(mapping_emergencies.KIND).exists():
        mapping_emergencies.end_due(by=portal_person())


def decide_change_set(
    change_set: ChangeSet,
    *,
    by: Person,
    approve: bool,
    why: str = "",
    seen_hash: str = "",
    emergency_hours: int | None = None,
) -> tuple[mapping_approvals.Decision, list[Restarted]]:
    """Sign a change set; when that puts it in force, the documents that were signed for release repost, exactly those.
    With `emergency_hours` one signature of the emergency role does, for so long; a closed period refuses that too.

    Raises ApprovalRefused. The signature and the reposts are two transactions: should the second one fail, the rules
    hold, and `finish_change_sets` reposts. In a form they're one: so the documents are locked first, before their case.
    """
    if approve and (said := evidence.closed_since(_content(change_set).get("evidence", {}))):
        raise approvals.ApprovalRefused("closed_period", said)
    decision = mapping_approvals.sign_change_set(
        change_set, by=by, approve=approve, alarm=cases.open_case, why=why, seen_hash=seen_hash,
        emergency_hours=emergency_hours, lock=lambda: restart.lock(_signed_for(change_set)) if approve else None,
    )  # fmt: skip
    waiting = change_set.case
    if waiting is not None and decision.state != Proposal.State.PROPOSED:
        text = why or decision.why or f"change set {change_set.number or change_set.pk} is {decision.state}"
        cases.end_waiting(waiting, by=by, text=text, verb=str(decision.state))
    results = repost_released(change_set, by=by) if decision.is_in_force else []
    if decision.is_in_force and change_set.lines.filter(kind=ROUTING).exists():
        on_commit(lambda: current_app.send_task("exceptions.tasks.reroute_cases", retry=False), robust=True)
    return decision, results


def repost_released(change_set: ChangeSet, *, by: Person) -> list[Restarted]:
    """Repost what the change set was signed to release. A document that moved since drops out alone, and is named.

    The reposts and what is noted of them are one transaction: whoever comes after a crash finds both or neither.
    """
    with atomic():
        ChangeSet.objects.select_for_update().get(pk=change_set.pk)
        signed = _signed_for(change_set)
        present = dict(facts_of(signed))
        moved = [i for i, facts in signed.items() if present.get(i, {}).get("attempt") != facts["attempt"]]
        reason = f"change set {change_set.number}: {change_set.why}"
        fix = {"how": REMAP_AND_REPOST, "change_set": change_set.pk, "author": change_set.proposed_by_id}
        ids = [i for i in signed if i not in set(moved)]
        results = repost_documents(ids, by=by, reason=reason, permission=None, fix=fix)
        results += [Restarted(i, False, "it moved after it was signed for") for i in moved]
        evidence.note_results(change_set, results)
    return results


def _signed_for(change_set: ChangeSet) -> dict[UUID, dict[str, Any]]:
    """The documents that the signatures release, each with what was known of it then."""
    return {UUID(f["transaction"]): f for f in _content(change_set).get("affected", ()) if f.get("transaction")}


def _gather_evidence(change_set_id: int, told: Callable[[], object]) -> None:
    found = Evidence.objects.select_related("change_set__proposed_by").get(pk=change_set_id)
    change_set = found.change_set
    if found.state == Evidence.State.COMPUTING:
        try:
            found = evidence.gather(found, told=told)
        except Exception:
            Evidence.objects.filter(change_set=change_set).update(state=Evidence.State.FAILED)
            raise
    if found.proposes and change_set.state == ChangeSet.State.DRAFT:
        try:
            propose_change_set(change_set, by=change_set.proposed_by)
        except (approvals.ApprovalRefused, DraftRefused):
            Evidence.objects.filter(pk=found.pk).update(proposes=False)  # its page says why, when it's proposed again


def _gather_later(change_set_id: int) -> None:
    def send() -> None:
        current_app.send_task("exceptions.tasks.gather_evidence", (change_set_id,), retry=False)

    on_commit(send, robust=True)  # without a broker beat finds it within minutes


def _last_signer(change_set: ChangeSet) -> Person:
    assert change_set.proposal is not None  # it's in force, so it was signed
    return change_set.proposal.signatures.filter(is_approval=True).latest("signed_at").signed_by


def _content(change_set: ChangeSet) -> dict[str, Any]:
    return change_set.proposal.content if change_set.proposal else {}
