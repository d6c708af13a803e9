"""One thing done to many documents: a frozen set, what is to be done to it, and what became of each."""

from __future__ import annotations

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models

from exceptions.models.cases import ExceptionCase

CHANGING = (
    "state", "why", "code", "as_then", "assign_to", "confirmed_at", "starts_at", "ended_at", "done_count",
    "refused_count",
)  # fmt: skip


class BulkAction(models.Model):
    """What somebody wants done to a frozen set. Drafts are previews; a confirmed one begins after the time to undo."""

    class State(models.TextChoices):
        DRAFT = "draft"
        ASKED = "asked"  # confirmed, and waits for whom the rules ask
        WAITING = "waiting"  # confirmed: may be undone until `starts_at`
        RUNNING = "running"
        DONE = "done"
        UNDONE = "undone"

    what = models.CharField(max_length=40)  # a resolution of the catalogue, or assign
    made_by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="bulk_actions")
    frozen_at = models.DateTimeField()
    chosen = models.JSONField(default=dict)  # {cases} | {case, documents?} | {filter} | {again}
    chosen_words = models.CharField(max_length=300)
    # As of freezing: [queue, flow, entity, period, currency, may act on them, how many, amount].
    totals = models.JSONField(default=list)
    item_count = models.IntegerField(default=0)
    queues = ArrayField(models.CharField(max_length=30), default=list)
    legal_entity_codes = ArrayField(models.CharField(max_length=20), default=list)
    again_of = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    why = models.TextField(blank=True)
    code = models.CharField(max_length=30, blank=True)  # of a waiver: exceptions.kind_words.WAIVE_REASONS
    as_then = models.BooleanField(default=False)  # a repost by the mappings of then
    assign_to = models.ForeignKey("core.Person", null=True, on_delete=models.PROTECT, related_name="+")
    confirmed_at = models.DateTimeField(null=True)
    starts_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    done_count = models.IntegerField(default=0)
    refused_count = models.IntegerField(default=0)

    class Meta:
        indexes = [
            models.Index(fields=["made_by", "-id"], name="bulk_mine"),
            models.Index(fields=["starts_at"], name="bulk_due", condition=models.Q(state__in=["waiting", "running"])),
        ]
        triggers = [pgtrigger.ReadOnly(name="bulk_set", exclude=list(CHANGING))]

    def __str__(self) -> str:
        return self.number

    def keep(self) -> None:
        """Store what may change; the set itself is frozen, in the database too."""
        self.save(update_fields=CHANGING)

    @property
    def number(self) -> str:
        """What people call it: BA-12."""
        return f"BA-{self.pk}"


class BulkItem(models.Model):
    """One document (or case, to be assigned) of a frozen set as it was then, and what the action did to it."""

    class Result(models.TextChoices):
        PENDING = "pending"
        DONE = "done"
        REFUSED = "refused"

    action = models.ForeignKey(BulkAction, on_delete=models.CASCADE, related_name="items", db_index=False)
    case = models.ForeignKey(
        ExceptionCase, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    transaction_id = models.UUIDField(null=True)
    queue = models.CharField(max_length=30)
    flow = models.CharField(max_length=40, blank=True)
    number = models.CharField(max_length=120, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    period_code = models.CharField(max_length=20, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    amount = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    version = models.CharField(max_length=20, blank=True)  # the document's attempt, or the case's owner
    result = models.CharField(max_length=10, choices=Result, default=Result.PENDING)
    says = models.CharField(max_length=300, blank=True)  # why it was refused

    class Meta:
        indexes = [
            models.Index(fields=["action", "id"], name="bulk_item_order"),
            models.Index(fields=["action", "result", "id"], name="bulk_item_result"),
        ]
        triggers = [pgtrigger.ReadOnly(name="bulk_item_frozen", exclude=["result", "says"])]

    def __str__(self) -> str:
        return f"{self.action_id} {self.number}"
