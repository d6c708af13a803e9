"""What a feed declares of itself: the numbers that everything received from it must add up to."""

from __future__ import annotations

from django.db import models


class FeedDocument(models.Model):
    """One document as its feed declares it, before any rounding. Loading an overlapping file counts it once.

    `document_type` is what the feed's own prefix says: invoice, credit_memo or unknown. `amount` is in major units of
    `currency`, unrounded.
    """

    feed = models.CharField(max_length=40)
    number = models.CharField(max_length=80)
    document_type = models.CharField(max_length=20)
    currency = models.CharField(max_length=3)
    lines = models.PositiveIntegerField()
    amount = models.DecimalField(max_digits=24, decimal_places=6)
    file_hash = models.CharField(max_length=64)
    declared_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["feed", "number"], name="a_feed_declares_a_document_once")]

    def __str__(self) -> str:
        return f"{self.feed} {self.number}"
