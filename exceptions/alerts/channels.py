"""Channels: rooms of a chat, by an address that is a secret. What is told outside the house two people agree on.

A change is proposed; what was given waits, the address sealed, and is used nowhere before somebody else approves it.
Only switching one off holds at once: nobody is told less than they know by that, and a leak has to stop now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import IntegrityError
from django.db.transaction import atomic

from connectors.connections import APPROVE
from connectors.guard import refuse_address, refuse_scheme
from exceptions import kind_words
from exceptions.models import AlertChannel, AlertDelivery, AlertSubscription
from q2c.core import approvals, audit, vault
from q2c.core.history import save_with_reason
from q2c.core.models import Person, Proposal
from q2c.core.templatetags.words import spoken

KIND = "alert_channel"
_TOLD = ("queues", "entities", "severity", "has_clocks", "quiet_from", "quiet_until")  # of its subscription


class ChannelRefused(Exception):
    """An address that may not be dialled, or a channel that can't be; the text says why."""


def address_of(channel: AlertChannel) -> str:
    """Its address, in the clear. Raises vault.Unsealable for one that nobody agreed to yet."""
    return vault.open_with_master(bytes(channel.address)).decode()


def address_fault(address: str) -> str:
    """Why this address may not be dialled, or "". A name is judged once more by its addresses, when it's dialled."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return "That isn’t an address."
    if not host or parts.username or parts.fragment:
        return "Write the whole address that the chat gave, such as https://hooks.example.com/…"
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
    by: Person,
) -> Proposal | None:  # fmt: skip
    """Have a channel added or changed once somebody else agrees; without an address it keeps its own. Returns the
    proposal, or None where it was only switched off, which holds at once. Raises ChannelRefused, and ApprovalRefused
    without a reason.
    """
    is_new = channel.pk is None
    if not is_new:
        channel = AlertChannel.objects.select_for_update().get(pk=channel.pk)
    if address and (said := address_fault(address)):
        raise ChannelRefused(said)
    if is_new and not address:
        raise ChannelRefused("A new channel needs its address.")
    if _is_taken(name, channel):
        raise ChannelRefused(f"There’s a channel “{name}” already.")
    was = {} if is_new else _values(channel)
    wished = {"name": name, "sort": sort, "is_active": is_active, **{key: _plain(told[key]) for key in _TOLD}}
    if not is_new and not address:
        if wished == was:
            raise ChannelRefused("Nothing of it changes.")
        if was["is_active"] and wished == {**was, "is_active": False}:
            _switch_off(channel, why=why, by=by)
            return None
    if not is_new and open_proposal(channel) is not None:
        raise ChannelRefused("Another change of it waits for a second person.")
    sealed = vault.seal_with_master(address.encode()) if address else None
    if is_new:
        channel.name, channel.sort, channel.is_active, channel.next_address = name, sort, False, sealed
        try:
            with atomic():
                save_with_reason(channel, why=why, by=by)
        except IntegrityError as taken:  # somebody else had the same thought just now
            raise ChannelRefused(f"There’s a channel “{name}” already.") from taken
    elif sealed:
        AlertChannel.objects.filter(pk=channel.pk).update(next_address=sealed)
    host = urlsplit(address).hostname or "" if address else ""
    content = {"channel": channel.pk, "new_host": host, "wished": wished, "was": was,
               "happens": _happens(wished, was, host)}  # fmt: skip
    title = f"Tell {name}, a room of {channel_sort(sort)}" if is_new else f"Change the channel {channel.name}"
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
    save_with_reason(channel, why=proposal.why, by=by)
    if not channel.is_active:
        _drop_waiting(channel)
    told = {key: wished[key] or None if key.startswith("quiet") else wished[key] for key in _TOLD}
    AlertSubscription.objects.update_or_create(channel=channel, defaults=told)
    facts = {"proposal": proposal.pk, "host": channel.host, "new_address": bool(content["new_host"]), **wished}
    audit.record(by, "change" if content["was"] else "add", KIND, channel.pk, why=proposal.why, data=facts)
    return channel


@atomic
def drop_change(proposal: Proposal) -> None:
    """What isn't agreed on: the address that waited with it goes, and so does a channel that never had another."""
    channel = AlertChannel.objects.select_for_update().get(pk=proposal.content["channel"])
    if not channel.is_agreed:
        channel.delete()
        return
    AlertChannel.objects.filter(pk=channel.pk).update(next_address=None)


def withdraw(proposal: Proposal, *, by: Person, why: str) -> None:
    """Its proposer takes a change back. Raises ApprovalRefused for anybody else, and when it's decided."""
    with atomic():
        approvals.withdraw(proposal, by=by, why=why)
        drop_change(proposal)


def channel_sort(sort: str) -> str:
    """Whose chat it is, in words."""
    return str(AlertChannel.Sort(sort).label)


def _switch_off(channel: AlertChannel, *, why: str, by: Person) -> None:
    channel.is_active = False
    save_with_reason(channel, why=why, by=by)
    _drop_waiting(channel)
    audit.record(by, "switch_off", KIND, channel.pk, why=why, data={"name": channel.name, "host": channel.host})


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
        "sort": f"It’s a room of {channel_sort(wished['sort'])}.",
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
