"""What fixed a case, kept each time one closes; and which fixes failed, kept when the same cause comes back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connection as database
from django.db.models import Aggregate, Count, DurationField, F, Q
from django.db.models.fields.json import KeyTextTransform

from exceptions.kind_words import CORRECT_AT_SOURCE, REPLAY_EVENT, RESOLUTION_WORDS, RESUME_CONNECTION, WAIVE
from exceptions.models import CaseFix, CaseNote, ExceptionCase, Occurrence
from q2c.core import access
from q2c.core.models import Person
from q2c.core.templatetags.words import span_words

BY_ITSELF, OTHER_PROBLEM, LATER_VERSION = "by_itself", "other_problem", "later_version"
VOIDED, NOT_NEEDED, MERGED, READ_LATER = "voided", "not_needed", "merged", "read_later"
HOW_WORDS = RESOLUTION_WORDS | {
    BY_ITSELF: "Went on by itself",
    OTHER_PROBLEM: "Held by another problem since",
    LATER_VERSION: "A later version replaced it",
    READ_LATER: "A later message of the same record could be read",
    VOIDED: "Voided at its source",
    NOT_NEEDED: "Not needed any more",
}
# Why a case is over when its last document left it so; else that no document is left in it.
WHY_EMPTY = {
    MERGED: "Its documents are in another case, which it was merged into.",
    LATER_VERSION: "A later version of its last document came, and is carried instead.",
    READ_LATER: "Fixed at its source: a later message of the same record could be read.",
    VOIDED: "Its last document was voided at its source before it was posted.",
    "corrected_at_source": "The corrected version of its last document came, and is carried instead.",
    "superseded": "Another problem holds its last document now.",
}
# What the last document was closed by, where that alone says how the case was fixed.
_HOW = {
    "waived": WAIVE, "corrected_at_source": CORRECT_AT_SOURCE, "replayed": REPLAY_EVENT, "resumed": RESUME_CONNECTION,
}  # fmt: skip
_NO_ANSWER = {"completed": BY_ITSELF, "superseded": OTHER_PROBLEM}  # then what people did says it, else this
NEWEST = 1000  # fixes of a kind that its figures count


def how_words(how: str) -> str:
    """How something was fixed, as people say it."""
    return HOW_WORDS.get(how) or how.replace("_", " ").capitalize()


class Ending(NamedTuple):
    """A case that closes: in which state, what closed its last document (`completed`, `waived`, ...), and why."""

    case: ExceptionCase
    state: str
    last: str
    why: str


def record_fixes(endings: Collection[Ending], *, at: dt.datetime, by: Person | None) -> dict[int, int]:
    """Keep how these cases were fixed, in three statements, as they close and in that transaction. Returns each case's
    fix."""
    if not endings:
        return {}
    cases = [ending.case.pk for ending in endings]
    rows = CaseNote.objects.filter(case__in=cases, at__gte=F("case__opened_at"), data__has_key="how")
    newest: dict[int, list[CaseNote]] = {case: [] for case in cases}
    named = rows.annotate(how=KeyTextTransform("how", "data"))
    for act in named.order_by("case_id", "how", "-id").distinct("case_id", "how"):
        newest[act.case_id].append(act)
    gone = Occurrence.objects.filter(case__in=cases, closed_at__gte=F("case__opened_at")).order_by()
    counts = dict(gone.values_list("case").annotate(Count("pk")))
    fixes = CaseFix.objects.bulk_create(
        _fix(ending, newest[ending.case.pk], counts.get(ending.case.pk, 0), at, by) for ending in endings
    )
    return {fix.case_id: fix.pk for fix in fixes}


def _fix(ending: Ending, acts: list[CaseNote], documents: int, at: dt.datetime, by: Person | None) -> CaseFix:
    """What fixed one case; `acts` are the newest of each way that somebody tried since it opened."""
    case, last = ending.case, ending.last
    if last in _NO_ANSWER:
        act = max(acts, key=lambda each: each.pk, default=None)
        how = act.data["how"] if act else _NO_ANSWER[last]
    else:
        how = _HOW.get(last, last)
        act = next((each for each in acts if each.data["how"] == how), None)
    return CaseFix(
        case=case, fingerprint=case.fingerprint, kind=case.kind, legal_entity_code=case.legal_entity_code, how=how,
        why=act.text if act else ending.why, by_id=_by(act, by),
        change_set_id=act.data.get("change_set") if act else None, document_count=documents,
        opened_at=case.opened_at, at=at, took=at - case.opened_at,
    )  # fmt: skip


def note_failed(cases: Collection[int], at: dt.datetime) -> None:
    """These closed cases' causes are back: their newest fix didn't hold. One statement."""
    with database.cursor() as cursor:
        cursor.execute(_FAILED, [at, sorted(cases)])


def failed_fix_of(case: ExceptionCase) -> CaseFix | None:
    """The fix after which the case came back last; None for one that never closed."""
    if not case.regressed_count:
        return None
    rows = CaseFix.objects.filter(case=case, failure__isnull=False)
    return rows.select_related("by", "change_set", "failure").order_by("-id").first()


@dataclass(frozen=True)
class Way:
    """One way that such cases were fixed: how often, half of them within `median`, and how many came back."""

    how: str
    count: int
    stayed: int
    median: dt.timedelta
    newest: CaseFix

    @property
    def title(self) -> str:
        """The way in words."""
        return how_words(self.how)

    @property
    def lasted(self) -> str:
        """The median in words: "2 h 10 min"."""
        return span_words(self.median.total_seconds())


@dataclass(frozen=True)
class Playbook:
    """How earlier cases were fixed: of the very same cause, or (`is_same` False) of the same kind."""

    is_same: bool
    count: int
    ways: list[Way]


def playbook_of(user: Any, case: ExceptionCase) -> Playbook:
    """What fixed this cause before; where it has no history, what fixed its kind in the person's entities."""
    same = CaseFix.objects.filter(Q(fingerprint=case.fingerprint) | Q(case=case))
    if ways := _ways(same):
        return Playbook(True, sum(way.count for way in ways), ways)
    alike = access.visible_to(user, CaseFix.objects.filter(kind=case.kind))
    newest = alike.order_by("-id").values_list("pk", flat=True)[:NEWEST]
    ways = _ways(CaseFix.objects.filter(pk__in=newest))
    return Playbook(False, sum(way.count for way in ways), ways)


class _Median(Aggregate):
    function = "PERCENTILE_CONT"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = DurationField()


def _ways(fixes: Any) -> list[Way]:
    grouped = fixes.order_by().values("how").annotate(
        count=Count("pk"), stayed=Count("pk", filter=Q(failure__isnull=True)), median=_Median("took")
    )  # fmt: skip
    rows = sorted(grouped, key=lambda row: (-row["stayed"], -row["count"], row["how"]))
    if not rows:
        return []
    newest = {
        fix.how: fix for fix in fixes.order_by("how", "-id").distinct("how").select_related("by", "change_set", "case")
    }
    return [Way(row["how"], row["count"], row["stayed"], row["median"], newest[row["how"]]) for row in rows]


def _by(act: CaseNote | None, by: Person | None) -> int | None:
    """Whoever thought of the fix: the author of its change set, else who acted last, else who closed the case."""
    if act is None:
        return by.pk if by else None
    found: int | None = act.data.get("author", act.by_id)
    return found


_FAILED = """
    INSERT INTO exceptions_failedfix (fix_id, at)
    SELECT DISTINCT ON (case_id) id, %s FROM exceptions_casefix WHERE case_id = ANY(%s) ORDER BY case_id, id DESC
    ON CONFLICT DO NOTHING
"""
