"""How the portal reaches PostgreSQL, for the settings."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db.utils import InterfaceError, OperationalError
from psycopg import conninfo, sql

# The database is away or gave up (a lost session, a deadlock): nothing is wrong with what was asked. Django translates
# what its cursors raise, but not what a COPY does: that is psycopg's own.
AWAY = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)

_TOO_MUCH = "54"  # class of SQLSTATE: a row, an index entry or a statement larger than PostgreSQL takes


def is_away(error: BaseException) -> bool:
    """Whether the database is away or gave up, so that the same may be asked again; what is too large for it always
    will be, though its kind of error is the same."""
    state = getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None) or ""
    return isinstance(error, AWAY) and not state.startswith(_TOO_MUCH)


# A server that vanished without a word (a host that is cut off) is given up within half a minute: whoever waited for
# its answer for ever would keep what it has claimed. libpq ignores these on a unix socket.
PEER_GONE = {
    "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}  # fmt: skip


# Behind a pooler each transaction may land on another session: nothing may be kept in one from a transaction to the
# next. Older poolers know no prepared statements, and a cursor outside a transaction lives in its session.
POOLERS = ("", "transaction")
POOLED: dict[str, bool] = {"DISABLE_SERVER_SIDE_CURSORS": True}
PREPARED_AFTER = 3  # executions; of use only where sessions last


# The same from the server's side: a session whose client vanished keeps its locks until then, by default for two hours.
_CLIENT_GONE = {
    "tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3, "tcp_user_timeout": 25_000,
}  # fmt: skip


def give_up_vanished_clients(cursor: Any) -> None:
    """Have PostgreSQL end sessions of this database whose client's host is cut off, within half a minute. Needs the
    database's owner; holds for sessions that begin from now on, also through a pooler."""
    for name, value in _CLIENT_GONE.items():
        cursor.execute(
            sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                sql.Identifier(cursor.connection.info.dbname), sql.Identifier(name), sql.Literal(value)
            )
        )


# Of a URL what Django has words of its own for (beside the name), and what leads to a file that we don't read: the
# role to which `prepare_database` grants stands in the URL.
_DJANGOS = {"user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
_ELSEWHERE = ("service", "servicefile")
_UNKNOWN = re.compile(r'invalid (?:URI query parameter:|connection option) "([\w-]+)"')


def database(url: str, *, pooler: str = "") -> dict:
    """Django's database settings of a libpq URL, directly or through a pooler (`transaction`: each transaction has a
    session, nothing else has); an empty URL gives settings that lint and types can read. Whatever else of libpq's the
    URL says (`sslmode`, `target_session_attrs`) holds for each session, also in place of what we would have chosen.

    Raises ImproperlyConfigured for a URL that libpq doesn't understand.
    """
    parts = _read(url) if url else {}
    prepare = None if pooler else PREPARED_AFTER
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.pop("dbname", "q2c"),
        **{ours: str(parts.pop(theirs, "")) for theirs, ours in _DJANGOS.items()},
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"application_name": "q2c", "prepare_threshold": prepare, **PEER_GONE, **parts},
        **(POOLED if pooler else {}),
    }


def _read(url: str) -> dict[str, Any]:
    """What a URL says, by libpq's names; its own words for what is wrong may hold a piece of the password."""
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        unknown = _UNKNOWN.search(str(error))
        why = f"libpq knows no parameter {unknown[1]}" if unknown else "in a password / @ : # ? % are written %2F %40 …"
        raise ImproperlyConfigured(f"The database's URL can't be read: {why}") from None
    for name in _ELSEWHERE:
        if name in parts:
            raise ImproperlyConfigured(f"The database's URL names a {name}: give host, database and role in the URL.")
    return dict(parts)
