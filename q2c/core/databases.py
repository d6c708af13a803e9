"""How the portal reaches PostgreSQL, for the settings."""

from __future__ import annotations

from psycopg import conninfo

# A server that vanished without a word (a host that is cut off) is given up within half a minute: whoever waited for
# its answer for ever would keep what it has claimed. libpq ignores these on a unix socket.
PEER_GONE = {
    "connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}  # fmt: skip


def database(url: str) -> dict:
    """Django's database settings of a libpq URL; an empty URL gives settings that lint and types can read."""
    parts = conninfo.conninfo_to_dict(url) if url else {"dbname": "q2c"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.get("dbname", "q2c"),
        "USER": parts.get("user", ""),
        "PASSWORD": parts.get("password", ""),
        "HOST": parts.get("host", ""),
        "PORT": str(parts.get("port", "")),
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"application_name": "q2c", "prepare_threshold": 3, **PEER_GONE},
    }
