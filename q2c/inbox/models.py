"""What arrived: the event as it came (append-only, sealed), and the key that makes it unique, with its verdict; and
what is to be run again, as an object of its own."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
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
    is_polled_only = models.BooleanField(default=False, db_default=False)  # its webhook hasn't come, though one is due
    token = models.BigIntegerField(default=0, db_default=0)  # rises with each claim: a late translator decides nothing
    available_at = models.DateTimeField()  # of a claimed one: when its lease ends
    is_backfill = models.BooleanField(default=False, db_default=False)  # run again by a back-fill: in the last lane
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
            models.Index(
                fields=["connection", "received_at"], name="inbox_polled_only", condition=Q(is_polled_only=True)
            ),
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


class Backfill(models.Model):
    """Messages to be run again, or objects to be read again at their source: tried first, then started by people."""

    class Source(models.TextChoices):
        STORED = "stored", "What we stored"
        AGAIN = "again", "Read again at the source"

    class State(models.TextChoices):
        GATHERING = "gathering"  # finds its rows
        TRYING = "trying"  # the dry run
        TRIED = "tried"
        ASKED = "asked"  # waits for a second person
        RUNNING = "running"
        PAUSED = "paused"
        DONE = "done"
        CANCELLED = "cancelled"
        FAILED = "failed"  # its rows couldn't be found: `failure` says why

    source = models.CharField(max_length=10, choices=Source)
    connection = models.ForeignKey("connectors.Connection", null=True, on_delete=models.PROTECT, related_name="+")
    stream = models.CharField(max_length=40, blank=True)  # what is read again; "" of what we stored
    since = models.DateTimeField()
    until = models.DateTimeField()
    asked = models.JSONField(default=dict)  # event_type, legal_entity, verdict, flow, state: each as text
    by_ids = models.BooleanField(default=False)  # its rows are those of a file
    limited_to = ArrayField(models.CharField(max_length=20), null=True)  # entities of who made it; null: all
    words = models.CharField(max_length=300)
    why = models.TextField()
    made_by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State, default=State.GATHERING)
    position = models.JSONField(default=dict)  # where gathering stands
    due_at = models.DateTimeField()  # when gathering goes on, after a source that couldn't answer
    failure = models.CharField(max_length=300, blank=True)
    tried_at = models.DateTimeField(null=True)
    takes = ArrayField(models.CharField(max_length=10), default=list)  # the findings that are carried
    per_minute = models.IntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    released_at = models.DateTimeField(null=True)  # the newest chunk
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["id"],
                name="backfill_working",
                condition=~Q(state__in=["tried", "asked", "done", "failed"]),
            )
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def number(self) -> str:
        """What people call it: BF-12."""
        return f"BF-{self.pk}"


class BackfillItem(models.Model):
    """One message (or one given id) of a back-fill: what the dry run found, and what became of it."""

    class Finding(models.TextChoices):
        POSTS = "posts"
        WAITS = "waits"
        HELD = "held"
        DIFFERS = "differs"
        KNOWN = "known"
        NOTHING = "nothing"
        REFUSED = "refused"

    class Result(models.TextChoices):
        PENDING = "pending"
        RELEASED = "released"  # given to the intake, which hasn't decided yet
        CARRIED = "carried"
        KNOWN = "known"
        IGNORED = "ignored"
        REFUSED = "refused"
        LEFT = "left"

    id = models.BigAutoField(primary_key=True)
    backfill = models.ForeignKey(Backfill, on_delete=models.CASCADE, related_name="items", db_index=False)
    row = models.IntegerField(null=True)  # of the file
    given = models.CharField(max_length=250, blank=True)  # the id in the file
    connection = models.ForeignKey(
        "connectors.Connection", null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False,
        db_index=False,
    )  # fmt: skip
    event_type = models.CharField(max_length=120, blank=True)
    source_id = models.CharField(max_length=200, blank=True)
    dedupe_key = models.CharField(max_length=250, blank=True)  # of what was read at the source
    at = models.DateTimeField(null=True)  # when it came in, or happened at the source
    event_id = models.UUIDField(null=True)
    body = models.BinaryField(null=True)  # sealed; of what was read at the source, until it's in the inbox
    body_key = models.BinaryField(null=True)
    finding = models.CharField(max_length=10, choices=Finding, blank=True)  # "": not tried yet
    code = models.CharField(max_length=60, blank=True)  # of the problem that would hold it
    says = models.CharField(max_length=300, blank=True)
    flow = models.CharField(max_length=40, blank=True)
    number = models.CharField(max_length=80, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    period_code = models.CharField(max_length=20, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    amount = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    document_key = models.CharField(max_length=300, blank=True)  # flow and business key
    transaction_id = models.UUIDField(null=True)  # what is here already; once carried, what it became
    result = models.CharField(max_length=10, choices=Result, default=Result.PENDING)
    result_says = models.CharField(max_length=300, blank=True)
    released_at = models.DateTimeField(null=True)
    had = models.IntegerField(default=0)  # transactions that the message had led to before it was given to the intake

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["backfill", "event_id"], name="one_row_per_message",
                condition=Q(event_id__isnull=False, dedupe_key=""),
            ),
            models.UniqueConstraint(
                fields=["backfill", "dedupe_key"], name="one_row_per_reading", condition=~Q(dedupe_key="")
            ),
        ]  # fmt: skip
        indexes = [
            models.Index(fields=["backfill", "id"], name="backfill_order"),
            models.Index(fields=["backfill", "finding", "id"], name="backfill_found"),
            models.Index(fields=["backfill", "result", "at", "id"], name="backfill_result"),
            models.Index(fields=["backfill", "document_key"], name="backfill_document"),
        ]

    def __str__(self) -> str:
        return f"{self.backfill_id} {self.number or self.source_id or self.given}"
