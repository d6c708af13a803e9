"""What finished flows say that our records are in other systems, beside what people and merges said meanwhile.

Whose id a customer is, people decide, and the CRM of its own accounts: what they said while a flow was on its way
stays. What the flow made nevertheless is in the lineage, and a case names it. Of documents nothing is presumed: one
that is another one there is held.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from connectors.models import Connection
from exceptions import cases
from mappings import references
from mappings.identities import REPOINT
from mappings.references import RECORD_TYPES, Conflict, Reference
from q2c.core.problems import Category, Problem
from q2c.records.merging import follow_meanwhile, lock_keys
from q2c.transactions.batch import Run


@dataclass(frozen=True)
class Beside:
    """What a flow made for a record that stands as another one there, by people's word or a merge."""

    made: Reference
    stands: str
    run: Run


def keep(
    found: list[Reference], moved: list[tuple[Reference, str]], runs: Iterable[Run], at: dt.datetime
) -> list[Beside]:
    """Store what finished runs say, and let records that were merged meanwhile lead to the same. Returns what was made
    beside the record that is stored. Raises the Problem of what contradicts it otherwise, unless two people let it
    pass."""
    run_of: dict[UUID | None, Run] = {run.id: run for run in runs}
    by_type: dict[str, list[Reference]] = {}
    for row in found:
        if RECORD_TYPES.get(row.record_type, _OTHER).may_share:
            by_type.setdefault(row.record_type, []).append(row)
    for record_type, rows in by_type.items():
        lock_keys(record_type, [row.record_key for row in rows])  # against a merge in this very moment
    beside = []
    for conflict in [*references.move_references(moved, at), *references.store_references(found, at)]:
        made = conflict.reference
        run = run_of[made.transaction_id]
        if _is_decided(conflict):
            beside.append(Beside(made, conflict.stands, run))
        elif not run.accepts(conflict.problem):
            raise conflict.problem
    for record_type, rows in by_type.items():
        own = {(row.record_key, row.connection, row.external_type): row for row in rows}
        for change in follow_meanwhile(record_type, [row.record_key for row in rows]):
            made_now = own.get((change.record_key, change.connection, change.external_type))
            if change.act == REPOINT and made_now is not None:
                beside.append(Beside(made_now, change.external_id, run_of[made_now.transaction_id]))
    return beside


_OTHER = references.RecordType("")


def _is_decided(conflict: Conflict) -> bool:
    shares = RECORD_TYPES.get(conflict.reference.record_type, _OTHER).may_share
    return shares and conflict.is_said


def tell(beside: Iterable[Beside]) -> None:
    """A case for each record that was made beside the one that ours is: somebody must decide what becomes of it."""
    for row in beside:
        made, run = row.made, row.run
        system = Connection.objects.get(code=made.connection).name
        who = run.customer_name or run.called
        cases.open_case(
            Problem(
                "made_beside",
                Category.CONFLICT,
                f"Another {made.external_type} was made in {system} for {who}, who by people’s word or a merge is "
                f"{row.stands} there",
                connection=made.connection,
                record=made.record_key,
                external_type=made.external_type,
                external_id=made.external_id,
                stands=row.stands,
            ),
            flow=run.flow.code,
            number=run.number or run.source_id,
            legal_entity_code=run.legal_entity_code,
            connection_code=made.connection,
            customers=tuple(name for name in (run.customer_id, run.customer_name) if name),
        )
