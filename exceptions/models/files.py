"""Files that people put beside a note: sealed, in the database with everything else, gone with their customer's key."""

from __future__ import annotations

import pgtrigger
from django.db import models
from django.db.models import Q

from exceptions.models.cases import CaseNote

FILE_BYTES_MAX = 5 * 1024 * 1024


class CaseFile(models.Model):
    """A file of a note. It stays as it was given, so that its note's evidence stays what it was; only the seal of its
    key is made anew, after a rotation."""

    class Scan(models.TextChoices):
        NONE = "none", "not scanned"
        CLEAN = "clean", "scanned"

    note = models.ForeignKey(CaseNote, on_delete=models.PROTECT, related_name="files")
    name = models.CharField(max_length=120)
    content_type = models.CharField(max_length=100)
    size_bytes = models.IntegerField()
    sha256 = models.CharField(max_length=64)  # of what was given
    body = models.BinaryField()  # sealed under a key of this file alone
    body_key = (
        models.BinaryField()
    )  # that key, sealed by its customer's, or the master key where there's no one customer
    customer_key = models.ForeignKey("core.CustomerKey", null=True, on_delete=models.PROTECT, related_name="+")
    scan = models.CharField(max_length=5, choices=Scan, default=Scan.NONE)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(size_bytes__gt=0, size_bytes__lte=FILE_BYTES_MAX), name="case_file_size")
        ]
        triggers = [
            pgtrigger.ReadOnly(name="as_given", exclude=["body_key"]),
            pgtrigger.Protect(name="no_delete", operation=pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return self.name
