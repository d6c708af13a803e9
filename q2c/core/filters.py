"""The filter bar: every filter in the URL, chips for what is on, dates that can't be misread."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, NamedTuple

import django_filters
from django import forms
from django.forms.renderers import DjangoTemplates
from django.http import QueryDict

# Native date pickers follow the browser's locale, and 10/01 means two things (DESIGN section 5).
DATE_FORMATS = ["%Y-%m-%d", "%d %b %Y", "%d %B %Y"]
FIRST_YEAR, LAST_YEAR = 1971, 2999  # what the time in an id, in any zone, can hold
_PLACE = ("after", "before", "at")
DRAWN_MAX = 1000


class Chip(NamedTuple):
    """A filter that is on, and the address of the list without it."""

    label: str
    value: str
    url: str


def others_of(given: QueryDict, *, without: Iterable[str] = ()) -> list[tuple[str, str]]:
    """What else an address says, for a form that asks anew: the place in the list begins anew."""
    gone = {*without, *_PLACE}
    return [(name, value) for name, values in given.lists() if name not in gone for value in values if value]


class DateField(forms.DateField):
    """Takes "1 Oct 2026" and "2026-10-01", of the years in which a document can be."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            input_formats=DATE_FORMATS,
            widget=forms.DateInput(format="%-d %b %Y", attrs={"placeholder": "1 Oct 2026", "autocomplete": "off"}),
            error_messages={"invalid": "Write the date as 1 Oct 2026 or 2026-10-01."},
            **kwargs,
        )

    def clean(self, value: Any) -> Any:
        """The date. Raises ValidationError for one that no clock of ours can say."""
        day = super().clean(value)
        if day is not None and not FIRST_YEAR <= day.year <= LAST_YEAR:
            raise forms.ValidationError(f"Write a date of the years {FIRST_YEAR} to {LAST_YEAR}.")
        return day


class DateFilter(django_filters.DateFilter):
    """A date in the URL, as a person writes it."""

    field_class = DateField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


def dress(form: forms.Form, *, small: bool = False) -> forms.Form:
    """Bootstrap's classes on a form's fields, and the links between a field, its hint and its error."""
    size = "-sm" if small else ""
    for name, field in form.fields.items():
        widget = field.widget
        if isinstance(widget, forms.Select):
            css = f"form-select form-select{size}" if size else "form-select"
        elif isinstance(widget, (forms.CheckboxInput, forms.RadioSelect)):
            css = "form-check-input"
        else:
            css = f"form-control form-control{size}" if size else "form-control"
        widget.attrs["class"] = f"{css} {widget.attrs.get('class', '')}".strip()
        if field.help_text and not small:
            widget.attrs.setdefault("aria-describedby", f"hint_{form.add_prefix(name)}")
    return form


class KeptChoices(DjangoTemplates):
    """Draws a list of choices once per process: a page has a dozen of them, mostly as on every other page."""

    def render(self, template_name: str, context: Any, request: Any = None) -> Any:
        """The widget's HTML; what people typed isn't kept."""
        if "optgroups" not in context.get("widget", ()):
            return super().render(template_name, context, request)
        key = (template_name, repr(context))  # a choice's words are plain text, so the same words are the same HTML
        found = _drawn.get(key)
        if found is None:
            if len(_drawn) >= DRAWN_MAX:
                _drawn.clear()
            found = _drawn[key] = super().render(template_name, context, request)
        return found


_drawn: dict[tuple[str, str], Any] = {}
_CHOICES = KeptChoices()


class ListFilter(django_filters.FilterSet):
    """A list's filters. A value that can't be read is named beside its field, and the list shows without it."""

    def __init__(
        self, data: Any = None, queryset: Any = None, *, request: Any = None, prefix: str | None = None
    ) -> None:
        super().__init__(data if data is not None else QueryDict(), queryset, request=request, prefix=prefix)
        self.form.label_suffix = ""
        self.form.renderer = _CHOICES
        dress(self.form, small=True)

    @property
    def qs(self) -> Any:
        """The filtered rows."""
        return super().qs

    @property
    def is_on(self) -> bool:
        """Whether any filter narrows the list."""
        return bool(self.chips)

    @property
    def others(self) -> list[tuple[str, str]]:
        """What the address says besides the filters (order, columns, density): it stays when they change."""
        return others_of(self.data, without=self.form.fields) if isinstance(self.data, QueryDict) else []

    @functools.cached_property
    def chips(self) -> list[Chip]:
        """What is on, in words."""
        chips = []
        self.form.is_valid()
        for name, field in self.form.fields.items():
            raw = self.data.get(name)
            if not raw or name in self.form.errors:
                continue
            choices = dict(getattr(field, "choices", None) or [])
            query = self.data.copy()
            for gone in (name, *_PLACE):
                query.pop(gone, None)
            chips.append(Chip(field.label or name, str(choices.get(raw, raw)), f"?{query.urlencode()}"))
        return chips
