"""Golden records: our agreed version of a customer, product, contract or document, with who said each field."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from simple_history.models import HistoricalRecords

from q2c.core.ids import uuid7


class GoldenRecord(models.Model):
    """One thing, as agreed. `content` is canonical; `owners` says per field which connection's value survived.

    A value that lost under survivorship is kept in `refused` with who sent it and when: recorded, not lost (M22).
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    record_type = models.CharField(max_length=40)  # customer, product, price, order, subscription
    record_key = models.CharField(max_length=200)  # connection:type:id of its first source
    number = models.CharField(max_length=120, blank=True)
    name = models.CharField(max_length=300, blank=True)
    parent_key = models.CharField(max_length=200, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    content = models.JSONField()
    owners = models.JSONField(default=dict)
    refused = models.JSONField(default=list)
    overrides = models.JSONField(default=dict)  # per field: a value that two people let stand, and over which one
    version = models.IntegerField(default=1)
    changed_at = models.DateTimeField()
    survived_at = models.DateTimeField(db_default=Now())  # when its fields were last computed from what sources say
    source_version = models.CharField(max_length=80, blank=True)
    sources = models.JSONField(default=dict)  # per source key: its last content hash, its vendor's clock, its values
    aliases = ArrayField(models.CharField(max_length=170), default=list)  # connection:id of every source object
    blocks = ArrayField(models.CharField(max_length=320), null=True)  # what it's compared by; null: not yet said
    merged_into = models.CharField(max_length=200, blank=True, db_default="", default="")  # the record that it is now
    history = HistoricalRecords(excluded_fields=["refused", "sources", "aliases", "survived_at", "blocks"])

    class Meta:
        constraints = [models.UniqueConstraint(fields=["record_type", "record_key"], name="one_golden_record")]
        indexes = [
            models.Index(fields=["record_type", "name"], name="record_name"),
            models.Index(fields=["record_type", "number"], name="record_number"),
            GinIndex(fields=["aliases"], name="record_aliases"),
            models.Index(fields=["survived_at"], name="record_survived"),
            GinIndex(fields=["blocks"], name="record_blocks"),
        ]

    def __str__(self) -> str:
        return f"{self.record_type} {self.name or self.number}"


class DuplicatePair(models.Model):
    """Two records that are perhaps one thing: suspected with a score and its reasons, said to be two by somebody, or
    merged by two people. `merge` keeps what the merge moved, so that it can be taken back.
    """

    class State(models.TextChoices):
        SUSPECTED = "suspected"
        DISTINCT = "distinct"
        MERGED = "merged"

    record_type = models.CharField(max_length=40)
    one_key = models.CharField(max_length=200)  # the two golden keys in their order
    other_key = models.CharField(max_length=200)
    one_name = models.CharField(max_length=300, blank=True)
    other_name = models.CharField(max_length=300, blank=True)
    score = models.SmallIntegerField()
    reasons = models.JSONField(default=list)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.SUSPECTED)
    why = models.TextField(blank=True)
    decided_by = models.ForeignKey("core.Person", null=True, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(null=True)
    found_at = models.DateTimeField()
    merge = models.JSONField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["record_type", "one_key", "other_key"], name="one_duplicate_pair"),
            models.CheckConstraint(condition=Q(one_key__lt=models.F("other_key")), name="pair_in_order"),
        ]
        indexes = [models.Index(fields=["state", "-score", "-id"], name="duplicate_state")]

    def __str__(self) -> str:
        return f"{self.one_name} and {self.other_name}"


class BilledDocument(models.Model):
    """The latest known state of a billing document (invoice, credit memo, payment, ...): small and index-served.

    Its lines stay in the transaction's fact and the inbox; here is what look-ups, status and totals need.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection_code = models.CharField(max_length=40)
    document_type = models.CharField(max_length=40)
    external_id = models.CharField(max_length=120)
    number = models.CharField(max_length=80, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    customer_id = models.CharField(max_length=120, blank=True)
    order_id = models.CharField(max_length=120, blank=True)
    subscription_id = models.CharField(max_length=120, blank=True)
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(max_digits=20, decimal_places=6)
    line_count = models.IntegerField(default=0)
    document_date = models.DateField(null=True)
    status = models.CharField(max_length=30, blank=True)
    status_at = models.DateTimeField(null=True)  # the vendor's clock: an older status never replaces a newer one
    ignored_reason = models.CharField(max_length=60, blank=True)  # why it isn't carried, so that totals can count it
    feed = models.CharField(max_length=40, blank=True)
    feed_type = models.CharField(max_length=20, blank=True)
    rounding = models.DecimalField(max_digits=20, decimal_places=6, default=0)
    content_hash = models.CharField(max_length=64)
    changed_at = models.DateTimeField()
    corrected_by = models.UUIDField(null=True)  # a message that corrects it and came while it wasn't held yet

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection_code", "document_type", "external_id"], name="one_billed_document"
            )
        ]
        indexes = [
            models.Index(fields=["number"], name="billed_number"),
            models.Index(fields=["external_id"], name="billed_external"),
            models.Index(fields=["subscription_id"], name="billed_subscription"),
            models.Index(fields=["connection_code"], name="billed_ignored", condition=~Q(ignored_reason="")),
            models.Index(fields=["id"], name="billed_corrected", condition=Q(corrected_by__isnull=False)),
            # What we have of a day, against what the source's register has of it.
            models.Index(fields=["connection_code", "document_type", "document_date"], name="billed_day"),
        ]

    def __str__(self) -> str:
        return f"{self.document_type} {self.number}"


class DocumentArrival(models.Model):
    """How many documents a batch brought that weren't known. Only ever added; beat rolls it up into hours."""

    id = models.BigAutoField(primary_key=True)
    connection_code = models.CharField(max_length=40)
    document_type = models.CharField(max_length=40)
    legal_entity_code = models.CharField(max_length=20, null=True)  # null: counted by a release that didn't say whose
    hour = models.DateTimeField()
    count = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.connection_code} {self.document_type} {self.count}"
