"""What to do about each kind of exception: the catalogue's own words until somebody who works its queue writes better.

Every version is kept with its author and reason; the newest holds at once, for it's advice and changes nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import IntegrityError
from django.db.transaction import atomic
from django.utils import timezone

from exceptions.kind_words import PLATFORM
from exceptions.kinds import Kind
from exceptions.models import RunbookVersion
from q2c.core import access, audit
from q2c.core.models import Person

EDIT = "exceptions.edit_runbook"
TEXT_MAX = 8000
_NAME = re.compile(r"\{(\w{1,40})\}")


class RunbookRefused(Exception):
    """Why this text isn't taken, in words for the screen."""


def may_edit(user: Any, kind: Kind) -> bool:
    """Those who work the kind's queue, and the platform's people."""
    return any(
        role.holds(EDIT, kind.code) and (kind.owner in role.queues or PLATFORM in role.queues)
        for role, _ in access.memberships(user)
    )


def newest(kind: str) -> RunbookVersion | None:
    """The version that holds; None where nobody has written one."""
    return RunbookVersion.objects.filter(kind=kind).select_related("by").order_by("-version").first()


def newest_of(kinds: Iterable[str]) -> dict[str, RunbookVersion]:
    """The version that holds of each of these kinds; one query."""
    rows = RunbookVersion.objects.filter(kind__in=list(kinds)).select_related("by")
    return {row.kind: row for row in rows.order_by("kind", "-version").distinct("kind")}


def text_of(kind: Kind, version: RunbookVersion | None) -> str:
    """The text as it's written, names in braces."""
    return version.text if version else kind.runbook


def fill_in(text: str, words: Mapping[str, Any]) -> str:
    """The text with the case's own words in place of the names in braces; unknown ones stay readable."""
    return _NAME.sub(lambda found: str(words.get(found[1]) or found[1].replace("_", " ")), text)


def save_runbook(kind: Kind, text: str, *, by: Person, why: str, seen: int) -> RunbookVersion:
    """Make this text the kind's runbook. `seen` is the version that the author began from, 0 for the catalogue's own.

    Raises RunbookRefused: not theirs to change, no text or reason, nothing changed, or changed by somebody meanwhile.
    """
    text = text.replace("\r\n", "\n").strip()
    if not may_edit(by, kind):
        raise RunbookRefused("It's changed by those who work its queue.")
    if not text or not why.strip():
        raise RunbookRefused("Write what to do, and why you change it.")
    if len(text) > TEXT_MAX:
        raise RunbookRefused(f"It's longer than {TEXT_MAX:,} characters.")
    last = newest(kind.code)
    number = last.version if last else 0
    if number != seen:
        who = f"{last.by} changed it meanwhile: " if last else ""
        raise RunbookRefused(f"{who}look at version {number} first, then change that.")
    if text == text_of(kind, last).strip():
        raise RunbookRefused("Nothing is changed.")
    try:
        with atomic():
            made = RunbookVersion.objects.create(
                kind=kind.code, version=number + 1, text=text, by=by, at=timezone.now(), why=why.strip()
            )
            audit.record(by, "edit_runbook", "kind", kind.code, why=why, data={"version": made.version})
    except IntegrityError:
        raise RunbookRefused("Somebody else changed it at this moment: look at theirs first.") from None
    return made
