"""A record's fields for the screen: what survived, who owns it, and what others say of it now."""

from __future__ import annotations

import datetime as dt
from typing import Any, NamedTuple

from connectors.models import Connection
from mappings.survivorship import words_of
from q2c.flows.field_owners import field_owners
from q2c.records.models import GoldenRecord


class Field(NamedTuple):
    """A field of a record: the surviving value, who said it, who owns it, and what others say of it now."""

    name: str
    value: Any
    by: str
    owner: str
    is_overridden: bool
    refused: list[dict[str, Any]]


def fields_of(record: GoldenRecord) -> list[Field]:
    """The record's fields, those about which systems differ first. Of what was refused, each system's last word."""
    owners = field_owners()
    names = dict(Connection.objects.values_list("code", "name"))
    lost: dict[str, dict[str, dict[str, Any]]] = {}
    for entry in record.refused:
        lost.setdefault(entry["field"], {})[entry["by"]] = entry | {
            "system": names.get(entry["by"], entry["by"]), "said_at": dt.datetime.fromisoformat(entry["at"]),
        }  # fmt: skip
    found = []
    for name in sorted({*record.content, *lost}):
        value, by = record.content.get(name), record.owners.get(name, "")
        refused = [e for e in lost.get(name, {}).values() if e["value"] != value]
        owner = words_of(owners(record.record_type, name, record.legal_entity_code))
        found.append(Field(name, value, names.get(by, by), owner, name in record.overrides, refused))
    return sorted(found, key=lambda f: not f.refused)
