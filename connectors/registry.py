"""Finds vendor packages by looking, and builds a client for a connection. A vendor is a package with a manifest."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import importlib
import importlib.util
import json
import pkgutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.utils import timezone

import connectors
from connectors import breaker, errors, http, turns
from connectors.auth import NoAuth
from connectors.families import Billing, Crm, Erp, Family, Payments
from connectors.manifest import Limits, Manifest, Repeats, Secret
from connectors.models import Connection
from q2c.core import vault
from q2c.core.problems import Category, Problem

PROMISES: Mapping[Family, type] = {
    Family.CRM: Crm,
    Family.BILLING: Billing,
    Family.ERP: Erp,
    Family.PAYMENTS: Payments,
}


@functools.cache
def vendors() -> tuple[str, ...]:
    """Codes of all vendor packages, in alphabetical order."""
    return tuple(
        sorted(
            m.name
            for m in pkgutil.iter_modules(connectors.__path__)
            if m.ispkg and importlib.util.find_spec(f"connectors.{m.name}.manifest") is not None
        )
    )


@functools.cache
def manifest(code: str) -> Manifest:
    """A vendor's facts. Raises LookupError for a vendor that we have no package of."""
    if code not in vendors():
        raise LookupError(f"no connector package is called {code}")
    found: Manifest = importlib.import_module(f"connectors.{code}.manifest").MANIFEST
    return found


def spell_id(connection: Connection, text: str) -> str:
    """An id as its system spells it, so that two spellings of one id are equal. Raises ValueError for what can't be
    one."""
    return manifest(connection.vendor).spell_id(text)


def spellings(text: str) -> list[str]:
    """The text, and what it is where a vendor we connect to spells such an id otherwise."""
    forms = [text]
    for code in vendors():
        try:
            forms.append(manifest(code).spell_id(text))
        except ValueError:
            continue
    return list(dict.fromkeys(form for form in forms if form))


def message_keys(text: str) -> list[str]:
    """The text, and under which keys the inbox keeps a message that a vendor we connect to calls so."""
    forms = [text]
    for code in vendors():
        facts = manifest(code)
        forms.append(facts.message_key.format(id=text))
        with suppress(ValueError):  # what can't be an id of it
            forms.append(facts.message_key.format(id=facts.spell_id(text)))
    return list(dict.fromkeys(form for form in forms if form))


def client_for(connection: Connection, *, collector: Callable[[http.Recorded], None]) -> Any:
    """A client with the verbs that the vendor can do; every exchange goes to `collector`.

    Raises Problem `credentials_refused` when secrets that the manifest calls for aren't set.
    """
    facts = manifest(connection.vendor)
    line = _line(connection, facts)
    auth = facts.auth(line) if facts.auth else NoAuth()
    limits = _limits(connection, facts)
    telephone = http.Telephone(
        line,
        limits,
        auth=auth,
        explain=lambda reply: errors.problem_from(
            facts,
            status=reply.status,
            headers=reply.headers,
            body=reply.body,
            connection=line.code,
            is_write=reply.is_write,
        ),
        record=collector,
        read_quota=facts.read_quota,
        hides_errors=facts.hides_errors,
    )
    return client_class(connection.vendor)(line, telephone)


def client_class(code: str) -> type:
    """The vendor's class of verbs."""
    found: type = importlib.import_module(f"connectors.{code}.client").Client
    return found


def _line(connection: Connection, facts: Manifest) -> http.Line:
    secrets = secrets_of(connection)
    missing = [s.name for s in facts.settings if isinstance(s, Secret) and s.is_required and not secrets.get(s.name)]
    if missing:
        raise Problem(
            "credentials_refused",
            Category.AUTHENTICATION,
            f"{connection.name} lacks {', '.join(missing)}",
            connection=connection.code,
        )
    return http.Line(
        code=connection.code,
        vendor=connection.vendor,
        name=connection.name,
        base_url=connection.base_url,
        settings=settings_of(facts, connection.settings),
        secrets=secrets,
        at_once=connection.at_once or facts.limits.at_once,
        allows_private=connection.is_sandbox and settings.IS_DEMO,
    )


def settings_of(facts: Manifest, stored: Mapping[str, Any]) -> dict[str, str]:
    """A connection's plain settings as they count: what is stored, emptied ones too, before the manifest's defaults."""
    defaults = {s.name: s.default for s in facts.settings if not isinstance(s, Secret)}
    return {**defaults, **{name: str(value) for name, value in stored.items()}}


def read_ceiling(text: Any) -> float | None:
    """A ceiling of calls as it's stored; None where none is, or where it isn't a number above 0."""
    try:
        number = float(text or 0)
    except (TypeError, ValueError):
        return None
    return number if number >= 1 and number < 10**9 else None


def _limits(connection: Connection, facts: Manifest) -> Limits:
    own = connection.settings
    changes: dict[str, Any] = {}
    if (ceiling := read_ceiling(own.get("per_second"))) is not None:
        changes["per_second"] = ceiling
    elif connection.is_sandbox and own.get("is_unlimited"):
        changes["per_second"] = None
    if (ceiling := read_ceiling(own.get("per_day"))) is not None:
        changes["per_day"] = int(ceiling)
    if own.get("timeout_seconds"):
        changes["timeout_seconds"] = float(own["timeout_seconds"])
    return dataclasses.replace(facts.limits, **changes) if changes else facts.limits


def repeats_of(connection: Connection) -> Repeats:
    """How this connection's repeated writes are made harmless; a sandbox may settle sooner than the vendor."""
    repeats = manifest(connection.vendor).repeats
    settles = connection.settings.get("settles_after_seconds")
    return dataclasses.replace(repeats, settles_after_seconds=float(settles)) if settles else repeats


PREVIOUS, _ENDS = "_previous", "_ends_at"  # what was valid before another, and where its end is kept beside it
PREVIOUS_LASTS = dt.timedelta(hours=24)


def secrets_of(connection: Connection, *, waiting: bool = False) -> dict[str, str]:
    """The connection's credentials (or those that wait for a second person), opened; not one whose time is over. Never
    log, never show. Raises vault.Unsealable when the master key is gone."""
    opened, now = _opened(connection.next_secrets if waiting else connection.secrets), timezone.now()
    return {
        name: value
        for name, value in opened.items()
        if not name.endswith(_ENDS)
        and (waiting or not name.endswith(PREVIOUS) or _ends_at(name, opened, connection) > now)
    }


def _opened(sealed: Any) -> dict[str, str]:
    if sealed is None:
        return {}
    opened: dict[str, str] = json.loads(vault.open_with_master(bytes(sealed)))
    return opened


def _ends_at(name: str, opened: Mapping[str, str], connection: Connection) -> dt.datetime:
    """When what was valid before another stops being valid: of one that an older release stored, by the day on which
    credentials were given."""
    if name + _ENDS in opened:
        return dt.datetime.fromisoformat(opened[name + _ENDS])
    return (connection.secrets_set_at or dt.datetime.min.replace(tzinfo=dt.UTC)) + PREVIOUS_LASTS


def with_secrets(connection: Connection, given: Mapping[str, str], *, keeps: bool = True) -> dict[str, str]:
    """The connection's credentials with these, or these alone, to be sealed; an empty value removes one. What was valid
    before another (`*_previous`) ends 24 hours after it was given."""
    kept = secrets_of(connection) if keeps else {}
    opened = _opened(connection.secrets) if kept else {}
    end = (timezone.now() + PREVIOUS_LASTS).isoformat()
    ends = {n + _ENDS: _ends_at(n, opened, connection).isoformat() for n in kept if n.endswith(PREVIOUS)}
    ends |= {n + _ENDS: end if value else "" for n, value in given.items() if n.endswith(PREVIOUS)}
    return {**kept, **given, **ends}


def store_secrets(connection: Connection, secrets: Mapping[str, str]) -> None:
    """Seal and save these credentials; names that aren't given keep their value. An empty value removes one."""
    connection.secrets = seal_secrets(with_secrets(connection, secrets))
    connection.secrets_set_at = timezone.now()
    connection.save(update_fields=["secrets", "secrets_set_at"])


def seal_secrets(secrets: Mapping[str, str]) -> bytes:
    """Credentials as they are stored; empty ones are left out."""
    return vault.seal_with_master(json.dumps({k: v for k, v in secrets.items() if v}).encode())


def mark_secrets(secrets: Mapping[str, str]) -> str:
    """What these credentials are known by, without being told from it."""
    return vault.mark(_spelled(secrets))


def are_marked(secrets: Mapping[str, str], marked: str) -> bool:
    """Whether they are those that were marked so; none at all have no mark."""
    return vault.is_marked(_spelled(secrets), marked) if secrets else not marked


def _spelled(secrets: Mapping[str, str]) -> bytes:
    return json.dumps(dict(secrets), sort_keys=True).encode()


def verbs_of(code: str) -> dict[Family, dict[str, bool]]:
    """The capability matrix by looking: for each family that the vendor plays, which promised verbs its client has."""
    client = client_class(code)
    return {
        family: {verb: callable(getattr(client, verb, None)) for verb in promised(PROMISES[family])}
        for family in manifest(code).families
        if family in PROMISES
    }


def streams_of(code: str) -> tuple[str, ...]:
    """The names of the vendor's poll cursors; empty when it can't be polled."""
    client = client_class(code)
    return tuple(getattr(client, "streams", ())) if hasattr(client, "changes") else ()


def ranges_of(code: str) -> dict[str, str]:
    """What of the vendor's past can be read again, by code and in words; empty when nothing can."""
    return dict(getattr(client_class(code), "ranges", {}))


def promised(family: type) -> list[str]:
    """The names of a family's verbs."""
    return [n for n, member in vars(family).items() if callable(member) and not n.startswith("_")]


HEALTH_SECONDS = 2.0
_health_saved_at = 0.0


def save_health_sometimes() -> None:
    """`save_health`, at most every other second: for workers, after each batch."""
    global _health_saved_at
    if time.monotonic() - _health_saved_at >= HEALTH_SECONDS:
        _health_saved_at = time.monotonic()
        save_health()


def save_health(codes: Iterable[str] | None = None) -> None:
    """Store what this process's telephones saw since the last call. Called by whoever owns the database connection."""
    wanted = None if codes is None else set(codes)
    changed = [b for b in breaker.breakers() if b.is_changed and (wanted is None or b.connection in wanted)]
    if not changed:
        return
    breaker.tell_answered(changed)
    codes = sorted({b.connection for b in changed})
    for seen in changed:
        seen.is_changed = False
    ids = dict(Connection.objects.filter(code__in=codes).values_list("code", "id"))
    for seen in (breaker.breaker_of(code) for code in codes if code in ids):
        of_types = [b for b in breaker.breakers() if b.connection == seen.connection and b.object_type]
        turns.store(ids[seen.connection], seen, of_types)
