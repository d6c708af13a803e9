"""What we tell others: canonical events, written in the same database transaction as the fact."""

from __future__ import annotations

from django.db import models

from q2c.core.ids import uuid7
from q2c.core.models import APPEND_ONLY


class OutboxEvent(models.Model):
    """A past-tense fact for subscribers. Partitioned by id."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    event_type = models.CharField(max_length=80)
    subject = models.CharField(max_length=200)  # what it is about; deliveries are ordered per subject
    transaction_id = models.UUIDField(null=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    correlation_id = models.CharField(max_length=40, blank=True)
    at = models.DateTimeField()
    data = models.JSONField()

    class Meta:
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.event_type} {self.subject}"
