"""Who did what to what, and why: appended under one lock, chained by hash, anchored outside the database.

The chain: hash = SHA-256(previous hash in hex, then the record's canonical JSON); before the first stands 64 times 0.
Record last in a transaction: the lock is held until it ends, and nobody who holds it may wait for another row.

A database that was restored from a backup has another chain from there on than the anchors of before. The entry that
tells of the restore names them, and its own anchor sets them aside (decision 0065).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import structlog
from django.conf import settings
from django.db import connection
from django.db.transaction import atomic
from django.utils import timezone

from q2c.core import jcs
from q2c.core.hotpath import fetch_rows
from q2c.core.metrics import UNGUARDED
from q2c.core.models import AuditEntry, Person, StatNow
from q2c.core.pieces import in_pieces

log = structlog.get_logger(__name__)

_LOCK = 0x51326302
AT_ONCE = 2000
_ANCHORED_AFTER = dt.timedelta(hours=1)
GENESIS = "0" * 64
PORTAL = "portal"  # the actor where no person acted
RESTORED_FROM, VOID_TO = "restored_from", "void_to"  # of an anchor that sets those between aside
VOID = "void_anchors"  # the same in its entry: the first and the last
ANCHORED = "anchored"  # of what there is now: the last entry that was anchored, when, and why no later one could be


@dataclass(frozen=True)
class Verdict:
    """What a check of the chain found. `broken_at` is the first sequence that doesn't hold; None means that all do.

    `anchored_to` is the newest anchor where the chain ends before it. `set_aside` are the anchors that restores of the
    database made void: the first and last sequence of each restore's, and the entry that names them.
    """

    count: int
    broken_at: int | None = None
    why: str = ""
    anchored_to: int | None = None
    set_aside: tuple[tuple[int, int, int], ...] = ()
    newest_anchor: int = field(default=0, compare=False)  # nothing guards what comes after it from being cut

    @property
    def holds(self) -> bool:
        """Whether the chain is whole."""
        return self.broken_at is None


@dataclass(frozen=True, kw_only=True)
class Act:
    """Something done, to be recorded. Raises TypeError, when recorded, for data without a canonical form (a float)."""

    actor: Person | str
    verb: str
    subject: tuple[str, object]
    why: str = ""
    data: Mapping[str, Any] | None = None


def record(
    actor: Person | str,
    verb: str,
    subject_type: str,
    subject_id: object,
    *,
    why: str = "",
    data: Mapping[str, Any] | None = None,
) -> AuditEntry:
    """Append an entry in the caller's transaction. Raises TypeError for data that has no canonical form (a float)."""
    return record_all([Act(actor=actor, verb=verb, subject=(subject_type, subject_id), why=why, data=data)])[0]


def record_all(acts: Iterable[Act]) -> list[AuditEntry]:
    """As `record`, for many: one lock, one look at the chain's head, one insert."""
    acts = list(acts)
    if not acts:
        return []
    correlation = str(structlog.contextvars.get_contextvars().get("correlation_id", ""))
    entries = []
    with atomic(savepoint=False):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        last = AuditEntry.objects.order_by("-sequence").values_list("sequence", "hash").first()
        sequence, previous = last or (0, GENESIS)
        for act in acts:
            sequence += 1
            entry = AuditEntry(
                sequence=sequence,
                at=timezone.now(),
                actor=act.actor.get_username() if isinstance(act.actor, Person) else act.actor,
                verb=act.verb,
                subject_type=act.subject[0],
                subject_id=str(act.subject[1]),
                why=act.why,
                data=jcs.as_plain(act.data or {}),
                correlation_id=correlation,
                previous_hash=previous,
            )
            entry.hash = previous = link_hash(previous, record_of(entry))
            entries.append(entry)
        AuditEntry.objects.bulk_create(entries, batch_size=1000)
    return entries


def link_hash(previous: str, facts: Mapping[str, Any]) -> str:
    """The hash of a record on top of the previous one's hash."""
    return hashlib.sha256(previous.encode() + jcs.canonical(facts)).hexdigest()


def record_of(entry: AuditEntry) -> dict[str, Any]:
    """What of an entry is hashed; empty facts are left out."""
    subject = f"{entry.subject_type}/{entry.subject_id}" if entry.subject_type or entry.subject_id else ""
    facts = {
        "seq": entry.sequence,
        "ts": jcs.instant(entry.at),
        "actor": entry.actor,
        "action": entry.verb,
        "object": subject,
        "reason": entry.why,
        "data": entry.data,
        "correlation": entry.correlation_id,
    }
    return {name: value for name, value in facts.items() if value not in ("", {}, None)}


def verify(anchors: Path | None = None) -> Verdict:
    """Check every entry, and the chain against its anchors; reports the first sequence that doesn't hold."""
    anchored, aside = _in_force(read_anchors(anchors or anchor_file()))
    newest = max(anchored, default=0)
    verdict = _verify(anchored)
    return replace(verdict, set_aside=tuple(aside), newest_anchor=newest)


def _verify(anchored: dict[int, dict[str, Any]]) -> Verdict:
    previous, count = GENESIS, 0
    if not anchored and AuditEntry.objects.filter(at__lt=timezone.now() - _ANCHORED_AFTER).exists():
        return Verdict(0, 1, "no anchor of the chain is left")
    for entry in chain.from_iterable(in_pieces(AuditEntry.objects.all(), AT_ONCE, by="sequence")):
        count += 1
        if entry.sequence != count:
            return Verdict(count - 1, count, "an entry is missing")
        if entry.previous_hash != previous or entry.hash != link_hash(previous, record_of(entry)):
            return Verdict(count - 1, count, "the entry was changed")
        anchor = anchored.pop(count, None)
        if anchor and not _anchor_holds(anchor, entry.hash):
            return Verdict(count - 1, count, "the chain was written anew: its anchor differs")
        if anchor and VOID_TO in anchor and not _names_void(entry, anchor):
            return Verdict(count - 1, count, "its anchor sets others aside, and the entry says nothing of it")
        previous = entry.hash
    if anchored:
        return Verdict(count, min(anchored), "the chain was cut: an anchored entry is gone", max(anchored))
    return Verdict(count)


def anchor_file() -> Path:
    """Where the chain's head is anchored: a file outside the database; in production under another administrator."""
    return Path(settings.ANCHOR_FILE) if settings.ANCHOR_FILE else settings.HOME / "anchors" / "audit.jsonl"


def anchor(path: Path | None = None) -> int | None:
    """Append the chain's head, keyed, to the anchor file, and see it on the disk. Its sequence, or None if not new.

    The log tells it too, so that wherever logs are shipped there's another copy. How far the anchors reach is noted for
    those who can't read the file (`unguarded_since`), and so is why it couldn't be written; that is raised as well.
    """
    try:
        return _anchor(path or anchor_file())
    except OSError as error:
        _note_anchored(fault=error.strerror or type(error).__name__)
        raise


def _anchor(path: Path) -> int | None:
    head = AuditEntry.objects.order_by("-sequence").values_list("sequence", "hash").first()
    newest = max(_in_force(read_anchors(path))[0], default=0)
    if head is None or newest >= head[0]:
        if newest > (head or (0,))[0]:
            log.error("the audit chain ends before its newest anchor: tell of a restore by `manage.py restored`",
                      head=(head or (0,))[0], anchored=newest)  # fmt: skip
            _note_anchored(fault="it ends before its newest anchor")
        elif head is not None:
            _note_anchored(newest)
        return None
    _append(path, {"seq": head[0], "hash": head[1]})
    _note_anchored(head[0])
    return head[0]


def _note_anchored(sequence: int = 0, *, fault: str = "") -> None:
    facts: dict[str, Any] = {"about": fault[:40]} if fault else {"count": sequence, "at": timezone.now(), "about": ""}
    if not StatNow.objects.filter(measure=ANCHORED).update(**facts):
        StatNow.objects.create(**{"measure": ANCHORED, "count": 0, "at": timezone.now()} | facts)


def unguarded_since() -> tuple[dt.datetime, str] | None:
    """Since when the oldest entry that isn't anchored waits for it, and what went wrong when it was last tried; None
    where all are. Whoever looks first begins the clock of what was never anchored."""
    rows = fetch_rows(f"SELECT greatest(n.at, e.at), n.about {UNGUARDED}")
    if not rows and not StatNow.objects.filter(measure=ANCHORED).exists():
        _note_anchored()
    return rows[0] if rows else None


def anchors_gone(path: Path | None = None) -> tuple[int, int] | None:
    """The first and last sequence of the anchors that aren't of this chain, after a restore of the database; None where
    all are. One without our key isn't counted: a restore is no reason for it."""
    anchored, _ = _in_force(read_anchors(path or anchor_file()))
    ours = sorted(seq for seq, anchor in anchored.items() if _is_keyed(anchor))
    gone = []
    for start in range(0, len(ours), AT_ONCE):
        some = ours[start : start + AT_ONCE]
        hashes = dict(AuditEntry.objects.filter(sequence__in=some).values_list("sequence", "hash"))
        gone += [seq for seq in some if hashes.get(seq) != anchored[seq]["hash"]]
    return (gone[0], gone[-1]) if gone else None


def set_aside(entry: AuditEntry, gone: tuple[int, int], path: Path | None = None) -> None:
    """Anchor the entry that tells of a restore and names these anchors (`VOID` in its data): they hold no more."""
    facts = {"seq": entry.sequence, "hash": entry.hash, RESTORED_FROM: gone[0] - 1, VOID_TO: gone[1]}
    _append(path or anchor_file(), facts)


def _append(path: Path, facts: dict[str, Any]) -> None:
    facts["ts"] = jcs.instant(dt.datetime.now(dt.UTC))
    facts["mac"] = _mac(facts, settings.VAULT_KEYS[0])
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "ab") as file:
        file.write(jcs.canonical(facts) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    log.info("the audit chain is anchored", **facts)


def read_anchors(path: Path) -> Iterator[dict[str, Any]]:
    """The anchors in the file, oldest first; a line that a crash cut short is passed over."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _in_force(anchors: Iterable[dict[str, Any]]) -> tuple[dict[int, dict[str, Any]], list[tuple[int, int, int]]]:
    """The anchors by sequence that no restore has set aside; and those that were: first, last, and by which entry."""
    found: dict[int, dict[str, Any]] = {}
    aside = []
    for anchor in anchors:
        if VOID_TO in anchor and _is_keyed(anchor):
            void = [seq for seq in found if anchor[RESTORED_FROM] < seq <= anchor[VOID_TO]]
            for seq in void:
                del found[seq]
            if void:
                aside.append((min(void), max(void), anchor["seq"]))
        found[anchor["seq"]] = anchor
    return found, aside


def _names_void(entry: AuditEntry, anchor: Mapping[str, Any]) -> bool:
    return bool(entry.data.get(VOID) == [anchor[RESTORED_FROM] + 1, anchor[VOID_TO]])


def _anchor_holds(anchor: Mapping[str, Any], chain_hash: str) -> bool:
    return _is_keyed(anchor) and anchor["hash"] == chain_hash


def _is_keyed(anchor: Mapping[str, Any]) -> bool:
    facts = {name: value for name, value in anchor.items() if name != "mac"}
    return any(hmac.compare_digest(anchor.get("mac", ""), _mac(facts, key)) for key in settings.VAULT_KEYS)


def _mac(facts: Mapping[str, Any], key: bytes) -> str:
    own = hmac.new(key, b"q2c audit anchor", hashlib.sha256).digest()
    return hmac.new(own, jcs.canonical(facts), hashlib.sha256).hexdigest()
