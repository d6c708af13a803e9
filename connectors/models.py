"""Connections to vendor systems, who plays which role for which entity, cursors, cached reference lists, exchanges."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from simple_history.models import HistoricalRecords

from q2c.core.ids import uuid7
from q2c.core.models import APPEND_ONLY


class Connection(models.Model):
    """One account at one vendor. Credentials are sealed, never shown again, and kept out of history."""

    class State(models.TextChoices):
        ACTIVE = "active"
        PAUSED = "paused"

    code = models.SlugField(max_length=40, unique=True)
    name = models.CharField(max_length=100)
    vendor = models.CharField(max_length=40)
    base_url = models.URLField(max_length=300)
    settings = models.JSONField(default=dict, blank=True)  # the manifest's plain settings
    secrets = models.BinaryField(null=True)  # the manifest's secrets, JSON, sealed with the master key
    secrets_set_at = models.DateTimeField(null=True)
    secrets_expire_at = models.DateTimeField(null=True)
    next_secrets = models.BinaryField(null=True)  # those of a new address, while it waits for a second person
    is_sandbox = models.BooleanField(default=False)
    state = models.CharField(max_length=10, choices=State, default=State.ACTIVE)
    paused_reason = models.TextField(blank=True)
    paused_by = models.CharField(max_length=150, blank=True)
    at_once = models.PositiveSmallIntegerField(null=True)  # overrides the manifest's concurrency
    history = HistoricalRecords(excluded_fields=["secrets", "next_secrets"])
    _change_reason: str | None  # what django-simple-history stores with the next save

    class Meta:
        ordering = ("code",)

    def __str__(self) -> str:
        return self.name


class ConnectionHealth(models.Model):
    """What the telephone saw; written often, so apart from the governed row."""

    connection = models.OneToOneField(Connection, primary_key=True, on_delete=models.CASCADE, related_name="health")
    last_success_at = models.DateTimeField(null=True)
    last_failure_at = models.DateTimeField(null=True)
    last_failure = models.CharField(max_length=300, blank=True)
    breaker = models.CharField(max_length=10, default="closed")
    breaker_until = models.DateTimeField(null=True)
    failures_in_row = models.IntegerField(default=0)
    stopped = ArrayField(models.CharField(max_length=40), default=list, db_default=[])  # object types not called
    quota_used = models.BigIntegerField(null=True)
    quota_limit = models.BigIntegerField(null=True)
    latency_ms = models.IntegerField(null=True)

    def __str__(self) -> str:
        return f"{self.connection_id} {self.breaker}"


class BreakerTurn(models.Model):
    """Calls to a connection stopped, or go through again: kept as it was found out, since the health is overwritten."""

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="turns", db_index=False)
    object_type = models.CharField(max_length=40, blank=True)  # empty: the whole connection
    is_open = models.BooleanField()  # no call goes out, but one at a time that tries
    at = models.DateTimeField()
    why = models.CharField(max_length=300, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["connection", "object_type", "-id"], name="breaker_turn_latest"),
            models.Index(fields=["connection", "-id"], name="breaker_turn_newest"),
        ]
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.connection_id} {self.object_type} {'open' if self.is_open else 'closed'}"


class RoleAssignment(models.Model):
    """Which connection plays a family's role for a legal entity (null: for all that have no own row)."""

    family = models.CharField(max_length=20)  # families.Family
    legal_entity = models.ForeignKey("core.LegalEntity", null=True, blank=True, on_delete=models.CASCADE)
    connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="roles")
    history = HistoricalRecords()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["family", "legal_entity"], nulls_distinct=False, name="one_connection_per_role"
            )
        ]

    def __str__(self) -> str:
        return f"{self.family} {self.legal_entity_id}: {self.connection_id}"


class SyncCursor(models.Model):
    """How far a poll has read one stream of a connection."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="cursors")
    stream = models.CharField(max_length=60)
    position = models.JSONField(default=dict)
    read_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    failure = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "stream"], name="one_cursor_per_stream")]

    def __str__(self) -> str:
        return f"{self.connection_id} {self.stream}"


class ReferenceEntry(models.Model):
    """One row of a target's own list (items, accounts, departments, terms, currencies, ...), cached with its age."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="reference")
    list_name = models.CharField(max_length=40)
    external_id = models.CharField(max_length=80)
    code = models.CharField(max_length=120, blank=True)
    name = models.CharField(max_length=300)
    attributes = models.JSONField(default=dict)  # account class, subsidiaries, rates by date, ...
    is_active = models.BooleanField(default=True)
    read_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "list_name", "external_id"], name="one_reference_entry")
        ]
        indexes = [models.Index(fields=["connection", "list_name", "code"], name="reference_code")]

    def __str__(self) -> str:
        return f"{self.list_name} {self.code or self.external_id} {self.name}"


class Exchange(models.Model):
    """A request and its answer, redacted and sealed under the customer's key. Partitioned by transaction; append-only.

    Exchanges without a transaction (polls, token calls, tests of a connection) carry a fresh id in its place.
    """

    pk = models.CompositePrimaryKey("transaction_id", "id")
    transaction_id = models.UUIDField()
    id = models.UUIDField(default=uuid7)
    connection = models.ForeignKey(
        Connection, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    step = models.CharField(max_length=40, blank=True)
    verb = models.CharField(max_length=40, blank=True)
    method = models.CharField(max_length=8)
    url = models.CharField(max_length=600)  # without secrets
    status = models.IntegerField(null=True)  # null: no answer
    at = models.DateTimeField()
    took_ms = models.IntegerField()
    correlation_id = models.CharField(max_length=40, blank=True)
    request = models.BinaryField()
    response = models.BinaryField()
    customer_key = models.ForeignKey(
        "core.CustomerKey",
        null=True,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    hash = models.CharField(max_length=64)  # over what is stored
    failure = models.CharField(max_length=200, blank=True)
    is_late = models.BooleanField(default=False)  # the answer came after its worker had lost the lease

    class Meta:
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.method} {self.url}"
