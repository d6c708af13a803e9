"""The one way out: each resolution of a case, permitted per entity, with its reason in timeline and audit.

Every act names each document that it couldn't touch and why. Only held documents are continued or cancelled, and what
may already be posted is never cancelled. Locks are taken in one order: documents, case, what the case holds beside
documents, audit. Whoever changes what a case says of a document holds that document's lock, or waits for it first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import cases, overtaken
from exceptions.concerned import facts_of
from exceptions.fixes import LATER_VERSION
from exceptions.kind_words import (
    BOOKED_BY_HAND,
    CORRECT_AT_SOURCE,
    LOOK_AGAIN,
    REMAP_AND_REPOST,
    REPOST,
    RESOLUTION_WORDS,
    WAIVE,
)
from exceptions.kinds import OVERRIDE, Kind, kind_of
from exceptions.models import CaseNote, ExceptionCase, Occurrence, Waiver
from exceptions.resolving import binding, rules
from exceptions.resolving.held import never_waived
from exceptions.resolving.waiting import end_waiting
from q2c.core import approvals, audit
from q2c.core.access import reach
from q2c.core.models import Person, Proposal
from q2c.flows.tasks import nudge
from q2c.transactions import restart
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.restart import Restarted
from q2c.transactions.versions import SUPERSEDED

WORK, MAY_REPOST, MAY_WAIVE = "exceptions.work_case", "transactions.repost", "exceptions.waive_case"
EVIDENCE_LEASE_SECONDS = 120.0
OTHER_ENTITY = "your role doesn't reach its entity"
NOT_HELD = "it isn't held any more"
CAME_BACK = "its money has come back in the ERP already: only both are nothing"
UNDECIDED = "the target may hold it: its outcome must be known first"


class ResolutionRefused(Exception):
    """Why this can't be done to the case, in words for the screen."""


def repost(
    case: ExceptionCase, *, by: Person, reason: str, transaction_ids: Iterable[UUID] | None = None,
    as_then: bool = False,
) -> list[Restarted]:  # fmt: skip
    """Continue the case's held documents at their held step; each result says whether, or why not.

    They go by the newest mappings, or with `as_then` by those that each was first read with.
    A second click finds them running and says so. Raises ResolutionRefused where the kind doesn't allow it, as while an
    outcome is unknown.
    """
    check_case(case, reason, REPOST, REMAP_AND_REPOST)
    chosen = _documents(case, transaction_ids)
    return repost_documents(chosen, by=by, reason=reason, permission=MAY_REPOST, as_then=as_then)


def look_again(case: ExceptionCase, *, by: Person, reason: str) -> list[Restarted]:
    """Have the machine look in the target once more: what it finds is linked, what is proved absent is sent.

    Each document comes back with its open intent, so a write looks before it makes (law 4).
    """
    check_case(case, reason, LOOK_AGAIN)
    return repost_documents(_documents(case, None), by=by, reason=reason, permission=MAY_REPOST, verb="look_again")


def waive(
    case: ExceptionCase, *, by: Person, reason: str, transaction_ids: Iterable[UUID] | None = None,
    code: str = "looked_into", others: Iterable[int] = (),
) -> list[Restarted]:  # fmt: skip
    """Give the documents up: nothing posts, they are cancelled with the reason and stay on the open-items list, under a
    reason code of `WAIVE_REASONS`. With all documents, or the occurrences named as `others`, also the messages and
    whatever else the case is about.

    A document of which the target may hold something is never waived: its outcome must be known first. Nor is one that
    others post by alone, such as a day's summary.
    """
    check_case(case, reason, WAIVE)
    with atomic():
        locked = _lock_documents(case, transaction_ids)
        cases.lock_case(case.pk)  # as a signature does, before what isn't a document: else both wait for each other
        results = give_up(locked, by=by, reason=reason, code=code, case_id=case.pk)
        done = {row.transaction_id for row in results if row.is_restarted}
        loose: list[Occurrence] = []
        if transaction_ids is not None:
            named = set(others)
            loose = [row for row in beside_documents(case, by) if row.pk in named]
        elif all(row.is_restarted or row.why_not == NOT_HELD for row in results):
            loose = beside_documents(case, by)
        cases.close_for_events([row.event_id for row in loose if row.event_id is not None], "waived")
        cases.close_loose(case, "waived", [row.pk for row in loose])
        _tell(case, "waive", by=by, reason=reason, ids=done)
    return [*results, *(Restarted(row.event_id or UUID(int=row.pk), True, what=what_it_is(row)) for row in loose)]


def beside_documents(case: ExceptionCase, by: Person) -> list[Occurrence]:
    """What the case holds beside documents (messages, a gap in a feed), of the entities for which this person may give
    it up."""
    allowed = reach(by, MAY_WAIVE)
    rows = case.occurrences.filter(closed_at__isnull=True, transaction_id__isnull=True).order_by("pk")
    return [row for row in rows if allowed.covers(row.legal_entity_code, case.kind)]


def what_it_is(row: Occurrence) -> str:
    """What an occurrence without a document is, in a word."""
    return "message" if row.event_id is not None else "finding"


def give_up(
    ids: list[UUID], *, by: Person, reason: str, code: str = "looked_into", case_id: int | None = None
) -> list[Restarted]:
    """Cancel these documents where the person may and nothing of them may be posted; their occurrences close, and they
    stand on the list of open items. Whoever calls it tells, in the same transaction."""
    chosen, refused = _permitted(ids, by=by, permission=MAY_WAIVE)
    kept = never_waived(chosen)
    clear, undecided = _without_open_intent([i for i in chosen if i not in kept])
    alone = [] if code == BOOKED_BY_HAND else overtaken.left_alone(clear)
    undecided += [Restarted(i, False, CAME_BACK) for i in alone]
    clear = [i for i in clear if i not in set(alone)]
    done = set(restart.cancel(clear, why=f"waived by {by}: {reason}"))
    _keep_open_items(done, code=code, by=by, reason=reason)
    cases.close_for_transactions(done, "waived", case_id=case_id)
    left = [Restarted(i, False, NOT_HELD) for i in clear if i not in done]
    left += [Restarted(i, False, why) for i, why in kept.items()]
    return [*(Restarted(i, True) for i in sorted(done)), *left, *undecided, *refused]


def correct_at_source(case: ExceptionCase, *, by: Person, reason: str) -> int:
    """The documents are being corrected where they come from: they wait for the corrected version, then make way.

    Returns how many wait. One makes way (`make_way`) only when a later version of it stands behind it in its lane.
    """
    check_case(case, reason, CORRECT_AT_SOURCE)
    with atomic():
        results = send_back(_lock_documents(case, None), by=by)
        sent = {row.transaction_id for row in results if row.is_restarted}
        _tell(case, "send_back", by=by, reason=reason, ids=sent)
    make_way()
    return len(sent)


def send_back(ids: list[UUID], *, by: Person) -> list[Restarted]:
    """These documents wait for a corrected version from their source. Whoever calls it tells, in the same
    transaction."""
    chosen, refused = _permitted(ids, by=by, permission=WORK)
    waiting = Occurrence.objects.filter(transaction_id__in=chosen, closed_at__isnull=True)
    waiting.update(source_asked_at=timezone.now())
    return [*(Restarted(i, True) for i in chosen), *refused]


def make_way(*, also_sent_back: bool = True) -> list[UUID]:
    """Cancel held documents of which a newer version stands behind them in their lane; nothing of them may be posted.

    Those that somebody has sent back (all of them are looked at, unless told otherwise), and by themselves those of
    kinds that a correction at the source mends: the newer version says all that the held one said, so only it is
    carried.
    """
    with atomic():
        behind = overtaken.waiting_behind()
        sent_back = set(_ids(overtaken.sent_back()) if also_sent_back else ()) | {i for i in behind if behind[i]}
        asked, _ = _without_open_intent(overtaken.superseded(sorted(sent_back)))
        others, _ = _without_open_intent(overtaken.superseded([i for i in behind if i not in sent_back]))
        corrected = restart.cancel(asked, why=f"{SUPERSEDED}corrected at its source")
        others = [i for i in others if i not in set(asked)]
        replaced = restart.cancel(others, why=f"{SUPERSEDED}a later version came")
        cases.close_for_transactions(corrected, "corrected_at_source")
        cases.close_for_transactions(replaced, LATER_VERSION)
        done = [*corrected, *replaced]
        flows = set(BusinessTransaction.objects.filter(pk__in=done).values_list("flow", flat=True))
        if done:
            audit.record(audit.PORTAL, "make_way", "transaction", done[0], data={"transactions": done})
        nudge(flows)
    return done


def propose_overrides(
    case: ExceptionCase, *, by: Person, reason: str, transaction_ids: Iterable[UUID] | None = None
) -> list[Proposal]:
    """Ask a second person to let each document pass in spite of the rule that holds it: one decision per document.

    Who signs is a governed rule by amount, as for every resolution; an override is never asked of nobody. Each approval
    is bound to the document as it is and to what was found about it: its facts' hash, its attempt and the problem's own
    words are signed too. What is proposed already isn't proposed twice. Raises ResolutionRefused when no document is
    left to propose.
    """
    check_case(case, reason, OVERRIDE)
    with atomic():
        chosen, refused = _permitted(_documents(case, transaction_ids), by=by, permission=WORK)
        standing = Proposal.objects.filter(kind=OVERRIDE, subject_type="transaction", state=Proposal.State.PROPOSED)
        asked = set(standing.filter(subject_id__in=map(str, chosen)).values_list("subject_id", flat=True))
        documents = [(i, facts) for i, facts in facts_of(chosen) if str(i) not in asked]
        if not documents:
            why_not = refused[0].why_not if refused else "it's proposed already, or not held in this case"
            raise ResolutionRefused(f"Nothing to propose: {why_not}.")
        title = f"Override {kind_of(case.kind).title.lower()}"
        cases.await_approval(case, by=by, text=title, data={"transactions": [str(i) for i, _ in documents]})
        held_by = dict(
            case.occurrences.filter(closed_at__isnull=True, transaction_id__in=[i for i, _ in documents])
            .values_list("transaction_id", "problem")
        )  # fmt: skip
        levels = rules.asked_of_each(OVERRIDE, [facts for _, facts in documents])
        signers = [each.approval or rules.SOMEBODY for each in levels]
        return approvals.propose_all(
            (
                approvals.Wish(
                    kind=OVERRIDE, subject=("transaction", i), title=f"{title} of {facts['number']}", why=reason,
                    content={"case": case.pk, approvals.OF_KIND: case.kind, "problem": held_by[i]["code"],
                             "says": held_by[i]["summary"], "subject": held_by[i]["subject"],
                             "document": facts, "asked": each.as_content()},
                    permission=who.permission, signatures=who.signatures, also=who.also,
                    legal_entities=[facts["legal_entity"]] if facts["legal_entity"] else [],
                )
                for (i, facts), each, who in zip(documents, levels, signers, strict=True)
            ),
            by=by,
        )  # fmt: skip


def decide_override(
    proposal: Proposal, *, by: Person, approve: bool, why: str = "", seen_hash: str = ""
) -> tuple[str, list[Restarted]]:
    """Sign an override; once approved the document reposts, and its step finds the approval.

    A document that moved since voids the proposal. Raises ApprovalRefused.
    """
    transaction_id = UUID(proposal.subject_id)
    case = ExceptionCase.objects.get(pk=proposal.content["case"])
    signed, present = proposal.content["document"], dict(facts_of([transaction_id])).get(transaction_id)
    if approve and proposal.state == Proposal.State.PROPOSED and present != signed:
        state = approvals.void(proposal, reason=binding.moved_words(signed, present), by=by)
    else:
        state = approvals.sign(
            proposal, by=by, approve=approve, alarm=cases.open_case, why=why, seen_hash=seen_hash,
            apply=lambda _: restart.lock([transaction_id]),  # a form's signature and repost are one transaction
        )  # fmt: skip
    results: list[Restarted] = []
    if state != Proposal.State.PROPOSED:
        end_waiting(case, by=by, text=why or proposal.void_reason or f"override {state}", verb=state)
    if state == Proposal.State.APPROVED:
        results = repost_documents(
            [transaction_id], by=by, reason=f"override approved: {proposal.why}", permission=None,
            fix={"how": OVERRIDE, "author": proposal.proposed_by_id},
        )  # fmt: skip
    return state, results


def check_case(case: ExceptionCase, reason: str, *wanted: str) -> None:
    """Raises ResolutionRefused without a reason, for a closed case, and where its kind allows none of the wanted."""
    if not reason.strip():
        raise ResolutionRefused("Say why.")
    case.refresh_from_db()
    if not case.is_open:
        raise ResolutionRefused(f"{case.number} is {case.get_state_display().lower()} already.")
    if said := why_not_solved(kind_of(case.kind), *wanted):
        raise ResolutionRefused(f"{said}.")


def why_not_solved(kind: Kind, *wanted: str) -> str:
    """Why none of these resolutions solves this kind, and what does; empty where one does."""
    if set(wanted) & set(kind.may):
        return ""
    ways = ", ".join(RESOLUTION_WORDS[code].lower() for code in kind.may)
    return f"{kind.title} isn't solved by this, but by: {ways}"


def _documents(case: ExceptionCase, transaction_ids: Iterable[UUID] | None) -> list[UUID]:
    rows = case.occurrences.filter(closed_at__isnull=True)
    return _ids(rows if transaction_ids is None else rows.filter(transaction_id__in=list(transaction_ids)))


def _lock_documents(case: ExceptionCase, transaction_ids: Iterable[UUID] | None) -> list[UUID]:
    """The documents of the case, locked; one that left it while we waited for its lock isn't among them."""
    found = _documents(case, transaction_ids)
    restart.lock(found)
    return _documents(case, found)


def _ids(rows: QuerySet[Occurrence]) -> list[UUID]:
    """The transactions of these occurrences, in the order in which they are locked."""
    found = rows.order_by("transaction_id").values_list("transaction_id", flat=True)
    return [i for i in found if i is not None]


def _permitted(ids: list[UUID], *, by: Person, permission: str) -> tuple[list[UUID], list[Restarted]]:
    """Which of these this person may act on; the others each with the reason."""
    allowed = reach(by, permission)
    if allowed.is_everywhere:
        return ids, []
    entities = dict(BusinessTransaction.objects.filter(pk__in=ids).values_list("pk", "legal_entity_code"))
    kinds: dict[Any, str] = {}
    if allowed.of_kind:
        held = Occurrence.objects.filter(transaction_id__in=ids, closed_at__isnull=True)
        kinds = dict(held.values_list("transaction_id", "case__kind"))
    mine = {i for i in ids if allowed.covers(entities.get(i), kinds.get(i, ""))}
    return [i for i in ids if i in mine], [Restarted(i, False, OTHER_ENTITY) for i in ids if i not in mine]


def repost_documents(
    ids: list[UUID],
    *,
    by: Person | None,
    reason: str,
    permission: str | None,
    verb: str = "repost",
    as_then: bool = False,
    fix: Mapping[str, Any] | None = None,
) -> list[Restarted]:
    """Restart, mark, tell. Without a permission the right was given by the signatures; without a person what held them
    is gone by itself. `fix` says what the repost is part of: how, change_set, author (fixes.record_fixes reads it)."""
    with atomic():
        results = continue_held(ids, by=by, why=reason, permission=permission, as_then=as_then)
        done = {result.transaction_id for result in results if result.is_restarted}
        touched = Occurrence.objects.filter(transaction_id__in=done, closed_at__isnull=True)
        by_case: dict[int, list[UUID]] = {}
        for case_id, transaction_id in touched.order_by("case", "pk").values_list("case", "transaction_id"):
            if transaction_id is not None:
                by_case.setdefault(case_id, []).append(transaction_id)
        now = timezone.now()
        CaseNote.objects.bulk_create(
            CaseNote(
                case_id=case_id, at=now, by=by, verb=DID[verb], text=reason,
                data={"documents": len(own), "how": verb, **(fix or {})},
            )
            for case_id, own in by_case.items()
        )  # fmt: skip
        mappings = "those of then" if as_then else "the newest"
        audit.record_all(
            audit.Act(actor=by or audit.PORTAL, verb=verb, subject=("case", case_id), why=reason,
                      data={"transactions": own, "mappings": mappings})
            for case_id, own in by_case.items()
        )  # fmt: skip
    return results


def continue_held(
    ids: list[UUID], *, by: Person | None, why: str, permission: str | None, as_then: bool = False,
    priority: int = restart.REPOSTED,
) -> list[Restarted]:  # fmt: skip
    """Restart these documents where the person may; their occurrences are running. Whoever calls it tells, in the same
    transaction."""
    chosen, refused = (ids, []) if by is None or permission is None else _permitted(ids, by=by, permission=permission)
    who = audit.PORTAL if by is None else by.username
    results = restart.restart(chosen, by=who, why=why, as_then=as_then, priority=priority)
    done = {result.transaction_id for result in results if result.is_restarted}
    cases.close_for_transactions(done, cases.REPOSTED)
    nudge(set(BusinessTransaction.objects.filter(pk__in=done).values_list("flow", flat=True)))
    return [*results, *refused]


def follow_parents() -> list[Restarted]:
    """Repost what was held as overdue, once what it waited for has come. A piece of them at a time."""
    ids = restart.followers()
    return repost_documents(ids, by=None, reason="what it waited for has come", permission=None) if ids else []


def _keep_open_items(ids: set[UUID], *, code: str, by: Person, reason: str) -> None:
    now = timezone.now()
    held_in = Occurrence.objects.filter(transaction_id__in=ids, closed_at__isnull=True)
    case_of = dict(held_in.values_list("transaction_id", "case_id"))
    names = ("pk", "number", "legal_entity_code", "period_code", "currency", "amount")
    rows = BusinessTransaction.objects.filter(pk__in=list(case_of)).order_by("pk").values_list(*names)
    Waiver.objects.bulk_create(
        (
            Waiver(
                case_id=case_of[pk], transaction_id=pk, number=number, legal_entity_code=entity, period_code=period,
                currency=currency, amount=amount, code=code, why=reason, by=by, at=now,
            )
            for pk, number, entity, period, currency, amount in rows
        ),
        batch_size=1000,
    )  # fmt: skip


def _tell(case: ExceptionCase, verb: str, *, by: Person, reason: str, ids: Iterable[UUID]) -> None:
    own = sorted(ids)
    how = CORRECT_AT_SOURCE if verb == "send_back" else verb
    cases.note(case, verb=DID[verb], text=reason, by=by, data={"documents": len(own), "how": how})
    audit.record(by, verb, "case", case.pk, why=reason, data={"transactions": own})


def _without_open_intent(ids: list[UUID]) -> tuple[list[UUID], list[Restarted]]:
    """Leaves out those whose last write isn't decided: the target may hold something (law 4)."""
    rows = BusinessTransaction.objects.filter(pk__in=ids, open_intent__isnull=False)
    undecided = set(rows.values_list("pk", flat=True))
    clear = [i for i in ids if i not in undecided]
    return clear, [Restarted(i, False, UNDECIDED) for i in sorted(undecided)]


DID = {"repost": "reposted", "look_again": "looked_again", "waive": "waived", "send_back": "sent_back"}
