"""A connection's health in one word, and what people do to it: test, pause, resume, change."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from django.db.transaction import atomic, on_commit
from django.utils import timezone

from connectors import http, probes, recorder, registry, resumes, turns
from connectors.models import Connection, ConnectionHealth
from q2c.core import approvals, audit
from q2c.core.models import Person, Proposal
from q2c.core.problems import Problem

SLOW_MS = 4000
SILENT_FOR = dt.timedelta(minutes=1)  # what answers about some objects has answered since
DOWN_AFTER = 3
TEST_SECONDS = 20
PROPOSAL_KIND = "connection"
APPROVE = "connectors.approve_connection"
PLAIN_FIELDS = ("name", "at_once", "secrets_expire_at")


HEADINGS = {
    "healthy": "answers",
    "slow": "answers slowly",
    "partly": "answers only in part",
    "down": "doesn’t answer",
    "paused": "is paused",
    "untried": "hasn’t been used yet",
}


class Health(NamedTuple):
    """One word (a state of `core.states`) and the sentence beside it."""

    state: str
    says: str

    @property
    def heading(self) -> str:
        """What is said after the system's name."""
        return HEADINGS[self.state]

    @property
    def is_ill(self) -> bool:
        """Whether work may wait for it."""
        return self.state in ("paused", "down", "partly")


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
        return Health("down", _sentence(seen.last_failure) or "Calls stopped after repeated failures")
    failed_at, answered_at = seen.last_failure_at, seen.last_success_at
    if seen.stopped:
        about = ", ".join(name.replace("_", " ") for name in seen.stopped)
        is_silent = answered_at is None or (failed_at is not None and failed_at - answered_at > SILENT_FOR)
        return Health(
            "down" if is_silent else "partly",
            f"Calls about {about} stopped after repeated failures; calls about anything else still go out",
        )
    failed_last = failed_at is not None and (answered_at is None or failed_at > answered_at)
    if failed_last and seen.failures_in_row >= DOWN_AFTER:
        return Health("down", _sentence(seen.last_failure))
    if not seen.last_success_at:
        return Health("untried", seen.last_failure or "No call has been answered")
    if seen.latency_ms and seen.latency_ms > SLOW_MS:
        return Health("slow", f"Answers take {seen.latency_ms / 1000:.1f} s")
    return Health("healthy", "")


def _sentence(failure: str) -> str:
    return f"{failure[:1].upper()}{failure[1:]}"


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
    """Work is sent to it again, at once: what it had asked us to wait for, and an open breaker, are over. Resuming one
    that isn't paused changes nothing."""
    with atomic():
        locked = Connection.objects.select_for_update().get(pk=connection.pk)
        if locked.state == Connection.State.ACTIVE:
            return
        locked.state, locked.paused_reason, locked.paused_by = Connection.State.ACTIVE, "", ""
        _save(locked, by, reason, ["state", "paused_reason", "paused_by"])
        turns.note_resumed(locked, f"{by} resumed it: {reason}")
        audit.record(by, "resume", "connection", locked.code, why=reason)
        on_commit(lambda: _start_afresh(locked.code), robust=True)


def cut_off(*, by: Person, reason: str) -> list[str]:
    """Leave every connection without its credentials, those that wait for a second person too, and paused: the account
    that it led to can't be reached before two people gave it an address or credentials anew. For a copy of the
    database that mustn't touch what the original works with. Returns their codes."""
    with atomic():
        rows = list(Connection.objects.select_for_update().order_by("code"))
        for row in rows:
            row.secrets = row.next_secrets = row.secrets_set_at = row.secrets_expire_at = None
            row.state, row.paused_reason, row.paused_by = Connection.State.PAUSED, f"{_CUT_OFF}: {reason}", str(by)
            _save(row, by, reason, list(_CUT))
        for row in rows:
            audit.record(by, "cut_off", "connection", row.code, why=reason, data={"base_url": row.base_url})
    return [row.code for row in rows]


_CUT_OFF = "Without credentials since the restore, give it those of another account"
_CUT = (
    "secrets", "next_secrets", "secrets_set_at", "secrets_expire_at", "state", "paused_reason", "paused_by",
)  # fmt: skip


def _start_afresh(code: str) -> None:
    """What any process holds back for this connection (a pause that the vendor asked for, an open breaker) goes out."""
    probes.forget(code)
    resumes.tell_resumed(code)


def change(connection: Connection, values: Mapping[str, Any], *, by: Person, reason: str) -> None:
    """Change what needs no second person: name, concurrency, when the credentials expire."""
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
        audit.record(
            by, "change", "connection", locked.code, why=reason, data={name: _said(after[name]) for name in changed}
        )


def propose_change(
    connection: Connection,
    *,
    base_url: str,
    by: Person,
    reason: str,
    settings: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str] | None = None,
    removed: Collection[str] = (),
    expire_at: dt.datetime | None = None,
) -> Proposal:
    """Another address, account or credentials need a second person: they decide where the books are sent. What was
    given waits, the credentials sealed, and is used nowhere before; which ones are `removed` is said by name. Another
    address clears the credentials that there were: they were meant for the old one.

    Raises ApprovalRefused without a reason, ValueError when nothing changes or something is proposed already.
    """
    given = {name: value for name, value in (secrets or {}).items() if value}
    with atomic():  # whoever proposes at the same moment waits here, and then finds this one
        locked = Connection.objects.select_for_update().get(pk=connection.pk)
        changed = {n: v for n, v in (settings or {}).items() if locked.settings.get(n) != v}
        if base_url == locked.base_url and not changed and not given and not removed:
            raise ValueError("Address, settings and credentials stay the same.")
        if _open_proposals(locked).exists():
            raise ValueError("Another change of it waits for a second person.")
        locked.next_secrets = registry.seal_secrets(given) if given else None
        locked.save(update_fields=["next_secrets"])
        return approvals.propose(
            PROPOSAL_KIND,
            ("connection", locked.code),
            content={
                "connection": locked.code,
                "base_url": base_url,
                "was": locked.base_url,
                "settings": changed,
                "settings_were": {name: locked.settings.get(name, "") for name in changed},
                "clears_credentials": base_url != locked.base_url,
                "new_credentials": sorted(given),
                "new_credentials_mark": registry.mark_secrets(given) if given else "",
                "removed_credentials": sorted(removed),
                "new_credentials_expire_at": expire_at.isoformat() if given and expire_at else "",
            },
            by=by,
            title=_title(locked, base_url, changed, given, removed),
            why=reason,
            permission=APPROVE,
        )


def _title(
    connection: Connection, base_url: str, settings: Mapping[str, Any], secrets: Mapping[str, str],
    removed: Collection[str],
) -> str:  # fmt: skip
    if base_url != connection.base_url:
        return f"Send {connection.name} to {base_url}"
    if settings:
        return f"Change {', '.join(name.replace('_', ' ') for name in sorted(settings))} of {connection.name}"
    if secrets:
        return f"New credentials of {connection.name}: {', '.join(name.replace('_', ' ') for name in sorted(secrets))}"
    return f"Remove {', '.join(name.replace('_', ' ') for name in sorted(removed))} of {connection.name}"


def apply_change(proposal: Proposal, *, by: Person) -> Connection:
    """What two people agreed on. With another address the old credentials go, and it's paused until it's tested.

    Raises ValueError when it wasn't approved, when address or settings changed meanwhile, or when the credentials that
    wait aren't those that were proposed.
    """
    content = proposal.content
    if proposal.kind != PROPOSAL_KIND or proposal.state != Proposal.State.APPROVED:
        raise ValueError("It isn't approved.")
    with atomic():
        locked = Connection.objects.select_for_update().get(code=content["connection"])
        settings, were = content.get("settings", {}), content.get("settings_were", {})
        if locked.base_url != content["was"] or any(locked.settings.get(n, "") != were[n] for n in settings):
            raise ValueError("Its address or settings were changed meanwhile; propose it anew.")
        moves = content["base_url"] != locked.base_url
        waited = registry.secrets_of(locked, waiting=True)
        marked = content.get("new_credentials_mark", "")
        if sorted(waited) != content.get("new_credentials", []) or not registry.are_marked(waited, marked):
            raise ValueError("The credentials that wait aren't those that were proposed; propose it anew.")
        removed = content.get("removed_credentials", [])
        secrets = registry.with_secrets(locked, {**dict.fromkeys(removed, ""), **waited}, keeps=not moves)
        locked.base_url, locked.settings = content["base_url"], {**locked.settings, **settings}
        if moves or waited or removed:
            locked.secrets = registry.seal_secrets(secrets) if any(secrets.values()) else None
        if moves or waited:
            locked.secrets_set_at = timezone.now() if locked.secrets else None
            expires = content.get("new_credentials_expire_at")
            locked.secrets_expire_at = dt.datetime.fromisoformat(expires) if expires else None
        locked.next_secrets = None
        if moves:
            locked.state, locked.paused_by = Connection.State.PAUSED, str(by)
            locked.paused_reason = "Its address was changed: set its credentials, test it, then resume it"
        _save(locked, by, proposal.why, list(_AGREED))
        facts = {
            "proposal": proposal.pk,
            "settings": sorted(settings),
            "credentials": sorted(waited),
            "removed": removed,
        }
        audit.record(
            by, "change_address" if moves else "change_account", "connection", locked.code, why=proposal.why,
            data=facts | {"base_url": locked.base_url},
        )  # fmt: skip
    return locked


_AGREED = (
    "base_url", "settings", "secrets", "next_secrets", "secrets_set_at", "secrets_expire_at", "state", "paused_by",
    "paused_reason",
)  # fmt: skip


def lock_before_signing(proposal: Proposal) -> None:
    """Lock the connection before its change is signed, in that transaction: whoever proposes takes it before they
    audit, and a signature is audited before what it decides is put into force."""
    list(Connection.objects.select_for_update().filter(code=proposal.subject_id))


def drop_change(proposal: Proposal) -> None:
    """What isn't agreed on: the credentials that waited with it go."""
    Connection.objects.filter(code=proposal.content["connection"]).update(next_secrets=None)


def _open_proposals(connection: Connection) -> Any:
    return Proposal.objects.filter(
        kind=PROPOSAL_KIND, subject_type="connection", subject_id=connection.code, state=Proposal.State.PROPOSED
    )


def _save(connection: Connection, by: Person | str, reason: str, fields: list[str]) -> None:
    connection._history_user = by if isinstance(by, Person) else None  # type: ignore[attr-defined]
    connection._change_reason = reason  # type: ignore[attr-defined]
    connection.save(update_fields=fields)


def _said(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.datetime) else value
