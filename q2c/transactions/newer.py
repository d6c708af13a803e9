"""Two releases side by side: work that knows more than this release is left for the newer one, and what an older one
carried without a step that this one has goes on.

In a rolling upgrade both claim the same work. A document with a field, a finished step or an open write that this
release doesn't know was made or begun by a newer one: nothing is wrong with it, so nobody is told and it isn't held. It
says what it waits for, and a worker that knows it takes it within seconds.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec

from q2c.core.hotpath import fetch_rows
from q2c.transactions.steps import Flow

LEFT_SECONDS = 5.0  # until it's looked at again: by then a newer worker has had its turn
WORDS = "a worker of the newer release"
_UNKNOWN_FIELD = "Object contains unknown field"  # msgspec's words for what no type of ours has

_LEAVE = """
WITH back AS (
    UPDATE transactions_workitem SET worker = '', available_at = now() + %s * interval '1 second'
     WHERE transaction_id = ANY(%s) AND worker = %s RETURNING transaction_id)
UPDATE transactions_businesstransaction t
   SET state = CASE WHEN t.state = 'running' THEN 'waiting' ELSE t.state END, state_at = now(), waits_for = %s
  FROM back WHERE t.id = back.transaction_id RETURNING t.id
"""


class Newer(Exception):
    """Made by a release that knows more than this one."""


def look_for_newer(flow: Flow, finished: Collection[str], intent: dict[str, Any] | None) -> None:
    """Raise Newer where a step was finished, or a write begun, that neither this release nor an earlier one has."""
    known = {step.name for step in flow.steps} | set(flow.retired)
    named = {*finished, *([intent["step"]] if intent else [])}
    if unknown := sorted(named - known):
        raise Newer(f"step {', '.join(unknown)}")


def is_of_newer(error: BaseException) -> bool:
    """Whether a stored document has a field that we don't know: that's how documents grow. Anything else that we can't
    read is broken."""
    return isinstance(error, msgspec.ValidationError) and str(error).startswith(_UNKNOWN_FIELD)


def leave(ids: list[UUID], *, worker: str) -> int:
    """Give leased work back for a newer release, saying so on each; not an attempt. Returns how many."""
    return len(fetch_rows(_LEAVE, [LEFT_SECONDS, ids, worker, WORDS]))
