"""The gate of bill runs: where policy holds a run, its documents wait here, checked and built, until it's released.

It asks memory where no rule keeps runs, and leaves no row behind.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from q2c.core.problems import Awaits
from q2c.flows.bill_runs import key_of, waits_for
from q2c.transactions.models import SET_ASIDE
from q2c.transactions.steps import Read

PATIENCE_SECONDS = 10 * 366 * 86400.0  # a run that nobody releases stands on its own screen


def want_run(txn: Any) -> list[tuple[str, Any]]:
    """The run that it is of."""
    return [] if txn.bill_run is None else [("bill_run", txn.bill_run)]


def await_release(document: Any, txn: Any, links: Any) -> None:
    """Go on, unless its run is held. A document whose seller was known only on the way joins its run here.

    Raises Awaits until the run is released.
    """
    if txn.bill_run is None:
        key = key_of(links.run_policies, txn.source_connection, txn.legal_entity_code, txn.document_date, document)
        if key is not None:
            raise Awaits("", "its bill run", not_before=dt.datetime.now(dt.UTC), joins=(key, txn.source_type))
        return
    run = links.bill_runs.get(txn.bill_run)
    if run is not None and run.holds:
        raise Awaits("", waits_for(run), patience_seconds=PATIENCE_SECONDS, not_before=SET_ASIDE)


RELEASED = (
    Read(
        "await_bill_run",
        "Wait for the release of its bill run where policy holds it",
        await_release,
        gives="bill_run",
        wants=want_run,
        quiet=True,
    ),
)
