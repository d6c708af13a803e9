"""What people have stopped: a row for each pause, also of those that are over."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class Pause(models.Model):
    """What isn't carried until somebody resumes it: of a flow, a legal entity, an object type; "" means any."""

    flow = models.CharField(max_length=40, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    object_type = models.CharField(max_length=40, blank=True)  # the flows' lane type: invoice, payment, ...
    reason = models.TextField()
    by = models.CharField(max_length=150)
    at = models.DateTimeField()
    resumed_at = models.DateTimeField(null=True)
    resumed_by = models.CharField(max_length=150, blank=True)
    resume_reason = models.TextField(blank=True)
    caught_up_at = models.DateTimeField(null=True)  # all that was set aside is due again

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["flow", "legal_entity_code", "object_type"], name="one_pause", condition=Q(resumed_at=None)
            )
        ]
        indexes = [models.Index(fields=["-id"], name="pause_catching_up", condition=Q(caught_up_at=None))]

    def __str__(self) -> str:
        return f"{self.flow} {self.legal_entity_code} {self.object_type}".strip() or "everything"
