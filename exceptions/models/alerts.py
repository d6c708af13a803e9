"""Alerts: what happened to many cases told as one, to whom, where it's sent, and what came of each attempt."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords


class AlertChannel(models.Model):
    """A room of a chat that is told, or a program. A room's address is a secret: whoever has it may write there; what
    a program is sent is signed with a secret that it shares with us."""

    class Sort(models.TextChoices):
        SLACK = "slack", "Slack"
        TEAMS = "teams", "Microsoft Teams"
        WEBHOOK = "webhook", "Signed webhook"

    class Off(models.TextChoices):
        """Why the portal itself switched it off."""

        GONE = "gone", "It answered 410: it’s gone"
        FAILING = "failing", "It took nothing for days"

    name = models.CharField(max_length=80, unique=True)
    sort = models.CharField(max_length=10, choices=Sort)
    address = models.BinaryField(default=bytes)  # sealed with the master key, never shown again; empty: none agreed yet
    next_address = models.BinaryField(null=True)  # one that waits for a second person
    host = models.CharField(max_length=253)  # of the address, to be recognised by
    # What a webhook is signed with, sealed like the address; while it's rolled the former one signs as well.
    secret = models.BinaryField(null=True)
    next_secret = models.BinaryField(null=True)
    former_secret = models.BinaryField(null=True)
    former_until = models.DateTimeField(null=True)
    is_active = models.BooleanField(default=True)
    off_because = models.CharField(max_length=10, choices=Off, blank=True, default="", db_default="")
    SEALED = ("address", "next_address", "secret", "next_secret", "former_secret")
    history = HistoricalRecords(excluded_fields=list(SEALED))

    def __str__(self) -> str:
        return self.name

    @property
    def is_agreed(self) -> bool:
        """Whether two people have agreed to an address of it."""
        return bool(self.address)

    @property
    def is_webhook(self) -> bool:
        """Whether it's a program, which is sent signed messages."""
        return self.sort == AlertChannel.Sort.WEBHOOK


class AlertSubscription(models.Model):
    """What a person or a channel is told of, and when. Empty lists mean all that they may see."""

    class Rhythm(models.TextChoices):
        AT_ONCE = "at_once", "At once"
        DIGEST = "digest", "Once a day"

    person = models.OneToOneField("core.Person", null=True, on_delete=models.CASCADE, related_name="alerts")
    channel = models.OneToOneField(AlertChannel, null=True, on_delete=models.CASCADE, related_name="alerts")
    is_active = models.BooleanField(default=True)
    queues = ArrayField(models.CharField(max_length=30), default=list, blank=True)
    entities = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    severity = models.SmallIntegerField(default=2)  # this one and more pressing ones
    has_clocks = models.BooleanField(default=True)  # also promises at risk and broken ones
    rhythm = models.CharField(max_length=10, choices=Rhythm, default=Rhythm.AT_ONCE)
    digest_at = models.TimeField(default="08:00")  # in the person's zone
    quiet_from = models.TimeField(null=True, blank=True)
    quiet_until = models.TimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(person__isnull=True) ^ Q(channel__isnull=True), name="alerts_of_one_receiver"
            )
        ]

    def __str__(self) -> str:
        return f"{self.person or self.channel}"


class AlertGroup(models.Model):
    """One alert: cases of one kind, connection and flow that opened (or whose promise broke) close to each other."""

    class About(models.TextChoices):
        OPENED = "opened"
        AT_RISK = "at_risk"
        BREACHED = "breached"

    about = models.CharField(max_length=10, choices=About)
    level = models.SmallIntegerField(default=0)  # how far up a broken promise is told
    kind = models.CharField(max_length=60)
    connection_code = models.CharField(max_length=40, blank=True)
    flow = models.CharField(max_length=40, blank=True)
    severity = models.SmallIntegerField()  # the most pressing one
    queues = ArrayField(models.CharField(max_length=30))
    entities = ArrayField(models.CharField(max_length=20))
    case_count = models.IntegerField(default=0)
    parts = models.JSONField(null=True)  # its cases by queue and entity: nobody is told of others' ones
    first_at = models.DateTimeField()  # of the cases: when they opened
    last_at = models.DateTimeField()
    grew_at = models.DateTimeField()
    is_planned = models.BooleanField(default=False)  # whoever is to be told of what it holds now is noted
    over_at = models.DateTimeField(null=True)
    remind_at = models.DateTimeField(null=True)  # when it's looked at next whether somebody is to be told again

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["about", "level", "kind", "connection_code", "flow"],
                condition=Q(over_at__isnull=True),
                name="one_alert_per_storm",
            )
        ]
        indexes = [models.Index(fields=["-id"], name="alert_running", condition=Q(over_at__isnull=True))]

    def __str__(self) -> str:
        return f"{self.kind} {self.about}"

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left."""
        return self.over_at is not None


class AlertDelivery(models.Model):
    """One message to one receiver. Taken by a lease before it's sent, so what dies while sending is sent once more."""

    class What(models.TextChoices):
        ALERT = "alert"
        REMINDER = "reminder"  # cases of it are still open
        ALL_CLEAR = "all_clear"

    class State(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        FAILED = "failed"
        DROPPED = "dropped"  # over before anybody was told

    group = models.ForeignKey(AlertGroup, on_delete=models.CASCADE, related_name="deliveries")
    what = models.CharField(max_length=10, choices=What)
    round = models.SmallIntegerField(default=0, db_default=0)  # of reminders: the first, the second, ...
    person = models.ForeignKey("core.Person", null=True, on_delete=models.CASCADE, related_name="+")
    channel = models.ForeignKey(AlertChannel, null=True, on_delete=models.CASCADE, related_name="+")
    is_digest = models.BooleanField(default=False)
    due_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    attempts = models.SmallIntegerField(default=0)
    taken_until = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=200, blank=True)
    # Of a webhook, from its first attempt on: its id and its body are the same however often it's sent.
    message_id = models.CharField(max_length=40, blank=True, default="", db_default="")
    body = models.TextField(blank=True, default="", db_default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["group", "what", "round", "person"], condition=Q(person__isnull=False),
                name="one_message_per_person_and_round",
            ),
            models.UniqueConstraint(
                fields=["group", "what", "round", "channel"], condition=Q(channel__isnull=False),
                name="one_message_per_channel_and_round",
            ),
        ]  # fmt: skip
        indexes = [
            models.Index(fields=["due_at", "id"], name="alert_due", condition=Q(state="waiting")),
            models.Index(fields=["channel", "-id"], name="alert_of_channel", condition=Q(channel__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.what} to {self.person or self.channel}"


class AlertAttempt(models.Model):
    """What came of sending a message to a channel once: for whoever keeps the channels. Its address isn't in it."""

    delivery = models.ForeignKey(AlertDelivery, on_delete=models.CASCADE, related_name="tries")
    channel = models.ForeignKey(AlertChannel, on_delete=models.CASCADE, related_name="+", db_index=False)
    at = models.DateTimeField()
    took_ms = models.IntegerField(default=0)
    status = models.SmallIntegerField(null=True)  # what it answered; null: nothing
    error = models.CharField(max_length=200, blank=True)  # why it wasn't taken over; empty: it was

    class Meta:
        indexes = [models.Index(fields=["channel", "-at"], name="attempt_of_channel")]

    def __str__(self) -> str:
        return f"{self.delivery_id} {self.status} {self.error}"
