"""Channels: rooms of a chat, by an address that is a secret, and programs, by a secret that signs what they are sent.
What is told outside the house two people agree on.

A change is proposed; what was given waits, address and secret sealed, and is used nowhere before somebody else approves
it. Only switching one off holds at once: nobody is told less than they know by that, and a leak has to stop now.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError
from django.db.transaction import atomic
from django.utils import timezone

from connectors.connections import APPROVE
from connectors.guard import refuse_address, refuse_scheme
from exceptions import kind_words
from exceptions.alerts import planning, signing
from exceptions.models import AlertChannel, AlertDelivery, AlertSubscription
from q2c.core import approvals, audit, vault
from q2c.core.history import save_with_reason
from q2c.core.models import Person, Proposal
from q2c.core.templatetags.words import spoken

KIND = "alert_channel"
BOTH_SIGN = dt.timedelta(hours=24)  # so long after a secret was rolled the former one signs as well
_TOLD = ("queues", "entities", "severity", "has_clocks", "quiet_from", "quiet_until")  # of its subscription


class ChannelRefused(Exception):
    """An address that may not be dialled, or a channel that can't be; the text says why."""


def address_of(channel: AlertChannel) -> str:
    """Its address, in the clear. Raises vault.Unsealable for one that nobody agreed to yet."""
    return vault.open_with_master(bytes(channel.address)).decode()


def secrets_of(channel: AlertChannel, now: dt.datetime) -> list[str]:
    """What a webhook is signed with: its secret, and the former one while it's rolled. Raises vault.Unsealable."""
    sealed = [channel.secret]
    if channel.former_until is not None and now < channel.former_until:
        sealed.append(channel.former_secret)
    return [vault.open_with_master(bytes(each)).decode() for each in sealed if each]


def forget_former(now: dt.datetime) -> None:
    """Secrets that were rolled and needn't sign any more aren't kept."""
    rows = AlertChannel.objects.filter(former_until__lte=now)
    rows.update(former_secret=None, former_until=None)


def address_fault(address: str) -> str:
    """Why this address may not be dialled, or "". A name is judged once more by its addresses, when it's dialled."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "That isn’t an address."
    if not host or parts.username or parts.fragment:
        return "Write the whole address that the chat gave, such as https://hooks.example.com/…"
    if not all("!" <= sign <= "~" for sign in address):
        return "It has a space or another character that no address has; write those as %20 and so on."
    refusal = refuse_scheme(parts.scheme, allows_private=settings.IS_DEMO)
    if refusal is None:
        try:
            refusal = refuse_address(host, allows_private=settings.IS_DEMO)
        except ValueError:
            name = host.lower().rstrip(".")
            is_inside = "." not in name or name.endswith((".local", ".internal", ".localhost"))
            refusal = f"{host} is inside this network" if is_inside and not settings.IS_DEMO else None
    return f"It may not be dialled: {refusal}." if refusal else ""


@atomic
def propose_channel(
    channel: AlertChannel, *, name: str, sort: str, address: str, is_active: bool, told: Mapping[str, Any], why: str,
    by: Person, secret: str = "",
) -> Proposal | None:  # fmt: skip
    """Have a channel added or changed once somebody else agrees; without an address or a secret it keeps its own.
    Returns the proposal, or None where it was only switched off, or the portal did that and it stays so, which holds
    at once. Raises ChannelRefused, and ApprovalRefused without a reason.
    """
    is_new = channel.pk is None
    if not is_new:
        channel = AlertChannel.objects.select_for_update().get(pk=channel.pk)
    if address and (said := address_fault(address)):
        raise ChannelRefused(said)
    if is_new and not address:
        raise ChannelRefused("A new channel needs its address.")
    _check_secret(channel, sort, secret)
    if _is_taken(name, channel):
        raise ChannelRefused(f"There’s a channel “{name}” already.")
    was = {} if is_new else _values(channel)
    wished = {"name": name, "sort": sort, "is_active": is_active, **{key: _plain(told[key]) for key in _TOLD}}
    if not is_new and not address and not secret:
        if wished == was and channel.off_because:
            _keep_off(channel, why=why, by=by)
            return None
        if wished == was:
            raise ChannelRefused("Nothing of it changes.")
        if was["is_active"] and wished == {**was, "is_active": False}:
            _switch_off(channel, why=why, by=by)
            return None
    if not is_new and open_proposal(channel) is not None:
        raise ChannelRefused("Another change of it waits for a second person.")
    waits = {column: vault.seal_with_master(given.encode()) if given else None
             for column, given in (("next_address", address), ("next_secret", secret))}  # fmt: skip
    if is_new:
        channel.name, channel.sort, channel.is_active = name, sort, False
        channel.next_address, channel.next_secret = waits["next_address"], waits["next_secret"]
        try:
            with atomic():
                save_with_reason(channel, why=why, by=by)
        except IntegrityError as taken:  # somebody else had the same thought just now
            raise ChannelRefused(f"There’s a channel “{name}” already.") from taken
    else:
        AlertChannel.objects.filter(pk=channel.pk).update(**waits)
    host = urlsplit(address).hostname or "" if address else ""
    content = {"channel": channel.pk, "new_host": host, "wished": wished, "was": was,
               "happens": _happens(wished, was, host) + _signs(channel, sort, secret)}  # fmt: skip
    if secret:
        content["new_secret"] = vault.mark(secret.encode())  # a keyed digest: what is signed for is this one
    title = f"Tell {name}, {channel_sort(sort)}" if is_new else f"Change the channel {channel.name}"
    return approvals.propose(
        KIND, (KIND, channel.pk), content=content, by=by, title=title, why=why, permission=APPROVE
    )  # fmt: skip


def open_proposal(channel: AlertChannel) -> Proposal | None:
    """The change of it that waits for a second person."""
    rows = Proposal.objects.filter(kind=KIND, subject_type=KIND, subject_id=str(channel.pk))
    return rows.filter(state=Proposal.State.PROPOSED).select_related("proposed_by").first()


@atomic
def apply_change(proposal: Proposal, *, by: Person) -> AlertChannel:
    """What two people agreed on. Raises ValueError when it wasn't approved, when the channel changed meanwhile, and
    when another one has its name by now."""
    if proposal.kind != KIND or proposal.state != Proposal.State.APPROVED:
        raise ValueError("It isn't approved.")
    content = proposal.content
    channel = AlertChannel.objects.select_for_update().get(pk=content["channel"])
    if content["was"] and content["was"] != _values(channel):
        raise ValueError("The channel was changed meanwhile; propose it anew.")
    if _is_taken(content["wished"]["name"], channel):
        raise ValueError(f"There’s another channel “{content['wished']['name']}” by now; propose it by another name.")
    if content["new_host"]:
        if channel.next_address is None:
            raise ValueError("The new address isn’t there any more; propose it anew.")
        channel.address, channel.host, channel.next_address = channel.next_address, content["new_host"], None
    wished = content["wished"]
    channel.name, channel.sort, channel.is_active = wished["name"], wished["sort"], wished["is_active"]
    channel.off_because = ""
    if content.get("new_secret"):
        _roll(channel, content["new_secret"])
    if not channel.is_webhook:
        channel.secret = channel.former_secret = channel.former_until = None
    save_with_reason(channel, why=proposal.why, by=by)
    if not channel.is_active:
        _drop_waiting(channel)
    told = {key: wished[key] or None if key.startswith("quiet") else wished[key] for key in _TOLD}
    subscription, _ = AlertSubscription.objects.update_or_create(channel=channel, defaults=told)
    if channel.is_active and channel.is_webhook:
        planning.end_for_program(subscription, timezone.now())
    facts = {"proposal": proposal.pk, "host": channel.host, "new_address": bool(content["new_host"]),
             "new_secret": bool(content.get("new_secret")), **wished}  # fmt: skip
    audit.record(by, "change" if content["was"] else "add", KIND, channel.pk, why=proposal.why, data=facts)
    return channel


@atomic
def drop_change(proposal: Proposal) -> None:
    """What isn't agreed on: address and secret that waited with it go, and so does a channel that never had others."""
    channel = AlertChannel.objects.select_for_update().get(pk=proposal.content["channel"])
    if not channel.is_agreed:
        channel.delete()
        return
    AlertChannel.objects.filter(pk=channel.pk).update(next_address=None, next_secret=None)


def withdraw(proposal: Proposal, *, by: Person, why: str) -> None:
    """Its proposer takes a change back. Raises ApprovalRefused for anybody else, and when it's decided."""
    with atomic():
        approvals.withdraw(proposal, by=by, why=why)
        drop_change(proposal)


def channel_sort(sort: str) -> str:
    """What it is, in words."""
    return "a program" if sort == AlertChannel.Sort.WEBHOOK else f"a room of {AlertChannel.Sort(sort).label}"


@atomic
def switch_off(channel: AlertChannel, because: str) -> None:
    """The portal's own doing: it isn't told any more, for this reason (`AlertChannel.Off`), until two people agree."""
    locked = AlertChannel.objects.select_for_update().get(pk=channel.pk)
    if locked.is_active:
        waiting = AlertDelivery.objects.filter(channel=locked, state=AlertDelivery.State.WAITING)
        waiting.update(state=AlertDelivery.State.FAILED, error="it was switched off")  # to be sent again once it's on
        locked.off_because = because
        _switch_off(locked, why=f"{AlertChannel.Off(because).label}.", by=None)


def _check_secret(channel: AlertChannel, sort: str, secret: str) -> None:
    """Raises ChannelRefused for a webhook without a secret, a room with one, and a secret that isn't one."""
    is_webhook = sort == AlertChannel.Sort.WEBHOOK
    if secret and not is_webhook:
        raise ChannelRefused("Only a signed webhook has a secret.")
    if is_webhook and not secret and not channel.secret:
        raise ChannelRefused("A signed webhook needs the secret that it’s signed with.")
    if secret:
        try:
            signing.key_of(secret)
        except signing.SecretRefused as refused:
            raise ChannelRefused(str(refused)) from refused


def _signs(channel: AlertChannel, sort: str, secret: str) -> list[str]:
    """What is signed otherwise, in sentences."""
    if not secret:
        return []
    if not channel.secret:
        return ["What it’s sent is signed with the secret that was given."]
    hours = BOTH_SIGN // dt.timedelta(hours=1)
    return [f"What it’s sent is signed with a new secret, for {hours} hours with the former one as well."]


def _roll(channel: AlertChannel, mark: str) -> None:
    """The secret that waits is the one; the one before goes on signing for a while. Raises ValueError for another."""
    waits = bytes(channel.next_secret) if channel.next_secret else b""
    if not waits or not vault.is_marked(vault.open_with_master(waits), mark):
        raise ValueError("The new secret isn’t there any more; propose it anew.")
    if channel.secret:
        channel.former_secret, channel.former_until = channel.secret, timezone.now() + BOTH_SIGN
    channel.secret, channel.next_secret = waits, None


@atomic
def switch_all_off(*, why: str, by: Person) -> list[str]:
    """Nobody is told anything any more by a channel; returns the names of those that were on."""
    rows = list(AlertChannel.objects.select_for_update().filter(is_active=True).order_by("name"))
    for channel in rows:
        _switch_off(channel, why=why, by=by)
    return [channel.name for channel in rows]


def _switch_off(channel: AlertChannel, *, why: str, by: Person | None) -> None:
    channel.is_active = False
    save_with_reason(channel, why=why, by=by)
    _drop_waiting(channel)
    facts = {"name": channel.name, "host": channel.host}
    audit.record(by or audit.PORTAL, "switch_off", KIND, channel.pk, why=why, data=facts)


def _keep_off(channel: AlertChannel, *, why: str, by: Person) -> None:
    """A person says that what the portal switched off stays so: nobody need look after it any more."""
    facts = {"name": channel.name, "host": channel.host, "because": channel.off_because}
    channel.off_because = ""
    save_with_reason(channel, why=why, by=by)
    audit.record(by, "keep_off", KIND, channel.pk, why=why, data=facts)


def _drop_waiting(channel: AlertChannel) -> None:
    """What waits to be sent to it isn't, also not once it's on again."""
    waiting = AlertDelivery.objects.filter(channel=channel, state=AlertDelivery.State.WAITING)
    waiting.update(state=AlertDelivery.State.DROPPED)


def _is_taken(name: str, channel: AlertChannel) -> bool:
    return AlertChannel.objects.filter(name=name).exclude(pk=channel.pk).exists()


def _values(channel: AlertChannel) -> dict[str, Any]:
    told = AlertSubscription.objects.filter(channel=channel).first() or AlertSubscription()
    return {
        "name": channel.name, "sort": channel.sort, "is_active": channel.is_active,
        **{key: _plain(getattr(told, key)) for key in _TOLD},
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """As a proposal keeps it: times as 19:00, nothing as "", lists in order."""
    if hasattr(value, "strftime"):
        return f"{value:%H:%M}"
    return sorted(value) if isinstance(value, list) else "" if value is None else value


def _happens(wished: Mapping[str, Any], was: Mapping[str, Any], host: str) -> list[str]:
    """What will be otherwise, in sentences; of a new channel all of it."""
    words = {
        "name": f"Its name is {wished['name']}.",
        "sort": f"It’s {channel_sort(wished['sort'])}.",
        "is_active": "Messages are sent to it." if wished["is_active"] else "No messages are sent to it.",
        "queues": f"It’s told of {_listed('queue', [spoken(queue) for queue in wished['queues']])}.",
        "entities": f"It’s told of {_listed('entity', wished['entities'])}.",
        "severity": f"It’s told of what is {kind_words.SEVERITY_WORDS[wished['severity']]} or more pressing.",
        "has_clocks": f"It’s {'also' if wished['has_clocks'] else 'not'} told of promises at risk and broken ones.",
    }
    said = [words[key] for key in words if wished[key] != was.get(key)]
    if any(wished[key] != was.get(key, "") for key in ("quiet_from", "quiet_until")):
        hours = f"from {wished['quiet_from']} until {wished['quiet_until']}" if wished["quiet_from"] else "never"
        said.append(f"It’s quiet {hours}.")
    replaces = ", in place of the former" if was else ""
    return [f"Messages go to an address at {host}{replaces}.", *said] if host else said


def _listed(noun: str, found: list[str]) -> str:
    return f"{', '.join(found)} only" if found else f"every {noun}"
