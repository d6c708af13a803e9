"""Merging accounts, as a user does it in the org or merge() over the API: one record stays, the others go.

Source: SOAP API Developer Guide, merge(): up to three records of one object, the master's values prevail unless the
caller gives others, related records get the master as their parent, the others are deleted with MasterRecordId; a
hierarchy that would become a ring is an error.
"""

from __future__ import annotations

from typing import Any

from connectors.salesforce.sandbox.errors import refusal
from connectors.salesforce.sandbox.schema import SObject

MERGEABLE = ("Account",)
MOST_LOSERS = 2
MASTER = "MasterRecordId"


def merge_records(
    records: Any, target: SObject, master_id: str, loser_ids: list[str], fields: dict, *, path: str
) -> None:
    """Merge `loser_ids` into the master. Raises Refusal."""
    if target.name not in MERGEABLE or not 1 <= len(loser_ids) <= MOST_LOSERS:
        raise refusal("INVALID_OPERATION", f"{target.name}: one or two records can be merged into one")
    master = records.read(target, master_id)
    losers = [records.read(target, each) for each in loser_ids]
    ids = {loser["Id"] for loser in losers}
    if master["Id"] in ids:
        raise refusal("INVALID_ID_FIELD", "the master record can't be merged into itself")
    _refuse_ring(records, target, master, ids)
    if fields:
        records.update(target, master, fields, path=path)
    for loser in losers:
        _move_children(records, target, loser["Id"], master["Id"])
    for loser in losers:
        gone = {**loser, MASTER: master["Id"], "IsDeleted": True}
        records.save(target, gone)
        records.on_change(target.name, loser, gone)
        records.store.log("DELETE", path, target.name, loser["Id"], external_id=None, effect="deleted")
    kept = records.read(target, master["Id"])
    after = dict(kept)
    records.save(target, after)
    records.on_change(target.name, kept, after)
    records.store.log("PATCH", path, target.name, master["Id"], external_id=None, effect="updated")


def _move_children(records: Any, target: SObject, loser_id: str, master_id: str) -> None:
    for child in records.schema.objects.values():
        for column in child.fields.values():
            if column.to != target.name or column.name == MASTER:
                continue
            for record in records.find(child.name, **{column.name: loser_id}):
                records.save(child, {**record, column.name: master_id})


def _refuse_ring(records: Any, target: SObject, master: dict, losers: set[str]) -> None:
    above = master.get("ParentId")
    while above:
        if above in losers:
            raise refusal("CIRCULAR_DEPENDENCY", "the merge would make the account hierarchy go round")
        found = records.peek(target.name, above)
        above = found and found.get("ParentId")
