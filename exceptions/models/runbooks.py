"""What to do about a kind of exception, in the words of those who do it: a text per kind, every version kept."""

from __future__ import annotations

from django.db import models

from q2c.core.models import APPEND_ONLY


class RunbookVersion(models.Model):
    """A kind's runbook as somebody wrote it. The newest holds; without any, the catalogue's own does. Append-only."""

    kind = models.CharField(max_length=60)
    version = models.IntegerField()  # 1, 2, 3 ... of its kind
    text = models.TextField()
    by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    why = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["kind", "version"], name="one_runbook_per_kind_and_version")]
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.kind} {self.version}"
