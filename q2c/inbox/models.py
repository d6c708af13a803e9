"""What arrived: the event as it came (append-only, sealed), and the key that makes it unique, with its verdict."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from q2c.core.ids import uuid7
from q2c.core.models import APPEND_ONLY


class InboundEvent(models.Model):
    """One message as it came. Partitioned by id; body and headers are sealed under a key of this event alone."""

    class Via(models.TextChoices):
        WEBHOOK = "webhook"
        POLL = "poll"
        FILE = "file"
        API = "api"
        REPLAY = "replay"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection = models.ForeignKey(
        "connectors.Connection", on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    event_type = models.CharField(max_length=120)
    source_id = models.CharField(max_length=200)  # the vendor's id of the event or object
    via = models.CharField(max_length=10, choices=Via)
    received_at = models.DateTimeField()
    headers = models.BinaryField()
    body = models.BinaryField()
    body_hash = models.CharField(max_length=64)  # of the sealed bytes, so that it still verifies after an erasure
    size_bytes = models.IntegerField()

    class Meta:
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.event_type} {self.source_id}"


class InboundKey(models.Model):
    """The unique dedupe key per connection; carries the verdict, the claim, and the sealed key of the event's body."""

    class Verdict(models.TextChoices):
        RECEIVED = "received"
        TRANSLATED = "translated"
        IGNORED = "ignored"
        REFUSED = "refused"

    id = models.BigAutoField(primary_key=True)
    # No database constraint: its check would lock the one connection row for every webhook.
    connection = models.ForeignKey(
        "connectors.Connection", on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    dedupe_key = models.CharField(max_length=250)
    event = models.ForeignKey(InboundEvent, on_delete=models.PROTECT, related_name="keys", db_constraint=False)
    verdict = models.CharField(max_length=12, choices=Verdict, default=Verdict.RECEIVED, db_default="received")
    reason_code = models.CharField(max_length=60, blank=True, default="", db_default="")
    reason = models.TextField(blank=True, default="", db_default="")
    received_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    duplicate_count = models.IntegerField(default=0, db_default=0)
    attempt_count = models.SmallIntegerField(default=0, db_default=0)  # claims that ended without a verdict
    token = models.BigIntegerField(default=0, db_default=0)  # rises with each claim: a late translator decides nothing
    available_at = models.DateTimeField()  # of a claimed one: when its lease ends
    body_key = models.BinaryField()  # the event's key, sealed by the intake key, later by the customer's
    customer_key = models.ForeignKey("core.CustomerKey", null=True, on_delete=models.SET_NULL, related_name="+")
    amount = models.DecimalField(
        max_digits=20, decimal_places=6, null=True
    )  # of an ignored document: never lost from totals
    currency = models.CharField(max_length=3, blank=True, default="", db_default="")
    line_count = models.IntegerField(default=0, db_default=0)
    document_type = models.CharField(max_length=20, blank=True, default="", db_default="")  # of an ignored document
    feed = models.CharField(max_length=40, blank=True, default="", db_default="")
    feed_type = models.CharField(max_length=20, blank=True, default="", db_default="")
    rounding = models.DecimalField(max_digits=20, decimal_places=6, default=0, db_default=0)
    legal_entity_code = models.CharField(max_length=20, blank=True, default="", db_default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection", "dedupe_key"], name="one_event_per_dedupe_key")]
        indexes = [
            models.Index(fields=["connection", "available_at"], name="inbox_due", condition=Q(verdict="received")),
            models.Index(
                fields=["available_at"], name="inbox_suspects", condition=Q(verdict="received", attempt_count__gt=0)
            ),
            models.Index(fields=["connection", "feed"], name="inbox_amounts", condition=Q(amount__isnull=False)),
            models.Index(fields=["event"], name="inbox_event"),
            models.Index(fields=["-id"], name="inbox_refused", condition=Q(verdict="refused")),
        ]

    def __str__(self) -> str:
        return f"{self.dedupe_key}: {self.verdict}"


class Refusal(models.Model):
    """Requests that weren't stored (bad signature, too large, malformed), counted per connection, reason and hour."""

    connection_code = models.CharField(max_length=40)
    reason = models.CharField(max_length=40)
    hour = models.DateTimeField()
    count = models.IntegerField(default=0)
    last_at = models.DateTimeField()
    last_detail = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection_code", "reason", "hour"], name="one_refusal_row")]

    def __str__(self) -> str:
        return f"{self.connection_code} {self.reason} {self.count}"


class ApiRequest(models.Model):
    """The accepted answer to a request with an Idempotency-Key, replayed for 72 hours; written with its effect."""

    client_id = models.CharField(max_length=100)
    route = models.CharField(max_length=100)  # method and template: POST /api/v1/orders
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)  # of the canonical body and query
    status = models.SmallIntegerField()
    location = models.CharField(max_length=300, blank=True)
    body = models.JSONField()
    at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["client_id", "route", "key"], name="one_answer_per_idempotency_key")
        ]

    def __str__(self) -> str:
        return f"{self.client_id} {self.route} {self.key}"


class ApiClient(models.Model):
    """What a machine that calls our API may do: its scopes, and the legal entities that it's bound to."""

    application = models.OneToOneField(
        "oauth2_provider.Application", on_delete=models.CASCADE, related_name="api_client", primary_key=True
    )
    scopes = models.JSONField(default=list)
    legal_entities = models.JSONField(default=list)  # codes
    is_for_all_entities = models.BooleanField(default=False)

    def __str__(self) -> str:
        return str(self.application_id)
