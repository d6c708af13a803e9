"""Tables that every room shares: people, entities, their calendars, approvals, audit, customers' keys, posted
policy."""

from __future__ import annotations

import datetime as dt
import uuid

import pgtrigger
from django.contrib.auth.hashers import check_password
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import F, Q

from q2c.core.held_roles import CustomRole as CustomRole  # Django looks for every table of the room here
from q2c.core.held_roles import Membership as Membership
from q2c.core.ids import uuid7
from q2c.core.keeping_tables import Archive as Archive
from q2c.core.keeping_tables import ArchiveCheck as ArchiveCheck
from q2c.core.keeping_tables import Erasure as Erasure
from q2c.core.keeping_tables import ExpiredMonth as ExpiredMonth
from q2c.core.keeping_tables import LegalHold as LegalHold
from q2c.core.stat_tables import StatDay as StatDay
from q2c.core.stat_tables import StatDelta as StatDelta
from q2c.core.stat_tables import StatHour as StatHour
from q2c.core.stat_tables import StatNow as StatNow
from q2c.core.stat_tables import StatTotal as StatTotal

APPEND_ONLY = [
    pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
]


# Whoever changes a password, by a screen or past it, can't approve as that person for a day. So it is with a second
# factor and a single sign-on account, whose triggers are in migration 0016: their tables are allauth's.
_NEW_PASSWORD_WAITS = """
    IF NEW.password IS DISTINCT FROM OLD.password THEN
        NEW.sign_in_changed := 'password';
        NEW.approves_from := greatest(OLD.approves_from, now() + interval '24 hours');
    ELSE
        NEW.approves_from := greatest(OLD.approves_from, NEW.approves_from);
    END IF;
    RETURN NEW;
"""


class Person(AbstractUser):
    """Somebody who signs in. `approves_from` is when a person with a new password, or another new way to sign in
    (`sign_in_changed`), may approve again (24 hours): the database sets it, and nobody brings it forward."""

    display_name = models.CharField(max_length=100, blank=True)
    approves_from = models.DateTimeField(null=True, blank=True)
    sign_in_changed = models.CharField(max_length=40, blank=True, default="", db_default="")
    preferences = models.JSONField(default=dict, blank=True)

    class Meta:
        db_table = "core_person"
        triggers = (
            pgtrigger.Trigger(
                name="new_password_waits",
                when=pgtrigger.Before,
                operation=pgtrigger.UpdateOf("password", "approves_from"),
                func=_NEW_PASSWORD_WAITS,
            ),
        )

    def __str__(self) -> str:
        return self.display_name or self.username

    def check_password(self, raw_password: str | None) -> bool:
        """Whether this is their password. What is stored stays: renewing the hash would look like a new password."""
        return check_password(raw_password, self.password)


class LegalEntity(models.Model):
    """The company that sells: its own calendar, time zone and book currency."""

    code = models.CharField(max_length=20, unique=True)
    name = models.CharField(max_length=200)
    country = models.CharField(max_length=2)
    currency = models.CharField(max_length=3)
    time_zone = models.CharField(max_length=50)
    is_active = models.BooleanField(default=True)

    class Meta:
        ordering = ("code",)

    def __str__(self) -> str:
        return self.code


class Subsidiary(models.Model):
    """The book of a legal entity in one ERP. `external_id` is the ERP's id of it."""

    legal_entity = models.ForeignKey(LegalEntity, on_delete=models.PROTECT, related_name="subsidiaries")
    connection = models.ForeignKey("connectors.Connection", on_delete=models.PROTECT, related_name="+")
    external_id = models.CharField(max_length=80)
    name = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["legal_entity", "connection"], name="one_book_per_entity_and_erp")
        ]

    def __str__(self) -> str:
        return self.legal_entity.code


class AccountingPeriod(models.Model):
    """A fiscal month of a subsidiary as the ERP's own list says; `read_at` is the age of that knowledge."""

    subsidiary = models.ForeignKey(Subsidiary, on_delete=models.CASCADE, related_name="periods")
    code = models.CharField(max_length=20)  # 2010-12
    name = models.CharField(max_length=50)  # the ERP's: Dec 2010
    start_date = models.DateField()
    end_date = models.DateField()
    external_id = models.CharField(max_length=80)
    is_receivables_open = models.BooleanField()
    is_ledger_open = models.BooleanField()
    read_at = models.DateTimeField()

    class Meta:
        ordering = ("subsidiary", "start_date")
        constraints = [models.UniqueConstraint(fields=["subsidiary", "code"], name="one_period_per_code")]

    def __str__(self) -> str:
        return f"{self.subsidiary} {self.code}"


class Absence(models.Model):
    """Somebody is away, and who stands in: new assignments and mentions go there, rights don't."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="absences")
    deputy = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="stands_in")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    why = models.CharField(max_length=200, blank=True)
    ended_at = models.DateTimeField(null=True)  # sooner, by themselves

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(deputy=F("person")), name="nobody_stands_in_for_themselves"),
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="absence_in_order"),
        ]
        indexes = [models.Index(fields=["ends_at"], name="absence_open", condition=Q(ended_at__isnull=True))]

    def __str__(self) -> str:
        return f"from {self.starts_at:%Y-%m-%d} until {self.ends_at:%Y-%m-%d}"


class AuditEntry(models.Model):
    """Who did what to what, and why. Append-only, chained by hash under a lock (`q2c.core.audit.record`)."""

    sequence = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    verb = models.CharField(max_length=60)
    subject_type = models.CharField(max_length=60)
    subject_id = models.CharField(max_length=80)
    why = models.TextField(blank=True)
    data = models.JSONField(default=dict)
    correlation_id = models.CharField(max_length=40, blank=True)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        indexes = [models.Index(fields=["subject_type", "subject_id", "sequence"], name="audit_subject")]
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.sequence} {self.verb}"


# The database's own word on agreements: what was decided stays so, and nothing is approved without its signatures.
_DECIDED = """
    IF OLD.state <> 'proposed' AND NEW.state <> OLD.state THEN
        RAISE EXCEPTION 'a proposal that was % stays so', OLD.state;
    END IF;
    IF NEW.state = 'approved' AND OLD.state <> 'approved' THEN
        SELECT count(*) INTO given FROM core_signature
         WHERE proposal_id = NEW.id AND is_approval AND signed_hash = NEW.content_hash;
        IF given < NEW.signatures_needed AND NOT EXISTS (
            SELECT FROM core_emergencyuse e JOIN core_signature s ON s.proposal_id = e.proposal_id
             AND s.signed_by_id = e.used_by_id AND s.is_approval AND s.signed_hash = NEW.content_hash
             WHERE e.proposal_id = NEW.id
        ) THEN
            RAISE EXCEPTION 'a proposal needs % signatures and has %', NEW.signatures_needed, given;
        END IF;
    END IF;
    RETURN NEW;
"""
_SIGNABLE = """
    SELECT * INTO proposal FROM core_proposal WHERE id = NEW.proposal_id FOR SHARE;
    IF proposal.state <> 'proposed' THEN
        RAISE EXCEPTION 'a proposal that was % takes no signature', proposal.state;
    END IF;
    IF proposal.content_hash <> NEW.signed_hash THEN
        RAISE EXCEPTION 'a signature is bound to the content of its proposal';
    END IF;
    SELECT p.approves_from INTO may_from FROM core_person p WHERE p.id = NEW.signed_by_id;
    IF NEW.is_approval AND may_from > now() THEN
        RAISE EXCEPTION 'whose password is new may not approve yet';
    END IF;
    RETURN NEW;
"""


class Proposal(models.Model):
    """Something that needs two people. What is signed is fixed here: content, its hash, and who proposed it."""

    class State(models.TextChoices):
        PROPOSED = "proposed"
        APPROVED = "approved"
        REJECTED = "rejected"
        WITHDRAWN = "withdrawn"
        VOID = "void"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    kind = models.CharField(max_length=40)  # change_set, repost, waive, connection, ...
    subject_type = models.CharField(max_length=60)
    subject_id = models.CharField(max_length=80)
    title = models.CharField(max_length=300)
    why = models.TextField()
    proposed_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField()
    content = models.JSONField()
    content_hash = models.CharField(max_length=64)
    signatures_needed = models.PositiveSmallIntegerField(default=1)
    signer_permission = models.CharField(max_length=60)
    also_permission = models.CharField(max_length=60, blank=True, default="")  # one of the signers holds this too
    legal_entities = models.JSONField(default=list)  # codes; empty means all
    state = models.CharField(max_length=20, choices=State, default=State.PROPOSED)
    decided_at = models.DateTimeField(null=True)
    void_reason = models.TextField(blank=True)
    evidence_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["state", "proposed_at"], name="proposal_open", condition=Q(state="proposed")),
            models.Index(fields=["subject_type", "subject_id"], name="proposal_subject"),
        ]
        constraints = [models.UniqueConstraint(fields=["id", "proposed_by"], name="proposal_and_proposer")]
        triggers = [
            pgtrigger.ReadOnly(name="signed_content", exclude=["state", "decided_at", "void_reason"]),
            pgtrigger.Protect(name="no_delete", operation=pgtrigger.Delete),
            pgtrigger.Protect(
                name="begins_proposed", operation=pgtrigger.Insert, condition=~pgtrigger.Q(new__state="proposed")
            ),
            pgtrigger.Trigger(
                name="decided_once_and_signed", when=pgtrigger.Before, operation=pgtrigger.UpdateOf("state"),
                declare=[("given", "integer")], func=_DECIDED,
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.title


class Signature(models.Model):
    """One person's verdict on a proposal. `proposed_by` repeats the proposer (composite key), so a CHECK keeps them
    apart."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, related_name="signatures")
    proposed_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    signed_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    signed_at = models.DateTimeField()
    is_approval = models.BooleanField()
    signed_hash = models.CharField(max_length=64)
    why = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(signed_by=F("proposed_by")), name="signer_is_not_proposer"),
            models.UniqueConstraint(fields=["proposal", "signed_by"], name="one_signature_per_signer"),
        ]
        triggers = [
            *APPEND_ONLY,
            pgtrigger.Trigger(
                name="only_what_is_proposed", when=pgtrigger.Before, operation=pgtrigger.Insert,
                declare=[("proposal", "core_proposal%ROWTYPE"), ("may_from", "timestamptz")], func=_SIGNABLE,
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.signed_by} on {self.proposal_id}"


# An emergency use is noted while its proposal waits, unreviewed, and reviewed once.
_USED_THEN = """
    IF NEW.reviewed_at IS NOT NULL OR NEW.verdict <> '' OR NEW.ended_at IS NOT NULL THEN
        RAISE EXCEPTION 'an emergency use begins without a review';
    END IF;
    IF NOT EXISTS (SELECT FROM core_proposal p WHERE p.id = NEW.proposal_id AND p.state = 'proposed') THEN
        RAISE EXCEPTION 'an emergency approves only what is proposed';
    END IF;
    RETURN NEW;
"""
_REVIEWED_ONCE = """
    IF OLD.reviewed_at IS NOT NULL AND (NEW.verdict, NEW.reviewed_by_id, NEW.reviewed_at, NEW.review, NEW.found)
       IS DISTINCT FROM (OLD.verdict, OLD.reviewed_by_id, OLD.reviewed_at, OLD.review, OLD.found) THEN
        RAISE EXCEPTION 'an emergency is reviewed once';
    END IF;
    IF OLD.ended_at IS NOT NULL AND NEW.ended_at IS DISTINCT FROM OLD.ended_at THEN
        RAISE EXCEPTION 'an emergency ends once';
    END IF;
    RETURN NEW;
"""
EMERGENCY_HOURS_MAX = 12


class EmergencyUse(models.Model):
    """An approval that one person of the emergency role gave in place of all that policy asks for. What it put in force
    ends at `ends_at` unless the review lets it stay; the review is open until somebody has done it who neither used nor
    proposed it."""

    class Verdict(models.TextChoices):
        STAYS = "stays", "It was right, and stays in force"
        ENDS = "ends", "It was right, and ends"
        OBJECTED = "objected", "It was not right: it ends at once"

    proposal = models.OneToOneField(Proposal, primary_key=True, on_delete=models.PROTECT, related_name="emergency")
    proposed_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")  # as in Signature
    used_by = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="+")
    why = models.TextField()
    used_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)  # when what it put in force was taken back
    verdict = models.CharField(max_length=8, choices=Verdict, blank=True)
    reviewed_by = models.ForeignKey(Person, null=True, on_delete=models.PROTECT, related_name="+")
    reviewed_at = models.DateTimeField(null=True)
    review = models.TextField(blank=True)
    found = models.JSONField(default=dict)  # what the reviewer was shown: the documents that posted by it

    class Meta:
        indexes = [models.Index(fields=["used_at"], name="emergency_unreviewed", condition=Q(reviewed_at=None))]
        constraints = [
            models.CheckConstraint(condition=~Q(used_by=F("proposed_by")), name="emergency_user_is_not_proposer"),
            models.CheckConstraint(
                condition=Q(reviewed_by=None) | ~Q(reviewed_by=F("used_by")) & ~Q(reviewed_by=F("proposed_by")),
                name="emergency_reviewer_is_somebody_else",
            ),
            models.CheckConstraint(condition=Q(why__regex=r"\S"), name="emergency_has_a_reason"),
            models.CheckConstraint(
                condition=Q(ends_at__gt=F("used_at"))
                & Q(ends_at__lte=F("used_at") + dt.timedelta(hours=EMERGENCY_HOURS_MAX)),
                name="emergency_ends_within_hours",
            ),
            models.CheckConstraint(
                condition=Q(reviewed_by=None, reviewed_at=None, verdict="", review="")
                | Q(reviewed_by__isnull=False, reviewed_at__isnull=False, review__regex=r"\S") & ~Q(verdict=""),
                name="emergency_review_is_whole",
            ),
            models.CheckConstraint(
                condition=~Q(verdict="stays") | Q(ended_at=None), name="emergency_that_stays_never_ended"
            ),
        ]
        triggers = [
            pgtrigger.ReadOnly(
                name="used_as_told",
                exclude=["ended_at", "verdict", "reviewed_by", "reviewed_at", "review", "found"],
            ),
            pgtrigger.Protect(name="no_delete", operation=pgtrigger.Delete),
            pgtrigger.Trigger(name="used_then", when=pgtrigger.Before, operation=pgtrigger.Insert, func=_USED_THEN),
            pgtrigger.Trigger(
                name="reviewed_once", when=pgtrigger.Before, operation=pgtrigger.Update, func=_REVIEWED_ONCE
            ),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"emergency of {self.used_by}"


# The functions that say what a hold covers are the owner's (migration 0013).
_NOT_HELD = """
    PERFORM public.q2c_refuse_erasure(OLD.connection_code, OLD.customer_id);
    RETURN NEW;
"""


class CustomerKey(models.Model):
    """The key under which one customer's raw bodies and exchanges are sealed; destroying it erases them (N24)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    connection_code = models.CharField(max_length=40)
    customer_id = models.CharField(max_length=120)
    sealed_key = models.BinaryField(null=True)
    destroyed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connection_code", "customer_id"], name="one_key_per_customer")]
        triggers = [
            pgtrigger.Trigger(
                name="held_keys_stay", when=pgtrigger.Before, operation=pgtrigger.UpdateOf("sealed_key"),
                condition=pgtrigger.Q(old__sealed_key__isnull=False, new__sealed_key__isnull=True), func=_NOT_HELD,
            ),
            pgtrigger.Protect(name="no_delete", operation=pgtrigger.Delete),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.connection_code}:{self.customer_id}"


class Lease(models.Model):
    """Who holds a part that only one may play (beat), and which processes live. Of no worth once `until` has passed."""

    name = models.CharField(primary_key=True, max_length=120)  # beat, or worker:<queue>@<host>:<process>
    holder = models.CharField(max_length=120)
    until = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name}: {self.holder}"
