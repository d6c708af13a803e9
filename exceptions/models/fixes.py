"""What fixed a case, each time it was closed, and which of those fixes failed: the case came back."""

from __future__ import annotations

from django.db import models

from q2c.core.models import APPEND_ONLY


class CaseFix(models.Model):
    """How a case was closed once: what was done, by whom, how long it took, how much it settled. Append-only."""

    case = models.ForeignKey("exceptions.ExceptionCase", on_delete=models.PROTECT, related_name="fixes")
    fingerprint = models.CharField(max_length=64)
    kind = models.CharField(max_length=60)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    how = models.CharField(max_length=40)  # a resolution's code, or what else ended it: by_itself, later_version, ...
    why = models.TextField(blank=True)
    by = models.ForeignKey(
        "core.Person", null=True, on_delete=models.PROTECT, related_name="+"
    )  # null: the portal itself
    change_set = models.ForeignKey("mappings.ChangeSet", null=True, on_delete=models.PROTECT, related_name="+")
    document_count = models.IntegerField()
    opened_at = models.DateTimeField()
    at = models.DateTimeField()
    took = models.DurationField()  # from opening to closing, by the clock on the wall

    class Meta:
        indexes = [
            models.Index(fields=["fingerprint", "-id"], name="case_fix_fingerprint"),
            models.Index(fields=["kind", "-id"], name="case_fix_kind"),
            models.Index(fields=["case", "-id"], name="case_fix_case"),
        ]
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.case_id} {self.how}"


class FailedFix(models.Model):
    """A fix that didn't hold: the same cause came back after it. Append-only."""

    fix = models.OneToOneField(CaseFix, primary_key=True, on_delete=models.PROTECT, related_name="failure")
    at = models.DateTimeField()  # when it came back

    class Meta:
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.fix_id} failed"
