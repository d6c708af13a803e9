"""Exception cases: one piece of work, the documents that hit it, tallies of them, and what people said."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from exceptions.models.counts import COUNTED
from q2c.core.models import APPEND_ONLY


class ExceptionCase(models.Model):
    """One root cause. Found by fingerprint while it's open; a resolved one that comes back is reopened as regressed."""

    class State(models.TextChoices):
        OPEN = "open"
        IN_REVIEW = "in_review"
        AWAITING_APPROVAL = "awaiting_approval"
        RESOLVED = "resolved"
        WAIVED = "waived"

    OPEN_STATES = ("open", "in_review", "awaiting_approval")

    id = models.BigAutoField(primary_key=True)
    fingerprint = models.CharField(max_length=64)
    fingerprint_version = models.SmallIntegerField(default=1)
    kind = models.CharField(max_length=60)
    category = models.CharField(max_length=20)
    state = models.CharField(max_length=20, choices=State, default=State.OPEN)
    severity = models.SmallIntegerField()
    queue = models.CharField(max_length=30)
    routed_by = models.ForeignKey(  # the rule that put it into its queue; without one: the kind's own row
        "mappings.MappingRule", null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    is_moved_by_hand = models.BooleanField(default=False, db_default=False)  # somebody chose its queue
    summary = models.CharField(max_length=500)
    subject = models.JSONField(default=dict)
    connection_code = models.CharField(max_length=40, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    period_code = models.CharField(max_length=20, blank=True)
    flow = models.CharField(max_length=40, blank=True)
    assignee = models.ForeignKey("core.Person", null=True, blank=True, on_delete=models.SET_NULL, related_name="cases")
    opened_at = models.DateTimeField()
    # Rolled up from the tallies by beat, so that the case's own row stays cold: the newest failure, how many documents
    # are open, their amount in reporting currency, and the close that most of it stands in the way of.
    last_at = models.DateTimeField()
    document_count = models.IntegerField(default=0)
    amount_at_risk = models.DecimalField(max_digits=20, decimal_places=2, default=0)
    blocks_entity = models.CharField(max_length=20, blank=True)
    blocks_period = models.CharField(max_length=20, blank=True)
    due_at = models.DateTimeField()
    # The clock (`exceptions.clocks`): where the promise stands, when that changes next (None: not by itself), how far
    # up it was told, and for whom it waits.
    standing = models.CharField(max_length=10, default="on_time", db_default="on_time")
    turns_at = models.DateTimeField(null=True, blank=True)
    escalation = models.SmallIntegerField(default=0, db_default=0)
    paused_for = models.CharField(max_length=10, blank=True, default="", db_default="")
    is_told = models.BooleanField(default=False, db_default=False)  # its opening stands in an alert
    closed_at = models.DateTimeField(null=True, blank=True)
    snoozed_at = models.DateTimeField(null=True, blank=True)  # left alone until what its snooze waits for
    resolution = models.CharField(max_length=40, blank=True)
    close_reason = models.TextField(blank=True)
    regressed_count = models.IntegerField(default=0)
    failed_fix = models.CharField(max_length=200, blank=True)  # of a regressed case: what was done before
    ROLLED_UP = (
        "last_at", "document_count", "amount_at_risk", "blocks_entity", "blocks_period", "standing", "turns_at",
        "escalation", "is_told",
    )  # fmt: skip
    history = HistoricalRecords(excluded_fields=list(ROLLED_UP))

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint"],
                condition=Q(state__in=["open", "in_review", "awaiting_approval"]),
                name="one_open_case_per_cause",
            )
        ]
        indexes = [
            models.Index(fields=["due_at", "id"], name="case_open_due", condition=Q(closed_at__isnull=True)),
            models.Index(
                fields=["turns_at", "id"],
                name="case_turns",
                condition=Q(closed_at__isnull=True, turns_at__isnull=False),
            ),
            models.Index(fields=["id"], name="case_untold", condition=Q(closed_at__isnull=True, is_told=False)),
            models.Index(
                fields=["standing", "due_at"],
                name="case_standing",
                condition=Q(closed_at__isnull=True) & ~Q(standing="on_time"),
            ),
            models.Index(
                fields=["due_at"], name="case_paused", condition=Q(closed_at__isnull=True) & ~Q(paused_for="")
            ),
            models.Index(fields=["queue", "due_at"], name="case_queue", condition=Q(closed_at__isnull=True)),
            models.Index(
                fields=["legal_entity_code", "due_at"], name="case_entity", condition=Q(closed_at__isnull=True)
            ),
            models.Index(
                fields=["blocks_entity", "blocks_period", "-amount_at_risk", "-id"],
                name="case_ranked",
                condition=Q(closed_at__isnull=True),
                include=["legal_entity_code", "queue", "snoozed_at"],
            ),
            models.Index(
                fields=["routed_by"], name="case_routed", condition=Q(closed_at__isnull=True, routed_by__isnull=False)
            ),
            models.Index(fields=["kind"], name="case_kind", condition=Q(closed_at__isnull=True)),
            models.Index(fields=["assignee"], name="case_assignee", condition=Q(closed_at__isnull=True)),
            models.Index(fields=["connection_code"], name="case_connection", condition=Q(closed_at__isnull=True)),
            models.Index(fields=["flow"], name="case_flow", condition=Q(closed_at__isnull=True)),
            models.Index(fields=["severity", "category"], name="case_severity", condition=Q(closed_at__isnull=True)),
            models.Index(fields=["opened_at"], name="case_opened", condition=Q(closed_at__isnull=True)),
            models.Index(fields=["state"], name="case_state", condition=Q(closed_at__isnull=True)),
            models.Index(fields=["amount_at_risk"], name="case_amount", condition=Q(closed_at__isnull=True)),
            GinIndex(SearchVector("summary", config="simple"), name="case_words"),
            models.Index(fields=["-closed_at", "-id"], name="case_closed", condition=Q(closed_at__isnull=False)),
            models.Index(fields=["fingerprint", "-id"], name="case_fingerprint"),
        ]
        triggers = COUNTED

    def __str__(self) -> str:
        return self.number

    @property
    def number(self) -> str:
        """What people call it: EX-2041."""
        return f"EX-{self.pk}"

    @property
    def is_open(self) -> bool:
        """Whether somebody still has to act."""
        return self.closed_at is None


class Occurrence(models.Model):
    """One document that hit the case. A held transaction has exactly one that isn't closed."""

    id = models.BigAutoField(primary_key=True)
    case = models.ForeignKey(ExceptionCase, on_delete=models.PROTECT, related_name="occurrences")
    transaction_id = models.UUIDField(null=True)
    event_id = models.UUIDField(null=True)  # of a refused inbound event
    read_key = models.CharField(max_length=300, null=True)  # of such a one: what it says something of, and of what sort
    flow = models.CharField(max_length=40, blank=True)
    step = models.CharField(max_length=40, blank=True)
    attempt = models.IntegerField(default=1)
    number = models.CharField(max_length=120, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    period_code = models.CharField(max_length=20, blank=True)
    amount = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    currency = models.CharField(max_length=3, blank=True)
    amount_at_risk = models.DecimalField(max_digits=20, decimal_places=2, null=True)  # as of its opening; null: no rate
    problem = models.JSONField(default=dict)
    at = models.DateTimeField()
    # What is said of it on records outside (`exceptions.writeback`): 0 nothing, 1 what stands here, 2 what stood here.
    told = models.SmallIntegerField(default=0, db_default=0)
    source_asked_at = models.DateTimeField(null=True)  # to be corrected at its source: waits for the corrected version
    reposted_at = models.DateTimeField(null=True)  # running again: closes on completion, or comes back
    closed_at = models.DateTimeField(null=True)
    closed_how = models.CharField(max_length=40, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["transaction_id"], condition=Q(closed_at__isnull=True, transaction_id__isnull=False),
                name="one_open_occurrence_per_transaction",
            ),
            models.UniqueConstraint(
                fields=["event_id"], condition=Q(closed_at__isnull=True, event_id__isnull=False),
                name="one_open_occurrence_per_event",
            ),
        ]  # fmt: skip
        indexes = [
            models.Index(fields=["case", "-id"], name="occurrence_case"),
            models.Index(fields=["case", "-id"], name="occurrence_open", condition=Q(closed_at__isnull=True)),
            models.Index(fields=["transaction_id", "-id"], name="occurrence_txn"),
            models.Index(
                fields=["read_key"],
                name="occurrence_unread",
                condition=Q(closed_at__isnull=True, read_key__isnull=False),
            ),
            models.Index(
                fields=["id"],
                name="occurrence_to_tell",
                condition=Q(closed_at__isnull=True, transaction_id__isnull=False) & ~Q(told=1),
            ),
            models.Index(
                fields=["id"], name="occurrence_to_take_back", condition=Q(closed_at__isnull=False) & ~Q(told=0)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.case_id} {self.transaction_id}"


class CaseTally(models.Model):
    """Open documents and amount of a case, per entity, period, currency and worker: summed on read: no row is hot."""

    case = models.ForeignKey(ExceptionCase, on_delete=models.CASCADE, related_name="tallies")
    legal_entity_code = models.CharField(max_length=20, blank=True)
    period_code = models.CharField(max_length=20, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    worker = models.CharField(max_length=60, blank=True)
    document_count = models.BigIntegerField(default=0)
    amount = models.DecimalField(max_digits=24, decimal_places=6, default=0)
    amount_at_risk = models.DecimalField(max_digits=24, decimal_places=2, default=0)  # in reporting currency, no signs
    is_rolled = models.BooleanField(default=False)  # into its case
    last_at = models.DateTimeField(null=True)  # the newest failure that this worker added

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["case", "legal_entity_code", "period_code", "currency", "worker"],
                name="one_tally_per_case_and_worker",
            )
        ]
        indexes = [
            models.Index(fields=["case"], name="case_tally_to_roll", condition=Q(is_rolled=False)),
            models.Index(fields=["currency", "case"], name="case_tally_currency", condition=Q(document_count__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.case_id} {self.currency} {self.amount}"


class CaseNote(models.Model):
    """What somebody did or said. Append-only."""

    case = models.ForeignKey(ExceptionCase, on_delete=models.PROTECT, related_name="notes")
    at = models.DateTimeField()
    by = models.ForeignKey(
        "core.Person", null=True, on_delete=models.PROTECT, related_name="+"
    )  # null: the portal itself
    verb = models.CharField(max_length=40)  # opened, assigned, noted, reposted, regressed, resolved, waived, ...
    text = models.TextField(blank=True)
    data = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["case", "id"], name="case_note_order")]
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.case_id} {self.verb}"
