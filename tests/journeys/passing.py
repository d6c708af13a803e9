"""Passes connections on between addresses and unix sockets, for hosts whose network leads nowhere else.

python -m tests.journeys.passing HOST:PORT=PATH PATH=HOST:PORT ...     listens at what is left, leads to what is right
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable

# As PostgreSQL is told by `prepare_database`: silence and unanswered words are given up within half a minute.
GIVES_UP = (
    (socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3), (socket.TCP_USER_TIMEOUT, 25_000),
)  # fmt: skip
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def reach(where: str) -> Awaitable[Streams]:
    """A connection to an address or a socket."""
    if where.startswith("/"):
        return asyncio.open_unix_connection(where)
    host, _, port = where.rpartition(":")
    return asyncio.open_connection(host, int(port))


async def listen(where: str, target: str) -> asyncio.Server:
    """Pass on whatever comes there."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door: socket.socket = writer.get_extra_info("socket")
        if door.family == socket.AF_INET:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in GIVES_UP:
                door.setsockopt(socket.IPPROTO_TCP, option, value)
        behind: asyncio.StreamWriter | None = None
        try:
            answers, behind = await reach(target)
            await asyncio.gather(_pass(reader, behind), _pass(answers, writer))
        except OSError:
            pass
        finally:
            for each in (writer, behind):
                if each is not None:
                    each.close()

    if where.startswith("/"):
        return await asyncio.start_unix_server(serve, where)
    host, _, port = where.rpartition(":")
    return await asyncio.start_server(serve, host, int(port))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def main(pairs: list[str]) -> None:
    """All of them, until the end."""
    for pair in pairs:
        where, _, target = pair.partition("=")
        await listen(where, target)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
