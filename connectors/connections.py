"""A connection's health in one word, and what people do to it: test, pause, resume, change."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db.transaction import atomic
from django.utils import timezone

from connectors import http, recorder, registry
from connectors.models import Connection, ConnectionHealth
from q2c.core import approvals, audit
from q2c.core.models import Person, Proposal
from q2c.core.problems import Problem

SLOW_MS = 4000
DOWN_AFTER = 3
TEST_SECONDS = 20
PROPOSAL_KIND = "connection"
APPROVE = "connectors.approve_connection"
PLAIN_FIELDS = ("name", "settings", "at_once")


class Health(NamedTuple):
    """One word (a state of `core.states`) and the sentence beside it."""

    state: str
    says: str


class Tested(NamedTuple):
    """What a test found: whether it answered, in words, and how long it took."""

    is_well: bool
    says: str
    took_ms: int


def health_of(connection: Connection) -> Health:
    """How a connection is doing, from what the telephone last saw."""
    if connection.state == Connection.State.PAUSED:
        return Health("paused", connection.paused_reason)
    try:
        seen = connection.health
    except ConnectionHealth.DoesNotExist:
        return Health("untried", "No call has been made")
    if seen.breaker == "open":
        return Health("down", seen.last_failure or "Calls stopped after repeated failures")
    failed_last = seen.last_failure_at and (not seen.last_success_at or seen.last_failure_at > seen.last_success_at)
    if failed_last and seen.failures_in_row >= DOWN_AFTER:
        return Health("down", seen.last_failure)
    if not seen.last_success_at:
        return Health("untried", seen.last_failure or "No call has been answered")
    if seen.latency_ms and seen.latency_ms > SLOW_MS:
        return Health("slow", f"Answers take {seen.latency_ms / 1000:.1f} s")
    return Health("healthy", "")


def days_to_expiry(connection: Connection) -> int | None:
    """Days until the credentials expire, or None when they don't or it isn't known."""
    if connection.secrets_expire_at is None:
        return None
    return (connection.secrets_expire_at - timezone.now()) // dt.timedelta(days=1)


def test_connection(connection: Connection, *, by: Person) -> Tested:
    """Ask the vendor something harmless, and record the exchange. Never raises for what the vendor answers."""
    collector = recorder.Collector()
    started = time.monotonic()
    try:
        client = registry.client_for(connection, collector=collector)
        says = asyncio.run(_ask(client))
        is_well = True
    except Problem as problem:
        says, is_well = problem.summary, False
    except TimeoutError:
        says, is_well = f"No answer within {TEST_SECONDS} s", False
    took_ms = int((time.monotonic() - started) * 1000)
    recorder.record_now(collector.take())
    registry.save_health([connection.code])
    audit.record(by, "test", "connection", connection.code, data={"is_well": is_well, "took_ms": took_ms})
    return Tested(is_well, says, took_ms)


async def _ask(client: Any) -> str:
    """In a loop of its own, whose connections are hung up with it."""
    try:
        return str(await asyncio.wait_for(client.check_connection(), TEST_SECONDS))
    finally:
        await http.close_sessions()


def pause(connection: Connection, *, by: Person | str, reason: str) -> None:
    """No work is sent to it until it's resumed; what waits keeps its order. A second pause changes nothing."""
    with atomic():
        locked = Connection.objects.select_for_update().get(pk=connection.pk)
        if locked.state == Connection.State.PAUSED:
            return
        locked.state, locked.paused_reason, locked.paused_by = Connection.State.PAUSED, reason, str(by)
        _save(locked, by, reason, ["state", "paused_reason", "paused_by"])
        audit.record(by, "pause", "connection", locked.code, why=reason)


def resume(connection: Connection, *, by: Person | str, reason: str) -> None:
    """Work is sent to it again. Resuming one that isn't paused changes nothing."""
    with atomic():
        locked = Connection.objects.select_for_update().get(pk=connection.pk)
        if locked.state == Connection.State.ACTIVE:
            return
        locked.state, locked.paused_reason, locked.paused_by = Connection.State.ACTIVE, "", ""
        _save(locked, by, reason, ["state", "paused_reason", "paused_by"])
        audit.record(by, "resume", "connection", locked.code, why=reason)


def set_secrets(
    connection: Connection, secrets: Mapping[str, str], *, by: Person, reason: str, expire_at: dt.datetime | None = None
) -> list[str]:
    """Seal new credentials; those left empty keep their value. Returns the names that were set, never the values."""
    given = {name: value for name, value in secrets.items() if value}
    with atomic():
        locked = Connection.objects.select_for_update().get(pk=connection.pk)
        if given:
            registry.store_secrets(locked, given)
        if expire_at != locked.secrets_expire_at:
            locked.secrets_expire_at = expire_at
            locked.save(update_fields=["secrets_expire_at"])
        if given:
            audit.record(by, "set_secrets", "connection", locked.code, why=reason, data={"names": sorted(given)})
    return sorted(given)


def change(connection: Connection, values: Mapping[str, Any], *, by: Person, reason: str) -> None:
    """Change what needs no second person: name, plain settings, concurrency."""
    with atomic():
        locked = Connection.objects.select_for_update().get(pk=connection.pk)
        before = {name: getattr(locked, name) for name in PLAIN_FIELDS}
        after = {name: values[name] for name in PLAIN_FIELDS if name in values}
        changed = [name for name, value in after.items() if value != before[name]]
        if not changed:
            return
        for name in changed:
            setattr(locked, name, after[name])
        _save(locked, by, reason, changed)
        audit.record(by, "change", "connection", locked.code, why=reason, data={name: after[name] for name in changed})


def propose_change(
    connection: Connection,
    *,
    base_url: str,
    by: Person,
    reason: str,
    secrets: Mapping[str, str] | None = None,
    expire_at: dt.datetime | None = None,
) -> Proposal:
    """Another base address needs a second person, and clears the credentials: they were meant for the old one.
    Those given with it are the new address's: they wait, sealed, and are used nowhere before.

    Raises ApprovalRefused without a reason, ValueError when the address stays the same or one is proposed already.
    """
    if base_url == connection.base_url:
        raise ValueError("The address stays the same.")
    if _open_proposals(connection).exists():
        raise ValueError("Another change of its address waits for a second person.")
    given = {name: value for name, value in (secrets or {}).items() if value}
    sealed = registry.seal_secrets(given) if given else None
    with atomic():
        connection.next_secrets = sealed
        connection.save(update_fields=["next_secrets"])
        return approvals.propose(
            PROPOSAL_KIND,
            ("connection", connection.code),
            content={
                "connection": connection.code,
                "base_url": base_url,
                "was": connection.base_url,
                "clears_credentials": True,
                "new_credentials": sorted(given),
                "new_credentials_expire_at": expire_at.isoformat() if given and expire_at else "",
            },
            by=by,
            title=f"Send {connection.name} to {base_url}",
            why=reason,
            permission=APPROVE,
        )


def apply_change(proposal: Proposal, *, by: Person) -> Connection:
    """What two people agreed on: the new address with the credentials that waited for it, the old ones gone; paused
    until somebody has tested it.

    Raises ValueError when it wasn't approved, or when the address changed meanwhile.
    """
    if proposal.kind != PROPOSAL_KIND or proposal.state != Proposal.State.APPROVED:
        raise ValueError("It isn't approved.")
    with atomic():
        locked = Connection.objects.select_for_update().get(code=proposal.content["connection"])
        if locked.base_url != proposal.content["was"]:
            raise ValueError("The address was changed meanwhile.")
        locked.base_url = proposal.content["base_url"]
        locked.secrets, locked.next_secrets = locked.next_secrets, None
        locked.secrets_set_at = timezone.now() if locked.secrets else None
        expires = proposal.content.get("new_credentials_expire_at")
        locked.secrets_expire_at = dt.datetime.fromisoformat(expires) if expires else None
        locked.state, locked.paused_by = Connection.State.PAUSED, str(by)
        locked.paused_reason = "Its address was changed: set its credentials, test it, then resume it"
        _save(
            locked,
            by,
            proposal.why,
            [
                "base_url",
                "secrets",
                "next_secrets",
                "secrets_set_at",
                "secrets_expire_at",
                "state",
                "paused_by",
                "paused_reason",
            ],
        )
        audit.record(
            by,
            "change_address",
            "connection",
            locked.code,
            why=proposal.why,
            data={"base_url": locked.base_url, "proposal": proposal.pk},
        )
    return locked


def drop_change(proposal: Proposal) -> None:
    """A new address that isn't agreed on: the credentials that waited for it go."""
    Connection.objects.filter(code=proposal.content["connection"]).update(next_secrets=None)


def _open_proposals(connection: Connection) -> Any:
    return Proposal.objects.filter(
        kind=PROPOSAL_KIND, subject_type="connection", subject_id=connection.code, state=Proposal.State.PROPOSED
    )


def _save(connection: Connection, by: Person | str, reason: str, fields: list[str]) -> None:
    connection._history_user = by if isinstance(by, Person) else None  # type: ignore[attr-defined]
    connection._change_reason = reason  # type: ignore[attr-defined]
    connection.save(update_fields=fields)
