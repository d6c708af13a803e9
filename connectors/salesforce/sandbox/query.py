"""SOQL answered: names resolved against the org's objects, records found by index where there's one, and shown."""

from typing import Any

from connectors.salesforce.sandbox.conditions import Conditions, Row
from connectors.salesforce.sandbox.errors import refusal
from connectors.salesforce.sandbox.fields import Field
from connectors.salesforce.sandbox.ids import read_id
from connectors.salesforce.sandbox.records import Records
from connectors.salesforce.sandbox.schema import SObject
from connectors.salesforce.sandbox.soql import Condition, Group, Literal, Query, malformed, parse
from connectors.salesforce.sandbox.values import parse_moment

DEEPEST = 5  # parents of parents of …


class Search(Conditions):
    """One query at work. Parents that were looked up once are remembered for its time."""

    def __init__(self, records: Records, *, version: str, with_deleted: bool = False):
        self.records = records
        self.version = version
        self.with_deleted = with_deleted
        self.parents: dict[str, Row | None] = {}

    def run(self, text: str) -> tuple[Query, SObject, list[Row]]:
        """The parsed query, its object, and all records that it finds, in order."""
        query = parse(text)
        target = self.find_object(query.source)
        for item in query.selected:
            if isinstance(item, str):
                self.resolve(target, item)
            else:
                self.resolve_children(target, item)
        return query, target, self.find_rows(query, target)

    def find_object(self, name: str) -> SObject:
        """The object behind FROM."""
        target = self.records.schema.find(name)
        if target is None:
            message = f"sObject type '{name}' is not supported."
            raise refusal("INVALID_TYPE", message)
        return target

    # names

    def resolve(self, target: SObject, path: str) -> tuple[list[Field], Field]:
        """A path such as Account.Name as the references to follow and the field at its end."""
        parts = path.split(".")
        if parts[0].lower() == target.name.lower() and len(parts) > 1 and target.find_parent(parts[0]) is None:
            parts = parts[1:]
        steps: list[Field] = []
        if len(parts) > DEEPEST + 1:
            raise malformed(f"{path}: at most {DEEPEST} levels of parents")
        for part in parts[:-1]:
            step = target.find_parent(part)
            if step is None:
                message = f"Didn't understand relationship '{part}' in field path."
                raise refusal("INVALID_FIELD", message)
            steps.append(step)
            target = self.records.schema.objects[step.to]
        column = target.find_field(parts[-1])
        if column is None:
            message = f"No such column '{parts[-1]}' on entity '{target.name}'."
            raise refusal("INVALID_FIELD", message)
        return steps, column

    def resolve_children(self, parent: SObject, query: Query) -> tuple[SObject, Field]:
        """The object and reference field of a subquery in the SELECT list."""
        found = self.records.schema.find_children(parent.name, query.source)
        if found is None:
            message = f"Didn't understand relationship '{query.source}' in FROM part of query call."
            raise refusal("INVALID_TYPE", message)
        for item in query.selected:
            if not isinstance(item, str):
                raise malformed("a subquery can't hold another one")
            self.resolve(found[0], item)
        return found

    def follow(self, row: Row, steps: list[Field]) -> Row | None:
        """The record at the end of some references; None when one of them is empty."""
        current: Row | None = row
        for step in steps:
            id = current.get(step.name) if current else None
            if id is None:
                return None
            if id not in self.parents:
                self.parents[id] = self.records.peek(step.to, id)
            current = self.parents[id]
        return current

    # finding

    def find_rows(self, query: Query, target: SObject, only: list[Row] | None = None) -> list[Row]:
        """The records that fulfil WHERE, sorted, between OFFSET and LIMIT."""
        test = self.compile(target, query.where) if query.where is not None else None
        order = [(*self.resolve(target, path), descending, last) for path, descending, last in query.order]
        rows = self.candidates(target, query.where) if only is None else only
        rows = [row for row in rows if (self.with_deleted or not row["IsDeleted"]) and (test is None or test(row))]
        rows.sort(key=lambda row: row["Id"])
        for steps, column, descending, last in reversed(order):
            rows = self.sort(rows, steps, column.name, descending, last)
        end = None if query.limit is None else query.offset + query.limit
        return rows[query.offset : end]

    def sort(self, rows: list[Row], steps: list[Field], name: str, descending: bool, last: bool) -> list[Row]:
        """Stable by one column; null values stand together at one end."""
        pairs = [((self.follow(row, steps) or {}).get(name), row) for row in rows]
        empty = [row for value, row in pairs if value is None]
        filled = [
            (value.lower() if isinstance(value, str) else value, row) for value, row in pairs if value is not None
        ]
        filled.sort(key=lambda pair: pair[0], reverse=descending)
        known = [row for _, row in filled]
        return known + empty if last else empty + known

    def candidates(self, target: SObject, where: Any) -> list[Row]:
        """As few records as an index can tell: by id, by a key field, by SystemModstamp, else all."""
        parts = where.parts if isinstance(where, Group) and where.operator == "AND" else (where,)
        since: float | None = None
        for part in parts:
            if not isinstance(part, Condition) or "." in part.path:
                continue
            column = target.find_field(part.path)
            if column is None:
                continue
            if part.operator in {"=", "IN"} and (column.name == "Id" or column.indexed):
                values = self.plain_values(part.value)
                if values is not None:
                    return self.look_up(target, column, values)
            if (
                column.name == "SystemModstamp"
                and part.operator in {">", ">=", "="}
                and isinstance(part.value, Literal)
            ):
                moment = parse_moment(str(part.value.value))
                since = int(moment.timestamp()) if moment is not None else since
        return self.records.store.find(target.name, since=since)

    def plain_values(self, value: Any) -> list[str] | None:
        """The strings of a comparison; None when there's something else among them."""
        values = value if isinstance(value, list) else [value]
        if all(isinstance(each, Literal) and each.kind == "string" for each in values):
            return [each.value for each in values]
        return None

    def look_up(self, target: SObject, column: Field, values: list[str]) -> list[Row]:
        """Records of these ids or of these values of an indexed field."""
        found: dict[str, Row] = {}
        for value in values:
            id = read_id(value)
            if column.name == "Id":
                row = self.records.peek(target.name, id)
                found.update({row["Id"]: row} if row is not None else {})
                continue
            is_id = column.type == "reference" or id == value
            key: dict[str, Any] = {column.name: (id or value) if is_id else value.lower()}
            found.update({each["Id"]: each for each in self.records.store.find(target.name, **key)})
        return list(found.values())

    # showing

    def show(self, query: Query, target: SObject, row: Row) -> Row:
        """A found record with the fields asked for; parents and children nested."""
        shown: Row = {"attributes": self.attributes(target.name, row["Id"])}
        for item in query.selected:
            if isinstance(item, str):
                self.show_path(shown, target, row, item)
            else:
                shown[item.source] = self.show_children(target, row, item)
        return shown

    def show_path(self, shown: Row, target: SObject, row: Row, path: str) -> None:
        """One selected path."""
        steps, column = self.resolve(target, path)
        place = shown
        for count, step in enumerate(steps, start=1):
            parent = self.follow(row, steps[:count])
            if parent is None:
                place[step.relation] = None
                return
            place = place.setdefault(step.relation, {"attributes": self.attributes(step.to, parent["Id"])})
        place[column.name] = (self.follow(row, steps) or {}).get(column.name)

    def show_children(self, parent: SObject, row: Row, query: Query) -> Row | None:
        """The result of a subquery for one record; null when there's nothing."""
        child, column = self.resolve_children(parent, query)
        key: dict[str, Any] = {column.name: row["Id"]}
        rows = self.find_rows(query, child, self.records.store.find(child.name, **key))
        if not rows:
            return None
        return {"totalSize": len(rows), "done": True, "records": [self.show(query, child, each) for each in rows]}

    def attributes(self, kind: str, id: str) -> Row:
        """The envelope of a record."""
        return {"type": kind, "url": f"/services/data/{self.version}/sobjects/{kind}/{id}"}
