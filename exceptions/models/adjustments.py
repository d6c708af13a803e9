"""What people took off receivables: write-offs and accepted differences, each one document of the ERP."""

from __future__ import annotations

from django.db import models

from exceptions.models.cases import ExceptionCase
from q2c.core.models import APPEND_ONLY


class Adjustment(models.Model):
    """One decision that was put into force. Limits count those whose transaction isn't cancelled; `number` counts the
    decisions about one invoice, so that two at once can't both be the next."""

    resolution = models.CharField(max_length=30)  # write_off, accept_difference
    case = models.ForeignKey(ExceptionCase, on_delete=models.PROTECT, related_name="adjustments")
    proposal = models.ForeignKey("core.Proposal", null=True, on_delete=models.PROTECT, related_name="+")
    transaction_id = models.UUIDField(unique=True)  # the one that posts it
    invoice_transaction_id = models.UUIDField()
    number = models.PositiveSmallIntegerField()
    legal_entity_code = models.CharField(max_length=20)
    customer_key = models.CharField(max_length=200)  # connection and customer there
    period_code = models.CharField(max_length=20)
    currency = models.CharField(max_length=3)
    amount = models.DecimalField(max_digits=20, decimal_places=6)  # of the invoice's currency
    book_amount = models.DecimalField(max_digits=20, decimal_places=6)  # of the book's, at the ERP's newest rate
    by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")  # who proposed; others signed
    why = models.TextField()
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["invoice_transaction_id", "number"], name="one_adjustment_per_number"),
            models.CheckConstraint(condition=models.Q(amount__gt=0, book_amount__gte=0), name="adjustment_is_positive"),
        ]
        indexes = [models.Index(fields=["legal_entity_code", "resolution", "period_code"], name="adjustment_used")]
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.resolution} {self.currency} {self.amount}"
