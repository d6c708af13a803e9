"""A sheet of cases that came back filled in: what was sent, what it would do, and what was done."""

from __future__ import annotations

from django.db import models


class CaseSheet(models.Model):
    """What somebody sent back. `report` says what each row would do, `result` what became of the good ones."""

    class State(models.TextChoices):
        CHECKED = "checked"
        CARRYING = "carrying"
        CARRIED = "carried"
        REFUSED = "refused"  # it can't be read: `says` tells why

    made_by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField()
    name = models.CharField(max_length=200)
    content = models.BinaryField(default=bytes)  # let go of once it's carried, or after a week
    state = models.CharField(max_length=10, choices=State, default=State.CHECKED)
    says = models.CharField(max_length=500, blank=True)
    report = models.JSONField(default=dict)
    result = models.JSONField(default=list)

    class Meta:
        indexes = [models.Index(fields=["made_by", "-id"], name="case_sheet_mine")]

    def __str__(self) -> str:
        return self.name
