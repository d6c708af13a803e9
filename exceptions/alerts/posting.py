"""Posts messages to channels through the one telephone: to rooms of Slack and Teams, and signed to programs."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass
from typing import Any

import msgspec
from django.conf import settings
from django.utils import timezone

from connectors import http, waits
from connectors.auth import NoAuth
from connectors.manifest import Limits
from exceptions.alerts import channels, messages, signing
from exceptions.alerts.parts import Part
from exceptions.models import AlertChannel, AlertDelivery
from q2c.core import vault
from q2c.core.problems import Category, NeverSent, Problem

LIMITS = Limits(at_once=4, per_second=1.0, timeout_seconds=15.0, connect_seconds=5.0)  # Slack: one a second a channel
WAIT_MOST = 86400.0  # seconds that a program may ask us to stay away, as long as the longest of its own waits
WAIT_UNSAID = 30.0  # seconds to stay away where a 429 doesn't say how long
_GONE = 410
_TAKES_LESS = (429, 502, 503, 504)


@dataclass(slots=True)
class Outcome:
    """What came of sending a message once; `counts` is False where nothing was tried (an open breaker, a pause)."""

    error: str = ""  # empty: taken over
    status: int | None = None
    took_ms: int = 0
    wait_seconds: float = 0.0
    counts: bool = True

    @property
    def is_gone(self) -> bool:
        """Whether the address says that there's nobody any more."""
        return self.status == _GONE


def post(rows: list[AlertDelivery], own: dict[int, list[Part]]) -> dict[int, Outcome]:
    """Send each to its channel, at once. What came of it, by the message's id."""
    return asyncio.run(_post_all(rows, own)) if rows else {}


async def _post_all(rows: list[AlertDelivery], own: dict[int, list[Part]]) -> dict[int, Outcome]:
    try:
        found = await asyncio.gather(*(_post_one(row, own[row.pk]) for row in rows))
    finally:
        await http.close_sessions()
    return {row.pk: outcome for row, outcome in zip(rows, found, strict=True)}


async def _post_one(row: AlertDelivery, parts: list[Part]) -> Outcome:
    channel = row.channel
    if channel is None:
        return Outcome("no channel")
    now = timezone.now()
    try:
        address = channels.address_of(channel)
        secrets = channels.secrets_of(channel, now) if channel.is_webhook else []
    except vault.Unsealable:  # its failure alone: what goes with it was sent
        return Outcome("its address can’t be opened")
    body, headers = _signed(row, secrets, now) if channel.is_webhook else (_as_chat(row, parts), {})
    outcome = Outcome()

    def note(noted: http.Recorded) -> None:
        """Exchanges of channels aren't kept: their address is the secret."""
        outcome.status, outcome.took_ms = noted.status, noted.took_ms

    line = http.Line(
        f"alerts-{channel.pk}", "alerts", channel.name, address, at_once=LIMITS.at_once,
        allows_private=settings.IS_DEMO,
    )  # fmt: skip
    explain = _explain_program if channel.is_webhook else _explain
    phone = http.Telephone(line, LIMITS, auth=NoAuth(), explain=explain, record=note)
    try:
        await phone.call("POST", address, verb="alert", json=body, headers=headers, is_authorized=False)
    except Problem as problem:
        outcome.error = problem.summary.replace(address, channel.host).replace(line.code, channel.host)[:200]
        outcome.wait_seconds = problem.wait_seconds or 0.0
        outcome.counts = not isinstance(problem, NeverSent) or problem.counts
    return outcome


def _as_chat(row: AlertDelivery, parts: list[Part]) -> dict[str, Any]:
    is_teams = row.channel is not None and row.channel.sort == AlertChannel.Sort.TEAMS
    return (messages.as_teams if is_teams else messages.as_slack)(row.group, row.what, parts)


def _signed(row: AlertDelivery, secrets: list[str], now: dt.datetime) -> tuple[msgspec.Raw, dict[str, str]]:
    """The very bytes that are signed, and the headers that prove them; the instant is this attempt's."""
    body = row.body.encode()
    return msgspec.Raw(body), signing.sign(row.message_id, int(now.timestamp()), body, secrets)


def _explain_program(reply: http.Reply) -> Problem:
    return _explain(reply, most=WAIT_MOST)


def _explain(reply: http.Reply, most: float = waits.WAIT_SECONDS_MAX) -> Problem:
    says = f"It answered {reply.status}"
    if 300 <= reply.status < 400:
        says += ", and nobody is followed elsewhere"
    is_asked = reply.status in _TAKES_LESS
    asked = waits.wait_seconds(reply.headers, timezone.now(), most=most) if is_asked else None
    if reply.status == 429 or asked is not None:
        seconds = WAIT_UNSAID if asked is None else asked
        return Problem("rate_limited", Category.RATE_LIMIT, says, wait_seconds=seconds)
    return Problem("vendor_refused", Category.VALIDATION, says)
