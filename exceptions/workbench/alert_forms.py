"""The forms of alerts: what somebody is told of, and a channel."""

from __future__ import annotations

from typing import Any

from django import forms

from exceptions.kind_words import SEVERITY_WORDS
from exceptions.models import AlertChannel, AlertSubscription
from exceptions.workbench.forms import ReasonForm
from q2c.core import access
from q2c.core.filters import dress
from q2c.core.models import LegalEntity, Person
from q2c.core.roles import QUEUES
from q2c.core.templatetags.words import spoken

_BOXES = forms.CheckboxSelectMultiple


class SubscriptionForm(forms.ModelForm):
    """Which queues, entities and severities, at once or in a digest, and when it's quiet."""

    is_active = forms.BooleanField(label="Tell me by mail", required=False)
    queues = forms.MultipleChoiceField(label="Queues", choices=(), required=False, widget=_BOXES, help_text="None: all")
    entities = forms.MultipleChoiceField(
        label="Entities", choices=(), required=False, widget=_BOXES, help_text="None: all"
    )
    severity = forms.TypedChoiceField(
        label="How pressing", coerce=int,
        choices=[(n, f"{word} and more" if n > 1 else f"only {word}") for n, word in SEVERITY_WORDS.items()],
    )  # fmt: skip
    has_clocks = forms.BooleanField(label="Promises at risk and broken ones too", required=False)
    rhythm = forms.ChoiceField(label="When", choices=AlertSubscription.Rhythm.choices)
    digest_at = forms.TimeField(label="The digest comes at", initial="08:00", help_text="Such as 08:00.")
    quiet_from = forms.TimeField(label="Quiet from", required=False, help_text="Such as 19:00; empty: never.")
    quiet_until = forms.TimeField(label="Quiet until", required=False)

    class Meta:
        model = AlertSubscription
        fields = (
            "is_active", "queues", "entities", "severity", "has_clocks", "rhythm", "digest_at", "quiet_from",
            "quiet_until",
        )  # fmt: skip

    def __init__(self, *args: Any, person: Person | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **{"label_suffix": "", **kwargs})
        fields: dict[str, Any] = self.fields
        if person is None:  # a channel: its own switch stands in its form, and it has no digest
            for name in ("is_active", "rhythm", "digest_at"):
                del fields[name]
            entities = list(LegalEntity.objects.filter(is_active=True).order_by("code"))
            queues: Any = QUEUES
        else:
            entities = access.visible_entities(person, access.VIEW_CASE)
            own = [role.queues for role, _ in access.memberships(person) if access.VIEW_CASE in role.may]
            queues = QUEUES if () in own else sorted({queue for found in own for queue in found})
        fields["queues"].choices = [(queue, spoken(queue)) for queue in queues]
        fields["entities"].choices = [(entity.code, entity.code) for entity in entities]
        for name in ("digest_at", "quiet_from", "quiet_until"):
            if name in fields:
                fields[name].widget = forms.TextInput(attrs={"placeholder": "19:00", "autocomplete": "off"})
                if (value := getattr(self.instance, name)) and hasattr(value, "hour"):
                    self.initial[name] = f"{value:%H:%M}"
        dress(self)  # type: ignore[arg-type]  # as any form

    def clean(self) -> dict[str, Any]:
        """Quiet hours have a begin and an end, or neither."""
        data = super().clean() or self.cleaned_data
        if (data.get("quiet_from") is None) != (data.get("quiet_until") is None):
            self.add_error("quiet_until", "Say from when and until when, or neither.")
        return data

    def said(self) -> str:
        """What was chosen, in a sentence."""
        if not self.instance.is_active:
            return "You get no mail, but for promises that are escalated to your role."
        if self.instance.rhythm == AlertSubscription.Rhythm.DIGEST:
            return f"You get one mail a day, at {self.instance.digest_at:%H:%M}."
        return "You get a mail at once."


class ChannelForm(ReasonForm):
    """A channel: its name, what it is, the address, and of a webhook the secret that it's signed with."""

    name = forms.CharField(label="Name", max_length=80)
    sort = forms.ChoiceField(label="Sort", choices=AlertChannel.Sort.choices)
    address = forms.CharField(
        label="Address", max_length=1000, required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="As the chat or the program gave it. It’s kept sealed and never shown again.",
    )  # fmt: skip
    secret = forms.CharField(
        label="Secret of a signed webhook", max_length=200, required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="whsec_ and the base64 of 24 to 64 random bytes, as its receiver has it. It’s kept sealed too.",
    )  # fmt: skip
    is_active = forms.BooleanField(label="Messages are sent to it", required=False, initial=True)
    field_order = ("name", "sort", "address", "secret", "is_active", "why")

    def __init__(self, *args: Any, channel: AlertChannel, **kwargs: Any) -> None:
        if channel.pk:
            kwargs["initial"] = {"name": channel.name, "sort": channel.sort, "is_active": channel.is_active}
        super().__init__(*args, **kwargs)
        if channel.pk:
            self.fields["address"].help_text = f"At {channel.host}. Leave it empty to keep it."
            if channel.secret:
                self.fields["secret"].help_text = "Leave it empty to keep it. A new one signs beside it for 24 hours."
