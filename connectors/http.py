"""The only telephone: every byte that leaves for a vendor leaves here.

It knows no table and no vendor. It authorizes, throttles, checks the send deadline just before the bytes leave, refuses
private addresses, caps answers, records every exchange, and says precisely what is known afterwards:

* `NeverSent`: nothing left the house (no connection, open breaker, deadline passed, paused).
* `NotAnswered`: a write may have arrived, and no answer came that we understand (law 4).
* another `Problem`: the vendor's answer, read by the manifest's error table; for a read also the lack of one.
"""

from __future__ import annotations

import asyncio
import atexit
import datetime as dt
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from connectors.breaker import Breaker, breaker_of
from connectors.calls import Auth, Line, Outgoing, Recorded, Reply, account_of, outgoing
from connectors.guard import refuse_address, refuse_scheme
from connectors.manifest import Limits
from connectors.quota import count_of, quota_of
from connectors.slots import drop_slots, lower, one_slot
from connectors.throttle import throttle_of
from q2c.core import tracing
from q2c.core.clocks import since_boot
from q2c.core.problems import Category, NeverSent, NotAnswered, Problem

__all__ = ["Auth", "Line", "Outgoing", "Recorded", "Reply", "Telephone", "close_sessions", "outgoing"]

ANSWER_BYTES_MAX = 20_000_000
PROBE_SLACK_SECONDS = 5.0  # of a probe's lease beyond its call's longest time
USER_AGENT = "q2c-portal/1"
_READS = frozenset({"GET", "HEAD"})
_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(slots=True)
class _Send:
    """One request under way: `left` turns true the moment before its bytes may leave."""

    deadline: float | None
    left: bool = False


class _TooLate(Exception):
    pass


class _Refused(OSError):
    """A name or address that we don't dial; an OSError so that the connector takes it for a failed connection."""


_sending: ContextVar[_Send | None] = ContextVar("sending", default=None)


class _Resolver(AbstractResolver):
    """Looks names up and drops what may not be dialled; what it returns is what is connected to, so no second
    look-up."""

    def __init__(self, *, allows_private: bool) -> None:
        self.inner = ThreadedResolver()
        self.allows_private = allows_private

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
        found = await self.inner.resolve(host, port, family)
        refusals = [refuse_address(a["host"], allows_private=self.allows_private) for a in found]
        if any(refusals):
            raise _Refused(f"{host}: {next(r for r in refusals if r)}")
        return found

    async def close(self) -> None:
        await self.inner.close()


class _Connector(aiohttp.TCPConnector):
    """Checks the send deadline once a connection is there: nothing but the bytes themselves comes after."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        connection = await super().connect(req, traces, timeout)
        send = _sending.get()
        if send is not None:
            if send.deadline is not None and since_boot() >= send.deadline:
                connection.release()
                raise _TooLate
            send.left = True
        return connection


_sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Any, ...], aiohttp.ClientSession]] = (
    weakref.WeakKeyDictionary()
)


def _session(line: Line, limits: Limits) -> aiohttp.ClientSession:
    of_loop = _sessions.setdefault(asyncio.get_running_loop(), {})
    key = (line.code, line.allows_private, limits.connect_seconds, limits.timeout_seconds)
    session = of_loop.get(key)
    if session is None or session.closed:
        session = of_loop[key] = aiohttp.ClientSession(
            connector=_Connector(
                limit=0,
                keepalive_timeout=15.0,
                resolver=_Resolver(allows_private=line.allows_private),
                ttl_dns_cache=60,
            ),
            timeout=aiohttp.ClientTimeout(
                total=limits.connect_seconds + limits.timeout_seconds,
                connect=limits.connect_seconds,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            raise_for_status=False,
            skip_auto_headers=("User-Agent",),
        )
        session._retry_connection = False  # aiohttp would repeat a PUT by itself, after our deadline and unrecorded
    return session


@atexit.register
def _drop_sessions() -> None:
    """At the end of a process its loop no longer runs, so what is still open is let go of, without a word."""
    for loop, sessions in list(_sessions.items()):
        loop.set_exception_handler(lambda _loop, _context: None)
        for session in sessions.values():
            session.detach()


async def close_sessions() -> None:
    """Hang up all of this loop's kept-alive connections, and give its slots back."""
    drop_slots()
    for session in _sessions.pop(asyncio.get_running_loop(), {}).values():
        await session.close()


class Telephone:
    """One connection's line. `explain(reply)` turns a refusal into a Problem; `record` takes every exchange.

    `hides_errors` looks at the body of a 2xx: a failure inside it is a refusal like any other.
    """

    def __init__(
        self,
        line: Line,
        limits: Limits,
        *,
        auth: Auth,
        explain: Callable[[Reply], Problem],
        record: Callable[[Recorded], None],
        read_quota: Callable[[Mapping[str, str]], tuple[int, int] | None] | None = None,
        hides_errors: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.line = line
        self.limits = limits
        self.auth = auth
        self.explain = explain
        self.record = record
        self.read_quota = read_quota
        self.hides_errors = hides_errors or _hides_none
        self.base_url = line.base_url.rstrip("/")
        self.account = account_of(line.code, self.base_url, is_by_address=limits.is_by_address)
        self.headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}

    @property
    def breaker(self) -> Breaker:
        """This whole connection's breaker in this process."""
        return breaker_of(self.line.code)

    async def call(
        self,
        method: str,
        path: str,
        *,
        verb: str,
        query: Sequence[tuple[str, str]] = (),
        json: Any = None,
        form: Sequence[tuple[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
        is_write: bool | None = None,
        accept: tuple[int, ...] = (),
        is_authorized: bool = True,
        is_listing: bool = False,
    ) -> Reply:
        """Make a call to a path below the base address, or to a full URL of an allowed host (tokens, next pages).

        Gives the Reply of a 2xx that hides no failure, or of a status in `accept`; raises Problem, NeverSent or
        NotAnswered for the rest.
        A refused token is fetched anew once. Of a listing (`is_listing`: its answer speaks of customers whom the call
        isn't about) only size and hash of the answer are recorded.
        """
        is_write = method not in _READS if is_write is None else is_write
        url = path if path.startswith(("https://", "http://")) else self.base_url + path
        sent_headers = {**self.headers, **(headers or {})}
        body = b""
        if json is not None:
            body = _encode(json)
            sent_headers.setdefault("Content-Type", "application/json")
        elif form is not None:
            body = urlencode(form).encode()
            sent_headers["Content-Type"] = "application/x-www-form-urlencoded"
        for is_repeat in (False, True):
            request = dict(sent_headers)
            if is_authorized:
                await self.auth.authorize(request, method=method, url=url, query=query, telephone=self)
            # A token is about the connection, whatever it's fetched for.
            about = outgoing.get() if is_authorized else replace(outgoing.get(), object_type="")
            reply = await self._send(about, method, url, query, body, request, sent_headers, verb, is_write, is_listing)
            if reply.status == 401 and is_authorized and not is_repeat and self.auth.forget(request):
                continue
            break
        if reply.status in accept or (200 <= reply.status < 300 and not self.hides_errors(reply.body)):
            return reply
        raise self._refusal(reply)

    def _refusal(self, reply: Reply) -> Problem:
        problem = self.explain(reply)
        if problem.category is Category.RATE_LIMIT and problem.wait_seconds:
            throttle_of(self.line.code, self.limits.per_second).pause(problem.wait_seconds)
        elif problem.category is Category.RATE_LIMIT:
            lower(self.account, self.line.at_once)
        return problem

    async def _send(
        self,
        about: Outgoing,
        method: str,
        url: str,
        query: Sequence[tuple[str, str]],
        body: bytes,
        headers: dict[str, str],
        shown_headers: Mapping[str, str],
        verb: str,
        is_write: bool,
        is_listing: bool,
    ) -> Reply:
        target = URL(f"{url}?{urlencode(query, quote_via=quote, safe='')}" if query else url, encoded=True)
        self._check_target(target)
        if about.correlation_id:
            headers["X-Correlation-Id"] = about.correlation_id
        quota = quota_of(self.line.code) if self.read_quota else count_of(self.account, self.line.code)
        quota.let_through(about.lane, per_day=self.limits.per_day)
        async with one_slot(self.account, self.line.at_once, about.lane, of=self.line.code):
            await throttle_of(self.line.code, self.limits.per_second).wait_turn()
            self._let_through(about.object_type)
            if (counted := quota.take(per_day=self.limits.per_day)) is not None:
                self.breaker.quota_used, self.breaker.quota_limit = counted
            noted = Recorded(
                self.line.code, method, str(target), verb, dt.datetime.now(dt.UTC), about, shown_headers, body
            )
            return await self._dial(method, target, headers, body, noted, is_write=is_write, is_listing=is_listing)

    async def _dial(
        self,
        method: str,
        target: URL,
        headers: dict[str, str],
        body: bytes,
        noted: Recorded,
        *,
        is_write: bool,
        is_listing: bool,
    ) -> Reply:
        send = _Send(noted.about.deadline if is_write else None)
        token = _sending.set(send)
        started = time.perf_counter()
        try:
            with tracing.span(
                f"{method} {self.line.code} {noted.verb}", kind="client", correlation_id=noted.about.correlation_id,
                connection=self.line.code, verb=noted.verb,
            ) as own:  # fmt: skip
                reply = await self._exchange(method, target, headers, body, noted, is_write=is_write)
                if own is not None:
                    own.set_attribute("server.address", target.host or "")
                    own.set_attribute("http.response.status_code", reply.status)
        except (TimeoutError, aiohttp.ClientError, _TooLate, OSError) as error:
            raise self._silence(error, send, noted, is_write=is_write) from error
        except BaseException:
            noted.failure = "cancelled"
            self._drop_probes(noted.about.object_type)
            raise
        finally:
            _sending.reset(token)
            noted.took_ms = round((time.perf_counter() - started) * 1000)
            if is_listing and noted.status is not None and noted.status < 300:
                noted.leave_out_answer()
            self.record(noted)
        if reply.status >= 500:
            self._note_failure(noted.about.object_type, f"answered {reply.status}", is_write=is_write)
        else:
            for breaker in self._breakers(noted.about.object_type):
                breaker.note_success(noted.took_ms, is_write=is_write)
        if self.read_quota is not None and (quota := self.read_quota(reply.headers)):
            self.breaker.quota_used, self.breaker.quota_limit = quota
            quota_of(self.line.code).note(*quota)
        return reply

    async def _exchange(
        self, method: str, target: URL, headers: dict[str, str], body: bytes, noted: Recorded, *, is_write: bool
    ) -> Reply:
        session = _session(self.line, self.limits)
        async with session.request(method, target, data=body or None, headers=headers, allow_redirects=False) as answer:
            noted.status = answer.status
            noted.response_headers = answer.headers
            noted.response_body = await _read_capped(answer)
        return Reply(answer.status, answer.headers, noted.response_body, self.line.code, is_write)

    def _silence(self, error: Exception, send: _Send, noted: Recorded, *, is_write: bool) -> Problem:
        """What is known when no whole answer came."""
        name = self.line.code
        why = str(error) or type(error).__name__
        noted.failure = f"{type(error).__name__}: {why}"[:200]
        about = noted.about.object_type
        if isinstance(error, _TooLate):
            self._drop_probes(about)
            return NeverSent(f"The send deadline for {name} had passed, so nothing was sent", connection=name)
        if (refused := _refused_address(error)) is not None:
            self._drop_probes(about)
            return self._address_refused(str(refused))
        self._note_failure(about if send.left else "", noted.failure, is_write=is_write)
        if about and not send.left:
            breaker_of(name, about).drop_probe()  # nothing was learnt of what it was about
        if not send.left:
            return NeverSent(f"No connection to {name}: {why}", connection=name)
        if is_write:
            return NotAnswered(f"{name} didn't answer: {why}", connection=name)
        return Problem("system_unavailable", Category.AVAILABILITY, f"{name} didn't answer: {why}", connection=name)

    def _breakers(self, object_type: str) -> list[Breaker]:
        """Those that a call passes: of what it's about, where that is known, and of the whole connection."""
        code = self.line.code
        return [breaker_of(code, object_type), breaker_of(code)] if object_type else [breaker_of(code)]

    def _let_through(self, object_type: str) -> None:
        seconds = self.limits.connect_seconds + self.limits.timeout_seconds + PROBE_SLACK_SECONDS
        probing: list[Breaker] = []
        for breaker in self._breakers(object_type):
            try:
                if breaker.let_through(probe_seconds=seconds):
                    probing.append(breaker)
            except NeverSent:
                for other in probing:
                    other.drop_probe()
                raise

    def _drop_probes(self, object_type: str) -> None:
        for breaker in self._breakers(object_type):
            breaker.drop_probe()

    def _note_failure(self, object_type: str, why: str, *, is_write: bool) -> None:
        """A failure counts for what the call was about; one to connect at all for the whole connection, which any call
        proves well."""
        breaker_of(self.line.code, object_type).note_failure(why, is_write=is_write and bool(object_type))
        if object_type:
            self.breaker.note_connected()
            self.breaker.note_seen(why)

    def _check_target(self, target: URL) -> None:
        refusal = refuse_scheme(target.scheme, allows_private=self.line.allows_private)
        host = target.raw_host or ""
        if refusal is None and (host[:1].isdigit() or ":" in host):
            try:
                refusal = refuse_address(host, allows_private=self.line.allows_private)
            except ValueError:
                refusal = None  # a name that begins with a digit: the resolver judges its addresses
        if refusal is not None:
            raise self._address_refused(refusal)

    def _address_refused(self, why: str) -> Problem:
        code = self.line.code
        says = f"The address of {code} may not be dialled: {why}"
        return Problem("address_refused", Category.VALIDATION, says, connection=code)


def _refused_address(error: BaseException | None) -> _Refused | None:
    while error is not None and not isinstance(error, _Refused):
        error = error.__cause__
    return error


def _hides_none(body: bytes) -> bool:
    return False


async def _read_capped(answer: aiohttp.ClientResponse) -> bytes:
    length = answer.content_length
    if length is not None and length <= ANSWER_BYTES_MAX and "Content-Encoding" not in answer.headers:
        return await answer.read()
    parts, size = [], 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > ANSWER_BYTES_MAX:
            raise aiohttp.ClientPayloadError(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
        parts.append(part)
    return b"".join(parts)
