"""One form per thing that people do to a case."""

from __future__ import annotations

from typing import Any

from django import forms

from exceptions.duty import workers_of
from exceptions.files import SORTS_SAID, FileRefused, Given, take
from exceptions.models import ExceptionCase
from exceptions.models.files import FILE_BYTES_MAX
from q2c.core import scanning
from q2c.core.filters import dress
from q2c.core.models import Person


class ReasonForm(forms.Form):
    """Why: every act on a case carries a reason that an auditor can read."""

    why = forms.CharField(label="Reason", min_length=5, max_length=1000, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        dress(self)


class RepostForm(ReasonForm):
    """Why, and by which mappings: the newest, unless somebody says otherwise."""

    as_then = forms.BooleanField(
        label="By the mappings of then", required=False,
        help_text="As they were when each document was first read, although they changed since.",
    )  # fmt: skip


class NoteForm(forms.Form):
    """What somebody wants to say."""

    text = forms.CharField(
        label="Note", min_length=2, max_length=4000, widget=forms.Textarea(attrs={"rows": 2}),
        help_text="@name tells a colleague who sees this case.",
    )  # fmt: skip
    file = forms.FileField(
        label="File", required=False, help_text=f"{SORTS_SAID}, up to {FILE_BYTES_MAX // 1024 // 1024} MB."
    )

    def clean_file(self) -> Given | None:
        """The file, if it is of a sort that is kept and no virus was found in it."""
        given = self.cleaned_data.get("file")
        if given is None:
            return None
        if given.size > FILE_BYTES_MAX:
            raise forms.ValidationError(f"The file is larger than {FILE_BYTES_MAX // 1024 // 1024} MB.")
        try:
            return take(given.name, given.read())
        except FileRefused as refused:
            raise forms.ValidationError(str(refused)) from None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        scanned = "Scanned for viruses before it’s kept." if scanning.is_on() else "Files are not scanned for viruses."
        self.fields["file"].help_text += f" {scanned}"
        dress(self)


class AssignForm(forms.Form):
    """Who owns the case: somebody who works its queue for its entity, or nobody."""

    to = forms.ModelChoiceField(
        Person.objects.none(), label="Owner", required=False, empty_label="Nobody, back to the queue"
    )

    def __init__(self, *args: Any, case: ExceptionCase, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        self.fields["to"].queryset = workers_of(case.queue, case.legal_entity_code, case.kind)  # type: ignore[attr-defined]
        self.initial.setdefault("to", case.assignee_id)
        dress(self)
