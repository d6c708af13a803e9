"""Every repost of a document, for ever and without a limit: which attempt, when, by whom and why. Append-only."""

from __future__ import annotations

from uuid import UUID

from django.db import models

from q2c.core.models import APPEND_ONLY


class Resubmission(models.Model):
    """One repost of one document, written in the statement that restarts it. Rows of before it was kept are in the
    timeline of the document's case."""

    id = models.BigAutoField(primary_key=True)
    transaction_id = models.UUIDField()
    attempt = models.IntegerField()  # the one that it began
    at = models.DateTimeField()
    by = models.CharField(max_length=150)  # username, client of the API, or the portal
    why = models.TextField(blank=True)
    as_then = models.BooleanField(default=False)  # by the mappings of then

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["transaction_id", "attempt"], name="one_repost_per_attempt")
        ]  # fmt: skip
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.transaction_id} {self.attempt}"


def resubmissions_of(transaction_id: UUID) -> list[Resubmission]:
    """Every repost of a document, the newest first."""
    return list(Resubmission.objects.filter(transaction_id=transaction_id).order_by("-attempt"))
