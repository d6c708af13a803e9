"""The duplicate radar: which records are perhaps one thing, who says that they are two, and merges that can be undone.

It never merges by itself: a merge is a plan that two people agree to, and so is taking it back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from itertools import combinations, islice
from typing import Any

from django.db.models import Q
from django.db.transaction import atomic
from django.utils import timezone

from mappings.identities import Change, IdentityRefused, store_change
from mappings.matching import BLOCK_MAX, Match, blocks_of, compare
from mappings.models import CrossReference
from q2c.core import approvals, audit
from q2c.core.hotpath import fetch_rows
from q2c.core.models import Person, Proposal
from q2c.records.merging import fold, lock_records, plan_changes, save_folded
from q2c.records.models import DuplicatePair, GoldenRecord
from q2c.records.store import OwnerOf

MERGE, UNDO = "merge_records", "undo_merge"
APPROVE = "mappings.approve_rule"
COMPARED = ("customer", "product", "subscription")
MERGEABLE = ("customer", "product")  # a contract under two ids is settled in billing
RECORDS_AT_ONCE = 1000
PAIRS_AT_ONCE = 5000
PARTS = ("aliases", "sources", "overrides", "parent_key")
State = DuplicatePair.State
_BLOCKS = """
    SELECT array_agg(id ORDER BY record_key) FROM (
        SELECT id, record_key, unnest(blocks) AS block FROM records_goldenrecord
        WHERE record_type = %s AND merged_into = '' AND blocks <> '{}') AS told
    GROUP BY block HAVING count(*) BETWEEN 2 AND %s
"""


class MergeRefused(ValueError):
    """Why two records can't be merged, or a merge can't be undone, in words for the screen."""


def find_duplicates() -> int:
    """Compare all records that share a block, and note the pairs that are new. Returns how many. Safe twice."""
    _say_blocks()
    signposts = GoldenRecord.objects.exclude(merged_into="").values("record_key")
    gone = Q(one_key__in=signposts) | Q(other_key__in=signposts)
    DuplicatePair.objects.filter(gone, state=State.SUSPECTED).delete()
    return sum(_compare_all(record_type) for record_type in COMPARED)


def say_distinct(pair: DuplicatePair, *, by: Person, why: str) -> None:
    """Remember that two records are two, with the reason: the radar doesn't suspect them again. Raises MergeRefused."""
    if not why.strip():
        raise MergeRefused("Say why they are two.")
    with atomic():
        locked = DuplicatePair.objects.select_for_update().get(pk=pair.pk)
        if locked.state != State.SUSPECTED:
            raise MergeRefused(f"It was {locked.state} meanwhile.")
        locked.state, locked.why, locked.decided_by, locked.decided_at = State.DISTINCT, why, by, timezone.now()
        locked.save()
        audit.record(by, "say_distinct", "duplicate", pair.pk, why=why, data=_names(pair))


def propose_merge(pair: DuplicatePair, *, survivor: str, by: Person, why: str) -> Proposal:
    """Ask a second person to make two records one, `survivor` being the one that stays. What is signed names every
    cross-reference that moves. Raises MergeRefused, or ApprovalRefused without a reason."""
    _refuse_unless(pair, State.SUSPECTED)
    if pair.record_type not in MERGEABLE:
        raise MergeRefused("A contract under two ids is settled in billing: end one of them there.")
    kept, gone = _both(pair, survivor)
    name = kept.name or kept.record_key
    content = {
        "record_type": pair.record_type, "survivor": kept.record_key, "merged": gone.record_key,
        "names": [kept.name, gone.name], "score": pair.score, "reasons": pair.reasons,
        "references": _plan(kept, gone),
    }  # fmt: skip
    return _propose(MERGE, pair, f"Merge {gone.name or gone.record_key} into {name}", content, by=by, why=why)


def propose_undo(pair: DuplicatePair, *, by: Person, why: str) -> Proposal:
    """Ask a second person to take a merge back. Raises MergeRefused, or ApprovalRefused without a reason."""
    _refuse_unless(pair, State.MERGED)
    merge = pair.merge or {}
    content = {"record_type": pair.record_type, "survivor": merge["survivor"], "merged": merge["merged"],
               "references": merge["references"]}  # fmt: skip
    return _propose(UNDO, pair, f"Take back the merge of {pair}", content, by=by, why=why)


def apply_merge(proposal: Proposal, *, by: Person, owner_of: OwnerOf) -> list[str]:
    """Make the two records one, in the transaction of the last signature. Returns the keys of what waits for them.
    Raises MergeRefused when a cross-reference moved meanwhile."""
    facts = proposal.content
    pair = _pair_of(proposal)
    _refuse_unless(pair, State.SUSPECTED)
    records = lock_records(pair.record_type, [facts["survivor"], facts["merged"]])
    kept, gone = records.get(facts["survivor"]), records.get(facts["merged"])
    if kept is None or gone is None or kept.merged_into or gone.merged_into:
        raise MergeRefused("One of the two was merged meanwhile.")
    changes = _plan(kept, gone)
    if changes != facts["references"]:
        raise MergeRefused("A cross-reference of theirs changed meanwhile: propose it again.")
    children = GoldenRecord.objects.filter(record_type=pair.record_type, parent_key=gone.record_key)
    image = {
        "survivor": kept.record_key, "merged": gone.record_key, "references": changes,
        "kept": {name: getattr(kept, name) for name in PARTS}, "gone": {name: getattr(gone, name) for name in PARTS},
        "children": list(children.values_list("record_key", flat=True)),
    }  # fmt: skip
    fold(kept, gone)
    save_folded([kept, gone], owner_of=owner_of)
    for change in changes:
        store_change(Change(**change))
    _decide(pair, State.MERGED, by=by, why=proposal.why, merge=image)
    audit.record(by, "merge_records", "duplicate", pair.pk, why=proposal.why, data={"proposal": proposal.pk})
    return [f"{pair.record_type}:{change['record_key']}" for change in changes]


def apply_undo(proposal: Proposal, *, by: Person, owner_of: OwnerOf) -> list[str]:
    """Make them two again: each has the sources and ids that it had, with what these said since. Returns the keys of
    what waits for them. Raises MergeRefused when a cross-reference moved since the merge."""
    pair = _pair_of(proposal)
    _refuse_unless(pair, State.MERGED)
    image = pair.merge or {}
    records = lock_records(pair.record_type, [image["survivor"], image["merged"]])
    kept, gone = records[image["survivor"]], records[image["merged"]]
    if gone.merged_into != kept.record_key:
        raise MergeRefused("The survivor was merged into another one since: take that back first.")
    old = image["gone"]
    gone.sources = {key: kept.sources.get(key, said) for key, said in old["sources"].items()}
    gone.aliases, gone.overrides, gone.parent_key = old["aliases"], old["overrides"], old["parent_key"]
    gone.merged_into = ""
    kept.aliases = [alias for alias in kept.aliases if alias not in gone.aliases]
    kept.sources = {key: said for key, said in kept.sources.items() if key not in gone.sources}
    own = image["kept"]["overrides"]
    kept.overrides = {n: v for n, v in kept.overrides.items() if n in own or v != old["overrides"].get(n)}
    save_folded([kept, gone], owner_of=owner_of)
    same = GoldenRecord.objects.filter(record_type=pair.record_type, record_key__in=image["children"])
    same.filter(parent_key=kept.record_key).update(parent_key=gone.record_key)
    try:
        for change in reversed(image["references"]):
            store_change(_inverse(Change(**change)))
    except IdentityRefused as refused:
        raise MergeRefused(f"A cross-reference moved since: {refused}") from refused
    _decide(pair, State.SUSPECTED, by=by, why=proposal.why, merge=None)
    audit.record(by, "undo_merge", "duplicate", pair.pk, why=proposal.why, data={"proposal": proposal.pk})
    return [f"{pair.record_type}:{change['record_key']}" for change in image["references"]]


def proposals_about(pair: DuplicatePair) -> Any:
    """Every merge and undoing of a pair that was ever proposed."""
    return Proposal.objects.filter(kind__in=(MERGE, UNDO), subject_type="duplicate", subject_id=str(pair.pk))


def _compare_all(record_type: str) -> int:
    ids: set[tuple[Any, Any]] = set()
    for (block,) in fetch_rows(_BLOCKS, [record_type, BLOCK_MAX]):
        ids.update(combinations(block, 2))
    new, pending = 0, iter(sorted(ids))
    while batch := list(islice(pending, PAIRS_AT_ONCE)):
        new += note_pairs(record_type, batch)
    return new


def note_pairs(record_type: str, batch: Iterable[tuple[Any, Any]]) -> int:
    """Compare these records, by their ids, two and two, and note the suspected pairs that are new. Returns how many."""
    batch = list(batch)
    records = GoldenRecord.objects.only("record_key", "name", "number", "content", "legal_entity_code").in_bulk(
        {record_id for pair in batch for record_id in pair}
    )
    found: list[tuple[GoldenRecord, GoldenRecord, Match]] = []
    for one_id, other_id in batch:
        one, other = sorted((records[one_id], records[other_id]), key=lambda record: record.record_key)
        match = compare(record_type, one.content, other.content)
        if match.is_suspected:
            found.append((one, other, match))
    keys = {record.record_key for one, other, _ in found for record in (one, other)}
    known = set(
        DuplicatePair.objects.filter(record_type=record_type, one_key__in=keys).values_list("one_key", "other_key")
    )
    fresh = [row for row in found if (row[0].record_key, row[1].record_key) not in known]
    now = timezone.now()
    DuplicatePair.objects.bulk_create(
        [
            DuplicatePair(
                record_type=record_type, one_key=one.record_key, other_key=other.record_key, score=match.score,
                one_name=one.name or one.number, other_name=other.name or other.number, reasons=list(match.reasons),
                legal_entity_code=one.legal_entity_code if one.legal_entity_code == other.legal_entity_code else "",
                found_at=now,
            )
            for one, other, match in fresh
        ],
        ignore_conflicts=True,
    )  # fmt: skip
    return len(fresh)


def _say_blocks() -> None:
    """Records that were stored before there were blocks get theirs."""
    while rows := list(GoldenRecord.objects.filter(blocks=None).only("record_type", "content")[:RECORDS_AT_ONCE]):
        for row in rows:
            row.blocks = blocks_of(row.record_type, row.content)
        GoldenRecord.objects.bulk_update(rows, ["blocks"])


def _both(pair: DuplicatePair, survivor: str) -> tuple[GoldenRecord, GoldenRecord]:
    if survivor not in (pair.one_key, pair.other_key):
        raise MergeRefused("The survivor is one of the two.")
    gone = pair.other_key if survivor == pair.one_key else pair.one_key
    rows = {
        row.record_key: row
        for row in GoldenRecord.objects.filter(
            record_type=pair.record_type, record_key__in=(survivor, gone), merged_into=""
        )
    }
    if len(rows) != 2:
        raise MergeRefused("One of the two was merged meanwhile.")
    return rows[survivor], rows[gone]


def _plan(kept: GoldenRecord, gone: GoldenRecord) -> list[dict[str, Any]]:
    """Each id of the record that goes leads where the survivor's of the same system does."""
    own = {_place(key): key for key in reversed([kept.record_key, *kept.sources])}
    keys = dict.fromkeys([gone.record_key, *gone.sources])
    pairs = [(own[_place(key)], key) for key in keys if own.get(_place(key), key) != key]
    return [asdict(change) for change in plan_changes(kept.record_type, pairs)]


def _place(key: str) -> str:
    return key.rsplit(":", 1)[0]


def _inverse(change: Change) -> Change:
    """The change that takes one back; what was one record's own is its own again."""
    back = replace(
        change, external_id=change.was, was=change.external_id, number=change.was_number, is_shared=False,
        is_linked=change.was_linked,
    )  # fmt: skip
    if not back.external_id:
        return back
    others = CrossReference.objects.filter(
        connection__code=change.connection, external_type=change.external_type, external_id=change.was
    ).exclude(Q(record_type=change.record_type) & Q(record_key=change.record_key))
    return replace(back, is_shared=others.exists())


def _propose(kind: str, pair: DuplicatePair, title: str, content: dict[str, Any], *, by: Person, why: str) -> Proposal:
    if proposals_about(pair).filter(state=Proposal.State.PROPOSED).exists():
        raise MergeRefused("It waits for a second person already.")
    return approvals.propose(
        kind, ("duplicate", pair.pk), content=content, by=by, title=title, why=why, permission=APPROVE,
        legal_entities=[pair.legal_entity_code] if pair.legal_entity_code else (),
    )  # fmt: skip


def _refuse_unless(pair: DuplicatePair, state: str) -> None:
    if pair.state != state:
        raise MergeRefused(f"It is {pair.state}.")


def _pair_of(proposal: Proposal) -> DuplicatePair:
    return DuplicatePair.objects.select_for_update(of=("self",)).get(pk=proposal.subject_id)


def _decide(pair: DuplicatePair, state: str, *, by: Person, why: str, merge: dict[str, Any] | None) -> None:
    pair.state, pair.why, pair.decided_by, pair.merge, pair.decided_at = state, why, by, merge, timezone.now()
    pair.save()


def _names(pair: DuplicatePair) -> dict[str, str]:
    return {"one": pair.one_key, "other": pair.other_key}


def pairs_of(record_type: str, record_keys: Iterable[str]) -> Any:
    """The pairs in which one of these records stands."""
    keys = list(record_keys)
    return DuplicatePair.objects.filter(record_type=record_type).filter(Q(one_key__in=keys) | Q(other_key__in=keys))
