"""Who a new customer perhaps is already: the suspected pairs that would give a system a second record of one party."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from mappings.matching import BLOCK_MAX
from mappings.models import CrossReference
from q2c.core.hotpath import fetch_rows
from q2c.records.duplicates import note_pairs, pairs_of
from q2c.records.models import DuplicatePair, GoldenRecord
from q2c.records.store import alias_of_key, keys_known_as

_SHARED = """
    SELECT array_agg(found.id) FROM (
        SELECT DISTINCT unnest(blocks) AS block FROM records_goldenrecord
        WHERE record_type = %s AND record_key = ANY(%s)
    ) AS own CROSS JOIN LATERAL (
        SELECT id FROM records_goldenrecord
        WHERE record_type = %s AND merged_into = '' AND blocks @> ARRAY[own.block] LIMIT %s
    ) AS found GROUP BY own.block HAVING count(*) BETWEEN 2 AND %s
"""


@dataclass(frozen=True)
class Suspect:
    """A record that is perhaps the same. `systems` already have it; `came_first` says that the same systems' own record
    of it is the older one, so that of two that are new together only the second one is suspicious."""

    pair: int
    name: str
    score: int
    reasons: tuple[str, ...]
    systems: frozenset[str]
    came_first: bool


def compare_now(record_type: str, record_keys: Iterable[str]) -> int:
    """Compare these records with those that share a block, as the radar will, and note the pairs that are new. Returns
    how many. One query, and one for the pairs."""
    keys = sorted(set(record_keys))
    if not keys:
        return 0
    own = set(GoldenRecord.objects.filter(record_type=record_type, record_key__in=keys).values_list("pk", flat=True))
    blocks = fetch_rows(_SHARED, [record_type, keys, record_type, BLOCK_MAX + 1, BLOCK_MAX])
    ids = {pair for (block,) in blocks for pair in combinations(sorted(block), 2) if own & set(pair)}
    return note_pairs(record_type, sorted(ids)) if ids else 0


def suspects_of(keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[Suspect]]:
    """By record type and source key: the records suspected to be the same one, likeliest first. A fixed number of
    queries per type."""
    by_type: dict[str, list[str]] = defaultdict(list)
    for record_type, key in keys:
        by_type[record_type].append(key)
    return {
        (record_type, key): found
        for record_type, asked in by_type.items()
        for key, found in _suspects(record_type, asked).items()
    }


def _suspects(record_type: str, keys: list[str]) -> dict[str, list[Suspect]]:
    golden = keys_known_as(record_type, [alias_of_key(key) for key in keys])
    own = {key: golden.get(alias_of_key(key), key) for key in keys}
    suspected = DuplicatePair.State.SUSPECTED
    pairs = list(pairs_of(record_type, own.values()).filter(state=suspected).order_by("-score", "id"))
    if not pairs:
        return {key: [] for key in keys}
    named = {name for pair in pairs for name in (pair.one_key, pair.other_key)}
    rows = GoldenRecord.objects.filter(record_type=record_type, record_key__in=named, merged_into="")
    records = {row.record_key: row for row in rows.only("record_key", "sources")}
    sources = {source: key for key, row in records.items() for source in (key, *row.sources)}
    systems: dict[str, set[str]] = defaultdict(set)
    referred = CrossReference.objects.filter(record_type=record_type, record_key__in=sources)
    for source, system in referred.values_list("record_key", "connection__code"):
        systems[sources[source]].add(system)
    found: dict[str, list[Suspect]] = {key: [] for key in keys}
    for key, mine in own.items():
        for pair in pairs:
            if mine not in (pair.one_key, pair.other_key) or mine not in records:
                continue
            other, name = _other(pair, mine)
            if other in records:
                known_in = frozenset(systems[other] | _told_by(records[other]))
                came_first = _came_first(records[other], records[mine], key)
                found[key].append(Suspect(pair.pk, name, pair.score, tuple(pair.reasons), known_in, came_first))
    return found


def _other(pair: DuplicatePair, mine: str) -> tuple[str, str]:
    if pair.one_key == mine:
        return pair.other_key, pair.other_name
    return pair.one_key, pair.one_name


def _told_by(record: GoldenRecord) -> set[str]:
    return {said["connection"] for said in record.sources.values() if not said.get("is_gone")}


def _came_first(other: GoldenRecord, mine: GoldenRecord, key: str) -> bool:
    family = mine.sources.get(key, {}).get("family", "")
    return other.pk < mine.pk and any(said["family"] == family for said in other.sources.values())
