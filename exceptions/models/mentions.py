"""Who was named in a case's note, and whether they have read it."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from exceptions.models.cases import CaseNote


class Mention(models.Model):
    """A note that names somebody: it waits on their home page until they say that they have read it."""

    note = models.ForeignKey(CaseNote, on_delete=models.PROTECT, related_name="mentions")
    person = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    meant = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")  # away: somebody stands in
    seen_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["note", "person"], name="one_mention_of_a_person_in_a_note")]
        indexes = [models.Index(fields=["person", "-id"], name="mention_unread", condition=Q(seen_at__isnull=True))]

    def __str__(self) -> str:
        return f"{self.person} in note {self.note_id}"
