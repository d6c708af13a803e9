"""One form per resolution that asks for more than a reason."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django import forms

from exceptions import kind_words
from exceptions.models import ExceptionCase, Snooze
from exceptions.resolutions import MAY_REPOST, WORK
from exceptions.resolving import adjustments, agreeing, applying, edits, periods, snoozes
from exceptions.resolving.held import document_of_case, held_documents
from exceptions.resolving.linking import Candidate
from exceptions.resolving.sendbacks import TO
from exceptions.workbench.forms import ReasonForm
from q2c.canonical.edits import Place
from q2c.core.filters import DateField, dress
from q2c.core.models import Person, Proposal
from q2c.transactions.models import BusinessTransaction


class PeriodForm(ReasonForm):
    """Which of the ways for late documents, and why."""

    option = forms.ChoiceField(label="What happens to them", widget=forms.RadioSelect)
    field_order = ("option", "why")

    def __init__(self, *args: Any, options: Sequence[periods.Option], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.options = options
        open_ones = [(row.code, row.title) for row in options if not row.why_not]
        self.fields["option"].choices = open_ones  # type: ignore[attr-defined]
        if len(open_ones) == 1:
            self.initial.setdefault("option", open_ones[0][0])
        dress(self)


class LinkForm(ReasonForm):
    """Which held document, and what it is called in the ERP; then which of those found, where one has to choose."""

    transaction = forms.TypedChoiceField(label="Document of ours", coerce=UUID)
    wanted = forms.CharField(
        label="Its number or id there", max_length=120, help_text="As the target shows it; both are looked for."
    )
    document = forms.CharField(required=False, max_length=120, widget=forms.HiddenInput)
    field_order = ("transaction", "wanted", "document", "why")

    def __init__(self, *args: Any, documents: Sequence[tuple[UUID, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["transaction"].choices = [(str(i), number) for i, number in documents]  # type: ignore[attr-defined]
        self.found: list[Candidate] = []
        if len(documents) == 1:
            self.initial.setdefault("wanted", documents[0][1])
        dress(self)


def link_form(case: ExceptionCase, by: Person, data: Any = None) -> LinkForm:
    """The case's held documents, the newest hundred of them, to be found in the target."""
    return LinkForm(data, prefix=kind_words.LINK, documents=_held_of(case, by, MAY_REPOST))


def _held_of(case: ExceptionCase, by: Person, permission: str) -> list[tuple[UUID, str]]:
    """The newest held documents that this person may act on with their numbers, a hundred of them."""
    ids = held_documents(case, by, permission).values_list("transaction_id", flat=True)
    newest = [i for i in ids[:100] if i is not None]
    held = BusinessTransaction.objects.filter(pk__in=newest, state="held").order_by("number", "pk")
    return [(pk, number or source) for pk, number, source in held.values_list("pk", "number", "source_id")]


class ApplyOpenForm(ReasonForm):
    """Which held application, and why."""

    transaction = forms.TypedChoiceField(label="What is applied", coerce=UUID)
    field_order = ("transaction", "why")

    def __init__(self, *args: Any, documents: Sequence[BusinessTransaction], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = [(str(txn.pk), f"{txn.currency} {txn.amount or 0:,.2f} ({txn.source_id})") for txn in documents]
        self.fields["transaction"].choices = rows  # type: ignore[attr-defined]
        dress(self)


def apply_open_form(case: ExceptionCase, by: Person, data: Any = None) -> ApplyOpenForm | None:
    """The case's held applications, and the one that the data names though it isn't held any more; None where it holds
    none."""
    documents = applying.applications_of(case, by)
    named = None if data is None else _named(case, by, data.get(f"{kind_words.APPLY_OPEN}-transaction", ""))
    if named is not None and named.pk not in {txn.pk for txn in documents}:
        documents = [named, *documents]
    return ApplyOpenForm(data, prefix=kind_words.APPLY_OPEN, documents=documents) if documents else None


def _named(case: ExceptionCase, by: Person, text: str) -> BusinessTransaction | None:
    """The document of the case that a form names, held or not any more, if this person may act on it."""
    try:
        return document_of_case(case, by, WORK, UUID(text))
    except ValueError:
        return None


class WaiveForm(ReasonForm):
    """Why in one of a few words, and why in full."""

    code = forms.ChoiceField(label="Why it’s given up", choices=[("", "Choose"), *kind_words.WAIVE_REASONS.items()])
    field_order = ("code", "why")
    kept = ""  # what of the case stays held, in a sentence


class SnoozeForm(ReasonForm):
    """Until when the case is left alone."""

    until = forms.ChoiceField(
        label="Until",
        choices=[
            ("date", "a day"),
            ("count", "it has so many documents"),
            ("period", "its period is open in the ERP"),
            ("customer", "one of its customers changes"),
        ],
    )
    date = DateField(label="Day", required=False)
    count = forms.IntegerField(label="Documents", required=False, min_value=1, max_value=1_000_000)
    field_order = ("until", "date", "count", "why")

    def clean(self) -> dict[str, Any]:
        """A day needs its date, a number of documents its number."""
        data = super().clean() or {}
        until = data.get("until")
        if until in ("date", "count") and not data.get(until) and until not in self.errors:
            self.add_error(until, "Say which day." if until == "date" else "Say how many.")
        return data


class SendBackForm(ReasonForm):
    """Whose it is to mend, and what they're asked."""

    to = forms.ChoiceField(label="To", choices=())
    field_order = ("to", "why")

    def __init__(self, *args: Any, case: ExceptionCase, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["to"].choices = [(q, t) for q, t in TO.items() if q != case.queue]  # type: ignore[attr-defined]
        self.fields["why"].label = "What they should do"


class EditForm(ReasonForm):
    """The words of one held document that may be corrected; dates as 2026-10-01."""

    transaction = forms.UUIDField(widget=forms.HiddenInput)
    field_order = ("transaction",)

    def __init__(
        self, *args: Any, places: Sequence[Place], number: str, others: Sequence[tuple[UUID, str]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.places, self.number, self.others = places, number, others
        self.is_asked_for = False
        why = self.fields.pop("why")
        for place in places:
            field: forms.Field = forms.CharField(label=place.label, required=False, max_length=place.field.length)
            if place.field.is_date:
                field = DateField(label=place.label, required=False)
                self.initial[place.path] = dt.date.fromisoformat(place.value) if place.value else None
            else:
                self.initial[place.path] = place.value
            self.fields[place.path] = field
        self.fields["why"] = why
        dress(self)

    @property
    def offered(self) -> list[forms.BoundField]:
        """The fields of the document."""
        return [self[place.path] for place in self.places]

    def values(self) -> dict[str, str]:
        """What each field says now, as text."""
        found = {}
        for place in self.places:
            value = self.cleaned_data.get(place.path)
            found[place.path] = value.isoformat() if isinstance(value, dt.date) else (value or "").strip()
        return found


def emergency_form(case: ExceptionCase, by: Person, data: Any = None) -> EditForm | None:
    """As `edit_form`, of the fields that are edited in an emergency only."""
    return edit_form(case, by, data, code=kind_words.EMERGENCY_EDIT)


def edit_form(
    case: ExceptionCase, by: Person, data: Any = None, *, code: str = kind_words.EDIT_FIELDS
) -> EditForm | None:
    """The fields of the document that the data names, also of one that was sent and isn't held any more, else of the
    newest held one; None where none may be edited."""
    wanted = (data or {}).get(f"{code}-transaction", "")
    posted = data if data is not None and f"{code}-why" in data else None
    txn = _named(case, by, wanted) if wanted else None
    if txn is None or (txn.state != "held" and posted is None):
        first = held_documents(case, by, WORK).values_list("transaction_id", flat=True).first()
        txn = BusinessTransaction.objects.filter(pk=first, state="held").first() if first is not None else None
    places = edits.places_for(txn, in_emergency=code == kind_words.EMERGENCY_EDIT) if txn is not None else []
    if txn is None or not places:
        return None
    form = EditForm(
        posted, prefix=code, places=places, number=txn.number or txn.source_id,
        others=_held_of(case, by, WORK), initial={"transaction": txn.pk},
    )  # fmt: skip
    form.is_asked_for = bool(wanted)
    return form


class AdjustForm(ReasonForm):
    """How much of what is open is taken off, and why, beside the limits and what would be booked."""

    amount = forms.DecimalField(label="Amount", required=False, max_digits=20, decimal_places=6, localize=False)
    field_order = ("amount", "why")

    def __init__(self, *args: Any, before: adjustments.Before, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.before = before
        amount = self.fields["amount"]
        amount.label = f"Amount in {before.currency}" if before.currency else "Amount"
        amount.help_text = "Empty: all that the ERP has open. Of a part the rest stays open there."
        amount.widget.attrs |= {"inputmode": "decimal", "class": "num"}
        dress(self)


def write_off_form(case: ExceptionCase, by: Person, data: Any = None) -> AdjustForm:
    """How much of the case's invoice is written off, and why."""
    return AdjustForm(data, prefix=kind_words.WRITE_OFF, before=adjustments.known_before(case, kind_words.WRITE_OFF))


def difference_form(case: ExceptionCase, by: Person, data: Any = None) -> AdjustForm:
    """How much of the case's invoice is accepted as a difference, and why."""
    before = adjustments.known_before(case, kind_words.ACCEPT_DIFFERENCE)
    return AdjustForm(data, prefix=kind_words.ACCEPT_DIFFERENCE, before=before)


def waive_form(case: ExceptionCase, by: Person, data: Any = None) -> WaiveForm:
    """Why the case's documents are given up."""
    return WaiveForm(data, prefix=kind_words.WAIVE)


def snooze_form(case: ExceptionCase, by: Person, data: Any = None) -> SnoozeForm:
    """Until when the case is left alone."""
    return SnoozeForm(data, prefix=kind_words.SNOOZE)


def sendback_form(case: ExceptionCase, by: Person, data: Any = None) -> SendBackForm:
    """To whom the case goes back."""
    return SendBackForm(data, prefix=kind_words.SEND_BACK, case=case)


def period_form(case: ExceptionCase, by: Person, data: Any = None) -> PeriodForm:
    """The ways for the case's late documents."""
    return PeriodForm(
        data, prefix=kind_words.CHOOSE_PERIOD, options=periods.options_of(periods.late_documents(case, by))
    )


# What builds the form of a resolution for a case and who works it.
BUILDERS: dict[str, Callable[..., Any]] = {
    kind_words.CHOOSE_PERIOD: period_form,
    kind_words.EDIT_FIELDS: edit_form,
    kind_words.EMERGENCY_EDIT: emergency_form,
    kind_words.LINK: link_form,
    kind_words.WAIVE: waive_form,
    kind_words.WRITE_OFF: write_off_form,
    kind_words.ACCEPT_DIFFERENCE: difference_form,
    kind_words.APPLY_OPEN: apply_open_form,
    kind_words.SNOOZE: snooze_form,
    kind_words.SEND_BACK: sendback_form,
}


def put_aside(case: ExceptionCase) -> dict[str, Any]:
    """What of the case waits: its snooze in words, proposals that nobody has decided, documents that were given up."""
    found: dict[str, Any] = {"wake_form": ReasonForm(prefix="wake"), "take_up_form": ReasonForm(prefix="take_up")}
    if case.snoozed_at is not None:
        found["snooze"] = Snooze.objects.filter(case=case, woken_at__isnull=True).select_related("by").first()
        found["snoozed_until"] = snoozes.words_of(found["snooze"]) if found["snooze"] else ""
    if case.state == ExceptionCase.State.AWAITING_APPROVAL:
        standing = Proposal.objects.filter(
            kind__startswith=agreeing.PREFIX, subject_type="case", subject_id=str(case.pk), state="proposed"
        )
        found["wishes"] = list(standing.select_related("proposed_by").defer("content").order_by("pk"))
    if not case.is_open:
        found["given_up"] = case.waivers.filter(undone_at__isnull=True).count()
    return found
