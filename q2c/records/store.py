"""Golden records: canonical documents merged field by field under survivorship; older states never replace newer ones.

One golden record may have several sources (the CRM's account, billing's customer). `sources` keeps each one's last
values with its vendor's clock, so what survives can always be computed again, and what lost is recorded in `refused`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from simple_history.utils import bulk_create_with_history, bulk_update_with_history

from q2c.canonical.schema import content_hash, to_builtins
from q2c.core.hotpath import fetch_rows, lock_names
from q2c.records.models import GoldenRecord

REFUSED_KEPT = 50
_ALIASES = """
SELECT w.connection, w.external_id, x.record_key FROM mappings_crossreference x
JOIN unnest(%s::int8[], %s::text[], %s::text[]) AS w (connection, external_id, record_type)
  ON x.external_id = w.external_id AND x.record_type = w.record_type
  AND (w.connection = 0 OR x.connection_id = w.connection)
"""
_ADD_ALIASES = """
INSERT INTO mappings_crossreference (record_type, record_key, connection_id, external_type, external_id, number, scope,
                                     legal_entity_code, at)
SELECT n.record_type, n.record_key, n.connection, n.external_type, n.external_id, n.number, '', n.entity, now()
FROM unnest(%s::text[], %s::text[], %s::int8[], %s::text[], %s::text[], %s::text[], %s::text[])
    AS n (record_type, record_key, connection, external_type, external_id, number, entity)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class Sighting:
    """One source's present view of a thing. `values` are the fields that can survive; `family` is the source's role."""

    record_type: str  # customer, product, order, subscription
    document: Any  # canonical, with a `source`
    values: dict[str, Any]
    connection_id: int
    family: str
    occurred_at: dt.datetime
    name: str = ""
    number: str = ""
    parent_key: str = ""
    legal_entity_code: str = ""
    also_known_as: str = ""  # the id in another system under which it may be known already (a customer's CRM account)

    @property
    def source_key(self) -> str:
        """connection:type:id"""
        return source_key(self.document.source)


@dataclass(frozen=True)
class Stored:
    """What became of a sighting: changed, unchanged or stale; and the golden record's key, name and entity."""

    outcome: str
    record_key: str
    name: str
    legal_entity_code: str


def source_key(source: Any) -> str:
    """The key of a source object: connection:type:id."""
    return f"{source.connection}:{source.object_type}:{source.object_id}"


def store_records(
    sightings: list[Sighting], *, winner: Callable[[str, str], str], now: dt.datetime | None = None
) -> list[Stored]:
    """Upsert golden records in bulk, in the caller's transaction.

    `winner(record type, field)` names the family that owns a field ("" when nobody does: the newest value
    survives). Results come in order.
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
        outcome = _see(record, sighting, winner, now)
        if outcome == "changed":
            touched[place] = record
        results.append(Stored(outcome, key, record.name, record.legal_entity_code))
    created = [r for place, r in touched.items() if place not in known]
    bulk_create_with_history(created, GoldenRecord)
    fields = ["number", "name", "parent_key", "legal_entity_code", "content", "owners", "refused", "version",
              "changed_at", "source_version", "sources"]  # fmt: skip
    bulk_update_with_history([r for place, r in touched.items() if place in known], GoldenRecord, fields)
    _add_aliases(sightings, keys)
    return results


def _record_keys(sightings: list[Sighting]) -> list[str]:
    """The golden key of each: the one its id is an alias of, the one its other name is an alias of, else its own."""
    asked = {(s.connection_id, s.document.source.object_id, s.record_type) for s in sightings}
    asked |= {(0, s.also_known_as, s.record_type) for s in sightings if s.also_known_as}
    columns = [list(column) for column in zip(*sorted(asked), strict=True)]
    aliases = {(connection, external): key for connection, external, key in fetch_rows(_ALIASES, columns)}
    keys = []
    for s in sightings:
        own = aliases.get((s.connection_id, s.document.source.object_id))
        other = aliases.get((0, s.also_known_as)) if s.also_known_as else None
        keys.append(own or other or s.source_key)
    return keys


def _add_aliases(sightings: list[Sighting], keys: list[str]) -> None:
    rows = sorted(
        {
            (s.record_type, key, s.connection_id, s.document.source.object_type, s.document.source.object_id,
             s.number[:80], s.legal_entity_code)
            for s, key in zip(sightings, keys, strict=True)
        }
    )  # fmt: skip
    fetch_rows(_ADD_ALIASES, [list(column) for column in zip(*rows, strict=True)])


def _see(record: GoldenRecord, sighting: Sighting, winner: Callable[[str, str], str], now: dt.datetime) -> str:
    """Merge one sighting into the record. Returns changed, unchanged or stale."""
    source = sighting.document.source
    before = record.sources.get(sighting.source_key)
    at = sighting.occurred_at.isoformat()
    digest = content_hash(sighting.values)
    if before is not None:
        if dt.datetime.fromisoformat(before["at"]) > sighting.occurred_at:
            return "stale"
        if before["hash"] == digest:
            return "unchanged"
    values = to_builtins(sighting.values)
    said = {"hash": digest, "at": at, "family": sighting.family, "connection": source.connection, "values": values}
    record.sources = {**record.sources, sighting.source_key: said}
    _survive(record, sighting.record_type, winner, now)
    leads = record.record_key == sighting.source_key
    record.name = (sighting.name if leads else record.name or sighting.name)[:300]
    record.number = (sighting.number if leads else record.number or sighting.number)[:120]
    record.parent_key = sighting.parent_key if leads else record.parent_key or sighting.parent_key
    record.legal_entity_code = sighting.legal_entity_code or record.legal_entity_code
    record.source_version = source.version[:80]
    record.version += 1
    record.changed_at = now
    return "changed"


def _survive(record: GoldenRecord, record_type: str, winner: Callable[[str, str], str], now: dt.datetime) -> None:
    """Compute every field anew: the owning family's value, else the newest that isn't empty. Losers are recorded."""
    newest_first = sorted(record.sources.values(), key=lambda s: s["at"], reverse=True)
    content: dict[str, Any] = {}
    owners: dict[str, str] = {}
    refused = list(record.refused)
    for field in sorted({name for said in newest_first for name in said["values"]}):
        holders = [said for said in newest_first if said["values"].get(field) not in (None, "", [], {})]
        family = winner(record_type, field)
        kept = next((said for said in holders if said["family"] == family), None) or (holders[0] if holders else None)
        if kept is None:
            continue
        content[field], owners[field] = kept["values"][field], kept["connection"]
        for said in holders:
            lost = said["values"][field]
            if said is not kept and lost != content[field] and not _is_recorded(refused, field, said, lost):
                refused.append(
                    {"field": field, "value": lost, "by": said["connection"], "at": said["at"],
                     "kept": kept["connection"], "recorded_at": now.isoformat()}
                )  # fmt: skip
    record.content, record.owners, record.refused = content, owners, refused[-REFUSED_KEPT:]


def _is_recorded(refused: Iterable[dict[str, Any]], field: str, said: dict[str, Any], lost: Any) -> bool:
    return any(r["field"] == field and r["by"] == said["connection"] and r["value"] == lost for r in refused)
