"""Tables of who holds which role: the roles that people composed, and what each person holds from when until when."""

from __future__ import annotations

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from q2c.core.roles import Role


class CustomRole(models.Model):
    """A role that people composed out of permissions, narrowed to queues and kinds of case where they are named. It
    changes by agreement of two only (`q2c.core.memberships`); `version` counts those."""

    code = models.SlugField(max_length=30, unique=True)
    title = models.CharField(max_length=80)
    says = models.CharField(max_length=300, blank=True)  # what it's for
    permissions = ArrayField(models.CharField(max_length=60))
    queues = ArrayField(models.CharField(max_length=30), default=list, blank=True)
    kinds = ArrayField(models.CharField(max_length=60), default=list, blank=True)
    is_active = models.BooleanField(default=True)
    version = models.PositiveIntegerField(default=1)
    proposal = models.ForeignKey("core.Proposal", on_delete=models.PROTECT, related_name="+")  # the newest agreement
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ("title",)
        triggers = [pgtrigger.Protect(name="no_delete", operation=pgtrigger.Delete)]

    def __str__(self) -> str:
        return self.title

    def as_role(self) -> Role:
        """As access asks for it."""
        return Role(self.code, self.title, tuple(self.queues), frozenset(self.permissions), tuple(self.kinds))


class Membership(models.Model):
    """A role of a person, for one legal entity or (null) for all, from an instant to an instant (null: open).

    It's given and taken by agreement of two (`q2c.core.memberships`), which `proposal` names; only what an installation
    began with has none. What was given stays so and stays known: only its end is added.
    """

    person = models.ForeignKey("core.Person", on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=30)  # of the product, or composed
    legal_entity = models.ForeignKey("core.LegalEntity", null=True, blank=True, on_delete=models.CASCADE)
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    why = models.TextField(blank=True)
    proposal = models.ForeignKey("core.Proposal", null=True, on_delete=models.PROTECT, related_name="+")
    given_by = models.ForeignKey("core.Person", null=True, on_delete=models.PROTECT, related_name="+")
    approved_by = models.ForeignKey("core.Person", null=True, on_delete=models.PROTECT, related_name="+")
    ended_at = models.DateTimeField(null=True)  # taken back, or replaced by a newer one
    ended_why = models.TextField(blank=True)
    ended_by = models.ForeignKey("core.Proposal", null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        indexes = [models.Index(fields=["ends_at"], name="membership_ends", condition=Q(ended_at__isnull=True))]
        constraints = [
            models.UniqueConstraint(
                fields=["person", "role", "legal_entity"], condition=Q(ended_at__isnull=True), nulls_distinct=False,
                name="one_membership_per_scope",
            ),
            models.CheckConstraint(
                condition=Q(starts_at__isnull=True) | Q(ends_at__isnull=True) | Q(ends_at__gt=F("starts_at")),
                name="membership_in_order",
            ),
            models.CheckConstraint(
                condition=Q(proposal__isnull=True, given_by__isnull=True, approved_by__isnull=True)
                | Q(proposal__isnull=False, given_by__isnull=False, approved_by__isnull=False),
                name="membership_agreed_by_two",
            ),
            models.CheckConstraint(
                condition=Q(given_by__isnull=True)
                | ~Q(given_by=F("approved_by")) & ~Q(given_by=F("person")) & ~Q(approved_by=F("person")),
                name="nobody_gives_themselves_a_role",
            ),
        ]  # fmt: skip
        triggers = [
            pgtrigger.ReadOnly(name="given_stays_so", exclude=["ended_at", "ended_why", "ended_by"]),
            pgtrigger.Protect(
                name="ends_once", operation=pgtrigger.Update, condition=pgtrigger.Q(old__ended_at__isnull=False)
            ),
            pgtrigger.Protect(
                name="agreed_is_kept", operation=pgtrigger.Delete, condition=pgtrigger.Q(old__proposal__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person}: {self.role}"
