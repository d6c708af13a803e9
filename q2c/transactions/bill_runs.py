"""Bill runs: what one billing day, or one run that billing names, brought of an entity; and how it stands.

A run's documents are the transactions that name it. What becomes of them is appended by the database itself, in the
commit in which it happens, and added up by beat (`bill_run_counts`): no page counts documents.
"""

from __future__ import annotations

from decimal import Decimal

import pgtrigger
from django.db import models
from django.db.models import Q

# The type under which billing's register counts it, and the amount in that register's sign.
KIND = (
    "CASE WHEN {of}.flow = 'credit_memo_to_erp' AND {of}.source_type <> 'invoice' THEN 'credit_memo' ELSE 'invoice' END"
)
_AMOUNT = (
    "coalesce(CASE WHEN NEW.flow = 'credit_memo_to_erp' AND NEW.source_type = 'invoice' THEN -NEW.amount"
    " ELSE NEW.amount END, 0)"
)
# A document may come in several versions, each a transaction of its lane: it's received once, posted once, given up
# once. What came again, and what another version stands for, is counted apart; the rest is what is on its way.
_OTHERS = (
    "EXISTS (SELECT FROM transactions_businesstransaction o WHERE o.lane = NEW.lane AND o.flow = NEW.flow"
    " AND o.id <> NEW.id AND o.bill_run_id = NEW.bill_run_id AND {which})"
)
_EARLIER = _OTHERS.format(which="o.lane_sequence < NEW.lane_sequence")
_ALIVE = _OTHERS.format(which="o.state <> 'cancelled'")
_POSTED = _OTHERS.format(which="o.state = 'completed'")
_GIVEN_UP = f"CASE WHEN {_ALIVE} THEN 'replaced' ELSE 'given_up' END"
_ADD = (
    "INSERT INTO transactions_billrundelta (run_id, document_type, currency, measure, count, amount, at)"
    " VALUES (NEW.bill_run_id, kind, NEW.currency, measure, {sign}1, {sign}amount, now());"
)
_PLUS, _MINUS = _ADD.format(sign=""), _ADD.format(sign="-")
_COUNT = f"""
    kind := {KIND.format(of="NEW")};
    amount := {_AMOUNT};
    IF TG_OP = 'UPDATE' THEN
        IF OLD.bill_run_id IS NOT NULL THEN
            was := OLD.state;
        END IF;
    END IF;
    IF was IS NULL THEN
        measure := CASE WHEN {_EARLIER} THEN 'again' ELSE 'received' END;
        {_PLUS}
    ELSIF was = NEW.state THEN
        RETURN NULL;
    END IF;
    measure := CASE was WHEN 'held' THEN 'held' WHEN 'cancelled' THEN {_GIVEN_UP} END;
    IF measure IS NOT NULL THEN
        {_MINUS}
    END IF;
    measure := CASE NEW.state
        WHEN 'held' THEN 'held'
        WHEN 'completed' THEN CASE WHEN {_POSTED} THEN 'replaced' ELSE 'posted' END
        WHEN 'cancelled' THEN {_GIVEN_UP} END;
    IF measure IS NOT NULL THEN
        {_PLUS}
    END IF;
    RETURN NULL;
"""
_NAMES = [("kind", "TEXT"), ("amount", "NUMERIC"), ("was", "TEXT"), ("measure", "TEXT")]
# A document of no run costs one comparison.
COUNTED = [
    pgtrigger.Trigger(
        name="count_bill_run_new", when=pgtrigger.After, operation=pgtrigger.Insert, func=_COUNT, declare=_NAMES,
        condition=pgtrigger.Condition("NEW.bill_run_id IS NOT NULL"),
    ),
    pgtrigger.Trigger(
        name="count_bill_run_moved", when=pgtrigger.After, operation=pgtrigger.UpdateOf("state", "bill_run_id"),
        func=_COUNT, declare=_NAMES,
        condition=pgtrigger.Condition(
            "NEW.bill_run_id IS NOT NULL AND (NEW.state <> OLD.state OR OLD.bill_run_id IS NULL)"
        ),
    ),
]  # fmt: skip
MEASURES = ("received", "again", "replaced", "posted", "given_up", "held", "ignored")


class BillRun(models.Model):
    """One run of an entity: known by the name that billing gave it, else by its billing day. What comes after a run was
    rejected, or released where policy holds what is late, is an addition of its own: 1, 2, ..."""

    class State(models.TextChoices):
        GATHERING = "gathering"  # documents come, or some are missing
        COMPLETE = "complete"  # all that was expected came, and waits for its release
        HELD = "held"  # somebody, or its policy, wants a person to look
        POSTING = "posting"
        POSTED = "posted"
        REJECTED = "rejected"

    class Work(models.TextChoices):
        NONE = ""
        RELEASE = "release"
        REJECT = "reject"

    connection_code = models.CharField(max_length=40)
    legal_entity_code = models.CharField(max_length=20)
    name = models.CharField(max_length=80)  # billing's own, else the billing day as ISO
    addition = models.SmallIntegerField(default=0)
    is_named = models.BooleanField(default=False)  # by billing
    day = models.DateField()  # the billing day in the entity's zone; of a named run that of its first document
    period_code = models.CharField(max_length=20, blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.GATHERING)
    state_at = models.DateTimeField()
    holds = models.BooleanField()  # its documents wait before they post, until it's released
    stopped_by = models.CharField(max_length=150, blank=True)  # whoever holds it beyond what policy says
    stopped_why = models.TextField(blank=True)
    reasons = models.JSONField(default=list)  # why it isn't complete, or not released by itself; why somebody holds it
    first_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)  # released or rejected
    decided_by = models.ForeignKey("core.Person", null=True, on_delete=models.PROTECT, related_name="+")
    decided_why = models.TextField(blank=True)
    work = models.CharField(max_length=10, choices=Work, default=Work.NONE, blank=True)  # what is carried out piece
    carried_to = models.UUIDField(null=True)  # by piece, and how far it is
    case_id = models.BigIntegerField(null=True)  # of a rejected one: that its source voids or corrects it

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection_code", "legal_entity_code", "name", "addition"], name="one_bill_run"
            )
        ]
        indexes = [
            models.Index(fields=["legal_entity_code", "-day", "-id"], name="bill_run_listed"),
            models.Index(fields=["-day", "-id"], name="bill_run_newest"),
            models.Index(fields=["id"], name="bill_run_open", condition=~Q(state__in=["posted", "rejected"])),
            models.Index(fields=["id"], name="bill_run_work", condition=~Q(work="")),
        ]

    def __str__(self) -> str:
        return f"{self.connection_code} {self.legal_entity_code} {self.called}"

    @property
    def called(self) -> str:
        """Its name, with the number of the addition."""
        return f"{self.name} + {self.addition}" if self.addition else self.name

    @property
    def is_released(self) -> bool:
        """Whether somebody, or its policy, let it post."""
        return self.decided_at is not None and self.state != self.State.REJECTED


class BillRunPart(models.Model):
    """A run's documents of one type in one currency, as beat added them up. `expected_*` is what the source's register
    holds, or what billing told with the run; None while neither is known. `late` came after the release."""

    run = models.ForeignKey(BillRun, on_delete=models.CASCADE, related_name="parts")
    document_type = models.CharField(max_length=20)
    currency = models.CharField(max_length=3, blank=True)
    expected_count = models.IntegerField(null=True)
    expected_amount = models.DecimalField(max_digits=24, decimal_places=6, null=True)
    expected_at = models.DateTimeField(null=True)
    last_at = models.DateTimeField(null=True)  # when its last document came
    late_count = models.IntegerField(default=0, db_default=0)
    received_count = models.IntegerField(default=0, db_default=0)
    received_amount = models.DecimalField(max_digits=24, decimal_places=6, default=0, db_default=0)
    again_count = models.IntegerField(default=0, db_default=0)
    again_amount = models.DecimalField(max_digits=24, decimal_places=6, default=0, db_default=0)
    replaced_count = models.IntegerField(default=0, db_default=0)
    replaced_amount = models.DecimalField(max_digits=24, decimal_places=6, default=0, db_default=0)
    posted_count = models.IntegerField(default=0, db_default=0)
    posted_amount = models.DecimalField(max_digits=24, decimal_places=6, default=0, db_default=0)
    given_up_count = models.IntegerField(default=0, db_default=0)
    given_up_amount = models.DecimalField(max_digits=24, decimal_places=6, default=0, db_default=0)
    held_count = models.IntegerField(default=0, db_default=0)
    held_amount = models.DecimalField(max_digits=24, decimal_places=6, default=0, db_default=0)
    ignored_count = models.IntegerField(default=0, db_default=0)
    ignored_amount = models.DecimalField(max_digits=24, decimal_places=6, default=0, db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "document_type", "currency"], name="one_part_of_a_bill_run")
        ]

    def __str__(self) -> str:
        return f"{self.run_id} {self.document_type} {self.currency}"

    @property
    def waiting_count(self) -> int:
        """On the way, or waiting for the release."""
        came = self.received_count + self.again_count - self.replaced_count
        return came - self.posted_count - self.given_up_count - self.held_count

    @property
    def waiting_amount(self) -> Decimal:
        """The same in its currency."""
        came = self.received_amount + self.again_amount - self.replaced_amount
        return came - self.posted_amount - self.given_up_amount - self.held_amount

    @property
    def here_count(self) -> int:
        """What came, with what is ignored by rule."""
        return self.received_count + self.ignored_count

    @property
    def here_amount(self) -> Decimal:
        """The same in its currency."""
        return self.received_amount + self.ignored_amount

    @property
    def is_complete(self) -> bool:
        """Whether what came is what was expected, by count and amount."""
        return (self.expected_count, self.expected_amount) == (self.here_count, self.here_amount)


class BillRunDelta(models.Model):
    """What one document's move added to, or took from, a part: appended, and gone once added up."""

    id = models.BigAutoField(primary_key=True)
    run_id = models.BigIntegerField()
    document_type = models.CharField(max_length=20)
    currency = models.CharField(max_length=3, blank=True)
    measure = models.CharField(max_length=10)
    count = models.IntegerField()
    amount = models.DecimalField(max_digits=24, decimal_places=6)
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.run_id} {self.measure} {self.count}"
