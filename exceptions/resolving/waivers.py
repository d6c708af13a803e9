"""Giving documents up with a reason code, by whom the rules ask, and taking them up again.

A waiver posts nothing. What it gave up stays on the list of open items, with amount, reason and who, until it's taken
up again: then the document goes on as if it had been held all the time, unless a later version of it has gone on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

from django.db.transaction import atomic
from django.utils import timezone

from exceptions import cases, resolutions
from exceptions.kind_words import WAIVE, WAIVE_REASONS
from exceptions.models import ExceptionCase, Waiver
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import rules
from exceptions.resolving.agreeing import Agreed, Wished, wish
from exceptions.resolving.binding import state_of
from exceptions.resolving.held import held_documents, never_waived
from q2c.core import audit
from q2c.core.access import entities_where
from q2c.core.models import Person, Proposal
from q2c.flows.tasks import nudge
from q2c.transactions import restart
from q2c.transactions.bill_runs import BillRun
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.restart import Restarted

WITH_RUN = "its bill run was rejected as a whole: what is issued again comes as a run of its own"
COMES_BACK = "its money’s coming back is being carried just now: try again in a moment"
LATER_WENT_ON = "a later version of it went on"


def waive(
    case: ExceptionCase, *, by: Person, reason: str, code: str, transaction_ids: Iterable[UUID] | None = None
) -> tuple[Proposal | None, list[Restarted]]:
    """Give the case's documents up, or wish it where the rules ask for a signature. Raises ResolutionRefused, also
    where it holds nothing but what is never given up."""
    resolutions.check_case(case, reason, WAIVE)
    if code not in WAIVE_REASONS:
        raise ResolutionRefused("Choose one of the reasons.")
    rows = held_documents(case, by, resolutions.MAY_WAIVE).order_by("transaction_id")
    if transaction_ids is not None:
        rows = rows.filter(transaction_id__in=list(transaction_ids))
    ids = [i for i in rows.values_list("transaction_id", flat=True) if i is not None]
    loose = resolutions.beside_documents(case, by) if transaction_ids is None else []
    kept = never_waived(ids)
    ids = [i for i in ids if i not in kept]
    if kept and not ids and not loose:
        why = next(iter(kept.values()))
        raise ResolutionRefused(f"{why[:1].upper()}{why[1:]}.")
    others = {row.pk: {"what": resolutions.what_it_is(row), "legal_entity": row.legal_entity_code} for row in loose}
    asked = [*state_of(ids).values(), *others.values()]
    if rules.asks_nobody(WAIVE) or rules.asked_for(WAIVE, asked).approval is None:
        return None, resolutions.waive(case, by=by, reason=reason, code=code, transaction_ids=transaction_ids)
    counts = Counter({"document": len(ids)}) + Counter(row["what"] for row in others.values())
    what = " and ".join(f"{count:,} {noun if count == 1 else noun + 's'}" for noun, count in counts.items())
    return wish(
        Wished(
            resolution=WAIVE, case=case, by=by, reason=reason, permission=resolutions.MAY_WAIVE,
            title=f"Waive {what} of {case.number}: {WAIVE_REASONS[code].lower()}",
            happens=[
                f"{what} won’t post: {WAIVE_REASONS[code].lower()}.",
                "Nothing is booked for it. What is given up stays on the list of open items, with this reason.",
                "Whoever may waive can take it up again; then it goes on where it stopped.",
                *(f"What stays held: {why}." for why in sorted(set(kept.values()))),
            ] if ids else [f"{what} won’t be looked into: {WAIVE_REASONS[code].lower()}.", "Nothing is booked for it."],
            documents=ids, terms={"code": code}, others=others,
        ),
        apply_waiver,
    )  # fmt: skip


def apply_waiver(agreed: Agreed) -> list[Restarted]:
    """Give up what was signed for."""
    return resolutions.waive(
        agreed.case, by=agreed.proposer, reason=agreed.why, code=agreed.terms["code"],
        transaction_ids=agreed.documents, others=agreed.others,
    )  # fmt: skip


def take_up(
    case: ExceptionCase, *, by: Person, reason: str, transaction_ids: Iterable[UUID] | None = None
) -> list[Restarted]:
    """Take waived documents of a case up again: they go on, and come back to a case if what held them still does.

    A document of which a later version has gone on stays given up, and so does one of a bill run that was rejected.
    Money that came back meanwhile, and wasn't needed, goes on behind it.
    Raises ResolutionRefused when none is waived.
    """
    if not reason.strip():
        raise ResolutionRefused("Say why.")
    allowed = entities_where(by, resolutions.MAY_WAIVE, kind=case.kind)
    with atomic():
        rows = Waiver.objects.filter(case=case, undone_at__isnull=True)
        if transaction_ids is not None:
            rows = rows.filter(transaction_id__in=list(transaction_ids))
        ids = sorted(rows.values_list("transaction_id", flat=True))
        if not ids:
            raise ResolutionRefused("None of its documents is waived.")
        entities = dict(BusinessTransaction.objects.filter(pk__in=ids).values_list("pk", "legal_entity_code"))
        mine = [i for i in ids if allowed is None or entities.get(i) in allowed]
        why_not = dict.fromkeys(_rejected_with_their_run(mine), WITH_RUN)
        why_not |= dict.fromkeys(restart.lock_behind([i for i in mine if i not in why_not]), COMES_BACK)
        revived = set(restart.revive([i for i in mine if i not in why_not]))
        results = restart.restart(sorted(revived), by=by.username, why=reason)
        behind = _not_needed_without(revived)
        restart.restart(behind, by=by.username, why=reason)
        rows.filter(transaction_id__in=revived).update(undone_by=by, undone_at=timezone.now(), undone_why=reason)
        if revived:
            cases.note(case, verb="taken_up", text=reason, by=by, data={"documents": len(revived)})
            audit.record(by, "take_up", "case", case.pk, why=reason, data={"transactions": sorted({*revived, *behind})})
            nudge(set(BusinessTransaction.objects.filter(pk__in=revived).values_list("flow", flat=True)))
    left = [
        Restarted(i, False, why_not.get(i, LATER_WENT_ON) if i in mine else resolutions.OTHER_ENTITY)
        for i in ids if i not in revived
    ]  # fmt: skip
    return [*results, *left]


def _not_needed_without(revived: set[UUID]) -> list[UUID]:
    """What wasn't needed since these movements of money were given up, held again; but for what people gave up too."""
    behind = restart.not_needed_without(sorted(revived))
    given_up = Waiver.objects.filter(transaction_id__in=behind, undone_at__isnull=True)
    left = set(given_up.values_list("transaction_id", flat=True))
    return restart.revive([i for i in behind if i not in left])


def _rejected_with_their_run(ids: list[UUID]) -> set[UUID]:
    rejected = BillRun.objects.filter(state=BillRun.State.REJECTED)
    rows = BusinessTransaction.objects.filter(pk__in=ids, bill_run_id__in=rejected.values("pk"))
    return set(rows.values_list("pk", flat=True))
