"""What was given up: posted nothing, and stays on the list of open items until somebody takes it up again."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from exceptions.models.cases import ExceptionCase


class Waiver(models.Model):
    """One document that was waived, with its reason code; with `undone_at` it was taken up again."""

    case = models.ForeignKey(ExceptionCase, on_delete=models.PROTECT, related_name="waivers")
    transaction_id = models.UUIDField()
    code = models.CharField(max_length=30)  # of exceptions.kind_words.WAIVE_REASONS
    why = models.TextField()
    number = models.CharField(max_length=120, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    period_code = models.CharField(max_length=20, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    amount = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    undone_by = models.ForeignKey("core.Person", null=True, on_delete=models.PROTECT, related_name="+")
    undone_at = models.DateTimeField(null=True)
    undone_why = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["transaction_id"], condition=Q(undone_at__isnull=True), name="one_waiver_per_transaction"
            )
        ]
        indexes = [
            models.Index(
                fields=["legal_entity_code", "-id"], name="waiver_standing", condition=Q(undone_at__isnull=True)
            ),
            models.Index(fields=["-id"], name="waiver_newest", condition=Q(undone_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.code}"
