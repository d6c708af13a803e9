"""Filters of the portal's own lists."""

from __future__ import annotations

import datetime as dt
from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.utils import timezone

from connectors import registry
from connectors.models import Connection
from q2c.core import access
from q2c.core.filters import DateFilter, ListFilter
from q2c.core.ids import uuid7_bound
from q2c.core.roles import SEEN_BY
from q2c.inbox.models import InboundEvent, InboundKey
from q2c.portal import told
from q2c.reconciliation.documents import month_of
from q2c.transactions.models import BusinessTransaction

STATES = [
    ("open", "On the way or held"), ("moving", "On the way"), ("running", "Running"), ("waiting", "Waiting"),
    ("unknown", "Outcome unknown"), ("held", "Held"), ("completed", "Completed"), ("cancelled", "Cancelled"),
]  # fmt: skip

AMOUNT = {"max_digits": 20, "decimal_places": 6}  # what the column holds


def entity_choices(request: Any) -> list[tuple[str, str]]:
    """The entities whose transactions the person sees."""
    shown = access.visible_entities(request.user, SEEN_BY[BusinessTransaction._meta.label_lower])
    return [(e.code, f"{e.code} {e.name}") for e in shown]


def connection_choices(request: Any) -> list[tuple[str, str]]:
    """All connections, by name."""
    return list(Connection.objects.values_list("code", "name"))


def flow_choices(request: Any) -> list[tuple[str, str]]:
    """The flows, by title."""
    codes = list(told.flows()) or sorted(
        BusinessTransaction.objects.order_by().values_list("flow", flat=True).distinct()[:30]
    )
    return [(code, told.flow_title(code)) for code in codes]


def start_of_day(day: dt.date) -> dt.datetime:
    """Midnight of a day in the person's zone."""
    return timezone.make_aware(dt.datetime.combine(day, dt.time()))


class AskedChoice(django_filters.ChoiceFilter):
    """A choice whose values depend on the person who asks."""

    def __init__(self, *args: Any, choices: Any, **kwargs: Any) -> None:
        super().__init__(*args, choices=[], empty_label="Any", **kwargs)
        self.ask = choices

    @property
    def field(self) -> Any:
        """The form's field, with today's choices."""
        self.extra["choices"] = self.ask(self.parent.request)
        self.__dict__.pop("_field", None)
        return super().field


class TransactionFilter(ListFilter):
    """Number or id, flow, state, entity, system, period, currency, amount, day received."""

    number = django_filters.CharFilter(label="Number or id", method="filter_number")
    flow = AskedChoice(label="Flow", choices=flow_choices)
    state = django_filters.ChoiceFilter(label="State", choices=STATES, empty_label="Any", method="filter_state")
    entity = AskedChoice(label="Entity", field_name="legal_entity_code", choices=entity_choices)
    source = AskedChoice(label="From system", field_name="source_connection", choices=connection_choices)
    period = django_filters.CharFilter(label="Period", max_length=20, method="filter_period")
    currency = django_filters.CharFilter(label="Currency", field_name="currency", lookup_expr="iexact", max_length=3)
    least = django_filters.NumberFilter(label="Amount from", field_name="amount", lookup_expr="gte", **AMOUNT)
    most = django_filters.NumberFilter(label="Amount to", field_name="amount", lookup_expr="lte", **AMOUNT)
    received_from = DateFilter(label="Received from", method="filter_received_from")
    received_to = DateFilter(label="Received to", method="filter_received_to")

    class Meta:
        model = BusinessTransaction
        fields: list[str] = []

    def filter_number(self, rows: Any, name: str, value: str) -> Any:
        """By the exact number or id in the source or the target: each is an index."""
        value = value.strip()
        return rows.filter(Q(number=value) | Q(source_id=value) | Q(target_id=value) | Q(target_number=value))

    def filter_state(self, rows: Any, name: str, value: str) -> Any:
        """By state; "open" means everything that hasn't ended, "moving" what runs or waits."""
        if value in ("open", "moving"):
            rows = rows.exclude(state__in=["completed", "cancelled"])  # as the index of open ones has it
            return rows if value == "open" else rows.filter(state__in=["running", "waiting"])
        return rows.filter(state=value)

    def filter_period(self, rows: Any, name: str, value: str) -> Any:
        """What posts in a period. What has none yet is in `undated`, since each is an index of its own."""
        return rows.filter(period_code=value)

    @property
    def undated(self) -> list[Any]:
        """What the other filters let through that has no period yet and is dated in the one chosen, of the entity
        that is chosen too: nothing or one set of rows, none of them in `qs`."""
        self.form.is_valid()
        chosen = self.form.cleaned_data
        month = month_of(chosen.get("entity") or "", chosen["period"]) if chosen.get("period") else None
        if month is None:
            return []
        rows = self.queryset.filter(period_code="", document_date__range=(month.first, month.last))
        for name, value in chosen.items():
            if name != "period":
                rows = self.filters[name].filter(rows, value)
        return [rows]

    def filter_received_from(self, rows: Any, name: str, value: dt.date) -> Any:
        """By the time in the id: a range of the primary key."""
        return rows.filter(id__gte=uuid7_bound(int(start_of_day(value).timestamp() * 1000)))

    def filter_received_to(self, rows: Any, name: str, value: dt.date) -> Any:
        """Up to the end of that day."""
        return rows.filter(id__lt=uuid7_bound(int(start_of_day(value + dt.timedelta(days=1)).timestamp() * 1000)))


class EventFilter(ListFilter):
    """Connection, verdict, kind of event, how it came, and of which day its webhook is lost."""

    connection = AskedChoice(label="Connection", field_name="connection__code", choices=connection_choices)
    verdict = django_filters.ChoiceFilter(label="Verdict", choices=InboundKey.Verdict.choices, empty_label="Any")
    event_type = django_filters.CharFilter(label="Event", field_name="event__event_type")
    source_id = django_filters.CharFilter(label="Id in the system", field_name="event__source_id")
    message_id = django_filters.CharFilter(label="Id of the message there", method="of_the_message")
    via = django_filters.ChoiceFilter(
        label="Came by",
        field_name="event__via",
        choices=InboundEvent.Via.choices,
        empty_label="Any",
        widget=forms.Select,
    )
    lost_on = DateFilter(label="Webhook lost on (UTC)", method="filter_lost_on")

    class Meta:
        model = InboundKey
        fields: list[str] = []

    def of_the_message(self, rows: QuerySet, name: str, value: str) -> QuerySet:
        """The message that its vendor calls so, or that is kept under this key; by connection, as the index has it."""
        connections = list(Connection.objects.values_list("pk", flat=True))
        return rows.filter(connection_id__in=connections, dedupe_key__in=registry.message_keys(value.strip()))

    def filter_lost_on(self, rows: Any, name: str, value: dt.date) -> Any:
        """What came on a day by poll only, as Completeness counts it: in days of UTC, by an index of their own."""
        start = dt.datetime.combine(value, dt.time(), dt.UTC)
        return rows.filter(is_polled_only=True, received_at__gte=start, received_at__lt=start + dt.timedelta(days=1))
