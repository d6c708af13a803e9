"""The form of one rule: for a case that lacks it, and for the mappings workbench. Errors say the fix."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Count, Max
from django.urls import reverse
from django.utils import timezone

from connectors.models import Connection, ReferenceEntry
from mappings import choices, condition_fields, conditions, suggestions
from mappings.drafts import CHANGE, DraftRefused, Line, line_for
from mappings.hints import Hint, find_hints
from mappings.kinds import FREE, OWN_LISTS, Kind, kind_of
from mappings.models import MappingRule
from q2c.core import access
from q2c.core.filters import DateField, dress
from q2c.core.models import Person
from q2c.core.templatetags.words import age, inside, spoken

ALL_ENTITIES = ""
PLACE = ("connection_code", "legal_entity_code", "currency", "region", "product_line", "is_fallback")


class RuleForm(forms.Form):
    """Key, value, where it holds, from when, and why. `asked` fixes what a case already knows."""

    key = forms.CharField(label="Key", max_length=250)
    value = forms.CharField(label="Becomes", max_length=250)
    connection_code = forms.ChoiceField(label="System", required=False)
    legal_entity_code = forms.ChoiceField(label="Applies to", required=False)
    currency = forms.CharField(label="Currency", required=False, max_length=3, min_length=3)
    region = forms.CharField(label="Region", required=False, max_length=40)
    product_line = forms.CharField(label="Product line", required=False, max_length=80)
    effective_from = DateField(label="In force from")
    effective_to = DateField(
        label="Until", required=False, help_text="Empty: until it's changed. The day isn't included."
    )
    is_fallback = forms.BooleanField(label="Only where nothing more specific is found", required=False)
    why = forms.CharField(label="Reason", min_length=5, max_length=1000, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(
        self,
        data: Any = None,
        *,
        kind: str,
        user: Any,
        asked: Mapping[str, str] | None = None,
        first_date: dt.date | None = None,
        rule: MappingRule | None = None,
    ) -> None:
        self.kind: Kind = kind_of(kind)
        self.user, self.rule = user, rule
        self.asked = asked_by(rule) if rule else dict(asked or {})
        initial: dict[str, Any] = {
            name: self.asked.get(name, "") for name in ("key", "currency", "region", "product_line")
        }
        initial["connection_code"] = self.asked.get("connection", "")
        initial["legal_entity_code"] = self.asked.get("legal_entity", "")
        first = first_date or timezone.localdate()
        initial["effective_from"] = max(first, rule.effective_from) if rule else first
        initial["effective_to"] = rule.effective_to if rule else None
        initial["value"] = self.asked.get("value", "")
        super().__init__(data, initial=initial, label_suffix="")
        self._fit()
        if rule is None:
            self.fields |= condition_fields.fields_for(self.kind, self.asked.get("key", ""))
        dress(self)
        for name in self.errors if self.is_bound else ():
            if name in self.fields:
                self.fields[name].widget.attrs |= {"aria-invalid": "true", "aria-describedby": f"error_{name}"}

    def _fit(self) -> None:
        """Only the fields that this kind can be narrowed by; what the case asks for can't be changed."""
        for name in PLACE[:-1]:
            if name.removesuffix("_code") not in self.kind.scope:
                del self.fields[name]
        if not self.kind.allows_fallback:
            del self.fields["is_fallback"]
        self.fields["key"].label = (
            " and ".join(f.replace("_", " ") for f in self.kind.key_fields).capitalize().replace("Sku", "SKU")
        )
        if self.asked.get("key"):
            self.fields["key"].widget.attrs["readonly"] = True
        if self.kind.keys and not self.asked.get("key"):
            choices = [(key, _say_key(key)) for key in self.kind.keys]
            self.fields["key"] = forms.ChoiceField(label=self.fields["key"].label, choices=choices)
        if "connection_code" in self.fields:
            choices = list(Connection.objects.values_list("code", "name"))
            self.fields["connection_code"].choices = [("", "Every system"), *choices]  # type: ignore[attr-defined]
        if "legal_entity_code" in self.fields:
            mine = access.entities_where(self.user, self.kind.propose)
            choices = [(e.code, f"{e.code} only") for e in access.visible_entities(self.user, self.kind.propose)]
            if mine is None:
                choices.append((ALL_ENTITIES, "All entities"))
                choices.sort(key=lambda choice: choice[0] != self.asked.get("legal_entity", ""))
            self.fields["legal_entity_code"].choices = choices  # type: ignore[attr-defined]
        if self.rule is not None:  # a change keeps key and scope
            for name in PLACE:
                if name in self.fields:
                    self.fields[name].disabled = True
        self.fields["value"].label = self.kind.verb.capitalize()
        if (self.held_by or self.kind.target in OWN_LISTS) and self.kind.target != FREE:
            given = {name: self.asked[name] for name in ("connection", "legal_entity", "key") if self.asked.get(name)}
            self.fields["value"].widget.attrs |= {
                "list": "targets",
                "autocomplete": "off",
                "hx-get": f"{reverse('mappings:targets')}?{urlencode({'kind': self.kind.code, **given})}",
                "hx-include": "[name=connection_code],[name=legal_entity_code],[name=key]",
                "hx-trigger": "input changed delay:200ms",
                "hx-target": "#targets",
                "hx-swap": "outerHTML",
                "hx-sync": "this:replace",
            }
            self.fields["value"].help_text = self._list_words()

    @property
    def only(self) -> list[Any]:
        """The fields of "only where"; a change keeps its rule's conditions, so then there are none."""
        return [self[name] for name in self.fields if name.startswith(condition_fields.PREFIX)]

    @property
    def is_narrowed(self) -> bool:
        """Whether somebody has written a condition: then they're shown."""
        return any(field.data for field in self.only)

    @property
    def kept_conditions(self) -> str:
        """The conditions of the rule that is changed, in words."""
        return conditions.say(self.rule.conditions) if self.rule else ""

    def _list_words(self) -> str:
        """How long the target's list is, and how old."""
        if self.kind.target in OWN_LISTS:
            return "Its code or name."
        if len(self.held_by) > 1:
            named = " and ".join(self.held_by)
            return f"Id, code or name in the list of the system that takes it: {named} have one each."
        connection = self.target_connection
        facts = ReferenceEntry.objects.filter(
            connection__code=connection, list_name=self.kind.target, is_active=True
        ).aggregate(n=Count("pk"), read=Max("read_at"))
        if not facts["n"]:
            return "We don’t hold its list of these, so nothing is checked here: write the id that it has there."
        noun = self.kind.target.replace("_", " ")
        return f"Id, code or name. {facts['n']:,} {noun}, read {age(facts['read'])} ago."

    @cached_property
    def held_by(self) -> list[str]:
        """The systems in whose lists the value would have to stand, as far as the rule's place is known by now."""
        entity = self.asked.get("legal_entity", "") or self.data.get("legal_entity_code", "")
        if not self.is_bound and not entity:  # the one that is chosen as long as nobody has chosen
            entity = next((code for code, _ in getattr(self.fields.get("legal_entity_code"), "choices", ())), "")
        return suggestions.Holders().of(
            self.kind, self.asked.get("connection", "") or self.data.get("connection_code", ""), entity,
            self.asked.get("key", "") or self.data.get("key", ""),
        )  # fmt: skip

    @property
    def target_connection(self) -> str:
        """The system whose list the value must stand in; "" where none has one, and where the place must say which."""
        return self.held_by[0] if len(self.held_by) == 1 else ""

    @property
    def targets(self) -> list[Any]:
        """Entries of the target's list to choose from, the likeliest first."""
        return suggestions.suggest(self.kind, self.asked.get("key", ""), connection=self.target_connection, limit=200)

    @cached_property
    def hints(self) -> list[Hint]:
        """What the key that is asked for probably becomes, the likeliest first; none while no key is fixed."""
        key = self.asked.get("key", "")
        if not key or self.rule is not None:
            return []
        entity = self.asked.get("legal_entity", "")
        return find_hints(self.kind, [key], connection=self.target_connection, legal_entity=entity)[key]

    def note_choice(self, line: Line, by: Person) -> None:
        """Keep what was suggested beside what was chosen."""
        if self.hints:
            choices.note_choice(line, offered=self.hints[0].target.id, reason=self.hints[0].reason, by=by)

    def clean_key(self) -> str:
        """The key that the case asks for; patterns only where the kind takes them."""
        key = self.asked.get("key") or self.cleaned_data["key"].strip()
        if "*" in key and not self.kind.allows_patterns:
            raise ValidationError("This kind takes whole keys only. Write the key without *.")
        return key

    def clean_value(self) -> str:
        """The id of an entry of the target's own list, which may be written as its id, code or name."""
        key = self.data.get("key", "") or self.asked.get("key", "")
        try:
            return suggestions.read_value(self.kind, key, self.cleaned_data["value"], connection=self.target_connection)
        except ValueError as refused:
            raise ValidationError(str(refused)) from refused

    def clean(self) -> dict[str, Any]:
        """Dates in order; a person of some entities says which."""
        data = super().clean() or self.cleaned_data
        start, end = data.get("effective_from"), data.get("effective_to")
        if start and end and end <= start:
            self.add_error("effective_to", "It ends before it starts. Take a later day, or leave it empty.")
        for name, values in condition_fields.read(data).items():
            for said in conditions.faults(self.kind, data.get("key", ""), {name: values}):
                self.add_error(condition_fields.PREFIX + name, f"{said[:1].upper()}{said[1:]}.")
        return data

    def as_line(self) -> Line:
        """The change line that this form describes: a change of the rule with exactly this place, else a creation."""
        data = self.cleaned_data
        line = Line(
            kind=self.kind.code,
            key=data["key"],
            value=data["value"],
            label=suggestions.label_of(self.kind, data["value"], connection=self.target_connection),
            connection=data.get("connection_code", ""),
            legal_entity=data.get("legal_entity_code", ""),
            currency=data.get("currency", "").upper(),
            region=data.get("region", ""),
            product_line=data.get("product_line", ""),
            conditions=condition_fields.read(data),
            is_fallback=data.get("is_fallback", False),
            effective_from=data["effective_from"],
            effective_to=data.get("effective_to"),
        )
        if self.rule is not None:
            return replace(line, act=CHANGE, rule_id=self.rule.pk, conditions=self.rule.conditions)
        return line_for(line)

    def take_faults(self, refused: DraftRefused) -> None:
        """Show each fault beside its field."""
        for fault in refused.faults:
            name = {"connection": "connection_code", "legal_entity": "legal_entity_code"}.get(fault.field, fault.field)
            text = f"{fault.text[:1].upper()}{fault.text[1:]}."
            self.add_error(name if name in self.fields else None, text)


def _say_key(key: str) -> str:
    """A key out of a closed set as words: "erp|*" is "ERP: everything else"."""
    words = [spoken(part).replace("*", "everything else") for part in key.split("|")]
    return ": ".join([words[0], *(inside(word) for word in words[1:])])


class RetireForm(forms.Form):
    """From when a rule doesn't hold any more, and why."""

    effective_from = DateField(label="Not in force from")
    why = forms.CharField(label="Reason", min_length=5, max_length=1000, widget=forms.Textarea(attrs={"rows": 2}))


def asked_by(rule: MappingRule) -> dict[str, str]:
    """A rule's own place, to fill the form with."""
    return {
        "key": rule.key, "connection": rule.connection_code, "legal_entity": rule.legal_entity_code,
        "currency": rule.currency, "region": rule.region, "product_line": rule.product_line, "value": rule.value,
    }  # fmt: skip
