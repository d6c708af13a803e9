"""Hold to source: what holds a document is written on the record that it came from, and on the order that sold it.

Starts on   a case that opened or closed (`exceptions.writeback` looks every few seconds)
Ends with   status, message and link to the case on the record, or their absence once nothing holds it any more
Posts       nothing
Owners      billing operations
Never       holds up a posting, writes payload or personal data, or makes us read what only we have changed
"""

from __future__ import annotations

from typing import Any

from q2c.canonical.contract import HoldNote
from q2c.canonical.posting import SavedRecord
from q2c.canonical.schema import from_json
from q2c.core.problems import NOT_PERMITTED, AlreadyThere, Category, NotNeeded, Problem
from q2c.transactions.steps import Flow, Read, Write

CODE = "hold_to_source"
_GONE = ("target_gone", "record_gone")
_REFUSED = (Category.VALIDATION, Category.MAPPING, Category.CONFLICT)


def lane_of(note: HoldNote) -> str:
    """The notes of one record follow one another."""
    return f"hold:{note.source.connection}:{note.source.object_type}:{note.source.object_id}"


def want_notes(txn: Any) -> list[tuple[str, Any]]:
    """What else is to be said of this record."""
    return [("lane", (CODE, txn.lane))]


def choose_note(document: HoldNote, links: Any, txn: Any) -> str:
    """Whose record it is. Raises NotNeeded where something newer is to be said: only that is sent."""
    if any(from_json(said, HoldNote).at > document.at for said in links.in_lane(CODE, txn.lane)):
        raise NotNeeded("Something newer is to be said of this record")
    return document.source.connection


async def find_note(document: HoldNote) -> SavedRecord | None:
    """There's nothing to look up: writing the same note again is harmless."""
    return None


async def publish_hold(document: HoldNote, source: Any, write: Any) -> SavedRecord:
    """Write the note. A record that is gone needs none. Raises Problem `hold_not_told` for a refusal: the same of every
    record, so that a system that takes none makes one case; a key that may not write notes pauses nothing else."""
    fields = {"status": document.status, "message": document.message, "case": document.link}
    kind, record = document.source.object_type, document.source.object_id
    try:
        found: SavedRecord = await source.publish_hold(kind, record, fields=fields, key=write.key)
        return found
    except AlreadyThere:
        raise
    except Problem as problem:
        if problem.code in _GONE:
            return SavedRecord(document_type=kind, id=record, status="gone")
        if problem.category in _REFUSED or problem.code == NOT_PERMITTED:
            raise Problem(
                "hold_not_told",
                Category.VALIDATION,
                f"{source.name} doesn't take our notes: {problem.summary}",
                connection=document.source.connection,
            ) from problem
        raise


HOLD_TO_SOURCE = Flow(
    code=CODE,
    title="Hold to source",
    starts_with=("document",),
    fact_type=HoldNote,
    owner="billing_ops",
    lane_type="record",
    steps=(
        Read("choose_note", "See that nothing newer is to be said", choose_note, gives="note_system", wants=want_notes),
        Write(
            "publish_hold",
            "Write on the record what holds it",
            find=find_note,
            create=publish_hold,
            upsert=True,
            prepared="document",
            port="source",
            gives="told",
        ),
    ),
)
