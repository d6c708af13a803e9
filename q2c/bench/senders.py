"""Senders of webhooks: requests made beforehand, over kept-alive connections, with as little of our own CPU as goes."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import hmac
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

BODY_BYTES = 4096


@dataclass(frozen=True)
class Sent:
    """What came of it: answers with 200 a second, seconds of each, how often which other answer came."""

    per_second: float
    took: list[float]
    refused: Counter[str]
    cpu_seconds: float


def make_requests(number: int, *, port: int, secret: str) -> list[bytes]:
    """Signed events of 4 kB as Stripe sends them, each with an id of its own."""
    return [_request(port, secret) for _ in range(number)]


def _request(port: int, secret: str) -> bytes:
    now = int(time.time())
    event = {
        "id": f"evt_{uuid.uuid4().hex[:24]}", "object": "event", "api_version": "2026-06-24", "created": now,
        "type": "invoice.finalized", "livemode": False,
        "data": {"object": {"id": f"in_{uuid.uuid4().hex[:24]}", "object": "invoice", "description": ""}},
    }  # fmt: skip
    event["data"]["object"]["description"] = "x" * (BODY_BYTES - len(json.dumps(event)))  # type: ignore[index]
    body = json.dumps(event).encode()
    signature = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    head = (
        f"POST /webhooks/stripe/ HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Content-Type: application/json; charset=utf-8\r\n"
        f"User-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\nAccept: */*\r\n"
        f"Stripe-Signature: t={now},v1={signature}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def send_all(requests: list[bytes], *, port: int, senders: int) -> Sent:
    """Send these with so many senders at once, each waiting for its answer before the next."""
    return asyncio.run(_send_all(requests, port, senders))


async def _send_all(requests: list[bytes], port: int, senders: int) -> Sent:
    left = iter(requests)
    took: list[float] = []
    refused: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    cpu, started = time.process_time(), time.monotonic()
    lines = [_Line(left, took, refused) for _ in range(senders)]
    for line in lines:
        await loop.create_connection(functools.partial(_itself, line), "127.0.0.1", port)
    await asyncio.gather(*(line.ended for line in lines))
    seconds = time.monotonic() - started
    return Sent((len(took) - refused.total()) / seconds, took, refused, time.process_time() - cpu)


def _itself(line: _Line) -> _Line:
    return line


class _Line(asyncio.Protocol):
    """One sender: the next request as soon as the answer is whole."""

    def __init__(self, left: Iterator[bytes], took: list[float], refused: Counter[str]) -> None:
        self.left, self.took, self.refused = left, took, refused
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer, self.sent_at = b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = transport
        self._send_next()

    def data_received(self, data: bytes) -> None:
        """An answer, or a part of one."""
        self.buffer += data
        head, gap, body = self.buffer.partition(b"\r\n\r\n")
        if not gap:
            return
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"), 0)
        if len(body) < length:
            return
        self.took.append(time.monotonic() - self.sent_at)
        if head[9:12] != b"200":
            self.refused[f"{head[9:12].decode()} {body[:120].decode(errors='replace')}"] += 1
        self.buffer = b""
        self._send_next()

    def connection_lost(self, error: Exception | None) -> None:
        """The server hung up. Whoever waits hears of it."""
        if not self.ended.done():
            self.ended.set_exception(ConnectionError(f"the server hung up: {error}"))

    def _send_next(self) -> None:
        request = next(self.left, None)
        if request is None:
            if not self.ended.done():
                self.ended.set_result(None)
            self.transport.close()
            return
        self.sent_at = time.monotonic()
        self.transport.write(request)  # type: ignore[attr-defined]
