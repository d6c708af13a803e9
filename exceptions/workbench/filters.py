"""Filters of the case list; the same class serves the API."""

from __future__ import annotations

import datetime as dt
from typing import Any

import django_filters
from django.db.models import Q
from django.utils import timezone

from connectors.models import Connection
from exceptions.models import ExceptionCase
from q2c.core import access
from q2c.core.filters import ListFilter
from q2c.core.models import Person
from q2c.core.problems import Category
from q2c.core.roles import ROLES

STATES = [
    ("all", "All, closed ones too"),
    ("open", "Open"),
    ("in_review", "In review"),
    ("awaiting_approval", "Awaiting approval"),
    ("resolved", "Resolved"),
    ("waived", "Waived"),
]
QUEUES = sorted({queue for role in ROLES for queue in role.queues})
DUE = [("late", "Late"), ("today", "Within 24 hours"), ("week", "Within 7 days")]
OWNERS = [("mine", "You"), ("nobody", "Nobody"), ("mine_or_nobody", "You or nobody")]


class CaseFilter(ListFilter):
    """Queue, kind, state, severity, entity, period, system, flow, owner, due. Without `state`: open ones."""

    state = django_filters.ChoiceFilter(label="State", choices=STATES, empty_label="Not closed", method="filter_state")
    queue = django_filters.ChoiceFilter(
        label="Queue", choices=[(q, q.replace("_", " ").capitalize()) for q in QUEUES], empty_label="Any"
    )
    kind = django_filters.CharFilter(label="Kind")
    category = django_filters.ChoiceFilter(
        label="Category",
        choices=[(c.value, c.value.replace("_", " ").capitalize()) for c in Category],
        empty_label="Any",
    )
    # One digit: a number with a huge exponent would be written out before the database is asked.
    severity = django_filters.NumberFilter(label="Severity", min_value=0, max_digits=1, decimal_places=0)
    entity = django_filters.ChoiceFilter(label="Entity", field_name="legal_entity_code", choices=[], empty_label="Any")
    period = django_filters.CharFilter(label="Period", field_name="period_code")
    connection = django_filters.ChoiceFilter(
        label="System", field_name="connection_code", choices=[], empty_label="Any"
    )
    flow = django_filters.CharFilter(label="Flow")
    owner = django_filters.ChoiceFilter(label="Owner", choices=OWNERS, empty_label="Anybody", method="filter_owner")
    due = django_filters.ChoiceFilter(label="Due", choices=DUE, empty_label="Any time", method="filter_due")

    class Meta:
        model = ExceptionCase
        fields: list[str] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.request is not None:
            entities = [(e.code, e.code) for e in access.visible_entities(self.request.user)]
            self.form.fields["entity"].choices = [("", "Any"), *entities]
            self.form.fields["connection"].choices = [("", "Any"), *Connection.objects.values_list("code", "name")]

    @property
    def qs(self) -> Any:
        """The filtered rows; closed cases only when asked for."""
        rows = super().qs
        return rows if self.form.cleaned_data.get("state") else rows.filter(closed_at__isnull=True)

    def filter_state(self, rows: Any, name: str, value: str) -> Any:
        """By state, or all."""
        return rows if value == "all" else rows.filter(state=value)

    def filter_owner(self, rows: Any, name: str, value: str) -> Any:
        """Mine, nobody's, or both."""
        mine, nobody = Q(assignee=self._person()), Q(assignee__isnull=True)
        return rows.filter({"mine": mine, "nobody": nobody, "mine_or_nobody": mine | nobody}[value])

    def filter_due(self, rows: Any, name: str, value: str) -> Any:
        """By promised time."""
        days = {"late": 0, "today": 1, "week": 7}[value]
        return rows.filter(due_at__lt=timezone.now() + dt.timedelta(days=days))

    def _person(self) -> Person | None:
        return getattr(self.request, "user", None)
