"""How the portal reaches Valkey or Redis: at one address, or at the primary that sentinels name.

    redis://:PASSWORD@HOST:6379/0          one server, or an address that follows the primary
    unix://:PASSWORD@/PATH?db=0            one server of this machine
    sentinel://:PASSWORD@HOST:26379,HOST:26379,HOST:26379/NAME?db=0&sentinel_password=PASSWORD
                                           whichever server the sentinels call the primary of NAME

Nothing in it matters (law 1): what a server that went down took with it is found again within seconds. Loads before the
settings do.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from redis.sentinel import Sentinel, SentinelConnectionPool

SCHEME = "sentinel"
PORT = 26379
# A sentinel that is cut off is given up before the whole failover, which takes the sentinels some seconds, is over.
SENTINEL_SECONDS = 0.5
ANSWERS_SECONDS = 2.0
REMEMBERED_SECONDS = 10.0  # screens and scrapes ask no more often, so an absent one costs them a wait each so long
_asked: dict[str, tuple[float, bool]] = {}  # by address: until when it's remembered whether it answered


@dataclass(frozen=True)
class Sentinels:
    """A `sentinel://` address, taken apart."""

    hosts: tuple[tuple[str, int], ...]
    name: str
    username: str | None
    password: str | None
    sentinel_password: str | None
    db: int

    @property
    def access(self) -> dict[str, Any]:
        """What a client of the primary says of itself."""
        return {"username": self.username, "password": self.password, "db": self.db}

    @property
    def sentinel_access(self) -> dict[str, Any]:
        """What a client of the sentinels says of itself, and how long it waits for them."""
        waits = {"socket_timeout": SENTINEL_SECONDS, "socket_connect_timeout": SENTINEL_SECONDS}
        return waits | ({"password": self.sentinel_password} if self.sentinel_password else {})


def read_sentinels(url: str) -> Sentinels | None:
    """The parts of a `sentinel://` address, None of any other. Raises ValueError where the name is missing."""
    parts = urlsplit(url)
    if parts.scheme != SCHEME:
        return None
    account, _, places = parts.netloc.rpartition("@")
    username, _, password = account.partition(":")
    said = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    name = parts.path.strip("/")
    if not name:
        raise ValueError(f"REDIS_URL names no primary: {SCHEME}://HOST:{PORT},HOST:{PORT}/NAME")
    hosts = tuple((host, int(port or PORT)) for host, _, port in (place.partition(":") for place in places.split(",")))
    return Sentinels(
        hosts, name, unquote(username) or None, unquote(password) or None, said.get("sentinel_password"),
        int(said.get("db", 0)),
    )  # fmt: skip


class PrimaryPool(SentinelConnectionPool):
    """Connections to the primary that the sentinels name. A server that has become a replica refuses writes, which ends
    the connection: the next one asks the sentinels again."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> PrimaryPool:
        """As redis' own pools are made, of a `sentinel://` address."""
        found = read_sentinels(url)
        if found is None:
            raise ValueError(f"Not an address of sentinels: {urlsplit(url).scheme}")
        asked = Sentinel(found.hosts, sentinel_kwargs=found.sentinel_access)
        return cls(found.name, asked, **found.access, **options)


def pool_of(url: str, **options: Any) -> redis.ConnectionPool:
    """A pool of connections to the server that is written to; `options` are redis' own (`socket_timeout`, ...)."""
    kind = redis.ConnectionPool if read_sentinels(url) is None else PrimaryPool
    pool: redis.ConnectionPool = kind.from_url(url, **options)
    return pool


def client_of(url: str, **options: Any) -> redis.Redis:
    """A client of the server that is written to."""
    return redis.Redis.from_pool(pool_of(url, **options))


def answers(url: str) -> bool:
    """Whether the server that is written to answers now."""
    try:
        client = client_of(url, socket_timeout=ANSWERS_SECONDS, socket_connect_timeout=ANSWERS_SECONDS)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except (redis.RedisError, OSError):
        return False


def answered(url: str) -> bool:
    """The same, as it was seen in the last seconds: for screens and metrics."""
    until, is_up = _asked.get(url, (0.0, False))
    if time.monotonic() >= until:
        is_up = answers(url)
        _asked[url] = (time.monotonic() + REMEMBERED_SECONDS, is_up)
    return is_up


def place_of(url: str) -> str:
    """Where it is, without what lets anybody in."""
    found = read_sentinels(url)
    if found is not None:
        return f"{found.name}, of {len(found.hosts)} sentinel{'s' if len(found.hosts) > 1 else ''}"
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] if parts.scheme != "unix" else "a socket of this host"


def cache_of(url: str) -> dict[str, Any]:
    """Django's cache there."""
    own = {} if read_sentinels(url) is None else {"pool_class": PrimaryPool}
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": [url],  # as a text it would be cut at the commas between sentinels
        "OPTIONS": {"socket_timeout": 5, **own},
    }


def celery_of(url: str) -> tuple[str, dict[str, Any]]:
    """Celery's address of the broker, and its transport's options for it."""
    found = read_sentinels(url)
    if found is None:  # kombu says redis+socket where redis-py says unix
        return url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host="), {}
    account = urlsplit(url).netloc.rpartition("@")[0]
    who = f"{account}@" if account else ""
    address = ";".join(f"{SCHEME}://{who}{host}:{port}/{found.db}" for host, port in found.hosts)
    return address, {"master_name": found.name, "sentinel_kwargs": found.sentinel_access}
