"""Sends what is due: mails, and messages to rooms and programs.

A message is taken by a lease in a commit of its own before it's sent, and marked when it was taken over there. So one
whose sender dies is sent again once the lease is over: at most once more for each death, and never lost. What a program
is sent has its id and its body before that, so the second time it's the same message.
"""

from __future__ import annotations

import datetime as dt
import random
import time
from collections import defaultdict
from collections.abc import Iterable

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Q, Window
from django.db.models.functions import RowNumber
from django.db.transaction import atomic
from django.utils import timezone

from exceptions.alerts import channels, failing, messages, posting, reach, webhooks
from exceptions.alerts.parts import Part, open_parts
from exceptions.alerts.posting import Outcome
from exceptions.kind_words import LOW, PLATFORM
from exceptions.models import AlertAttempt, AlertChannel, AlertDelivery, AlertGroup

BATCH = 200
LEASE = dt.timedelta(minutes=2)
ATTEMPTS_MAX = 8
WAITS = (15, 30, 60, 120, 300, 600, 1800)  # seconds before the next attempt
# Of a program, as Standard Webhooks has it: 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and 24 hours, about three days in all.
WEBHOOK_WAITS = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
WEBHOOK_ATTEMPTS_MAX = len(WEBHOOK_WAITS) + 1
JITTER = 0.1
WAIT_UNTRIED = 15.0  # where nothing could be tried and nobody said for how long
WEBHOOKS_AT_ONCE = 8  # of one program in a batch: one that hangs, or has many due, keeps nobody else waiting for long
ROUND_SECONDS = 60.0  # then the next round goes on: a round's lease is twice that
State = AlertDelivery.State
UNSEEN = "no role shows any of it any more"
OVER = "it was over or set aside before it was sent"
Failures = dict[int, str]  # by delivery; what was sent isn't in it
Own = dict[int, list[Part]]  # by delivery: what its reader may know


def send_due(now: dt.datetime | None = None) -> int:
    """Send what is due. Returns how many messages were taken over."""
    sent, until = 0, time.monotonic() + ROUND_SECONDS
    channels.forget_former(now or timezone.now())
    while time.monotonic() < until and (rows := _take(now or timezone.now())):
        own = reach.of_readers(rows)
        failures = {row.pk: _why_nothing(row) for row in rows if not own[row.pk]}
        seen = [row for row in rows if own[row.pk]]
        failures |= _mail([row for row in seen if row.person_id], own)
        posted = [row for row in seen if row.channel_id]
        webhooks.freeze([row for row in posted if row.channel and row.channel.is_webhook], own, timezone.now())
        sent += _note(rows, failures, posting.post(posted, own))
    return sent


def try_channel(channel: AlertChannel) -> str:
    """Send one message that is made up, to see whether it's taken. Returns why it wasn't, or ""."""
    now = timezone.now()
    group = AlertGroup(
        about=AlertGroup.About.OPENED, kind=messages.TEST, severity=LOW, queues=[PLATFORM], entities=[],
        first_at=now, last_at=now, grew_at=now,
    )  # fmt: skip
    row = AlertDelivery(pk=0, group=group, what=AlertDelivery.What.ALERT, channel=channel)
    own = {0: [Part(PLATFORM, "", LOW, 0)]}
    if channel.is_webhook:
        webhooks.freeze([row], own, now)
    return posting.post([row], own)[0].error


@atomic
def _take(now: dt.datetime) -> list[AlertDelivery]:
    free = Q(taken_until=None) | Q(taken_until__lt=now)
    due = AlertDelivery.objects.filter(free, state=State.WAITING, due_at__lte=now)
    told = due.exclude(channel__is_active=False)
    is_program = Q(channel__sort=AlertChannel.Sort.WEBHOOK)
    nth = Window(RowNumber(), partition_by="channel", order_by=["due_at", "id"])
    of_programs = told.filter(is_program).annotate(nth=nth).filter(nth__lte=WEBHOOKS_AT_ONCE)
    asked = [
        pk
        for rows in (told.exclude(is_program), of_programs)  # apart: neither takes the other's places
        for pk in rows.order_by("due_at", "id").values_list("pk", flat=True)[:BATCH]
    ]
    rows = due.filter(pk__in=asked).select_for_update(skip_locked=True, of=("self",)).order_by("due_at", "id")
    ids = list(rows.values_list("pk", flat=True))
    AlertDelivery.objects.filter(pk__in=ids).update(taken_until=now + LEASE)
    return list(
        AlertDelivery.objects.filter(pk__in=ids).select_related("group", "person", "channel__alerts").order_by("id")
    )


def _why_nothing(row: AlertDelivery) -> str:
    """Why its reader may know nothing of it: a reminder also where none of it is open any more, or waits."""
    return OVER if row.what == AlertDelivery.What.REMINDER and not open_parts(row.group) else UNSEEN


def _mail(rows: list[AlertDelivery], own: Own) -> Failures:
    """One mail a person for what comes in the digest, one each for the rest."""
    letters: dict[tuple[int | None, int], list[AlertDelivery]] = defaultdict(list)
    for row in rows:
        letters[row.person_id, 0 if row.is_digest else row.pk].append(row)
    failures: Failures = {}
    for letter in letters.values():
        if error := _mail_one(letter, own):
            failures |= {row.pk: error for row in letter}
    return failures


def _mail_one(letter: list[AlertDelivery], own: Own) -> str:
    person = letter[0].person
    if person is None or not person.email:
        return "no address"
    subject, text = messages.as_mail(letter, own)
    one = f"<alert-{letter[0].pk}@{settings.PRODUCT_NAME.lower().replace(' ', '-')}>"  # the same when it's sent again
    try:
        EmailMessage(subject, text, to=[person.email], headers={"Message-ID": one}).send()
    except OSError as error:  # smtplib's are OSErrors
        return f"{type(error).__name__}: {error}"[:200]
    return ""


def _note(rows: Iterable[AlertDelivery], failures: Failures, outcomes: dict[int, Outcome]) -> int:
    now, sent = timezone.now(), 0
    given_up = []
    for row in rows:
        outcome = outcomes.get(row.pk) or Outcome(failures.get(row.pk, ""))
        row.attempts += outcome.counts
        row.taken_until = None
        row.error = outcome.error
        if not row.error:
            row.state, row.sent_at = State.SENT, now
            sent += 1
        elif row.error in (UNSEEN, OVER):
            row.state = State.DROPPED
        elif _is_last(row, outcome):
            row.state = State.FAILED
            given_up.append((row, outcome))
        else:
            row.due_at = now + dt.timedelta(seconds=_wait(row, outcome))
    AlertDelivery.objects.bulk_update(rows, ["attempts", "taken_until", "error", "state", "sent_at", "due_at"])
    _log(rows, outcomes)
    for row, outcome in given_up:
        if row.channel is not None and row.channel.is_webhook:
            failing.give_up(row.channel, is_gone=outcome.is_gone)
    return sent


def _is_last(row: AlertDelivery, outcome: Outcome) -> bool:
    if not outcome.counts:
        return False
    is_webhook = row.channel is not None and row.channel.is_webhook
    attempts_max = WEBHOOK_ATTEMPTS_MAX if is_webhook else ATTEMPTS_MAX
    return row.attempts >= attempts_max or row.error == "no address" or (is_webhook and outcome.is_gone)


def _wait(row: AlertDelivery, outcome: Outcome) -> float:
    """Seconds until the next attempt: those of its schedule, or more where we are asked to stay away for longer."""
    waits = WEBHOOK_WAITS if row.channel is not None and row.channel.is_webhook else WAITS
    own = float(waits[max(1, min(row.attempts, len(waits))) - 1]) if outcome.counts else WAIT_UNTRIED
    if waits is WEBHOOK_WAITS:
        own *= random.uniform(1, 1 + JITTER)
    return max(own, outcome.wait_seconds)


def _log(rows: Iterable[AlertDelivery], outcomes: dict[int, Outcome]) -> None:
    """What came of each attempt to send to a channel, but for those that weren't made."""
    now = timezone.now()
    tried = [(row, outcomes[row.pk]) for row in rows if row.pk in outcomes and outcomes[row.pk].counts]
    AlertAttempt.objects.bulk_create(
        AlertAttempt(
            delivery=row, channel=row.channel, at=now, took_ms=outcome.took_ms, status=outcome.status,
            error=outcome.error,
        )
        for row, outcome in tried
        if row.channel is not None
    )  # fmt: skip
