"""Two golden records become one: its sources and ids together, the other one a signpost to it.

What was posted stays where it is; what comes later of either goes the survivor's way, since every alias and every
cross-reference leads there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from django.utils import timezone
from simple_history.utils import bulk_update_with_history

from mappings.identities import Change, change_of, store_change
from mappings.models import CrossReference
from q2c.core import audit
from q2c.core.hotpath import fetch_rows, lock_names
from q2c.records.models import GoldenRecord
from q2c.records.store import STORED, OwnerOf, alias_of, keys_known_as, source_key, survive_again


def follow_merge(record_type: str, *, survivor: Any, merged: Any, at: dt.datetime, owner_of: OwnerOf) -> bool:
    """A system merged its record `merged` into `survivor` (both Sources): the golden records follow, cross-references
    of the gone id lead where the survivor's do, and later states of the gone one change nothing. Returns whether it's
    news."""
    kept_alias, gone_alias = (alias_of(s.connection, s.object_id) for s in (survivor, merged))
    known = keys_known_as(record_type, [kept_alias, gone_alias])
    kept_key, gone_key = known.get(kept_alias), source_key(merged)
    if kept_key is None:
        return False
    held_by = known.get(gone_alias)
    lock_keys(record_type, {kept_key, gone_key, held_by or kept_key})
    record = lock_records(record_type, [kept_key, *([held_by] if held_by else [])])
    kept = record[kept_key]
    if kept.sources.get(gone_key, {}).get("is_gone"):
        return False
    if held_by is not None and held_by != kept_key:
        other = record[held_by]
        if held_by == gone_key:
            fold(kept, other)
        else:  # people had made it another record's: only this id moves
            other.aliases = [alias for alias in other.aliases if alias != gone_alias]
            other.sources = {key: said for key, said in other.sources.items() if key != gone_key}
            survive_again([other], owner_of=owner_of)
    if gone_alias not in kept.aliases:
        kept.aliases = [*kept.aliases, gone_alias]
    gone = {"hash": "", "at": at.isoformat(), "family": "", "connection": merged.connection, "values": {},
            "is_gone": True}  # fmt: skip
    kept.sources = {**kept.sources, gone_key: gone}
    save_folded([kept, *(record[key] for key in record if key != kept_key)], owner_of=owner_of)
    for change in plan_changes(record_type, [(source_key(survivor), gone_key)]):
        store_change(change)
    audit.record(audit.PORTAL, "follow_merge", record_type, kept_key[:80],
                 why=f"{merged.connection} merged {merged.object_id} into {survivor.object_id}",
                 data={"merged": gone_key, "survivor": kept_key})  # fmt: skip
    return True


def follow_meanwhile(record_type: str, keys: Iterable[str]) -> list[Change]:
    """Of these records those that are one by a merge lead to the same ids, as far as one of them has any: the write
    that told it was on its way while they were merged. What people linked since stays. Returns what was changed; the
    caller holds the locks of these keys."""
    changes = []
    for pair in _merged_pairs(record_type, keys):
        for change in plan_changes(record_type, [pair]):
            if not change.was_linked:
                store_change(change)
                changes.append(change)
    return changes


_MERGED = """
SELECT g.merged_into, g.record_key FROM records_goldenrecord g
 WHERE g.record_type = %s AND g.record_key = ANY(%s) AND g.merged_into <> ''
UNION
SELECT g.record_key, o.record_key FROM records_goldenrecord g
 CROSS JOIN LATERAL jsonb_object_keys(g.sources) AS source
  JOIN records_goldenrecord o
    ON o.record_type = g.record_type AND o.record_key = source AND o.merged_into = g.record_key
 WHERE g.record_type = %s AND g.record_key = ANY(%s)
 ORDER BY 1, 2
"""


def _merged_pairs(record_type: str, keys: Iterable[str]) -> list[tuple[str, str]]:
    """The survivor and the merged one of each merge of two records of one system that one of these keys is of."""
    own = [record_type, list(keys)]
    return [(kept, gone) for kept, gone in fetch_rows(_MERGED, [*own, *own]) if _place(kept) == _place(gone)]


def _place(key: str) -> str:
    return key.rsplit(":", 1)[0]


def fold(kept: GoldenRecord, gone: GoldenRecord) -> None:
    """Give the kept record what the other one has, in memory; the other one becomes a signpost."""
    kept.aliases = list(dict.fromkeys([*kept.aliases, *gone.aliases]))
    kept.sources = {**gone.sources, **kept.sources}
    kept.overrides = {**gone.overrides, **kept.overrides}
    gone.aliases, gone.sources, gone.overrides = [], {}, {}
    gone.merged_into, gone.parent_key = kept.record_key, kept.parent_key


def save_folded(records: list[GoldenRecord], *, owner_of: OwnerOf) -> None:
    """Store records whose parts changed; those that lead elsewhere now take their children and signposts along."""
    now = timezone.now()
    living = [record for record in records if not record.merged_into]
    for record in records:
        record.version += 1
        record.changed_at = now
    bulk_update_with_history(records, GoldenRecord, [*STORED, "merged_into"])
    survive_again(living, owner_of=owner_of)
    for record in records:
        if record.merged_into:
            same = GoldenRecord.objects.filter(record_type=record.record_type)
            same.filter(parent_key=record.record_key).exclude(record_key=record.merged_into).update(
                parent_key=record.merged_into
            )
            same.filter(merged_into=record.record_key).update(merged_into=record.merged_into)


def plan_changes(record_type: str, pairs: list[tuple[str, str]]) -> list[Change]:
    """The cross-references that must change so that the second key of each pair leads wherever the first one does, and
    the first one also where only the second one did."""
    keys = [key for pair in pairs for key in pair]
    rows = CrossReference.objects.filter(record_type=record_type, record_key__in=keys).select_related("connection")
    held: dict[str, dict[tuple[str, str, str], CrossReference]] = {key: {} for key in keys}
    for row in rows.order_by("id"):
        held[row.record_key][row.connection.code, row.external_type, row.scope] = row
    changes = []
    for kept, gone in pairs:
        for place in sorted({*held[kept], *held[gone]}):
            of_kept, of_gone = held[kept].get(place), held[gone].get(place)
            if of_kept is not None and of_gone is not None:
                if of_kept.external_id != of_gone.external_id:
                    new = {"external_id": of_kept.external_id, "number": of_kept.number}
                    changes.append(change_of(of_gone, is_shared=True, **new))
            elif of_kept is not None:
                changes.append(_linked(of_kept, gone))
            elif of_gone is not None:
                changes.append(_linked(of_gone, kept))
    return changes


def _linked(row: CrossReference, key: str) -> Change:
    return Change(
        record_type=row.record_type, record_key=key, connection=row.connection.code, external_type=row.external_type,
        external_id=row.external_id, number=row.number, scope=row.scope, legal_entity=row.legal_entity_code,
        is_shared=True,
    )  # fmt: skip


def lock_keys(record_type: str, keys: Iterable[str]) -> None:
    """Whoever merges one of these records waits until the caller's transaction ends, and the other way round. What is
    told of them meanwhile waits for nobody."""
    lock_names(f"merge:{record_type}:{key}" for key in keys)


def lock_merges(record_type: str, merges: Iterable[tuple[Any, Any]]) -> None:
    """What `follow_merge` will lock of these records (survivor and merged, both Sources), before anything of them is
    stored: people who merge take the same two locks in this order."""
    pairs = list(merges)
    if not pairs:
        return
    named = [source for pair in pairs for source in pair]
    known = keys_known_as(record_type, [alias_of(s.connection, s.object_id) for s in named])
    lock_keys(record_type, {*known.values(), *(source_key(source) for source in named)})


def lock_records(record_type: str, keys: list[str]) -> dict[str, GoldenRecord]:
    """These records, locked for the caller's transaction."""
    lock_keys(record_type, keys)
    lock_names(f"record:{record_type}:{key}" for key in keys)
    rows = GoldenRecord.objects.select_for_update().filter(record_type=record_type, record_key__in=keys)
    return {row.record_key: row for row in rows.order_by("record_key")}
