"""What production refuses to start with. Run by `manage.py check`, and by every process as it starts."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import Error, register, run_checks
from django.db import Error as DatabaseError
from django.db import connection

from q2c.core.databases import POOLERS
from q2c.core.people import DEMO_EMAIL_DOMAIN
from q2c.core.roles import ROLES
from q2c.core.secrets_home import MADE_UP

TAG = "q2c_production"
WAIT_SECONDS_MAX = 30
BOOT_ERROR = 3  # with this status gunicorn stops altogether, where it would replace a worker that died otherwise


@register(TAG)
def production_settings(**_kwargs: object) -> list[Error]:
    """Refuses a made-up key, DEBUG, and an anchor of the audit chain under the portal's own administrator."""
    if settings.ENV in ("demo", "test"):
        return []
    found = []
    if settings.ENV != "production":
        found.append(Error(f"Q2C_ENV is {settings.ENV!r}", hint="production, demo or test", id="q2c.E000"))
    if settings.SECRET_KEY.startswith(MADE_UP):
        found.append(Error("The secret key was made up", hint="Set Q2C_SECRET_KEY.", id="q2c.E001"))
    if settings.ARE_VAULT_KEYS_MADE_UP:
        found.append(Error("The vault's keys were made up", hint="Set Q2C_VAULT_KEYS.", id="q2c.E002"))
    if settings.DEBUG:
        found.append(Error("DEBUG is on", hint="Unset Q2C_DEBUG.", id="q2c.E003"))
    if not settings.ANCHOR_FILE or settings.HOME in Path(settings.ANCHOR_FILE).absolute().parents:
        hint = "Set Q2C_ANCHOR_FILE to a file on a volume of somebody else's, which only takes additions."
        found.append(Error("The audit chain's anchor lies with the portal itself", hint=hint, id="q2c.E004"))
    if settings.POOLER not in POOLERS:
        hint = f"Unset it, or say {' or '.join(filter(None, POOLERS))}."
        found.append(Error(f"Q2C_POOLER is {settings.POOLER!r}", hint=hint, id="q2c.E005"))
    return found


@register(TAG)
def production_database(**_kwargs: object) -> list[Error]:
    """Refuses the demo's people, a sandbox connection, and a role that owns the tables."""
    if settings.ENV in ("demo", "test") or settings.OWNER_COMMANDS:
        return []
    try:
        with connection.cursor() as cursor:
            pooler = [_UNTOLD] if is_behind_pooler(cursor) and not settings.POOLER else []
            return [*pooler, *_database_errors(cursor)]
    except DatabaseError as error:
        return [Error("The database can't be asked", hint=str(error).strip(), id="q2c.E010")]


_UNTOLD = Error(
    "The database is reached through a pooler, and the portal isn't told",
    hint="Set Q2C_POOLER=transaction, or a DATABASE_URL that leads to PostgreSQL itself.",
    id="q2c.E016",
)


def is_behind_pooler(cursor: Any) -> bool:
    """Whether something that shares sessions stands between: it names itself to us by another process than the one that
    answers."""
    cursor.execute("SELECT pg_backend_pid()")
    return bool(cursor.fetchone()[0] != connection.connection.info.backend_pid)


def _database_errors(cursor) -> list[Error]:
    found = []
    cursor.execute(
        "SELECT current_user, coalesce(bool_or(pg_has_role(current_user, relowner, 'MEMBER')), false) FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    role, owns = cursor.fetchone()
    if owns:
        found.append(
            Error(
                f"The role {role} owns the portal's tables",
                hint="Run as a role that owns none (DATABASE_URL); only migrations use the owner (DATABASE_OWNER_URL).",
                id="q2c.E011",
            )
        )
    cursor.execute(
        "SELECT to_regclass('public.core_person') IS NOT NULL, to_regclass('public.connectors_connection') IS NOT NULL"
    )
    if cursor.fetchone() != (True, True):
        return [*found, Error("The database isn't migrated", hint="manage.py prepare_database", id="q2c.E012")]
    cursor.execute(
        "SELECT count(*) FILTER (WHERE email LIKE %s), count(*) FILTER (WHERE username = ANY(%s)) FROM core_person"
        " WHERE is_active",
        [f"%@{DEMO_EMAIL_DOMAIN}", [role.code for role in ROLES]],
    )
    marked, named = cursor.fetchone()
    if marked or named == len(ROLES):
        found.append(Error("The demo's people are present", hint="Use a database of its own.", id="q2c.E013"))
    cursor.execute("SELECT code FROM connectors_connection WHERE is_sandbox ORDER BY code")
    if codes := [row[0] for row in cursor.fetchall()]:
        found.append(Error(f"Sandbox connections are present: {', '.join(codes)}", id="q2c.E014"))
    return found


def refuse_unsafe_start() -> None:
    """Ends the process (SystemExit, reasons on stderr) when production isn't fit; waits a while for the database.

    For web, workers and beat, which never run as the tables' owner."""
    if settings.ENV in ("demo", "test"):
        return
    if settings.OWNER_COMMANDS:
        sys.stderr.write("Refusing to start:\n  q2c.E015 Q2C_AS_OWNER is set. Only migrations need the owner.\n")
        raise SystemExit(BOOT_ERROR)
    until = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        errors = run_checks(tags=[TAG])
        only_away = bool(errors) and all(e.id == "q2c.E010" for e in errors)
        if not only_away or time.monotonic() > until:
            break
        time.sleep(1)
    if errors:
        reasons = "".join(f"  {e.id} {e.msg}. {e.hint or ''}\n" for e in errors)
        sys.stderr.write(f"Refusing to start:\n{reasons}")
        raise SystemExit(BOOT_ERROR)
