"""Records through the control door: parents and children nested in one object, as if entered one by one."""

from typing import Any

from connectors.salesforce.sandbox.errors import no_such_record
from connectors.salesforce.sandbox.ids import read_id
from connectors.salesforce.sandbox.merging import merge_records
from connectors.salesforce.sandbox.records import Records
from connectors.salesforce.sandbox.schema import SObject


def make_record(records: Records, target: SObject, given: dict, *, path: str) -> str:
    """Make one record with what is nested in it; its id.

    A nested dict is a parent: found by its external id or one indexed field, or made. A nested list are children. With
    `Id` the record is changed instead, with `IsDeleted` true deleted, with `MergeIds` those records are merged into it.
    """
    own: dict[str, Any] = {}
    children: list[tuple[SObject, str, list[dict]]] = []
    for name, value in given.items():
        if isinstance(value, dict) and "records" in value:
            value = value["records"]
        child = records.schema.find_children(target.name, name) if isinstance(value, list) else None
        parent = target.find_parent(name) if isinstance(value, dict) else None
        if child is not None:
            children.append((child[0], child[1].name, value))
        elif parent is not None:
            own[parent.name] = _find_or_make_parent(records, records.schema.objects[parent.to], value, path=path)
        else:
            own[name] = value
    id = _write(records, target, own, path=path)
    for child_target, reference, rows in children:
        for row in rows:
            make_record(records, child_target, {**row, reference: id}, path=path)
    return id


def _write(records: Records, target: SObject, own: dict[str, Any], *, path: str) -> str:
    given = own.pop("Id", None)
    is_deleted = own.pop("IsDeleted", False)
    merged = own.pop("MergeIds", None)
    if given is None:
        return records.create(target, own, path=path, rules=False)
    record = records.peek(target.name, read_id(given))
    if record is None:
        raise no_such_record()
    if merged is not None:
        merge_records(records, target, record["Id"], merged, own, path=path)
    elif is_deleted:
        records.delete(target, record, path=path)
    else:
        records.update(target, records.read(target, given), own, path=path)
    return record["Id"]


def _find_or_make_parent(records: Records, target: SObject, given: dict, *, path: str) -> str:
    if given.get("Id"):
        return records.read(target, given["Id"])["Id"]
    indexed = {name: value for name, value in given.items() if (column := target.find_field(name)) and column.indexed}
    for name, value in indexed.items():
        column = target.fields[name]
        if isinstance(value, str) and (column.external_id or len(given) == 1):
            found = records.find(target.name, **{name: value})
            if found:
                return found[0]["Id"]
    return make_record(records, target, given, path=path)
