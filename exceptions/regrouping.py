"""Cases merged and split by hand, with reason and audit; each can be taken back.

Merging first says where the cause's failures go (an alias), then moves what is open, a batch at a time: whoever opens
at the same moment meets the alias or is moved with the rest. A process that dies in between is finished by the sweep.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db import connection as database
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import cases, closing
from exceptions.kind_words import REMAP_AND_REPOST
from exceptions.kinds import kind_of
from exceptions.models import ApartCase, CaseAlias, ExceptionCase, Occurrence
from exceptions.occurrences import Change, StepProblem, add_to_tallies
from exceptions.opening import fingerprint_of
from q2c.core import audit, ids
from q2c.core.history import save_with_reason
from q2c.core.models import Person
from q2c.core.problems import Category, Problem

AT_ONCE = 5000
_REGROUPING_LOCK = 0x51326304  # who changes the grouping does so alone


class RegroupRefused(Exception):
    """Why these can't be merged or split, in words for the screen."""


def merge(case: ExceptionCase, *, into: ExceptionCase, by: Person, why: str) -> CaseAlias:
    """Make `case` a part of `into`: its open documents move there, later failures of its cause go there.

    Raises RegroupRefused. Both must be of one kind, since what may be done follows the kind; what a mapping mends is
    never merged, since each lacks another one.
    """
    if not why.strip():
        raise RegroupRefused("Say why.")
    with atomic():
        _alone()
        case.refresh_from_db()
        into.refresh_from_db()
        _check(case, into)
        CaseAlias.objects.filter(target=case.fingerprint, ended_at__isnull=True).update(
            target=into.fingerprint, case=into
        )
        alias = CaseAlias.objects.create(
            fingerprint=case.fingerprint, target=into.fingerprint, case=into, came_from=case, by=by,
            at=timezone.now(), why=why,
        )  # fmt: skip
        if into.legal_entity_code != case.legal_entity_code and into.legal_entity_code:
            into.legal_entity_code = ""  # it's about several now
            save_with_reason(into, why=why, by=by)
        cases.note(into, verb="took_in", text=f"{case.number}: {why}", by=by, data={"alias": alias.pk})
        cases.note(case, verb="merged", text=f"into {into.number}: {why}", by=by, data={"alias": alias.pk})
        audit.record(by, "merge_case", "case", case.pk, why=why, data={"into": into.pk})
    _move(case.pk, into.pk)
    closing.resolve_emptied([case.pk])
    return alias


def take_out(alias: CaseAlias, *, by: Person, why: str) -> ExceptionCase:
    """Undo a merge: the cause is a case of its own again, with what is open of it. Returns that case."""
    if not why.strip():
        raise RegroupRefused("Say why.")
    with atomic():
        _alone()
        alias.refresh_from_db()
        if alias.ended_at is not None:
            raise RegroupRefused("It's taken out already.")
        alias.ended_at = timezone.now()
        alias.save(update_fields=["ended_at"])
        own = [pk for pk, print_ in _prints(alias.case) if print_ == alias.fingerprint]
        back = ExceptionCase.objects.get(pk=alias.came_from_id)
        if own and not back.is_open:
            back.state, back.closed_at, back.resolution, back.close_reason = ExceptionCase.State.OPEN, None, "", ""
            save_with_reason(back, why=why, by=by)
        cases.note(back, verb="taken_out", text=f"of {alias.case.number}: {why}", by=by)
        cases.note(alias.case, verb="gave_back", text=f"{back.number}: {why}", by=by)
        audit.record(by, "take_out_case", "case", back.pk, why=why, data={"out_of": alias.case_id})
    _move(alias.case_id, back.pk, own)
    closing.resolve_emptied([alias.case_id])
    return back


def split(case: ExceptionCase, transaction_ids: Iterable[UUID], *, by: Person, why: str) -> ExceptionCase:
    """Put these documents of the case into a new one of the same kind, owner and promise. Merging undoes it.

    Raises RegroupRefused where none, or all, of its open documents are named.
    """
    if not why.strip():
        raise RegroupRefused("Say why.")
    with atomic():
        _alone()
        case.refresh_from_db()
        open_ = case.occurrences.filter(closed_at__isnull=True)
        chosen = list(open_.filter(transaction_id__in=list(transaction_ids)).values_list("pk", flat=True))
        if not case.is_open or not chosen:
            raise RegroupRefused("None of these is open in the case.")
        if len(chosen) == open_.count():
            raise RegroupRefused("These are all of its documents: then it's the case itself.")
        new = ExceptionCase.objects.get(pk=case.pk)
        new.pk, new.assignee, new.state = None, None, ExceptionCase.State.OPEN
        new.fingerprint = ids.digest("apart", case.fingerprint, str(ids.uuid7()))
        new.document_count, new.amount_at_risk, new.regressed_count, new.failed_fix = 0, 0, 0, ""
        save_with_reason(new, why=why, by=by)
        ApartCase.objects.create(case=new, out_of=case, by=by, at=timezone.now(), why=why)
        cases.note(new, verb="split_off", text=f"{case.number}: {why}", by=by, data={"documents": len(chosen)})
        cases.note(case, verb="gave_away", text=f"to {new.number}: {why}", by=by, data={"documents": len(chosen)})
        audit.record(by, "split_case", "case", case.pk, why=why, data={"into": new.pk, "documents": len(chosen)})
    _move(case.pk, new.pk, chosen)
    return new


def finish_merges() -> None:
    """Move what a process that died has left in a merged case."""
    left = CaseAlias.objects.filter(ended_at__isnull=True, came_from__closed_at__isnull=True)
    for came_from, case in left.values_list("came_from", "case"):
        _move(came_from, case)
        closing.resolve_emptied([came_from])


def _check(case: ExceptionCase, into: ExceptionCase) -> None:
    if case.pk == into.pk:
        raise RegroupRefused("A case can't be merged into itself.")
    for row in (case, into):
        if not row.is_open:
            raise RegroupRefused(f"{row.number} is closed.")
        if CaseAlias.objects.filter(fingerprint=row.fingerprint, ended_at__isnull=True).exists():
            raise RegroupRefused(f"{row.number} is merged into another case already.")
        if row.state == ExceptionCase.State.AWAITING_APPROVAL:
            raise RegroupRefused(f"{row.number} waits for a second person: let that be decided first.")
        if row.occurrences.filter(closed_at=None, transaction_id=None, event_id=None).exists():
            raise RegroupRefused(f"{row.number} is about a whole system, not about documents.")
    if (case.kind, case.connection_code) != (into.kind, into.connection_code):
        raise RegroupRefused("Only cases of one kind and one system are one piece of work: what may be done differs.")
    if REMAP_AND_REPOST in kind_of(case.kind).may:
        raise RegroupRefused("Each of these lacks another mapping, so each is a piece of work of its own.")


def _prints(case: ExceptionCase) -> list[tuple[int, str]]:
    """The cause of each open document of the case, from what was kept of its problem."""
    found = []
    for row in case.occurrences.filter(closed_at__isnull=True).iterator(chunk_size=2000):
        problem = Problem(
            row.problem.get("code", case.kind), Category(row.problem.get("category", case.category)),
            row.problem.get("summary", ""), **row.problem.get("subject", {}),
        )  # fmt: skip
        held = StepProblem(
            problem=problem, at=row.at, transaction_id=row.transaction_id, event_id=row.event_id, flow=row.flow,
            step=row.step, number=row.number, legal_entity_code=row.legal_entity_code, period_code=row.period_code,
            connection_code=case.connection_code,
        )  # fmt: skip
        found.append((row.pk, fingerprint_of(held)))
    return found


def _move(case: int, to: int, chosen: list[int] | None = None) -> None:
    """Move open documents and what is counted of them, while the case that takes them is open."""
    while True:
        with atomic(), database.cursor() as cursor:
            cursor.execute(_STAYS_OPEN, [to])
            if cursor.fetchone() is None:
                return
            cursor.execute(_MOVE.format(only="" if chosen is None else "AND id = ANY(%(chosen)s)"),
                           {"case": case, "to": to, "chosen": chosen, "limit": AT_ONCE})  # fmt: skip
            moved = cursor.fetchall()
            changes = []
            for entity, period, currency, amount, risk, at in moved:
                changes.append(Change(case, entity, period, currency, -1, amount, risk, "people"))
                changes.append(Change(to, entity, period, currency, 1, amount, risk, "people", at))
            add_to_tallies(cursor, changes)
        if len(moved) < AT_ONCE:
            return


def _alone() -> None:
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_REGROUPING_LOCK])


_STAYS_OPEN = f"SELECT id FROM {ExceptionCase._meta.db_table} WHERE id = %s AND closed_at IS NULL FOR KEY SHARE"
_MOVE = f"""
    WITH chosen AS (
        SELECT id FROM {Occurrence._meta.db_table} WHERE case_id = %(case)s AND closed_at IS NULL {{only}}
         ORDER BY transaction_id, id LIMIT %(limit)s FOR UPDATE)
    UPDATE {Occurrence._meta.db_table} o SET case_id = %(to)s, told = CASE o.told WHEN 1 THEN 2 ELSE o.told END
      FROM chosen WHERE o.id = chosen.id
    RETURNING o.legal_entity_code, o.period_code, o.currency, o.amount, o.amount_at_risk, o.at
"""
