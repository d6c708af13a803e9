"""When the clock of a case was stopped and went on."""

from __future__ import annotations

from django.db import models

from q2c.core.models import APPEND_ONLY


class CasePause(models.Model):
    """One stop of a case's clock, or its going on. Append-only: what was promised when can be followed."""

    class WaitsFor(models.TextChoices):
        CUSTOMER = "customer"
        VENDOR = "vendor"

    case = models.ForeignKey("exceptions.ExceptionCase", on_delete=models.PROTECT, related_name="pauses")
    at = models.DateTimeField()
    by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    is_stop = models.BooleanField()
    waits_for = models.CharField(max_length=10, choices=WaitsFor)
    why = models.TextField()
    due_at = models.DateTimeField()  # as promised from then on
    turns_at = models.DateTimeField(null=True)  # of a stop: when the standing would have changed next

    class Meta:
        indexes = [models.Index(fields=["case", "-id"], name="case_pause_order")]
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.case_id} {'stops' if self.is_stop else 'goes on'}"
