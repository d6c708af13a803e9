"""What people changed about the grouping: causes that count as another's, documents that stand apart."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class CaseAlias(models.Model):
    """A cause that was merged into another case: its failures go there until somebody takes it out again."""

    fingerprint = models.CharField(max_length=64)
    target = models.CharField(max_length=64)  # the fingerprint of the case that it counts as
    case = models.ForeignKey("exceptions.ExceptionCase", on_delete=models.PROTECT, related_name="aliases")
    came_from = models.ForeignKey("exceptions.ExceptionCase", on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    why = models.TextField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint"], condition=Q(ended_at__isnull=True), name="one_alias_per_cause"
            )
        ]

    def __str__(self) -> str:
        return f"{self.came_from_id} counts as {self.case_id}"


class ApartCase(models.Model):
    """A case of documents that were taken out of another one: they stay in it though their cause is the other's."""

    case = models.OneToOneField(
        "exceptions.ExceptionCase", primary_key=True, on_delete=models.PROTECT, related_name="apart"
    )
    out_of = models.ForeignKey("exceptions.ExceptionCase", on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    why = models.TextField()

    def __str__(self) -> str:
        return f"{self.case_id} out of {self.out_of_id}"
