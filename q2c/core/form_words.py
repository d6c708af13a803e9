"""What a form says of a field that was left empty: what to do, instead of Django's "This field is required."."""

from __future__ import annotations

from django import forms

_SAY: dict[type[forms.Field], str] = {
    forms.Field: "Fill this in.",
    forms.ChoiceField: "Choose one.",
    forms.ModelChoiceField: "Choose one.",
    forms.FileField: "Choose a file.",
    forms.DateField: "Give a date, such as 1 Oct 2026.",
    forms.BooleanField: "Tick this to go on.",
}


def say_what_to_do() -> None:
    """Put our words where every form of the process looks for them; a field's own message goes before."""
    for field, words in _SAY.items():
        field.default_error_messages = {**field.default_error_messages, "required": words}
