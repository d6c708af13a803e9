"""Where things stand: the transaction, the little table of work, finished steps, lineage, dependencies, workers."""

from __future__ import annotations

import datetime as dt

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import BooleanField, Func, Q
from django.db.models.functions import Now

from q2c.core.ids import uuid7
from q2c.core.models import APPEND_ONLY
from q2c.transactions.bill_runs import COUNTED
from q2c.transactions.bill_runs import BillRun as BillRun
from q2c.transactions.resubmissions import Resubmission as Resubmission
from q2c.transactions.stops import Pause as Pause

# q2c_balanced is an immutable SQL function made by the first migration: equal lengths, no negative side, equal sums.
BALANCED = Func("accounts", "debits", "credits", function="q2c_balanced", output_field=BooleanField())

SET_ASIDE = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)  # when paused work is due: not before somebody resumes it


class BusinessTransaction(models.Model):
    """One fact on its way through one flow. Unique on (flow, business key): a duplicate event finds the same one."""

    class State(models.TextChoices):
        RUNNING = "running"
        WAITING = "waiting"
        UNKNOWN = "unknown"
        HELD = "held"
        COMPLETED = "completed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    flow = models.CharField(max_length=40)
    business_key = models.CharField(max_length=250)
    lane = models.CharField(max_length=250)
    lane_sequence = models.BigIntegerField()
    state = models.CharField(max_length=10, choices=State, default=State.RUNNING, db_default="running")
    state_at = models.DateTimeField()
    created_at = models.DateTimeField()
    fact_type = models.CharField(max_length=60)  # the canonical class: Invoice, CreditMemo, Order ...
    fact = models.BinaryField()  # canonical JSON
    source_connection = models.CharField(max_length=40)  # the connection's code
    source_type = models.CharField(max_length=60)  # the vendor's own word for the object
    source_id = models.CharField(max_length=120)
    number = models.CharField(max_length=80, blank=True, default="", db_default="")
    event_id = models.UUIDField(null=True)
    legal_entity_code = models.CharField(max_length=20, blank=True, default="", db_default="")
    customer_id = models.CharField(max_length=120, blank=True, default="", db_default="")
    customer_name = models.CharField(max_length=200, blank=True, default="", db_default="")
    currency = models.CharField(max_length=3, blank=True, default="", db_default="")
    amount = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    tax = models.DecimalField(max_digits=20, decimal_places=6, null=True)  # of the amount; null: it bears none
    line_count = models.IntegerField(default=0, db_default=0)
    document_date = models.DateField(null=True)
    service_end = models.DateField(null=True)  # the last day of what its lines were served
    period_code = models.CharField(max_length=20, blank=True, default="", db_default="")
    feed = models.CharField(max_length=40, blank=True, default="", db_default="")
    feed_type = models.CharField(max_length=20, blank=True, default="", db_default="")
    rounding = models.DecimalField(max_digits=20, decimal_places=6, default=0, db_default=0)
    correlation_id = models.CharField(max_length=40)
    attempt = models.IntegerField(default=1, db_default=1)
    held_step = models.CharField(max_length=40, blank=True, default="", db_default="")
    waits_for = models.CharField(max_length=300, blank=True, default="", db_default="")
    problem_code = models.CharField(max_length=60, blank=True, default="", db_default="")
    problem = models.JSONField(null=True)
    open_intent = models.JSONField(null=True)  # of a held transaction whose last write isn't decided
    target_connection = models.CharField(max_length=40, blank=True, default="", db_default="")
    target_type = models.CharField(max_length=60, blank=True, default="", db_default="")
    target_id = models.CharField(max_length=120, blank=True, default="", db_default="")
    target_number = models.CharField(max_length=80, blank=True, default="", db_default="")
    origin_id = models.UUIDField(null=True)  # of a replay: the transaction that it runs again
    bill_run_id = models.BigIntegerField(null=True)  # where a rule keeps runs

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["flow", "business_key"], name="one_transaction_per_business_key")
        ]
        indexes = [
            models.Index(fields=["-id"], name="txn_open", condition=~Q(state__in=["completed", "cancelled"])),
            models.Index(fields=["state", "-id"], name="txn_state"),
            models.Index(fields=["flow", "-id"], name="txn_flow"),
            models.Index(fields=["lane", "lane_sequence"], name="txn_lane"),
            models.Index(
                fields=["lane", "lane_sequence"],
                name="txn_lane_open",
                condition=~Q(state__in=["completed", "cancelled"]),
            ),
            models.Index(fields=["source_id"], name="txn_source"),
            models.Index(fields=["number"], name="txn_number"),
            models.Index(fields=["target_id"], name="txn_target"),
            models.Index(fields=["target_number"], name="txn_target_number"),
            models.Index(fields=["correlation_id"], name="txn_correlation"),
            models.Index(fields=["feed", "feed_type"], name="txn_feed", condition=~Q(feed="")),
            models.Index(fields=["legal_entity_code", "period_code", "-id"], name="txn_period_listed"),
            models.Index(fields=["legal_entity_code", "document_date"], name="txn_dated"),
            models.Index(
                fields=["legal_entity_code", "document_date"],
                name="txn_undated",
                condition=Q(period_code="", document_date__isnull=False),
            ),
            models.Index(
                fields=["legal_entity_code", "service_end"], name="txn_served", condition=Q(service_end__isnull=False)
            ),
            models.Index(fields=["bill_run_id", "id"], name="txn_bill_run", condition=Q(bill_run_id__isnull=False)),
        ]
        triggers = COUNTED

    def __str__(self) -> str:
        return f"{self.flow} {self.number or self.source_id}"


class WorkItem(models.Model):
    """What there is to do. The row goes when its transaction ends or is held, and comes back with a repost."""

    transaction = models.OneToOneField(
        BusinessTransaction, primary_key=True, on_delete=models.CASCADE, related_name="work", db_constraint=False
    )
    flow = models.CharField(max_length=40)
    lane = models.CharField(max_length=250)
    lane_sequence = models.BigIntegerField()
    priority = models.SmallIntegerField(default=5, db_default=5)
    available_at = models.DateTimeField()
    worker = models.CharField(max_length=60, blank=True, default="", db_default="")
    token = models.BigIntegerField(default=0, db_default=0)
    intent = models.JSONField(null=True)  # {step, external_id, key, hash, deadline, generation, connection}
    generation = models.SmallIntegerField(default=0, db_default=0)
    wait_count = models.SmallIntegerField(default=0, db_default=0)  # attempts that count (breaker closed)
    probe_count = models.SmallIntegerField(default=0, db_default=0)
    unanswered_count = models.SmallIntegerField(default=0, db_default=0)  # sent in vain while others were answered
    death_count = models.SmallIntegerField(default=0, db_default=0)  # deaths of a worker while alone in it
    crash_group = models.SmallIntegerField(default=0, db_default=0)  # limit of the next claim after a death, 0 = none
    batch_size = models.SmallIntegerField(default=0, db_default=0)  # how many were claimed together with it
    step_count = models.SmallIntegerField(default=0, db_default=0)  # step rows written so far; 0: fresh
    intent_free_at = models.DateTimeField(null=True)  # from when another worker may look after an open intent
    parked_at = models.CharField(max_length=40, blank=True, default="", db_default="")  # where its reads stand
    known_at = models.BigIntegerField(null=True)  # a repost by the mappings as this change set knew them; null: newest
    since = models.DateTimeField(db_default=Now())  # begun, or reposted

    class Meta:
        indexes = [
            models.Index(fields=["flow", "priority", "available_at"], name="work_due"),
            models.Index(fields=["lane", "lane_sequence"], name="work_lane"),
            models.Index(fields=["worker"], name="work_worker", condition=~Q(worker="")),
            models.Index(fields=["flow"], name="work_set_aside", condition=Q(available_at=SET_ASIDE)),
        ]

    def __str__(self) -> str:
        return str(self.transaction_id)


class StepRun(models.Model):
    """One finished step: what it used, what it gave. A further attempt is a new row that names the earlier one."""

    class State(models.TextChoices):
        DONE = "done"
        FAILED = "failed"
        SUPERSEDED = "superseded"
        UNDONE = "undone"

    pk = models.CompositePrimaryKey("transaction_id", "sequence")
    transaction_id = models.UUIDField()
    sequence = models.IntegerField()
    step = models.CharField(max_length=40)
    kind = models.CharField(max_length=6)  # read, write, wait
    state = models.CharField(max_length=12, choices=State)
    attempt = models.IntegerField(default=1)
    used = models.JSONField(null=True)  # names of facts and rule versions used
    gave = models.CharField(max_length=40, blank=True)
    output = models.BinaryField(null=True)  # JSON of what it gave
    problem = models.JSONField(null=True)
    external_id = models.CharField(max_length=120, blank=True)
    idempotency_key = models.CharField(max_length=60, blank=True)
    content_hash = models.CharField(max_length=64, blank=True)
    supersedes = models.IntegerField(null=True)
    change_set = models.BigIntegerField(null=True)  # the mapping knowledge that it used
    at = models.DateTimeField()
    took_us = models.IntegerField(default=0)

    class Meta:
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.transaction_id} {self.sequence} {self.step}"


class LineageLink(models.Model):
    """Which document came from which, through which step. Partitioned by transaction."""

    pk = models.CompositePrimaryKey("transaction_id", "sequence")
    transaction_id = models.UUIDField()
    sequence = models.IntegerField()
    step = models.CharField(max_length=40)
    source_system = models.CharField(max_length=40)
    source_type = models.CharField(max_length=60)
    source_id = models.CharField(max_length=120)
    target_system = models.CharField(max_length=40)
    target_type = models.CharField(max_length=60)
    target_id = models.CharField(max_length=120)
    amount = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    currency = models.CharField(max_length=3, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    relation = models.CharField(max_length=20, default="became")
    at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["source_id", "source_type"], name="lineage_source"),
            models.Index(fields=["target_id", "target_type"], name="lineage_target"),
        ]
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.source_id} -> {self.target_id}"


class PreparedPosting(models.Model):
    """The double entry that a write is about to ask for; a CHECK proves that it balances (lines as arrays, so COPY
    bears it)."""

    pk = models.CompositePrimaryKey("transaction_id", "sequence")
    transaction_id = models.UUIDField()
    sequence = models.IntegerField()
    step = models.CharField(max_length=40)
    legal_entity_code = models.CharField(max_length=20)
    external_id = models.CharField(max_length=120)
    currency = models.CharField(max_length=3)
    posting_date = models.DateField()
    period_code = models.CharField(max_length=20)
    accounts = ArrayField(models.CharField(max_length=80))
    debits = ArrayField(models.DecimalField(max_digits=20, decimal_places=6))
    credits = ArrayField(models.DecimalField(max_digits=20, decimal_places=6))
    at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=BALANCED, name="posting_balances")]
        indexes = [models.Index(fields=["legal_entity_code", "posting_date"], name="posting_dated")]
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return self.external_id


class Summary(models.Model):
    """A day's documents that go to the ledger as one journal: frozen before anything is sent, and never changed."""

    transaction = models.OneToOneField(
        BusinessTransaction, primary_key=True, on_delete=models.PROTECT, related_name="summary", db_constraint=False
    )  # the one that posts it
    connection_code = models.CharField(max_length=40)
    legal_entity_code = models.CharField(max_length=20)
    posting_date = models.DateField()
    currency = models.CharField(max_length=3)
    delta = models.IntegerField()  # 0 is the day's summary; late documents go into 1, 2, ...
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["legal_entity_code", "posting_date", "currency", "delta"], name="one_summary_per_day_and_delta"
            )
        ]
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.legal_entity_code} {self.posting_date} {self.currency} {self.delta}"


class Contribution(models.Model):
    """What one document adds to its day's summary (lines as arrays, as in PreparedPosting). In one summary at most:
    once that is set, the row stays as it is."""

    transaction = models.OneToOneField(
        BusinessTransaction, primary_key=True, on_delete=models.PROTECT, related_name="contribution",
        db_constraint=False,
    )  # fmt: skip
    connection_code = models.CharField(max_length=40)  # the ERP
    external_id = models.CharField(max_length=120)  # under which the document would stand there by itself
    legal_entity_code = models.CharField(max_length=20)
    posting_date = models.DateField()
    currency = models.CharField(max_length=3)
    accounts = ArrayField(models.CharField(max_length=80))
    debits = ArrayField(models.DecimalField(max_digits=20, decimal_places=6))
    credits = ArrayField(models.DecimalField(max_digits=20, decimal_places=6))
    departments = ArrayField(models.CharField(max_length=80))
    classes = ArrayField(models.CharField(max_length=80))
    locations = ArrayField(models.CharField(max_length=80))
    tax_codes = ArrayField(models.CharField(max_length=80))
    revenue_starts = ArrayField(models.DateField(null=True))
    revenue_ends = ArrayField(models.DateField(null=True))
    revenue_rules = ArrayField(models.CharField(max_length=80))
    at = models.DateTimeField()
    summary = models.ForeignKey(Summary, null=True, on_delete=models.PROTECT, related_name="contributions")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=BALANCED, name="contribution_balances"),
            models.UniqueConstraint(fields=["connection_code", "external_id"], name="one_contribution_per_document"),
        ]
        indexes = [
            models.Index(
                fields=["legal_entity_code", "posting_date", "currency"],
                name="contribution_open",
                condition=Q(summary=None),
            )
        ]
        triggers = [
            pgtrigger.Protect(
                name="frozen",
                operation=pgtrigger.Update | pgtrigger.Delete,
                condition=pgtrigger.Q(old__summary__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return self.external_id


class Dependency(models.Model):
    """A transaction that waits for a parent; the parent's completion releases it by key."""

    transaction = models.ForeignKey(
        BusinessTransaction, on_delete=models.CASCADE, related_name="waits", db_constraint=False
    )
    key = models.CharField(max_length=250)
    since = models.DateTimeField()
    patience_until = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["transaction", "key"], name="one_wait_per_key")]
        indexes = [models.Index(fields=["key"], name="dependency_key")]

    def __str__(self) -> str:
        return self.key


class Worker(models.Model):
    """A living worker process. When `beat_at` is older than five seconds, its items without an open intent are free."""

    id = models.CharField(primary_key=True, max_length=60)
    host = models.CharField(max_length=100)
    process = models.IntegerField()
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    head_seal = models.CharField(max_length=64, blank=True)
    carried_count = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return self.id


class Seal(models.Model):
    """The keyed hash of one commit's high-volume rows and of the same worker's previous seal."""

    id = models.BigAutoField(primary_key=True)
    worker = models.CharField(max_length=60)
    at = models.DateTimeField()
    row_count = models.IntegerField()
    previous = models.CharField(max_length=64)
    seal = models.CharField(max_length=64)
    row_keys = models.BinaryField(default=bytes)  # which rows: 16 bytes of transaction id and 4 of sequence, each

    class Meta:
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return self.seal


class Restore(models.Model):
    """The database came back from a backup: until `looks_until` no write is made before the target was asked for it."""

    at = models.DateTimeField()
    looks_until = models.DateTimeField()
    by = models.CharField(max_length=150)
    why = models.TextField()

    class Meta:
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.at} by {self.by}"


class ExternalIdUse(models.Model):
    """Who makes, or made, a document under an external id in a target that doesn't refuse a second one by itself.

    Claimed with the intent. Another transaction that wants the same id waits while `is_open`, and looks before it makes
    afterwards: the target's idempotency key protects an attempt, not an id.
    """

    pk = models.CompositePrimaryKey("connection_code", "external_id")
    connection_code = models.CharField(max_length=40)
    external_id = models.CharField(max_length=120)
    transaction = models.ForeignKey(
        BusinessTransaction, on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False
    )
    is_open = models.BooleanField()
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.connection_code} {self.external_id}"
