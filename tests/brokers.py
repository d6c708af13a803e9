"""One broker for all of a run's workers, a database of it for each: what one test keeps there (a breaker, a slot, a
count, a nudge's mark) or forgets is no other test's."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

DATABASES = 16  # as Valkey has them unless it's told otherwise; the first is left to whoever runs no worker
PATIENCE_SECONDS = 10.0  # the portal gives a broker up within a quarter of a second: on a loaded machine it's only late


def own_broker(url: str, worker: str) -> str:
    """The broker's address with a database for this worker of xdist (`gw0`, `gw1`, …); as it is without one."""
    if not worker:
        return url
    number = 1 + int(worker.removeprefix("gw")) % (DATABASES - 1)
    parts = urlsplit(url)
    if parts.scheme in ("redis", "rediss"):
        return urlunsplit(parts._replace(path=f"/{number}"))
    given = [(name, value) for name, value in parse_qsl(parts.query) if name != "db"]
    return urlunsplit(parts._replace(query=urlencode([("db", number), *given])))
