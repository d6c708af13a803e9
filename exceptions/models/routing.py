"""What routing has been brought to the open cases."""

from __future__ import annotations

from django.db import models


class RoutingMark(models.Model):
    """The one row that says which rules of routing the open cases stand by."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    rules = models.JSONField(default=list)  # ids of those in force then
    applied_at = models.DateTimeField()  # as of when
    is_settled = models.BooleanField(default=True)  # cases that were being opened meanwhile were looked at once more

    def __str__(self) -> str:
        return f"{len(self.rules)} rules"
