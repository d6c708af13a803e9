"""Having a file looked through for viruses by clamd, where `Q2C_CLAMD` names one.

The protocol (docs.clamav.net and clamd(8), INSTREAM): `zINSTREAM` and a zero byte, then pieces, each behind its length
as four bytes in network order, then a length of zero; the answer ends with a zero byte: `stream: OK`, `stream: NAME
FOUND`, or words that end in `ERROR`.
"""

from __future__ import annotations

import socket
import struct
from urllib.parse import urlsplit

import structlog
from django.conf import settings

log = structlog.get_logger(__name__)
PIECE = 64 * 1024
SECONDS = 20.0
ANSWER_MAX = 4096


class ScanFailed(Exception):
    """Nobody could look through it: clamd can't be reached, or doesn't say what it found. The log has why."""


def is_on() -> bool:
    """Whether files are looked through at all."""
    return bool(settings.CLAMD)


def find_virus(body: bytes) -> str:
    """What clamd found in it, or "" for nothing. Raises ScanFailed."""
    try:
        with _dial(settings.CLAMD) as line:
            answer = _ask(line, body)
    except (OSError, ValueError) as error:
        log.warning("clamd can't be reached", error=f"{type(error).__name__}: {error}")
        raise ScanFailed from error
    said = answer.removeprefix("stream: ").strip()
    if said == "OK":
        return ""
    if said.endswith(" FOUND"):
        return said.removesuffix(" FOUND")
    log.warning("clamd didn't say what it found", answer=answer[:200])
    raise ScanFailed


def _dial(address: str) -> socket.socket:
    """A line to `host:port` or `unix:/run/clamd.sock`. Raises OSError, or ValueError for no address."""
    if address.startswith("unix:"):
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        line.settimeout(SECONDS)
        try:
            line.connect(address.removeprefix("unix:"))
        except OSError:
            line.close()
            raise
        return line
    parts = urlsplit(f"//{address}")
    return socket.create_connection((parts.hostname or "", parts.port or 3310), timeout=SECONDS)


def _ask(line: socket.socket, body: bytes) -> str:
    try:
        line.sendall(b"zINSTREAM\0")
        for start in range(0, len(body), PIECE):
            piece = body[start : start + PIECE]
            line.sendall(struct.pack("!I", len(piece)) + piece)
        line.sendall(struct.pack("!I", 0))
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has hung up on a file that is too large for it; its answer says so
    answer = b""
    while b"\0" not in answer and len(answer) < ANSWER_MAX:
        piece = line.recv(ANSWER_MAX)
        if not piece:
            break
        answer += piece
    return answer.partition(b"\0")[0].decode("utf-8", "replace")
