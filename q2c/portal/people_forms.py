"""Forms of "People and roles": giving a role, taking it back, composing one."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.utils import timezone

from exceptions.kinds import KINDS
from q2c.core import access, memberships
from q2c.core.filters import DateField, dress
from q2c.core.models import LegalEntity
from q2c.core.roles import OBJECTS, PERMISSION_WORDS, QUEUES
from q2c.core.templatetags.words import spoken

EVERY = "*"
_BOXES = forms.CheckboxSelectMultiple


class GrantForm(forms.Form):
    """Which role, for which entities, from when until when, and why."""

    role = forms.ChoiceField(label="Role")
    entities = forms.MultipleChoiceField(
        label="For", widget=_BOXES, error_messages={"required": "Choose every entity, or some."}
    )
    first_day = DateField(label="From", required=False, help_text="Empty: as soon as it’s approved.")
    last_day = DateField(label="Until", required=False, help_text="Its last day. Needed for an auditor.")
    why = forms.CharField(label="Reason", min_length=5, max_length=500)

    def __init__(self, data: Any = None, *, by: Any) -> None:
        super().__init__(data, label_suffix="")
        mine = access.entities_where(by, memberships.MANAGE)
        roles = [("", "Choose one"), *((role.code, role.title) for role in memberships.all_roles())]
        self.fields["role"].choices = roles  # type: ignore[attr-defined]
        codes = LegalEntity.objects.filter(is_active=True).values_list("code", flat=True)
        every = [(EVERY, "every entity")] if mine is None else []
        self.fields["entities"].choices = [*every, *((c, c) for c in codes if mine is None or c in mine)]  # type: ignore[attr-defined]
        dress(self)

    def clean(self) -> dict[str, Any]:
        """The days as instants in the person's zone: the last day counts whole."""
        data = super().clean() or {}
        if EVERY in data.get("entities", ()) and len(data["entities"]) > 1:
            self.add_error("entities", "Choose every entity, or some of them.")
        return data

    def terms(self) -> dict[str, Any]:
        """As `memberships.propose_grant` takes it."""
        data = self.cleaned_data
        first, last = data["first_day"], data["last_day"]
        return {
            "role": data["role"],
            "entities": [] if data["entities"] == [EVERY] else data["entities"],
            "starts_at": _midnight(first) if first and first > timezone.localdate() else None,
            "ends_at": _midnight(last + dt.timedelta(days=1)) if last else None,
            "why": data["why"],
        }


class EndForm(forms.Form):
    """Why a role is taken back."""

    why = forms.CharField(label="Reason", min_length=5, max_length=500)


class RoleForm(forms.Form):
    """A role composed out of rights, narrowed to queues and kinds of case."""

    title = forms.CharField(label="Name", max_length=80)
    says = forms.CharField(label="What it’s for", max_length=300, required=False)
    permissions = forms.MultipleChoiceField(
        label="What it allows", widget=_BOXES, error_messages={"required": "Choose at least one right."}
    )
    queues = forms.MultipleChoiceField(
        label="Only cases of these queues", widget=_BOXES, required=False, choices=[(q, spoken(q)) for q in QUEUES]
    )
    kinds = forms.MultipleChoiceField(
        label="Only these kinds of case", widget=_BOXES, required=False, choices=[(k.code, k.title) for k in KINDS]
    )
    is_active = forms.BooleanField(label="It may be held", required=False, initial=True)
    why = forms.CharField(label="Reason", min_length=5, max_length=500)

    def __init__(self, *args: Any, is_new: bool, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        rights = [(name, words) for name, words in PERMISSION_WORDS.items() if name != "portal.view_self"]
        self.fields["permissions"].choices = rights  # type: ignore[attr-defined]
        if is_new:
            del self.fields["is_active"]
        dress(self)
        for name in ("permissions", "queues", "kinds"):
            self.fields[name].widget.attrs["class"] = "form-check-input"

    @property
    def objects(self) -> list[tuple[str, list[Any]]]:
        """The boxes of the rights, by what they are about."""
        boxes = list(self["permissions"])
        found = [
            (title, [box for box in boxes if str(box.data["value"]).partition(".")[0] == prefix])
            for prefix, title in OBJECTS.items()
        ]
        return [(title, own) for title, own in found if own]

    @property
    def classes(self) -> list[tuple[str, list[Any]]]:
        """The boxes of the kinds of case, by their category."""
        boxes = {str(box.data["value"]): box for box in self["kinds"]}
        found: dict[str, list[Any]] = {}
        for kind in KINDS:
            found.setdefault(spoken(kind.category), []).append(boxes[kind.code])
        return list(found.items())

    def terms(self) -> dict[str, Any]:
        """As `memberships.propose_role` takes it."""
        return dict(self.cleaned_data)


def _midnight(day: dt.date) -> dt.datetime:
    return timezone.make_aware(dt.datetime.combine(day, dt.time()))
