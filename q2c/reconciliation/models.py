"""What a feed declares of itself and what its source's register says of it: what everything received must add up to."""

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


class FeedCheck(models.Model):
    """How far a feed (a connection's documents of one type) has been compared with its source's own register."""

    connection_code = models.CharField(max_length=40)
    document_type = models.CharField(max_length=40)
    counts_from = models.DateTimeField()  # what the source made before we were connected isn't ours to miss
    until = models.DateTimeField(null=True)  # what the source made up to here was asked for
    checked_at = models.DateTimeField(null=True)
    whole_at = models.DateTimeField(null=True)  # when whole days were compared last
    listed = models.IntegerField(default=0)  # entries of the register in the last check
    failed_at = models.DateTimeField(null=True)  # since when its checks fail; null: the last one went well
    failure = models.CharField(max_length=300, blank=True)
    answers = models.JSONField(null=True)  # of documents that the register didn't list, where they are many

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection_code", "document_type"], name="one_check_per_feed")]

    def __str__(self) -> str:
        return f"{self.connection_code} {self.document_type}"


class FeedDay(models.Model):
    """A feed's day of an entity in one currency: what its source's register holds, what we have, and what explains the
    difference. The source's sum is ours, and what waits, and what is missing, less what it doesn't know, and what of
    amounts differs. What it didn't list and wasn't asked for yet is in neither: not confirmed."""

    connection_code = models.CharField(max_length=40)
    document_type = models.CharField(max_length=40)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    day = models.DateField()
    currency = models.CharField(max_length=3)
    period_code = models.CharField(max_length=20, blank=True)
    source_count = models.IntegerField(default=0)
    source_amount = models.DecimalField(max_digits=24, decimal_places=6, default=0)
    our_count = models.IntegerField(default=0)
    our_amount = models.DecimalField(max_digits=24, decimal_places=6, default=0)
    waiting_count = models.IntegerField(default=0)  # in the inbox: not read yet, or refused, which is a case
    waiting_amount = models.DecimalField(max_digits=24, decimal_places=6, default=0)
    missing_count = models.IntegerField(default=0)
    missing_amount = models.DecimalField(max_digits=24, decimal_places=6, default=0)
    surplus_count = models.IntegerField(default=0)
    surplus_amount = models.DecimalField(max_digits=24, decimal_places=6, default=0)
    differing_count = models.IntegerField(default=0)
    unconfirmed_count = models.IntegerField(default=0, db_default=0)
    unconfirmed_amount = models.DecimalField(max_digits=24, decimal_places=6, default=0, db_default=0)
    checked_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection_code", "document_type", "day", "legal_entity_code", "currency"], name="one_feed_day"
            )
        ]
        indexes = [
            models.Index(fields=["day"], name="feed_day"),
            models.Index(fields=["period_code"], name="feed_day_period"),
        ]

    def __str__(self) -> str:
        return f"{self.connection_code} {self.document_type} {self.day}"


class FeedGap(models.Model):
    """One document on which a source's register and we don't agree, named. `kind` says how."""

    class Kind(models.TextChoices):
        MISSING = "missing"  # the source has it, we never received it
        SURPLUS = "surplus"  # we have it, the source doesn't
        DIFFERS = "differs"  # another amount or currency
        ENDED = "ended"  # voided, failed or won at the source, which we weren't told
        NUMBER = "number"  # a number that no document has, neither ours nor the source's

    connection_code = models.CharField(max_length=40)
    document_type = models.CharField(max_length=40)
    kind = models.CharField(max_length=10, choices=Kind)
    external_id = models.CharField(max_length=120)  # the source's id; of a hole in numbers the number
    number = models.CharField(max_length=80, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    day = models.DateField()
    currency = models.CharField(max_length=3, blank=True)
    amount = models.DecimalField(max_digits=20, decimal_places=6, null=True)  # the source's; of a surplus ours
    our_amount = models.DecimalField(max_digits=20, decimal_places=6, null=True)  # where it differs
    found_at = models.DateTimeField()
    read_again_at = models.DateTimeField(null=True)
    read_again_count = models.SmallIntegerField(default=0)
    case_id = models.BigIntegerField(null=True)
    closed_at = models.DateTimeField(null=True)
    closed_how = models.CharField(max_length=20, blank=True)  # arrived, agrees, waived

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection_code", "document_type", "external_id", "kind"], name="one_gap_per_document"
            )
        ]
        indexes = [
            models.Index(
                fields=["connection_code", "document_type", "day"],
                name="feed_gap_open",
                condition=models.Q(closed_at__isnull=True),
            ),
            models.Index(fields=["connection_code", "document_type", "day", "id"], name="feed_gap_day"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.number or self.external_id}"


class FeedHour(models.Model):
    """How many documents of a feed came in an hour, whosever they are: rolled up from `records.DocumentArrival`."""

    connection_code = models.CharField(max_length=40)
    document_type = models.CharField(max_length=40)
    hour = models.DateTimeField()
    count = models.IntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection_code", "document_type", "hour"], name="one_feed_hour")
        ]
        indexes = [models.Index(fields=["hour"], name="feed_hour")]

    def __str__(self) -> str:
        return f"{self.connection_code} {self.document_type} {self.hour:%Y-%m-%d %H}"


class FeedEntityHour(models.Model):
    """How many of a feed's hour are of an entity (empty: of none that is known). What a release counted that didn't say
    whose is in `FeedHour` alone: the difference may be anybody's."""

    connection_code = models.CharField(max_length=40)
    document_type = models.CharField(max_length=40)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    hour = models.DateTimeField()
    count = models.IntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection_code", "document_type", "legal_entity_code", "hour"], name="one_feed_entity_hour"
            )
        ]
        indexes = [models.Index(fields=["hour"], name="feed_entity_hour")]

    def __str__(self) -> str:
        return f"{self.connection_code} {self.document_type} {self.legal_entity_code} {self.hour:%Y-%m-%d %H}"


class LostWebhook(models.Model):
    """How many messages of a day came by poll only: their webhook never did. Counted again while one may still come."""

    connection_code = models.CharField(max_length=40)
    event_type = models.CharField(max_length=120)
    day = models.DateField()
    count = models.IntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection_code", "day", "event_type"], name="one_count_of_lost_webhooks")
        ]

    def __str__(self) -> str:
        return f"{self.connection_code} {self.event_type} {self.day}"


class NumberRun(models.Model):
    """Numbers of a series without a hole between them. Two runs of one series have a hole between them."""

    connection_code = models.CharField(max_length=40)
    document_type = models.CharField(max_length=40)
    series = models.CharField(max_length=70)  # what stands before the number: of the account, or of one customer
    first = models.BigIntegerField()
    last = models.BigIntegerField()
    digits = models.SmallIntegerField()  # how many digits the source writes at least

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection_code", "document_type", "series", "first"], name="one_run_of_numbers"
            ),
            models.CheckConstraint(condition=models.Q(first__lte=models.F("last")), name="run_in_order"),
        ]

    def __str__(self) -> str:
        return f"{self.series}{self.first} to {self.last}"
