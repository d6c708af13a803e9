"""Filters of the case list; the same class serves the API."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import django_filters
from django.conf import settings
from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from connectors.models import Connection
from exceptions import tallies
from exceptions.models import CaseTally, ExceptionCase
from q2c.core import access
from q2c.core.filters import ListFilter
from q2c.core.models import Person
from q2c.core.problems import Category
from q2c.core.roles import QUEUES

STATES = [
    ("all", "All, closed ones too"),
    ("open", "Open"),
    ("in_review", "In review"),
    ("awaiting_approval", "Awaiting approval"),
    ("snoozed", "Snoozed"),
    ("resolved", "Resolved"),
    ("waived", "Waived"),
]
DUE = [
    ("at_risk", "At risk"), ("late", "Late"), ("today", "Within 24 hours"), ("week", "Within 7 days"),
    ("paused", "Not while it waits"),
]  # fmt: skip
AGES = [("1", "Longer than a day"), ("7", "Longer than a week"), ("30", "Longer than 30 days")]
OWNERS = [("mine", "You"), ("nobody", "Nobody"), ("mine_or_nobody", "You or nobody")]


class CaseFilter(ListFilter):
    """Queue, kind, state, severity, entity, period, system, flow, owner, due, blocked close, currency, amount at risk,
    age and words. Without `state`: open ones."""

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
    entity = django_filters.ChoiceFilter(label="Entity", field_name="blocks_entity", choices=[], empty_label="Any")
    period = django_filters.CharFilter(label="Period", field_name="blocks_period")
    connection = django_filters.ChoiceFilter(
        label="System", field_name="connection_code", choices=[], empty_label="Any"
    )
    flow = django_filters.CharFilter(label="Flow")
    owner = django_filters.ChoiceFilter(label="Owner", choices=OWNERS, empty_label="Anybody", method="filter_owner")
    due = django_filters.ChoiceFilter(label="Due", choices=DUE, empty_label="Any time", method="filter_due")

    blocks = django_filters.CharFilter(label="Blocks", method="filter_blocks")
    currency = django_filters.CharFilter(label="Currency", max_length=3, method="filter_currency")
    at_least = django_filters.NumberFilter(
        label=f"At least, in {settings.REPORTING_CURRENCY}", field_name="amount_at_risk", lookup_expr="gte",
        min_value=0, max_digits=16, decimal_places=2,
    )  # fmt: skip
    age = django_filters.ChoiceFilter(label="Open", choices=AGES, empty_label="Any time", method="filter_age")
    q = django_filters.CharFilter(label="Words", max_length=80, method="filter_words")

    class Meta:
        model = ExceptionCase
        fields: list[str] = []

    blocked_closes: list[tallies.BlockedClose] | None = None  # what a page knows of them already

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.request is not None:
            entities = [(e.code, e.code) for e in access.visible_entities(self.request.user, access.VIEW_CASE)]
            self.form.fields["entity"].choices = [("", "Any"), *entities]
            self.form.fields["connection"].choices = [("", "Any"), *Connection.objects.values_list("code", "name")]

    @property
    def qs(self) -> Any:
        """The filtered rows; closed cases only when asked for."""
        rows = super().qs
        is_asked = self.form.cleaned_data.get("state")
        return rows if is_asked else rows.filter(closed_at__isnull=True, snoozed_at__isnull=True)

    def filter_state(self, rows: Any, name: str, value: str) -> Any:
        """By state, snoozed, or all; what is snoozed is in no other state meanwhile, as the tabs count it."""
        if value == "snoozed":
            return rows.filter(closed_at__isnull=True, snoozed_at__isnull=False)
        if value in ExceptionCase.OPEN_STATES:  # by the index of open cases
            rows = rows.filter(closed_at__isnull=True, snoozed_at__isnull=True)
        return rows if value == "all" else rows.filter(state=value)

    def filter_owner(self, rows: Any, name: str, value: str) -> Any:
        """Mine, nobody's, or both."""
        mine, nobody = Q(assignee=self._person()), Q(assignee__isnull=True)
        return rows.filter({"mine": mine, "nobody": nobody, "mine_or_nobody": mine | nobody}[value])

    def filter_due(self, rows: Any, name: str, value: str) -> Any:
        """By promised time; what waits for somebody outside has none."""
        if value == "paused":
            return rows.exclude(paused_for="")
        rows = rows.filter(paused_for="")
        if value == "at_risk":
            return rows.filter(standing="at_risk")
        days = {"late": 0, "today": 1, "week": 7}[value]
        return rows.filter(due_at__lt=timezone.now() + dt.timedelta(days=days))

    def filter_blocks(self, rows: Any, name: str, value: str) -> Any:
        """By the close that a case blocks: `any` that is open, entity and period as DE01:2026-10, or whatever period of
        an entity."""
        person, (entity, _, period) = self._person(), value.partition(":")
        if person is not None and value == "any":
            if self.blocked_closes is None:
                self.blocked_closes = tallies.closes_blocked(person)
            return rows.filter(tallies.blocking_q(person, tallies.places_of(self.blocked_closes)))
        if person is not None and period:
            return rows.filter(tallies.blocking_q(person, [(entity, period)]))
        rows = rows.exclude(blocks_period="")
        if value != "any":
            rows = rows.filter(blocks_entity=entity)
        return rows.filter(blocks_period=period) if period else rows

    def filter_currency(self, rows: Any, name: str, value: str) -> Any:
        """By the currency of any of its open documents."""
        held = CaseTally.objects.filter(case=OuterRef("pk"), currency=value.upper(), document_count__gt=0)
        return rows.filter(Exists(held))

    def filter_age(self, rows: Any, name: str, value: str) -> Any:
        """By how long it has been open."""
        return rows.filter(opened_at__lt=timezone.now() - dt.timedelta(days=int(value)))

    def filter_words(self, rows: Any, name: str, value: str) -> Any:
        """Cases whose sentence has words that begin with each of these, in any order and case."""
        words = re.findall(r"\w+", value)
        if not words:
            return rows.none()
        asked = SearchQuery(" & ".join(f"{word}:*" for word in words), search_type="raw", config="simple")
        return rows.annotate(words=SearchVector("summary", config="simple")).filter(words=asked)

    def _person(self) -> Person | None:
        return getattr(self.request, "user", None)
