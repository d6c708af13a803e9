"""What people chose for single documents, and until when a case is left alone."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from exceptions.models.cases import ExceptionCase
from q2c.core.models import APPEND_ONLY


class Choice(models.Model):
    """What people chose for one held document: another posting date, other words in a field, the document that it is
    in the target. Its flow's steps read the newest of each; append-only, so a later one replaces an earlier."""

    transaction_id = models.UUIDField()
    about = models.CharField(max_length=30)  # posting_date, ...
    content = models.JSONField()
    case = models.ForeignKey(ExceptionCase, on_delete=models.PROTECT, related_name="choices")
    proposal = models.ForeignKey("core.Proposal", null=True, on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")  # who chose; others signed
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["transaction_id", "id"], name="choice_transaction")]
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.transaction_id} {self.about}"


class Snooze(models.Model):
    """A case left alone until something happens; with a proposal, what was signed happens then by itself."""

    class Until(models.TextChoices):
        DATE = "date"
        COUNT = "count"
        PERIOD = "period"
        CUSTOMER = "customer"

    case = models.ForeignKey(ExceptionCase, on_delete=models.PROTECT, related_name="snoozes")
    until = models.CharField(max_length=10, choices=Until)
    # What is waited for: {"date", "at"}, {"count"}, {"entity", "erp", "period"} or {"records"}.
    wakes = models.JSONField()
    why = models.TextField()
    proposal = models.ForeignKey("core.Proposal", null=True, on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    woken_at = models.DateTimeField(null=True)
    woken_by = models.CharField(max_length=300, blank=True)  # what woke it

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["case"], condition=Q(woken_at__isnull=True), name="one_snooze_per_case")
        ]
        indexes = [models.Index(fields=["until", "id"], name="snooze_due", condition=Q(woken_at__isnull=True))]

    def __str__(self) -> str:
        return f"{self.case_id} until {self.until}"
