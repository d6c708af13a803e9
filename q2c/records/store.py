"""Golden records: canonical documents merged field by field under survivorship; older states never replace newer ones.

One golden record may have several sources (the CRM's account, billing's customer). `sources` keeps each one's last
values with its vendor's clock, so what survives can always be computed again, and what lost is recorded in `refused`.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from simple_history.utils import bulk_create_with_history, bulk_update_with_history

from mappings.matching import blocks_of
from mappings.survivorship import Owner
from q2c.canonical.progress import rank_of
from q2c.canonical.schema import content_hash, to_builtins
from q2c.core.hotpath import fetch_rows, lock_names
from q2c.records.models import GoldenRecord

REFUSED_KEPT = 50
STORED = ["number", "name", "parent_key", "legal_entity_code", "content", "owners", "refused", "overrides", "version",
          "changed_at", "survived_at", "source_version", "sources", "aliases", "blocks"]  # fmt: skip
_EMPTY: tuple[Any, ...] = (None, "", [], {})
OwnerOf = Callable[[str, str, str], Owner]  # of record type, field and legal entity
_KNOWN_AS = "SELECT record_type, record_key, aliases FROM records_goldenrecord WHERE aliases && %s::varchar[]"


@dataclass(frozen=True)
class Sighting:
    """One source's present view of a thing. `values` are the fields that can survive; `family` is the source's role."""

    record_type: str  # customer, product, price, order, subscription
    document: Any  # canonical, with a `source`
    values: dict[str, Any]
    family: str
    occurred_at: dt.datetime
    name: str = ""
    number: str = ""
    parent_key: str = ""
    legal_entity_code: str = ""
    joins: str = ""  # the record key of another system's record that this is the same thing as (the CRM's account)

    @property
    def source_key(self) -> str:
        """connection:type:id"""
        return source_key(self.document.source)

    @property
    def alias(self) -> str:
        """connection:id"""
        return alias_of(self.document.source.connection, self.document.source.object_id)


@dataclass(frozen=True)
class Stored:
    """What became of a sighting: changed, unchanged or stale; the golden record's key, name and entity; and what of it
    was refused just now in fields whose owners want to hear of it."""

    outcome: str
    record_key: str
    name: str
    legal_entity_code: str
    refused: tuple[dict[str, Any], ...] = ()


def source_key(source: Any) -> str:
    """The key of a source object: connection:type:id."""
    return f"{source.connection}:{source.object_type}:{source.object_id}"


def alias_of(connection: str, object_id: str) -> str:
    """How a record is found by a source's id alone."""
    return f"{connection}:{object_id}"[:170]


def alias_of_key(key: str) -> str:
    """The alias of a source object by its key."""
    connection, _, rest = key.partition(":")
    return alias_of(connection, rest.partition(":")[2])


def keys_known_as(record_type: str, aliases: Iterable[str]) -> dict[str, str]:
    """The golden keys of records by alias; one query."""
    wanted = sorted(set(aliases))
    if not wanted:
        return {}
    rows = fetch_rows(_KNOWN_AS, [wanted])
    return {alias: key for kind, key, held in rows if kind == record_type for alias in held if alias in set(wanted)}


def store_records(sightings: list[Sighting], *, owner_of: OwnerOf, now: dt.datetime | None = None) -> list[Stored]:
    """Upsert golden records in bulk, in the caller's transaction.

    `owner_of(record type, field, legal entity)` names who owns a field (nobody: the record's first source stands in).
    Results come in order.
    """
    if not sightings:
        return []
    now = now or timezone.now()
    keys = _record_keys(sightings)
    lock_names(f"record:{s.record_type}:{key}" for s, key in zip(sightings, keys, strict=True))
    found = {
        (r.record_type, r.record_key): r
        for r in GoldenRecord.objects.filter(
            record_key__in=set(keys), record_type__in={s.record_type for s in sightings}
        )
    }
    known = set(found)
    touched: dict[tuple[str, str], GoldenRecord] = {}
    results = []
    for sighting, key in zip(sightings, keys, strict=True):
        place = (sighting.record_type, key)
        record = found.get(place)
        if record is None:
            record = found[place] = GoldenRecord(
                record_type=sighting.record_type, record_key=key, content={}, changed_at=now, version=0
            )
        outcome, told = _see(record, sighting, owner_of, now)
        if outcome == "changed":
            touched[place] = record
        results.append(Stored(outcome, key, record.name, record.legal_entity_code, told))
    created = [r for place, r in touched.items() if place not in known]
    bulk_create_with_history(created, GoldenRecord)
    bulk_update_with_history([r for place, r in touched.items() if place in known], GoldenRecord, STORED)
    return results


def survive_again(records: Iterable[GoldenRecord], *, owner_of: OwnerOf, now: dt.datetime | None = None) -> int:
    """Compute every field of these records anew, since owners or overrides changed. Returns how many came out
    otherwise. The caller holds the rows."""
    now = now or timezone.now()
    changed, same = [], []
    for record in records:
        before = (record.content, record.owners)
        _survive(record, owner_of, now)
        record.survived_at = now
        if (record.content, record.owners) == before:
            same.append(record)
            continue
        record.version += 1
        record.changed_at = now
        changed.append(record)
    bulk_update_with_history(changed, GoldenRecord, STORED)
    GoldenRecord.objects.filter(pk__in=[r.pk for r in same]).update(survived_at=now)
    return len(changed)


def _record_keys(sightings: list[Sighting]) -> list[str]:
    """The golden key of each: the record that holds its alias, the one that it joins (or into which that was merged),
    else its own."""
    known: dict[tuple[str, str], str] = {}
    for record_type in {s.record_type for s in sightings}:
        aliases = [s.alias for s in sightings if s.record_type == record_type]
        aliases += [alias_of_key(s.joins) for s in sightings if s.record_type == record_type and s.joins]
        known |= {(record_type, alias): key for alias, key in keys_known_as(record_type, aliases).items()}
    joined = [known.get((s.record_type, alias_of_key(s.joins))) or s.joins if s.joins else "" for s in sightings]
    return [
        known.get((s.record_type, s.alias)) or there or s.source_key for s, there in zip(sightings, joined, strict=True)
    ]


def _see(
    record: GoldenRecord, sighting: Sighting, owner_of: OwnerOf, now: dt.datetime
) -> tuple[str, tuple[dict[str, Any], ...]]:
    """Merge one sighting into the record. Returns changed, unchanged or stale, and what was refused that somebody
    should hear of."""
    source = sighting.document.source
    before = record.sources.get(sighting.source_key)
    at = sighting.occurred_at.isoformat()
    digest = content_hash(sighting.values)
    if before is not None:
        if before.get("is_gone") or _is_behind(sighting, before):
            return "stale", ()
        if before["hash"] == digest:
            return "unchanged", ()
    values = json.loads(json.dumps(to_builtins(sighting.values)))  # as it's read back: lists, no tuples
    if sighting.alias not in record.aliases:
        record.aliases = [*record.aliases, sighting.alias]
    said = {"hash": digest, "at": at, "family": sighting.family, "connection": source.connection, "values": values}
    record.sources = {**record.sources, sighting.source_key: said}
    record.legal_entity_code = sighting.legal_entity_code or record.legal_entity_code
    told = _survive(record, owner_of, now)
    leads = record.record_key == sighting.source_key
    record.name = (sighting.name if leads else record.name or sighting.name)[:300]
    record.number = (sighting.number if leads else record.number or sighting.number)[:120]
    record.parent_key = sighting.parent_key if leads else record.parent_key or sighting.parent_key
    record.source_version = source.version[:80]
    record.version += 1
    record.changed_at = record.survived_at = now
    return "changed", told


def _is_behind(sighting: Sighting, before: dict[str, Any]) -> bool:
    """Whether a source has said something newer; of the same instant, a state that came further."""
    said_at = dt.datetime.fromisoformat(before["at"])
    if said_at != sighting.occurred_at:
        return said_at > sighting.occurred_at
    return rank_of(str(before["values"].get("status") or "")) > rank_of(str(sighting.values.get("status") or ""))


def _survive(record: GoldenRecord, owner_of: OwnerOf, now: dt.datetime) -> tuple[dict[str, Any], ...]:
    """Compute every field anew: what two people let stand, else the owner's value, else (unless the owner stands alone)
    the first source's, else the newest that isn't empty. Losers are recorded; returns those that open a case."""
    leader = record.sources.get(record.record_key)
    newest_first = sorted(record.sources.values(), key=lambda s: s["at"], reverse=True)
    content: dict[str, Any] = {}
    owners: dict[str, str] = {}
    overrides: dict[str, Any] = {}
    refused = list(record.refused)
    told = []
    for field in sorted({name for said in newest_first for name in said["values"]} | set(record.overrides)):
        holders = [said for said in newest_first if said["values"].get(field) not in _EMPTY]
        owner = owner_of(record.record_type, field, record.legal_entity_code)
        owned = [said for said in holders if owner.owns(said["family"], said["connection"])]
        owned.sort(key=lambda said: said is not leader)  # of two of the owner's, the one that the record began with
        kept = _kept(holders, owned, leader, is_alone=owner.is_alone)
        override = record.overrides.get(field)
        if override is not None and override["over"] == (owned[0]["values"][field] if owned else None):
            overrides[field] = override  # it holds until the owner says something else
            content[field], owners[field] = override["value"], override["by"]
        elif kept is not None:
            content[field], owners[field] = kept["values"][field], kept["connection"]
        for said in holders:
            lost = said["values"][field]
            if said is not kept and lost != content.get(field) and not _is_recorded(refused, field, said, lost):
                entry = {"field": field, "value": lost, "by": said["connection"], "at": said["at"],
                         "kept": owners.get(field, ""), "recorded_at": now.isoformat()}  # fmt: skip
                refused.append(entry)
                if owner.opens_case and said not in owned:
                    told.append(entry)
    record.content, record.owners, record.refused = content, owners, refused[-REFUSED_KEPT:]
    record.overrides = overrides
    record.blocks = blocks_of(record.record_type, content)
    return tuple(told)


def _kept(
    holders: list[dict[str, Any]], owned: list[dict[str, Any]], leader: dict[str, Any] | None, *, is_alone: bool
) -> dict[str, Any] | None:
    if owned:
        return owned[0]
    if is_alone or not holders:
        return None
    return next((said for said in holders if said is leader), holders[0])


def _is_recorded(refused: Iterable[dict[str, Any]], field: str, said: dict[str, Any], lost: Any) -> bool:
    return any(r["field"] == field and r["by"] == said["connection"] and r["value"] == lost for r in refused)
