"""How a request proves who sends it: API keys, OAuth 1.0a (HMAC-SHA256), and OAuth 2.0 tokens fetched once for all
callers.

Tokens live in this process's memory only. Whoever finds none fetches it while the others wait (single flight).
"""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import hmac
import secrets
import time
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jwt

from q2c.core.problems import Category, Problem

if TYPE_CHECKING:
    from connectors.http import Telephone

_UNRESERVED = "-._~"
EARLY_SECONDS = 60.0  # a token is fetched anew this long before it ends


class NoAuth:
    """A system that asks for nothing."""

    async def authorize(
        self,
        headers: dict[str, str],
        *,
        method: str,
        url: str,
        query: Sequence[tuple[str, str]],
        telephone: Telephone,
    ) -> None:
        """Adds nothing."""

    def forget(self, sent: Mapping[str, str]) -> bool:
        """There's nothing to fetch anew."""
        return False


class Bearer(NoAuth):
    """A fixed secret as bearer token."""

    def __init__(self, secret: str) -> None:
        self._header = f"Bearer {secret}"

    async def authorize(
        self,
        headers: dict[str, str],
        *,
        method: str,
        url: str,
        query: Sequence[tuple[str, str]],
        telephone: Telephone,
    ) -> None:
        """Adds the Authorization header."""
        headers["Authorization"] = self._header


class OAuth1(NoAuth):
    """OAuth 1.0a with HMAC-SHA256 (RFC 5849): NetSuite's token-based authentication. Signs URL and query, not the
    body."""

    def __init__(
        self, *, realm: str, consumer_key: str, consumer_secret: str, token_id: str, token_secret: str
    ) -> None:
        self.realm = realm
        self._fixed = (
            f"oauth_consumer_key={_escaped(consumer_key)}&oauth_nonce={{nonce}}&oauth_signature_method=HMAC-SHA256"
            f"&oauth_timestamp={{timestamp}}&oauth_token={_escaped(token_id)}&oauth_version=1.0"
        )
        self._key = hmac.new(f"{_enc(consumer_secret)}&{_enc(token_secret)}".encode(), digestmod=hashlib.sha256)

    async def authorize(
        self,
        headers: dict[str, str],
        *,
        method: str,
        url: str,
        query: Sequence[tuple[str, str]],
        telephone: Telephone,
    ) -> None:
        """Adds the signed Authorization header."""
        headers["Authorization"] = self.header(
            method, url, query, nonce=secrets.token_hex(12), timestamp=str(int(time.time()))
        )

    def header(self, method: str, url: str, query: Sequence[tuple[str, str]], *, nonce: str, timestamp: str) -> str:
        """The Authorization header for this nonce and timestamp (which need no encoding)."""
        fixed = self._fixed.format(nonce=nonce, timestamp=timestamp)
        if query:
            pairs = [*fixed.split("&"), *(f"{_enc(k)}={_enc(v)}" for k, v in query)]
            normal = "&".join(sorted(pairs, key=lambda pair: pair.split("=", 1)))
        else:
            normal = fixed
        signer = self._key.copy()
        signer.update(f"{method}&{_enc_url(_base_url(url))}&{_enc_again(normal)}".encode())
        signature = _enc_base64(base64.b64encode(signer.digest()).decode())
        shown = ", ".join(f'{k}="{v}"' for k, _, v in (pair.partition("=") for pair in fixed.split("&")))
        return f'OAuth realm="{self.realm}", {shown}, oauth_signature="{signature}"'


def _escaped(text: str) -> str:
    return _enc(text).replace("{", "{{").replace("}", "}}")


def _enc(text: str) -> str:
    return quote(text, safe=_UNRESERVED)


@functools.lru_cache(maxsize=4096)
def _enc_url(url: str) -> str:
    return _enc(url)


def _enc_again(text: str) -> str:
    """Percent-encoding of what is encoded already: only these three are left to encode."""
    return text.replace("%", "%25").replace("=", "%3D").replace("&", "%26")


def _enc_base64(text: str) -> str:
    return text.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")


def _base_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.lower()}://{host.lower()}{slash}{path}"


@dataclass(frozen=True)
class Token:
    """An access token, when it ends (monotonic clock; None: not told) and what came with it (Salesforce's
    instance_url)."""

    value: str
    ends_at: float | None
    extra: Mapping[str, Any]


_tokens: dict[str, Token] = {}
_locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Lock]] = weakref.WeakKeyDictionary()


class FetchedToken:
    """OAuth 2.0: `fetch(telephone)` gets a token; it's kept for all clients with the same credentials."""

    def __init__(self, credentials: Sequence[str], fetch: Callable[[Telephone], Awaitable[Token]]) -> None:
        self._key = hashlib.sha256("\x1f".join(credentials).encode()).hexdigest()
        self._fetch = fetch

    async def authorize(
        self,
        headers: dict[str, str],
        *,
        method: str,
        url: str,
        query: Sequence[tuple[str, str]],
        telephone: Telephone,
    ) -> None:
        """Adds the Authorization header."""
        headers["Authorization"] = _bearer(await self.token(telephone))

    async def token(self, telephone: Telephone) -> Token:
        """The token, fetched if there's none that lasts. Raises Problem credentials_refused when it isn't given."""
        token = self._kept()
        if token is None:
            lock = _locks.setdefault(asyncio.get_running_loop(), {}).setdefault(self._key, asyncio.Lock())
            async with lock:
                token = self._kept()
                if token is None:
                    token = _tokens[self._key] = await self._fetch(telephone)
        return token

    def forget(self, sent: Mapping[str, str]) -> bool:
        """Drop the token that was refused; another may be had. A newer one that somebody fetched meanwhile stays."""
        token = _tokens.get(self._key)
        if token is not None and _bearer(token) == sent.get("Authorization"):
            del _tokens[self._key]
        return True

    def _kept(self) -> Token | None:
        token = _tokens.get(self._key)
        if token is None or (token.ends_at is not None and time.monotonic() > token.ends_at - EARLY_SECONDS):
            return None
        return token


def _bearer(token: Token) -> str:
    return f"Bearer {token.value}"


def forget_tokens() -> None:
    """Drop every kept token: for tests, and after credentials changed."""
    _tokens.clear()


async def fetch_token(
    telephone: Telephone,
    url: str,
    form: Sequence[tuple[str, str]],
    *,
    headers: Mapping[str, str] | None = None,
) -> Token:
    """Ask a token endpoint. Raises Problem credentials_refused when it says no, availability when it doesn't answer.

    A no is 401, 403, or 400 with the `error` that RFC 6749 section 5.2 asks of it. Anything else isn't about our
    credentials (a cut answer, a proxy's page): the connection isn't paused for it until somebody comes.
    """
    reply = await telephone.call(
        "POST",
        url,
        verb="token",
        form=form,
        headers=headers,
        is_write=False,
        is_authorized=False,
        accept=(400, 401, 403),
    )
    code = telephone.line.code
    if reply.status == 400 and _oauth_error(reply) in ("", *_NOT_OURS):
        raise Problem(
            "system_unavailable",
            Category.AVAILABILITY,
            f"{telephone.line.name} gave no token, and didn't refuse our credentials either",
            connection=code,
        )
    if reply.status >= 400:
        raise Problem(
            "credentials_refused",
            Category.AUTHENTICATION,
            f"{telephone.line.name} refused our credentials: {_oauth_words(reply)}",
            connection=code,
        )
    answer = reply.json("access_token")
    lasts = str(answer.get("expires_in") or "")
    ends_at = time.monotonic() + float(lasts) if lasts.isdigit() else None
    extra = {k: v for k, v in answer.items() if k != "access_token"}
    return Token(str(answer["access_token"]), ends_at, extra)


_NOT_OURS = ("server_error", "temporarily_unavailable")


def _oauth_error(reply: Any) -> str:
    return _oauth_answer(reply).get("error") or ""


def _oauth_words(reply: Any) -> str:
    answer = _oauth_answer(reply)
    return str(answer.get("error_description") or answer.get("error") or reply.status)


def _oauth_answer(reply: Any) -> dict[str, str]:
    try:
        answer = reply.json()
    except Problem:
        return {}
    return {k: str(v) for k, v in answer.items() if v} if isinstance(answer, dict) else {}


def assertion(
    *, key: str, algorithm: str, claims: Mapping[str, Any], key_id: str = "", lasts_seconds: int = 180
) -> str:
    """A signed JWT for a bearer-assertion grant. Raises Problem credentials_refused when the private key isn't one."""
    now = int(time.time())
    headers = {"typ": "JWT", **({"kid": key_id} if key_id else {})}
    try:
        return jwt.encode({"iat": now, "exp": now + lasts_seconds, **claims}, key, algorithm=algorithm, headers=headers)
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        raise Problem(
            "credentials_refused", Category.AUTHENTICATION, "The private key of the connection can't be used"
        ) from error


def basic(user: str, secret: str) -> str:
    """The value of an Authorization header for HTTP Basic."""
    return "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()
