"""Masked values shown for once, with a reason: who saw what, and why, stands in the audit trail and beside the values.

What is revealed lives in the one answer to the form. Nothing remembers that somebody may see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms

from q2c.core import access, audit
from q2c.core.filters import dress
from q2c.core.masking import mask_text
from q2c.core.models import AuditEntry, Person

PERMISSION = "core.reveal_masked"
VERB = "reveal"
SHOWN = 10


class RevealForm(forms.Form):
    """Why the masked values are needed."""

    why = forms.CharField(label="Why do you need them?", min_length=5, max_length=500)

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, prefix="reveal", label_suffix="")
        dress(self)


def note_reveal(person: Person, subject: tuple[str, object], *, entity: str, names: Iterable[str], why: str) -> None:
    """Somebody is shown the masked values of a thing: noted before they are, by the fields' names, never the values."""
    data = {"entity": entity, "fields": sorted(set(names))}
    audit.record(person, VERB, subject[0], subject[1], why=why, data=data)


def reveals_of(user: Any, subject: tuple[str, object]) -> list[AuditEntry]:
    """Who was shown the masked values of a thing, newest first, for those who may see the audit trail."""
    if not access.may(user, "core.view_audit"):
        return []
    rows = AuditEntry.objects.filter(subject_type=subject[0], subject_id=str(subject[1]), verb=VERB)
    return list(rows.order_by("-sequence")[:SHOWN])


def show_masked(
    user: Any, subject: tuple[str, object], plain: Mapping[str, str], *, entity: str, form: RevealForm | None = None,
    people: Iterable[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """These texts as a screen shows them, with what the part `parts/_reveal.html` needs: covered; or, once a form with
    a reason was sent by somebody who may see them for this entity, as they are, which is noted first. `people` are the
    names of persons that it's known to be about."""
    people = tuple(people)
    masked = {name: mask_text(text, people) for name, text in plain.items()}
    names = sorted({found for one in masked.values() for found in one.names})
    may = bool(names) and access.sees_entity(user, entity, PERMISSION)
    is_revealed = form is not None and may and form.is_valid()
    if form is not None and is_revealed:
        note_reveal(user, subject, entity=entity, names=names, why=form.cleaned_data["why"])
    return {
        **(plain if is_revealed else {name: one.text for name, one in masked.items()}),
        "is_revealed": is_revealed,
        "masked_names": names,
        "may_reveal": may,
        "reveal_form": form,
        "reveals": reveals_of(user, subject),
    }


def status_of(shown: Mapping[str, Any]) -> int:
    """200; 422 where somebody asked to be shown what is masked and wasn't."""
    return 422 if shown["reveal_form"] is not None and not shown["is_revealed"] else 200
