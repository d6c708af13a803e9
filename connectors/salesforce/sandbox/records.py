"""Records of the org: made, changed, found and deleted under the org's rules, each change stamped and logged."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from connectors.salesforce.sandbox.errors import deleted_record, missing_fields, no_such_record, refusal
from connectors.salesforce.sandbox.fields import Field
from connectors.salesforce.sandbox.ids import make_id, read_id
from connectors.salesforce.sandbox.rules import AFTER, BEFORE, BEFORE_DELETE, CASCADES, find_duplicates
from connectors.salesforce.sandbox.schema import Schema, SObject
from connectors.salesforce.sandbox.values import format_moment, read_value
from connectors.sandbox.clock import Clock
from connectors.sandbox.request import Refusal
from connectors.sandbox.store import Store

CURRENCY_FIELD = "CurrencyIsoCode"


class Records:
    """The org's records. `on_change(object name, before or None, after)` is told of each."""

    def __init__(self, store: Store, clock: Clock, schema: Schema, on_change: Any):
        self.store = store
        self.clock = clock
        self.schema = schema
        self.on_change = on_change
        self.user_id = ""
        self.default_currency = "USD"

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What happens inside is undone alone when it fails."""
        name = "part"
        self.store.db.execute(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            self.store.db.execute(f"ROLLBACK TO {name}")
            self.store.db.execute(f"RELEASE {name}")
            raise
        self.store.db.execute(f"RELEASE {name}")

    # finding

    def peek(self, kind: str, id: str | None) -> dict | None:
        """A record, deleted or not; None when it never was."""
        return self.store.get(kind, id) if id else None

    def read(self, target: SObject, given: str) -> dict:
        """A living record by its id in either form. Raises Refusal: unknown, deleted, or of another object."""
        id = read_id(given)
        if id is None:
            raise refusal("MALFORMED_ID", f"{target.name} ID: id value of incorrect type: {given}", status=404)
        record = self.peek(target.name, id)
        if record is None:
            raise no_such_record()
        if record["IsDeleted"]:
            raise deleted_record()
        return record

    def find(self, kind: str, **fields: Any) -> list[dict]:
        """Living records whose indexed fields have these values."""
        wanted: dict[str, Any] = {name: _index(value) for name, value in fields.items()}
        return [record for record in self.store.find(kind, **wanted) if not record["IsDeleted"]]

    def find_by_external_id(self, target: SObject, name: str, value: str) -> list[dict]:
        """Living records with that external id, whatever its case. Raises Refusal when the field is no external id."""
        column = target.find_field(name)
        if column is None or not (column.external_id or column.name == "Id"):
            message = f"Provided external ID field does not exist or is not accessible: {name}"
            raise refusal("NOT_FOUND", message, status=404)
        if column.name == "Id":
            return [self.read(target, value)]
        return self.find(target.name, **{column.name: value})

    # writing

    def create(
        self,
        target: SObject,
        body: dict,
        *,
        path: str,
        external_id: str | None = None,
        rules: bool = True,
        id: str | None = None,
    ) -> str:
        """Make a record; its 18-character id. `rules` False lets a user save in spite of the duplicate rule."""
        self._refuse_read_only(target)
        changes = self.clean(target, body, is_new=True)
        record = {name: column.default for name, column in target.fields.items()}
        record.update(changes)
        record["Id"] = id or make_id(target.prefix, self.store.next_number(f"id:{target.prefix}"))
        if target.has_currency and record[CURRENCY_FIELD] is None:
            record[CURRENCY_FIELD] = self.default_currency
        if record.get("OwnerId", "") is None:
            record["OwnerId"] = self.user_id
        if rules and not record.get("IsDeleted"):
            self._refuse_duplicates(target, record)
        self._finish(target, record, None, changes)
        self.store.log("POST", path, target.name, record["Id"], external_id=external_id or record.get("Ext_Id__c"))
        return record["Id"]

    def update(self, target: SObject, record: dict, body: dict, *, path: str, external_id: str | None = None) -> None:
        """Change a record; fields that aren't mentioned stay."""
        self._refuse_read_only(target)
        changes = self.clean(target, body, is_new=False)
        after = {**record, **changes}
        self._finish(target, after, record, changes)
        external = external_id or record.get("Ext_Id__c")
        self.store.log("PATCH", path, target.name, record["Id"], external_id=external, effect="updated")

    def delete(self, target: SObject, record: dict, *, path: str) -> None:
        """Move a record to the recycle bin, with what hangs on it."""
        self._refuse_read_only(target)
        check = BEFORE_DELETE.get(target.name)
        if check is not None:
            check(self, record)
        for child, name in CASCADES.get(target.name, ()):
            for each in self.find(child, **{name: record["Id"]}):
                self.delete(self.schema.objects[child], each, path=path)
        after = {**record, "IsDeleted": True}
        self.save(target, after)
        self.on_change(target.name, record, after)
        follow = AFTER.get(target.name)
        if follow is not None:
            follow(self, after)
        external = record.get("Ext_Id__c")
        self.store.log("DELETE", path, target.name, record["Id"], external_id=external, effect="deleted")

    def _finish(self, target: SObject, record: dict, before: dict | None, changes: dict) -> None:
        prepare = BEFORE.get(target.name)
        if prepare is not None:
            prepare(self, record, before, changes)
        empty = [name for name, column in target.fields.items() if column.required and record[name] is None]
        if empty:
            raise missing_fields(empty)
        self._refuse_taken(target, record)
        self.save(target, record)
        self.on_change(target.name, before, record)
        follow = AFTER.get(target.name)
        if follow is not None:
            follow(self, record)

    def save(self, target: SObject, record: dict, *, is_by_user: bool = True) -> None:
        """Store a record as it stands, with new stamps. What the system itself changes moves SystemModstamp alone."""
        now = self.clock.time()
        stamp = format_moment(now)
        record["SystemModstamp"] = stamp
        if record["CreatedDate"] is None:
            record["CreatedDate"], record["CreatedById"] = stamp, self.user_id
        if is_by_user:
            record["LastModifiedDate"], record["LastModifiedById"] = stamp, self.user_id
        keys = {name: _index(record[name]) for name, column in target.fields.items() if column.indexed and record[name]}
        self.store.put(target.name, record["Id"], record, keys=keys, at=now)

    # checking

    def clean(self, target: SObject, body: Any, *, is_new: bool) -> dict:
        """The body's values as they are stored. Raises Refusal for what the object doesn't take."""
        if not isinstance(body, dict):
            raise refusal("JSON_PARSER_ERROR", "The HTTP entity body is required to be a JSON object")
        changes: dict = {}
        for name, value in body.items():
            if name == "attributes":
                continue
            column = target.fields.get(name) or target.find_field(name)
            if column is None:
                column, value = self._follow_relation(target, name, value)
            elif column.name in {"Id", "IsDeleted"} or not (column.createable if is_new else column.updateable):
                verb = "insert" if is_new else "update"
                message = (
                    f"Unable to create/update fields: {column.name}. Please check the security settings of this field"
                )
                message += f" and verify that it is read/write for {verb}."
                raise refusal("INVALID_FIELD_FOR_INSERT_UPDATE", message, fields=[column.name])
            value = read_value(column, value)
            if column.type == "reference" and value is not None:
                value = self._check_reference(column, value)
            if column.name == CURRENCY_FIELD:
                self._check_currency(value)
            changes[column.name] = value
        return changes

    def _follow_relation(self, target: SObject, name: str, value: Any) -> tuple[Field, Any]:
        """A parent named by its external id: `"Account": {"Ext_Id__c": "NW-001"}`."""
        column = target.find_parent(name)
        if column is None:
            message = f"No such column '{name}' on sobject of type {target.name}"
            raise refusal("INVALID_FIELD", message)
        pairs = [(key, each) for key, each in value.items() if key != "attributes"] if isinstance(value, dict) else []
        if len(pairs) != 1:
            raise refusal("INVALID_FIELD", f"{name}: one external id of the parent is expected")
        parent = self.schema.objects[column.to]
        found = self.find_by_external_id(parent, pairs[0][0], str(pairs[0][1]))
        if not found:
            message = (
                f"Foreign key external ID: {pairs[0][1]} not found for field {pairs[0][0]} in entity {parent.name}"
            )
            raise refusal("INVALID_FIELD", message)
        return column, found[0]["Id"]

    def _check_reference(self, column: Field, value: str) -> str:
        id = read_id(value)
        parent = self.schema.objects[column.to]
        if id is None:
            raise refusal("MALFORMED_ID", f"{column.name}: id value of incorrect type: {value}", fields=[column.name])
        if not id.startswith(parent.prefix):
            raise refusal(
                "FIELD_INTEGRITY_EXCEPTION", f"{column.name}: id value of incorrect type: {value}", fields=[column.name]
            )
        record = self.peek(parent.name, id)
        if record is None:
            raise refusal("INVALID_CROSS_REFERENCE_KEY", f"invalid cross reference id: {value}", fields=[column.name])
        if record["IsDeleted"]:
            raise refusal("ENTITY_IS_DELETED", "entity is deleted", fields=[column.name])
        return id

    def _check_currency(self, value: str | None) -> None:
        known = [each for each in self.store.find("CurrencyType", IsoCode=_index(value or "")) if each["IsActive"]]
        if not known:
            message = f"CurrencyIsoCode: invalid currency code: {value}"
            raise refusal("INVALID_CURRENCY_ISO", message, fields=[CURRENCY_FIELD])

    def _refuse_read_only(self, target: SObject) -> None:
        if not target.writable:
            message = f"entity type {target.name} does not support create, update or delete"
            raise refusal("INSUFFICIENT_ACCESS_OR_READONLY", message, status=403)

    def _refuse_taken(self, target: SObject, record: dict) -> None:
        for name, column in target.fields.items():
            if not column.unique or not record[name]:
                continue
            others = [each for each in self.find(target.name, **{name: record[name]}) if each["Id"] != record["Id"]]
            if others:
                message = f"duplicate value found: {name} duplicates value on record with id: {others[0]['Id'][:15]}"
                raise refusal("DUPLICATE_VALUE", message, fields=[name])

    def _refuse_duplicates(self, target: SObject, record: dict) -> None:
        found = find_duplicates(self, target.name, record)
        if not found:
            return
        rule = f"Standard_{target.name}_Duplicate_Rule"
        matches = [
            {
                "additionalInformation": [],
                "fieldDiffs": [],
                "matchConfidence": 100.0,
                "record": {
                    "attributes": {
                        "type": target.name,
                        "url": f"/services/data/v68.0/sobjects/{target.name}/{each['Id']}",
                    },
                    "Id": each["Id"],
                },
            }
            for each in found
        ]
        result = {
            "allowSave": True,
            "duplicateRule": rule,
            "duplicateRuleEntityType": target.name,
            "errorMessage": "Use one of these records?",
            "matchResults": [
                {
                    "entityType": target.name,
                    "errors": [],
                    "matchEngine": "FuzzyMatchEngine",
                    "matchRecords": matches,
                    "rule": f"Standard_{target.name}_Match_Rule_v1_0",
                    "size": len(matches),
                    "success": True,
                }
            ],
        }
        raise refusal("DUPLICATES_DETECTED", "Use one of these records?", duplicateResult=result)


def _index(value: Any) -> str:
    text = str(value)
    # ids tell case apart, everything else is found whatever its case
    return text if read_id(text) == text else text.lower()


def try_each(records: Records, actions: list) -> list[tuple[Any, Refusal | None]]:
    """Do each action on its own: its result, or why it was refused; a refused one leaves nothing behind."""
    outcomes: list[tuple[Any, Refusal | None]] = []
    for action in actions:
        try:
            with records.savepoint():
                outcomes.append((action(), None))
        except Refusal as refused:
            outcomes.append((None, refused))
    return outcomes
