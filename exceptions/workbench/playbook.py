"""What fixed such cases before, for the case's page; "apply the same fix" fills the form in and does nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from exceptions import fixes, said
from exceptions.kind_words import REMAP_AND_REPOST
from exceptions.models import CaseFix, ExceptionCase
from mappings.drafts import lines_of
from q2c.core import access


@dataclass(frozen=True)
class Prefill:
    """An earlier fix that somebody wants to repeat here, or none."""

    case: ExceptionCase
    fix: CaseFix | None
    why: str = ""  # of the fix, as the person may read it

    def fill(self, form: Any, code: str) -> Any:
        """The form of a resolution, filled in as the earlier fix was where it's of that sort. It stays to be sent."""
        if form is None or self.fix is None or self.fix.how != code:
            return form
        form.initial["why"] = f"As in {self.fix.case.number}: {self.why}"[:1000]
        if code == REMAP_AND_REPOST and self.fix.change_set is not None:
            form.initial |= _value(self.fix, self.case)
        form.is_prefilled = True
        return form


def playbook_facts(request: HttpRequest, case: ExceptionCase) -> dict[str, Any]:
    """What the page says about earlier fixes of the case's cause or kind, and about the one that failed."""
    failed = fixes.failed_fix_of(case)
    return {
        "playbook": fixes.playbook_of(request.user, case),
        "failed_fix": failed,
        "failed_why": said.cover_why(request.user, failed) if failed else "",
        "failed_how": fixes.how_words(failed.how) if failed else "",
    }


def prefill(request: HttpRequest, case: ExceptionCase) -> Prefill:
    """The fix that the address asks to apply again (`?apply=`), if it's one of this cause or kind that one may see."""
    asked = request.GET.get("apply", "")
    if not asked.isascii() or not asked.isdigit() or len(asked) > 18:
        return Prefill(case, None)
    rows = CaseFix.objects.filter(pk=int(asked), kind=case.kind).select_related("case", "change_set")
    found = rows.first()
    is_mine = found is not None and (
        found.fingerprint == case.fingerprint
        or access.sees_entity(request.user, found.legal_entity_code, access.VIEW_CASE)
    )
    if found is None or not is_mine:
        return Prefill(case, None)
    return Prefill(case, found, said.cover_why(request.user, found))


def _value(fix: CaseFix, case: ExceptionCase) -> dict[str, Any]:
    """What the earlier change set said to this very question; nothing where it was about another key."""
    assert fix.change_set is not None
    asked = case.subject
    for line in lines_of(fix.change_set):
        if (line.kind, line.key) == (asked.get("kind"), asked.get("key")):
            return {"value": line.value}
    return {}
