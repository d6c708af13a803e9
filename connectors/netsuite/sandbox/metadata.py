"""The metadata catalogue: each record type as JSON Schema, and the API as OpenAPI."""

from typing import Any

from connectors.netsuite.sandbox.desk import OWN, ROOT
from connectors.netsuite.sandbox.fields import RECORDS, Record

KINDS: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "number": {"type": "number", "format": "double"},
    "bool": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "enum": {"type": "object", "properties": {"id": {"type": "string"}, "refName": {"type": "string"}}},
    "object": {"type": "object"},
}
SCHEMA_TYPE = "application/schema+json"
OPENAPI_TYPE = "application/swagger+json"


def build_schema(record: Record) -> dict[str, Any]:
    """The JSON Schema of a record type."""
    properties = {"id": {"type": "string"}, **{name: _describe(kind) for name, kind in record.fields.items()}}
    for name, sublist in record.lists.items():
        lines = {"type": "object", "properties": {each: _describe(kind) for each, kind in sublist.fields.items()}}
        properties[name] = {"type": "object", "properties": {"items": {"type": "array", "items": lines}}}
    return {
        "$schema": "http://json-schema.org/draft-06/hyper-schema#",
        "type": "object",
        "title": record.name,
        "x-ns-filterable": sorted(record.fields),
        "properties": properties,
    }


def build_openapi(names: list[str]) -> dict[str, Any]:
    """OpenAPI 3 of some record types, or of all."""
    chosen = [name for name in RECORDS if name not in OWN and (not names or name in names)]
    paths: dict[str, Any] = {
        f"{ROOT.removeprefix('/services/rest')}/{name}": {"get": {}, "post": {}} for name in chosen
    }
    schemas = {name: build_schema(RECORDS[name]) for name in chosen}
    info = {"title": "NetSuite REST Record API", "version": "1"}
    return {"openapi": "3.0.1", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _describe(kind: str) -> dict[str, Any]:
    if kind.startswith("ref:"):
        return {"type": "object", "x-n:recordType": kind[4:], "properties": {"id": {"type": "string"}}}
    return KINDS[kind]
