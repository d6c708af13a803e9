"""Tables of what is kept beyond its time, and of what left the database: legal holds, erasures, archives of months, and
what the last look at retention found."""

from __future__ import annotations

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

_AGREED = """
    IF NEW.state = OLD.state THEN
        RETURN NEW;
    END IF;
    IF (OLD.state, NEW.state) NOT IN ({ways}) THEN
        RAISE EXCEPTION 'what was % isn''t %', OLD.state, NEW.state;
    END IF;
    {lock}
    IF {needs} AND NOT EXISTS (SELECT FROM core_proposal p WHERE p.id = {by} AND p.state = 'approved'
        AND p.kind = {kind} AND p.subject_type = '{subject}' AND p.subject_id = NEW.id::text) THEN
        RAISE EXCEPTION 'two people have to agree to it';
    END IF;
    RETURN NEW;
"""
# Whoever drops or erases holds this lock in common: a hold is placed before or after that, never in between.
HOLDS_LOCK = 0x51326348
_HOLD_AGREED = _AGREED.format(
    ways="('proposed', 'in_force'), ('proposed', 'declined'), ('in_force', 'released')",
    lock=f"PERFORM pg_advisory_xact_lock({HOLDS_LOCK});", needs="NEW.state IN ('in_force', 'released')",
    by="CASE NEW.state WHEN 'released' THEN NEW.release_id ELSE NEW.proposal_id END",
    kind="CASE NEW.state WHEN 'released' THEN 'hold_release' ELSE 'legal_hold' END", subject="legal_hold",
)  # fmt: skip
_ERASURE_AGREED = _AGREED.format(
    ways="('proposed', 'waiting'), ('proposed', 'done'), ('proposed', 'declined'), ('waiting', 'done')", lock="",
    needs="NEW.state IN ('waiting', 'done')", by="NEW.proposal_id", kind="'erase_customer'", subject="erasure",
)  # fmt: skip


class LegalHold(models.Model):
    """What may neither be dropped, erased nor deleted, because somebody may have to show it. Two people place it, two
    release it. What names no entity counts as any entity's; `lane` is a document with what was made of it."""

    class State(models.TextChoices):
        PROPOSED = "proposed"
        IN_FORCE = "in_force"
        DECLINED = "declined"
        RELEASED = "released"

    name = models.CharField(max_length=120)
    matter = models.CharField(max_length=80)  # the reference of the matter: a case number, an audit's name
    why = models.TextField()
    asked_by = models.CharField(max_length=120)  # who asked for it: counsel, an authority
    legal_entity_code = models.CharField(max_length=20, blank=True)  # "": every entity
    customer = models.CharField(max_length=170, blank=True)  # connection:id; means every id of that customer
    customer_name = models.CharField(max_length=300, blank=True)
    lane = models.CharField(max_length=250, blank=True)
    document = models.CharField(max_length=120, blank=True)  # its number, for people
    first_day = models.DateField(null=True)  # dated, or received, on a day from here
    last_day = models.DateField(null=True)  # to here; null: without an end
    state = models.CharField(max_length=10, choices=State, default=State.PROPOSED)
    proposed_by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField()
    proposal = models.ForeignKey("core.Proposal", null=True, on_delete=models.PROTECT, related_name="+")
    placed_at = models.DateTimeField(null=True)
    placed_by = models.ForeignKey("core.Person", null=True, on_delete=models.PROTECT, related_name="+")
    release = models.ForeignKey("core.Proposal", null=True, on_delete=models.PROTECT, related_name="+")
    released_at = models.DateTimeField(null=True)
    released_by = models.ForeignKey("core.Person", null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        indexes = [models.Index(fields=["id"], name="hold_in_force", condition=Q(state="in_force"))]
        constraints = [
            models.CheckConstraint(condition=Q(lane="") | Q(customer="", first_day=None), name="hold_of_a_document"),
            models.CheckConstraint(
                condition=Q(last_day=None) | Q(first_day__isnull=False, last_day__gte=models.F("first_day")),
                name="hold_days_in_order",
            ),
        ]
        triggers = [
            pgtrigger.ReadOnly(
                name="as_proposed",
                exclude=["state", "proposal", "placed_at", "placed_by", "release", "released_at", "released_by"],
            ),
            pgtrigger.Protect(name="no_delete", operation=pgtrigger.Delete),
            pgtrigger.Protect(
                name="begins_proposed", operation=pgtrigger.Insert, condition=~pgtrigger.Q(new__state="proposed")
            ),
            pgtrigger.Trigger(
                name="agreed_by_two", when=pgtrigger.Before, operation=pgtrigger.UpdateOf("state"), func=_HOLD_AGREED
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} “{self.name}”"

    @property
    def number(self) -> str:
        """What people call it: LH-3."""
        return f"LH-{self.pk}"


class Erasure(models.Model):
    """A customer's right to delete, asked for and agreed to by two: their keys are destroyed, at once or, where a legal
    hold or open work stands in the way and the two agreed to wait, when nothing does."""

    class State(models.TextChoices):
        PROPOSED = "proposed"
        WAITING = "waiting"
        DONE = "done"
        DECLINED = "declined"

    customer = models.CharField(max_length=170)  # connection:id
    customer_name = models.CharField(max_length=300, blank=True)
    matter = models.CharField(max_length=80)  # the request's reference
    why = models.TextField()
    may_wait = models.BooleanField(default=False)
    state = models.CharField(max_length=10, choices=State, default=State.PROPOSED)
    proposed_by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField()
    proposal = models.ForeignKey("core.Proposal", null=True, on_delete=models.PROTECT, related_name="+")
    done_at = models.DateTimeField(null=True)
    key_count = models.IntegerField(default=0)  # how many keys were destroyed

    class Meta:
        indexes = [models.Index(fields=["id"], name="erasure_waiting", condition=Q(state="waiting"))]
        triggers = [
            pgtrigger.ReadOnly(name="as_asked", exclude=["state", "proposal", "done_at", "key_count"]),
            pgtrigger.Protect(name="no_delete", operation=pgtrigger.Delete),
            pgtrigger.Protect(
                name="begins_proposed", operation=pgtrigger.Insert, condition=~pgtrigger.Q(new__state="proposed")
            ),
            pgtrigger.Trigger(
                name="agreed_by_two", when=pgtrigger.Before, operation=pgtrigger.UpdateOf("state"),
                func=_ERASURE_AGREED,
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"erasure of {self.customer_name or self.customer}"


class Archive(models.Model):
    """A month of a table written out to a file, read back and found whole. The row stays when the month is dropped."""

    table = models.CharField(max_length=63)
    partition = models.CharField(max_length=63)
    low = models.UUIDField()  # the ids that the month may hold: from low, below high
    high = models.UUIDField()
    row_count = models.BigIntegerField()
    checksum = models.CharField(max_length=40)  # over the rows, as q2c_drop_partition reckons it
    file_name = models.CharField(max_length=120)
    size_bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)  # of the file
    manifest_sha256 = models.CharField(max_length=64)
    house_key = models.BinaryField()  # what no one customer owns is sealed under it; itself under the master key
    made_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["partition", "-id"], name="archive_partition"),
            models.Index(fields=["table", "low"], name="archive_range"),
        ]
        triggers = [
            pgtrigger.ReadOnly(name="as_archived", exclude=["house_key"]),
            pgtrigger.Protect(name="no_delete", operation=pgtrigger.Delete),
        ]

    def __str__(self) -> str:
        return self.file_name


class ArchiveCheck(models.Model):
    """What a look at an archive's files found; the newest one counts."""

    archive = models.ForeignKey(Archive, on_delete=models.PROTECT, related_name="checks")
    at = models.DateTimeField()
    fault = models.CharField(max_length=300, blank=True)  # "": whole
    erased_count = models.BigIntegerField(default=0)  # rows of erased customers, which nobody can read

    class Meta:
        indexes = [models.Index(fields=["archive", "-id"], name="archive_checked")]
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.archive_id} {self.at:%Y-%m-%d}: {self.fault or 'whole'}"


class ExpiredMonth(models.Model):
    """A month that is older than policy keeps it and is here still, as the last look found it: what screens show."""

    partition = models.CharField(max_length=63, primary_key=True)
    table = models.CharField(max_length=63)
    months = models.IntegerField()
    why_kept = models.TextField(blank=True)  # "": due
    failure = models.TextField(blank=True)  # why it couldn't be archived or dropped
    holds = ArrayField(models.BigIntegerField(), default=list)
    looked_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.partition}: {self.failure or self.why_kept or 'due'}"
