"""Views of the queue that people keep: a name for a question, nothing more."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class SavedView(models.Model):
    """A name for the queue's filters and order. Whoever opens a shared one sees their own cases by it."""

    owner = models.ForeignKey("core.Person", on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=40)
    query = models.CharField(max_length=500, blank=True)
    is_shared = models.BooleanField(default=False)
    made_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner", "name"], name="one_view_of_a_name_each"),
            models.UniqueConstraint(fields=["name"], condition=Q(is_shared=True), name="one_shared_view_of_a_name"),
        ]

    def __str__(self) -> str:
        return self.name
