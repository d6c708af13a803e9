"""Channels: rooms of a chat, by an address that is a secret. Kept by the platform's people, with audit."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.db.transaction import atomic

from connectors.guard import refuse_address, refuse_scheme
from exceptions.models import AlertChannel
from q2c.core import audit, vault
from q2c.core.history import save_with_reason
from q2c.core.models import Person


class ChannelRefused(Exception):
    """An address that may not be dialled, or a channel that can't be; the text says why."""


def address_of(channel: AlertChannel) -> str:
    """Its address, in the clear."""
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
def save_channel(
    channel: AlertChannel, *, name: str, sort: str, address: str, is_active: bool, why: str, by: Person
) -> AlertChannel:
    """Keep a channel; without an address it keeps its own. Raises ChannelRefused."""
    is_new = channel.pk is None
    if address:
        if said := address_fault(address):
            raise ChannelRefused(said)
        channel.address = vault.seal_with_master(address.encode())
        channel.host = urlsplit(address).hostname or ""
    elif is_new:
        raise ChannelRefused("A new channel needs its address.")
    if AlertChannel.objects.filter(name=name).exclude(pk=channel.pk).exists():
        raise ChannelRefused(f"There’s a channel “{name}” already.")
    channel.name, channel.sort, channel.is_active = name, sort, is_active
    save_with_reason(channel, why=why, by=by)
    facts = {"name": name, "sort": sort, "host": channel.host, "is_active": is_active, "new_address": bool(address)}
    audit.record(by, "add" if is_new else "change", "alert_channel", channel.pk, why=why, data=facts)
    return channel
