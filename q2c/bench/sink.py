"""The cheapest target there is: takes documents over HTTP, counts each external id, answers at once or after a while.

`python -m q2c.bench.sink PORT [ANSWERS_AFTER_MS [AT_ONCE]]`. Above `AT_ONCE` calls under way it answers 429, as an ERP
does. `POST /documents` makes one, `GET /documents?external_id=` finds it, `GET /log` tells what was made and what that
cost, `DELETE /log` forgets.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import Counter

import uvloop

_EXTERNAL_ID = re.compile(rb'"external_id":\s*"([^"]+)"')
_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_ANSWER = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


class Ledger:
    """What the sink keeps."""

    def __init__(self, after_seconds: float, at_once: int) -> None:
        self.after_seconds, self.at_once = after_seconds, at_once
        self.made: Counter[bytes] = Counter()
        self.under_way = self.most_under_way = self.refused = 0
        self.first_at = self.last_at = 0.0

    def make(self, body: bytes) -> tuple[bytes, bytes]:
        """Make a document of a body."""
        name = _EXTERNAL_ID.search(body)
        if name is None:
            return b"400 Bad Request", b'{"error": "external_id is missing"}'
        self.made[name[1]] += 1
        self.last_at = time.time()
        self.first_at = self.first_at or self.last_at
        return b"201 Created", b'{"id": "D-%s"}' % name[1]

    def find(self, name: bytes) -> tuple[bytes, bytes]:
        """Look for a document by its external id."""
        return (b"200 OK", b'{"id": "D-%s"}' % name) if name in self.made else (b"404 Not Found", b"{}")

    def tell(self) -> bytes:
        """What was made, how often twice, and the CPU seconds of this process."""
        facts = {
            "distinct": len(self.made), "made": self.made.total(), "cpu": time.process_time(),
            "seconds": self.last_at - self.first_at,
            "twice": sum(times > 1 for times in self.made.values()), "refused": self.refused,
            "most_under_way": self.most_under_way,
        }  # fmt: skip
        return json.dumps(facts).encode()


class Door(asyncio.Protocol):
    """One kept-alive connection."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.buffer = ledger, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.WriteTransport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self.buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.buffer) < whole:
                return
            head, body, self.buffer = self.buffer[:end], self.buffer[end + 4 : whole], self.buffer[whole:]
            self._take(head, body)

    def _take(self, head: bytes, body: bytes) -> None:
        ledger = self.ledger
        method, path, _ = head.split(b" ", 2)
        if path == b"/log":
            if method == b"DELETE":
                ledger.made.clear()
                ledger.first_at = 0.0
            self._answer(b"200 OK", ledger.tell())
            return
        if ledger.under_way >= ledger.at_once:
            ledger.refused += 1
            self._answer(b"429 Too Many Requests", b"{}")
            return
        status, told = ledger.make(body) if method == b"POST" else ledger.find(path.rpartition(b"=")[2])
        if not ledger.after_seconds:
            self._answer(status, told)
            return
        ledger.under_way += 1
        ledger.most_under_way = max(ledger.most_under_way, ledger.under_way)
        asyncio.get_running_loop().call_later(ledger.after_seconds, self._answer_late, status, told)

    def _answer_late(self, status: bytes, told: bytes) -> None:
        self.ledger.under_way -= 1
        self._answer(status, told)

    def _answer(self, status: bytes, told: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(_ANSWER % (status, len(told), told))


async def _serve(port: int, after_ms: float, at_once: int) -> None:
    ledger = Ledger(after_ms / 1000, at_once)
    server = await asyncio.get_running_loop().create_server(lambda: Door(ledger), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    given = [float(text) for text in sys.argv[1:]]
    uvloop.run(_serve(int(given[0]), given[1] if len(given) > 1 else 0.0, int(given[2]) if len(given) > 2 else 10**9))
