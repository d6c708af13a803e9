"""Tables of what was counted: appended by whoever counts, added up by beat into hours, days and totals."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

_KEY = ["measure", "flow", "connection_code", "legal_entity_code", "about", "bucket"]


class StatDelta(models.Model):
    """What one commit counted, in one row; gone once it's added up."""

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(db_default=Now())
    rows = models.JSONField()  # [{m, f, c, e, a, b, n, s}]: the columns below by their first letters

    def __str__(self) -> str:
        return f"{self.at} {len(self.rows)}"


class _Stat(models.Model):
    measure = models.CharField(max_length=40)
    flow = models.CharField(max_length=40)
    connection_code = models.CharField(max_length=40)
    legal_entity_code = models.CharField(max_length=20)  # empty: of none, or of several
    about = models.CharField(max_length=40)
    bucket = models.SmallIntegerField()  # of `stats.BOUNDS`, from 1 on; 0: nothing was timed
    count = models.BigIntegerField()
    millis = models.BigIntegerField()  # the sum of what was timed, in milliseconds

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.measure} {self.flow} {self.legal_entity_code}: {self.count}"


class StatHour(_Stat):
    """One hour's sums (UTC)."""

    hour = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["measure", "hour", *_KEY[1:]], name="one_stat_per_hour")]


class StatDay(_Stat):
    """One day's sums, a day of the entity's own time zone (UTC where there's no entity)."""

    day = models.DateField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["measure", "day", *_KEY[1:]], name="one_stat_per_day")]


class StatTotal(_Stat):
    """Sums since the portal began: they only grow, as Prometheus wants its counters."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=_KEY, name="one_stat_total")]


class StatNow(models.Model):
    """How much there was of something when beat last looked; replaced as a whole each time, but for the row that says
    how far the audit chain is anchored (`q2c.core.audit.ANCHORED`), which is written beside each anchor."""

    measure = models.CharField(max_length=40)
    flow = models.CharField(max_length=40)
    connection_code = models.CharField(max_length=40)
    legal_entity_code = models.CharField(max_length=20)
    about = models.CharField(max_length=40)
    count = models.BigIntegerField()
    oldest_at = models.DateTimeField(null=True)
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.measure} {self.flow} {self.legal_entity_code}: {self.count}"
