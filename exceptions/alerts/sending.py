"""Sends what is due: mails, and messages to Slack and Teams.

A message is taken by a lease in a commit of its own before it's sent, and marked when it was taken over there. So one
whose sender dies is sent again once the lease is over: at most once more for each death, and never lost.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import Iterable

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import Q
from django.db.transaction import atomic
from django.utils import timezone

from connectors import http
from connectors.auth import NoAuth
from connectors.manifest import Limits
from exceptions.alerts import channels, messages, reach
from exceptions.alerts.parts import Part
from exceptions.kind_words import LOW, PLATFORM
from exceptions.models import AlertChannel, AlertDelivery, AlertGroup
from q2c.core import vault
from q2c.core.problems import Category, Problem

BATCH = 200
LEASE = dt.timedelta(minutes=2)
ATTEMPTS_MAX = 8
WAITS = (15, 30, 60, 120, 300, 600, 1800)  # seconds before the next attempt
LIMITS = Limits(at_once=4, per_second=1.0, timeout_seconds=15.0, connect_seconds=5.0)  # Slack: one a second a channel
State = AlertDelivery.State
UNSEEN = "no role shows any of it any more"
Failures = dict[int, str]  # by delivery; what was sent isn't in it
Own = dict[int, list[Part]]  # by delivery: what its reader may know


def send_due(now: dt.datetime | None = None) -> int:
    """Send what is due. Returns how many messages were taken over."""
    sent = 0
    while rows := _take(now or timezone.now()):
        own = reach.of_readers(rows)
        failures = {row.pk: UNSEEN for row in rows if not own[row.pk]}
        seen = [row for row in rows if own[row.pk]]
        failures |= _mail([row for row in seen if row.person_id], own)
        failures |= _post([row for row in seen if row.channel_id], own)
        sent += _note(rows, failures)
    return sent


def try_channel(channel: AlertChannel) -> str:
    """Send one message that is made up, to see whether it's taken. Returns why it wasn't, or ""."""
    now = timezone.now()
    group = AlertGroup(
        about=AlertGroup.About.OPENED, kind=messages.TEST, severity=LOW, queues=[PLATFORM], entities=[],
        first_at=now, last_at=now, grew_at=now,
    )  # fmt: skip
    row = AlertDelivery(pk=0, group=group, what=AlertDelivery.What.ALERT, channel=channel)
    return _post([row], {0: [Part(PLATFORM, "", LOW, 0)]}).get(0, "")


@atomic
def _take(now: dt.datetime) -> list[AlertDelivery]:
    free = Q(taken_until=None) | Q(taken_until__lt=now)
    due = AlertDelivery.objects.filter(free, state=State.WAITING, due_at__lte=now).exclude(channel__is_active=False)
    rows = list(due.select_for_update(skip_locked=True, of=("self",)).order_by("due_at", "id")[:BATCH])
    ids = [row.pk for row in rows]
    AlertDelivery.objects.filter(pk__in=ids).update(taken_until=now + LEASE)
    return list(
        AlertDelivery.objects.filter(pk__in=ids).select_related("group", "person", "channel__alerts").order_by("id")
    )


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


def _post(rows: list[AlertDelivery], own: Own) -> Failures:
    return asyncio.run(_post_all(rows, own)) if rows else {}


async def _post_all(rows: list[AlertDelivery], own: Own) -> Failures:
    try:
        said = await asyncio.gather(*(_post_one(row, own[row.pk]) for row in rows))
    finally:
        await http.close_sessions()
    return {row.pk: error for row, error in zip(rows, said, strict=True) if error}


async def _post_one(row: AlertDelivery, parts: list[Part]) -> str:
    channel = row.channel
    if channel is None:
        return "no channel"
    body = messages.as_teams if channel.sort == AlertChannel.Sort.TEAMS else messages.as_slack
    try:
        address = channels.address_of(channel)
    except vault.Unsealable:  # its failure alone: what goes with it was sent
        return "its address can’t be opened"
    line = http.Line(
        f"alerts-{channel.pk}", "alerts", channel.name, address, at_once=LIMITS.at_once,
        allows_private=settings.IS_DEMO,
    )  # fmt: skip
    phone = http.Telephone(line, LIMITS, auth=NoAuth(), explain=_explain, record=_forget)
    try:
        await phone.call("POST", "", verb="alert", json=body(row.group, row.what, parts), is_authorized=False)
    except Problem as problem:
        return problem.summary.replace(address, channel.host)[:200]
    return ""


def _explain(reply: http.Reply) -> Problem:
    says = f"It answered {reply.status}"
    if reply.status == 429:
        wait = reply.headers.get("Retry-After", "")
        seconds = float(wait) if wait.isdecimal() else 30.0
        return Problem("rate_limited", Category.RATE_LIMIT, says, wait_seconds=seconds)
    return Problem("vendor_refused", Category.VALIDATION, says)


def _forget(noted: http.Recorded) -> None:
    """Exchanges of channels aren't kept: their address is the secret."""


def _note(rows: Iterable[AlertDelivery], failures: Failures) -> int:
    now, sent = timezone.now(), 0
    for row in rows:
        row.attempts += 1
        row.taken_until = None
        row.error = failures.get(row.pk, "")
        if not row.error:
            row.state, row.sent_at = State.SENT, now
            sent += 1
        elif row.error == UNSEEN:
            row.state = State.DROPPED
        elif row.attempts >= ATTEMPTS_MAX or row.error == "no address":
            row.state = State.FAILED
        else:
            row.due_at = now + dt.timedelta(seconds=WAITS[min(row.attempts, len(WAITS)) - 1])
    AlertDelivery.objects.bulk_update(rows, ["attempts", "taken_until", "error", "state", "sent_at", "due_at"])
    return sent
