"""The seals over finished steps: one per commit, keyed, naming its worker's previous one. What they prove is checked
here, and their newest ones are written into the audit chain, so that the last ones can't be cut off unseen.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Max
from django.utils import timezone

from q2c.core import audit
from q2c.core.models import AuditEntry
from q2c.core.pieces import in_pieces
from q2c.core.retention import Dropped, dropped_ranges
from q2c.transactions.models import Seal, StepRun
from q2c.transactions.workers import WorkerProcess

ANCHOR = "anchor_seals"
KEY_SIZE = 20
AT_ONCE = 200
_ANCHORED_AGAIN = dt.timedelta(minutes=10)
# The newest seals are looked through: a worker asks for the one that it tried to write last.
_STANDS = """
    SELECT EXISTS (SELECT 1 FROM transactions_seal
                    WHERE id > (SELECT max(id) FROM transactions_seal) - 100000 AND worker = %s AND seal = %s)
"""
_UNSEALED = """
    WITH sealed AS (
        SELECT encode(substring(row_keys FROM 20 * i + 1 FOR 16), 'hex')::uuid AS transaction_id,
               ('x' || encode(substring(row_keys FROM 20 * i + 17 FOR 4), 'hex'))::bit(32)::int AS sequence
          FROM transactions_seal, generate_series(0, row_count - 1) AS i)
    SELECT s.transaction_id, s.sequence FROM transactions_steprun s
      LEFT JOIN sealed USING (transaction_id, sequence) WHERE sealed.sequence IS NULL LIMIT 1
"""


def row_key(transaction: UUID, sequence: int) -> bytes:
    """Which step row a seal covers: 16 bytes of transaction id and 4 of sequence."""
    return transaction.bytes + sequence.to_bytes(4, "big")


def step_proof(transaction: UUID, row: Any) -> bytes:
    """The bytes of one step row (a `batch.StepRow` or a `StepRun`) that a seal covers: all that it says."""
    said = [
        row.step, row.kind, row.state, row.attempt, row.used or None, row.gave, row.problem or None, row.external_id,
        row.idempotency_key, row.content_hash, row.supersedes, row.change_set, row.took_us,
        row.at.astimezone(dt.UTC).isoformat(),
    ]  # fmt: skip
    output = b"" if row.output is None else hashlib.sha256(row.output).digest()
    return row_key(transaction, row.sequence) + output + json.dumps(said, sort_keys=True).encode()


def seal_of(previous: str, digest: bytes, key: bytes) -> str:
    """The keyed seal over a commit's rows and the worker's previous seal; its key lies outside the database."""
    return hmac.new(key, previous.encode() + digest, hashlib.sha256).hexdigest()


def previous_seal(cursor: Any, worker: WorkerProcess) -> str:
    """The seal that the worker's next one names. One whose commit went wrong counts only if it stands all the same:
    a database that went away in the middle may have kept it."""
    if worker.new_seal:
        cursor.execute(_STANDS, [worker.id, worker.new_seal])
        if cursor.fetchone()[0]:
            worker.head_seal = worker.new_seal
        worker.new_seal = ""
    return worker.head_seal


def anchor_heads() -> AuditEntry | None:
    """Write each living worker's newest seal into the audit chain, unless the chain has them already."""
    recent = Seal.objects.filter(at__gt=timezone.now() - _ANCHORED_AGAIN)
    newest = list(recent.values_list("worker").annotate(newest=Max("pk")).values_list("newest", flat=True))
    rows = Seal.objects.filter(pk__in=newest).values_list("pk", "worker", "seal")
    heads = {worker: [seal_id, seal] for seal_id, worker, seal in rows}
    last = AuditEntry.objects.filter(subject_type="seals", verb=ANCHOR).order_by("-sequence").first()
    if not heads or (last is not None and last.data["heads"] == heads):
        return None
    return audit.record(audit.PORTAL, ANCHOR, "seals", max(map(int, newest)), data={"heads": heads})


def verify_seals() -> audit.Verdict:
    """Recompute every seal from its rows, each worker's chain, and the heads in the audit chain. `broken_at` is a
    seal's id; 0 when a step has no seal at all. Rows that retention dropped can't be recomputed; their links still are.
    """
    dropped, count = dropped_ranges(StepRun._meta.db_table), 0
    heads: dict[str, str] = {}  # of each worker's chain, as far as it was looked at
    for some in in_pieces(Seal.objects.all(), AT_ONCE):
        steps = _steps_of(some)
        for seal in some:
            why = _fault(seal, heads.get(seal.worker, ""), steps, dropped)
            if why:
                return audit.Verdict(count, seal.pk, why)
            heads[seal.worker], count = seal.seal, count + 1
    missing = _missing_head()
    if missing is not None:
        return audit.Verdict(count, missing, "the seals were cut: an anchored one is gone or another")
    with connection.cursor() as cursor:
        cursor.execute(_UNSEALED)
        unsealed = cursor.fetchone()
    if unsealed is not None:
        return audit.Verdict(count, 0, f"step {unsealed[1]} of {unsealed[0]} was added without a seal")
    return audit.Verdict(count)


def _fault(seal: Seal, previous: str, steps: dict[bytes, StepRun], dropped: list[Dropped]) -> str:
    """What is wrong with a seal; empty when it holds."""
    if seal.previous != previous:
        return "the seal before it is gone or another"
    keys = list(_keys_of(seal))
    if any(d.contains(UUID(bytes=key[:16])) for key in keys for d in dropped):
        return ""
    gone = [key for key in keys if key not in steps]
    if gone or len(keys) != seal.row_count:
        return "a step that it covers is gone"
    proof = hashlib.sha256(b"".join(step_proof(steps[key].transaction_id, steps[key]) for key in keys)).digest()
    holds = any(hmac.compare_digest(seal.seal, seal_of(previous, proof, key)) for key in settings.VAULT_KEYS)
    return "" if holds else "a step that it covers was changed"


def _keys_of(seal: Seal) -> Iterator[bytes]:
    packed = bytes(seal.row_keys)
    return (packed[at : at + KEY_SIZE] for at in range(0, len(packed), KEY_SIZE))


def _steps_of(seals: Iterable[Seal]) -> dict[bytes, StepRun]:
    """The step rows of the transactions that these seals cover, in one statement."""
    transactions = {UUID(bytes=key[:16]) for seal in seals for key in _keys_of(seal)}
    rows = StepRun.objects.filter(transaction_id__in=transactions)
    return {row_key(row.transaction_id, row.sequence): row for row in rows}


def _missing_head() -> int | None:
    """The first anchored seal that isn't there as it was anchored."""
    entries = AuditEntry.objects.filter(subject_type="seals", verb=ANCHOR)
    for some in in_pieces(entries, AT_ONCE, by="sequence"):
        anchored = {seal_id: seal for entry in some for seal_id, seal in entry.data["heads"].values()}
        present = dict(Seal.objects.filter(pk__in=anchored).values_list("pk", "seal"))
        wrong = sorted(seal_id for seal_id, seal in anchored.items() if present.get(seal_id) != seal)
        if wrong:
            return wrong[0]
    return None
