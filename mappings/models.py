"""Cross-references (identities), mapping rules (governed, bitemporal), change sets."""

from __future__ import annotations

import pgtrigger
from django.contrib.postgres.constraints import ExclusionConstraint
from django.db import models
from django.db.models import CharField, Field, Func, Q, Value
from django.db.models.functions import Concat
from simple_history.models import HistoricalRecords

from mappings.conditions import say
from q2c.core.models import APPEND_ONLY


class CrossReference(models.Model):
    """The same thing's id in another system: one record of ours, one id per connection (F37).

    `is_shared`: the id is another record's too, and two people said that this is right.
    """

    record_type = models.CharField(
        max_length=40
    )  # customer, product, order, subscription, invoice, credit_memo, payment, ...
    record_key = models.CharField(max_length=200)  # our golden key: connection:type:id of the record's first source
    connection = models.ForeignKey("connectors.Connection", on_delete=models.PROTECT, related_name="+")
    external_type = models.CharField(max_length=60)  # the system's own word
    external_id = models.CharField(max_length=120)
    number = models.CharField(max_length=80, blank=True)
    scope = models.CharField(max_length=40, blank=True)  # legal entity where a system has one record per entity
    legal_entity_code = models.CharField(max_length=20, blank=True)
    transaction_id = models.UUIDField(null=True)
    is_shared = models.BooleanField(default=False, db_default=False)
    is_linked = models.BooleanField(default=False, db_default=False)  # by people: we didn't make that record from ours
    at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "external_type", "external_id"],
                condition=Q(is_shared=False),
                name="one_record_per_external_id",
            ),
            models.CheckConstraint(
                condition=Q(is_shared=False) | Q(record_type__in=["customer", "product"]),
                name="shared_only_where_declared",
            ),
            models.UniqueConstraint(
                fields=["record_type", "record_key", "connection", "external_type", "scope"],
                name="one_external_id_per_record",
            ),
        ]
        indexes = [
            models.Index(fields=["external_id"], name="xref_external"),
            models.Index(fields=["number"], name="xref_number"),
        ]

    def __str__(self) -> str:
        return f"{self.record_key} = {self.external_id}"


class ChangeSet(models.Model):
    """A group of rule changes with one reason and one approval. `number` says what was known when: it orders it all."""

    class State(models.TextChoices):
        DRAFT = "draft"
        PROPOSED = "proposed"
        APPROVED = "approved"
        REJECTED = "rejected"
        WITHDRAWN = "withdrawn"
        VOID = "void"

    id = models.BigAutoField(primary_key=True)
    number = models.BigIntegerField(null=True, unique=True)  # given on approval, rising without gaps
    title = models.CharField(max_length=200)
    why = models.TextField()
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    proposed_by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField()
    approved_at = models.DateTimeField(null=True)
    proposal = models.OneToOneField("core.Proposal", null=True, on_delete=models.PROTECT, related_name="change_set")
    case = models.ForeignKey(
        "exceptions.ExceptionCase", null=True, blank=True, on_delete=models.SET_NULL, related_name="change_sets"
    )
    history = HistoricalRecords()
    _change_reason: str | None  # what django-simple-history stores with the next save

    class Meta:
        indexes = [models.Index(fields=["state", "-id"], name="change_set_state")]

    def __str__(self) -> str:
        return self.title


class ChangeLine(models.Model):
    """One creation, change or retirement inside a change set, as proposed: old and new."""

    class Act(models.TextChoices):
        CREATE = "create"
        CHANGE = "change"
        RETIRE = "retire"

    change_set = models.ForeignKey(ChangeSet, on_delete=models.CASCADE, related_name="lines")
    act = models.CharField(max_length=8, choices=Act)
    rule = models.ForeignKey(
        "MappingRule", null=True, on_delete=models.PROTECT, related_name="+"
    )  # the one changed or retired
    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=250)
    connection_code = models.CharField(max_length=40, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    region = models.CharField(max_length=40, blank=True)
    product_line = models.CharField(max_length=80, blank=True)
    conditions = models.JSONField(default=dict, blank=True)
    value = models.CharField(max_length=250, blank=True)
    value_label = models.CharField(max_length=300, blank=True)
    old_value = models.CharField(max_length=250, blank=True)
    is_fallback = models.BooleanField(default=False)
    effective_from = models.DateField()
    effective_to = models.DateField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["change_set", "kind", "key", "id"], name="change_line_listed")]

    def __str__(self) -> str:
        return f"{self.act} {self.kind} {self.key}"

    @property
    def only(self) -> str:
        """Its conditions in words: "only invoices to customers in DE, FR"; empty where it has none."""
        return say(self.conditions)


class Evidence(models.Model):
    """What a change set would do, found out on real data as of a stated time; computed anew when it is asked for.

    What is signed is a copy in the proposal. `content` is told in `exceptions.evidence`.
    """

    class State(models.TextChoices):
        COMPUTING = "computing"
        READY = "ready"
        FAILED = "failed"

    change_set = models.OneToOneField(ChangeSet, primary_key=True, on_delete=models.CASCADE, related_name="evidence")
    state = models.CharField(max_length=10, choices=State, default=State.COMPUTING)
    asked_at = models.DateTimeField()
    as_of = models.DateTimeField(null=True)
    done = models.IntegerField(default=0)  # documents, of `total`
    total = models.IntegerField(default=0)
    proposes = models.BooleanField(default=False)  # its author asked to propose it as soon as this is ready
    periods = models.PositiveSmallIntegerField(default=3)  # of the past, that the back-test posts again in memory
    rows_hash = models.CharField(max_length=64, blank=True)  # of the rows that it was computed for (planning.mark_of)
    knowledge = models.BigIntegerField(default=0)  # the newest change set's number then
    content = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.change_set_id}: {self.state}"


class EvidenceDocument(models.Model):
    """One document of the evidence: held and tried again, or posted and derived again."""

    id = models.BigAutoField(primary_key=True)
    evidence = models.ForeignKey(Evidence, on_delete=models.CASCADE, related_name="documents")
    part = models.CharField(max_length=8)  # held, posted (what the dates reach), tested (of the periods chosen)
    transaction_id = models.UUIDField()
    number = models.CharField(max_length=80, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    period_code = models.CharField(max_length=20, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    amount = models.DecimalField(max_digits=20, decimal_places=6, null=True)
    outcome = models.CharField(max_length=8)
    says = models.CharField(max_length=300, blank=True)
    moves = models.JSONField(default=list)  # of a posted one: [account, department, class, location, net debit]
    became = models.CharField(max_length=8, blank=True)  # once it is in force, a held one is released or dropped
    became_says = models.CharField(max_length=300, blank=True)

    class Meta:
        indexes = [models.Index(fields=["evidence", "part", "id"], name="evidence_document")]

    def __str__(self) -> str:
        return f"{self.number} {self.outcome}"


class _TextPoint(Func):
    function = "textrange"
    output_field = Field()

    def __init__(self, value, **extra):
        super().__init__(value, value, Value("[]"), **extra)


class _DateSpan(Func):
    function = "daterange"
    output_field = Field()


class _NumberSpan(Func):
    function = "int8range"
    output_field = Field()


ONE_RULE_A_DAY = "mapping_rules_never_overlap"
_BREAK = Value("\x1f")
_WHAT = (
    "kind", _BREAK, "key", _BREAK, "connection_code", _BREAK, "legal_entity_code", _BREAK, "currency", _BREAK, "region",
    _BREAK, "product_line", _BREAK, "conditions_key",
)  # fmt: skip


class MappingRule(models.Model):
    """A translation of a code, in force for some dates and known during some change sets (bitemporal, never edited).

    Scope and `conditions` narrow it; priority follows from how specific it is, never from entry order. A change closes
    `known_to` of the old row and writes a new one, so what was known then stays reproducible.
    """

    id = models.BigAutoField(primary_key=True)
    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=250)  # several fields of a key are joined by "|"; a pattern ends in *
    connection_code = models.CharField(max_length=40, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    region = models.CharField(max_length=40, blank=True)
    product_line = models.CharField(max_length=80, blank=True)
    conditions = models.JSONField(default=dict, blank=True)
    conditions_key = models.CharField(
        max_length=250, blank=True
    )  # canonical text of the conditions, for the no-overlap rule
    value = models.CharField(max_length=250)
    value_label = models.CharField(max_length=300, blank=True)
    is_pattern = models.BooleanField(default=False)
    is_fallback = models.BooleanField(default=False)
    specificity = models.SmallIntegerField(default=0)
    effective_from = models.DateField()
    effective_to = models.DateField(null=True, blank=True)  # exclusive
    known_from = models.BigIntegerField()  # the change set's number that made it known
    known_to = models.BigIntegerField(null=True, blank=True)  # exclusive: the change set that replaced it
    version = models.IntegerField(default=1)
    change_line = models.ForeignKey(ChangeLine, null=True, on_delete=models.PROTECT, related_name="+")
    proposed_by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    approved_by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")

    class Meta:  # its lists have the indexes rule_listed and rule_replaced (migration 0009)
        constraints = [
            models.CheckConstraint(
                condition=~Q(approved_by=models.F("proposed_by")), name="rule_approver_is_not_proposer"
            ),
            models.CheckConstraint(
                condition=Q(effective_to__isnull=True) | Q(effective_to__gt=models.F("effective_from")),
                name="rule_dates_in_order",
            ),
            models.CheckConstraint(
                condition=Q(known_to__isnull=True) | Q(known_to__gt=models.F("known_from")),
                name="rule_knowledge_in_order",
            ),
            ExclusionConstraint(
                name=ONE_RULE_A_DAY,
                expressions=[
                    (_TextPoint(Concat(*_WHAT, output_field=CharField())), "&&"),
                    (_DateSpan("effective_from", "effective_to", Value("[)")), "&&"),
                    (_NumberSpan("known_from", "known_to", Value("[)")), "&&"),
                ],
            ),
        ]
        indexes = [
            models.Index(fields=["kind", "key"], name="rule_key"),
            models.Index(fields=["kind", "legal_entity_code"], name="rule_entity", condition=Q(known_to__isnull=True)),
            models.Index(fields=["kind"], name="rule_pattern", condition=Q(is_pattern=True)),
            models.Index(fields=["kind"], name="rule_looks", condition=~Q(conditions_key="") | ~Q(region="")),
        ]
        triggers = [
            pgtrigger.ReadOnly(name="rule_content", exclude=["known_to"]),
            pgtrigger.Protect(
                name="rule_knowledge_ends_once",
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__known_to__isnull=False),
            ),
            pgtrigger.Protect(name="no_delete", operation=pgtrigger.Delete),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.kind} {self.key} = {self.value}"

    @property
    def only(self) -> str:
        """Its conditions in words: "only invoices to customers in DE, FR"; empty where it has none."""
        return say(self.conditions)


class SuggestionChoice(models.Model):
    """A suggestion that stood beside a key when somebody decided what it becomes: what was offered, what was chosen."""

    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=250)
    connection_code = models.CharField(max_length=40, blank=True)
    legal_entity_code = models.CharField(max_length=20, blank=True)
    currency = models.CharField(max_length=3, blank=True)
    offered = models.CharField(max_length=250)
    reason = models.CharField(max_length=20)
    chosen = models.CharField(max_length=250)
    by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["kind", "key"], name="suggestion_key")]
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.kind} {self.key}: {self.offered}"


class SuggestionRate(models.Model):
    """How often suggestions of one reason were right, as counted at a time; a new row when it has changed."""

    kind = models.CharField(max_length=40)
    reason = models.CharField(max_length=20)
    tried = models.IntegerField()
    right = models.IntegerField()
    at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["kind", "reason", "-id"], name="suggestion_rate")]
        triggers = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.kind} {self.reason}: {self.right} of {self.tried}"


class RuleUse(models.Model):
    """How often a fallback or rule was used: a tally per worker, rolled up by beat; never one hot row."""

    rule = models.ForeignKey(MappingRule, on_delete=models.CASCADE, related_name="uses")
    worker = models.CharField(max_length=60)
    count = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["rule", "worker"], name="one_tally_per_rule_and_worker")]

    def __str__(self) -> str:
        return f"{self.rule_id}: {self.count}"


class Sheet(models.Model):
    """What somebody sent to be proposed (a file, pasted cells), kept until its draft is made. Others don't see it."""

    class State(models.TextChoices):
        WAITING = "waiting"
        CHECKING = "checking"
        CHECKED = "checked"
        REFUSED = "refused"  # it can't be read; `says` tells why
        CANCELLED = "cancelled"
        DRAFTED = "drafted"

    id = models.BigAutoField(primary_key=True)
    made_by = models.ForeignKey("core.Person", on_delete=models.PROTECT, related_name="+")
    made_at = models.DateTimeField()
    name = models.CharField(max_length=200)
    is_pasted = models.BooleanField(default=False)
    kind = models.CharField(max_length=40, blank=True)  # of rows that name none
    default_from = models.DateField()
    content = models.BinaryField()  # empty once it isn't needed
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    stage = models.CharField(max_length=10, blank=True)  # read, checked, compared: what the worker is at
    done_rows = models.IntegerField(default=0)
    total_rows = models.IntegerField(default=0)
    told_at = models.DateTimeField(null=True)  # when its worker last said something
    says = models.TextField(blank=True)
    report = models.JSONField(default=dict)
    wish = models.JSONField(default=dict)  # title, why: a draft is wanted of it
    change_set = models.ForeignKey(ChangeSet, null=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        indexes = [models.Index(fields=["made_by", "-id"], name="sheet_maker")]

    def __str__(self) -> str:
        return self.name
