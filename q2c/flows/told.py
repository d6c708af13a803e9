"""What a finished flow tells other rooms: lineage links, cross-references, outbox events. Plain facts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from q2c.canonical.base import Source


@dataclass(frozen=True)
class Link:
    """One hop of lineage: this document became, pays, credits or settles that one."""

    source_system: str
    source_type: str
    source_id: str
    target_system: str
    target_type: str
    target_id: str
    amount: Decimal | None = None
    currency: str = ""
    relation: str = "became"
    step: str = ""


@dataclass(frozen=True)
class Reference:
    """A cross-reference: our record's id in another system."""

    record_type: str
    record_key: str
    connection_code: str
    external_type: str
    external_id: str
    number: str = ""


@dataclass(frozen=True)
class Moved:
    """Our record stands as another document of the same system from now on: it `was` that one."""

    record_type: str
    record_key: str
    connection_code: str
    external_type: str
    external_id: str
    number: str
    was: str


def record_key(source: Source) -> str:
    """Our key of the record that a source object stands for."""
    return f"{source.connection}:{source.object_type}:{source.object_id}"


def became(
    source: Source, record_type: str, document: Any, connection: str, *, amount=None, currency="", step="", key="",
    summary: Any = None,
) -> list:  # fmt: skip
    """The usual pair: the link from a source object to the document in the target, and its cross-reference.

    `key` is the record's own where the source object stands for more than one. One that went in a `summary` has only
    the link: the journal is the day's, and its cross-reference was stored when it contributed.
    """
    if summary is not None:
        return [
            Link(
                source.connection, source.object_type, source.object_id, connection, summary.document_type, summary.id,
                amount, currency, "summed up in", "await_summary",
            )
        ]  # fmt: skip
    return [
        Link(
            source.connection, source.object_type, source.object_id, connection, document.document_type, document.id,
            amount, currency, "became", step,
        ),
        Reference(
            record_type, key or record_key(source), connection, document.document_type, document.id, document.number
        ),
    ]  # fmt: skip
