"""Doors that stand between the portal and what it talks to: they pass everything on, until they're told otherwise.

All of them live in one thread with an event loop; what the tormentor asks for is handed to that loop.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHUNK = 65536
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing resets the connection, as a cut cable's end looks


class Gate:
    """One door: everything that comes to `port` is passed to `target`, a port of this machine or a unix socket."""

    def __init__(self, name: str, port: int, target: int | Path) -> None:
        self.name, self.port, self.target = name, port, target
        self.delay_seconds = 0.0
        self.truncates_after: int | None = None  # bytes of the next answer that still get through
        self.is_shut = False
        self.writers: set[asyncio.StreamWriter] = set()
        self.server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen."""
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    def cut(self) -> None:
        """Reset every connection that is there now; new ones pass."""
        for writer in list(self.writers):
            _reset(writer)

    def shut(self, is_shut: bool) -> None:
        """Let nobody through any more, or again."""
        self.is_shut = is_shut
        if is_shut:
            self.cut()

    def delay(self, seconds: float) -> None:
        """Hold every piece up for so long before it's passed on."""
        self.delay_seconds = seconds

    def truncate(self, count: int) -> None:
        """Let so many bytes of the next answer through, then reset its connection."""
        self.truncates_after = count

    def calm(self) -> None:
        """Pass everything on again."""
        self.delay_seconds, self.truncates_after, self.is_shut = 0.0, None, False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        behind: asyncio.StreamWriter | None = None
        try:
            if self.is_shut:
                return _reset(writer)
            answers, behind = await self._reach()
            self.writers.add(behind)
            await asyncio.gather(self._pass(reader, behind), self._pass(answers, writer, is_answer=True))
        except OSError:
            pass  # either side went away, or nobody is behind: the other side sees its connection end
        finally:
            for each in (writer, behind):
                if each is not None:
                    self.writers.discard(each)
                    each.close()
        return None

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.target, Path):
            return await asyncio.open_unix_connection(str(self.target))
        return await asyncio.open_connection("127.0.0.1", self.target)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool = False
    ) -> None:
        while piece := await reader.read(CHUNK):
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            if is_answer and self.truncates_after is not None:
                piece, self.truncates_after = piece[: self.truncates_after], None
                writer.write(piece)
                await writer.drain()
                return self._end(writer)
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        return None

    def _end(self, writer: asyncio.StreamWriter) -> None:
        """What was let through arrives, then the connection ends on both sides."""
        writer.close()
        raise ConnectionResetError("truncated")


class Gates:
    """All doors, in a thread of their own."""

    def __init__(self, *gates: Gate) -> None:
        self.gates = {gate.name: gate for gate in gates}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="gates", daemon=True)

    def open(self) -> None:
        """Begin to listen. Raises OSError where a port is taken."""
        self.thread.start()
        for gate in self.gates.values():
            asyncio.run_coroutine_threadsafe(gate.open(), self.loop).result(timeout=60)

    def close(self) -> None:
        """End every connection and stop."""

        def end() -> None:
            for gate in self.gates.values():
                if gate.server is not None:
                    gate.server.close()
                gate.cut()
            self.loop.call_later(0.1, self.loop.stop)

        self.loop.call_soon_threadsafe(end)
        self.thread.join(timeout=5)

    def tell(self, act: Callable[..., None], *given: Any) -> None:
        """Have a gate do something (`gates.tell(gates["stripe"].cut)`)."""
        self.loop.call_soon_threadsafe(act, *given)

    def __getitem__(self, name: str) -> Gate:
        return self.gates[name]


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection at once, so that the other side is told in the middle of what it does."""
    door: socket.socket | None = writer.get_extra_info("socket")
    if door is not None and door.family in (socket.AF_INET, socket.AF_INET6):
        door.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    writer.transport.abort()
