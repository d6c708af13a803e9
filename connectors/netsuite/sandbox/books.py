"""The account's memory: records by id and external id, references resolved, bodies checked, lines merged.

One Books belongs to one sandbox. Lists and master data are cached after reading; whatever a refused request wrote is
rolled back by the kit, and the cache is dropped with it.
"""

from datetime import date
from decimal import Decimal
from typing import Any

from connectors.netsuite.sandbox.errors import invalid_content, invalid_value, not_there, unknown_reference, user_error
from connectors.netsuite.sandbox.fields import CUSTOM_PREFIXES, RECORDS, REFERENCES, Record, Sublist
from connectors.netsuite.sandbox.values import CHECKS, merge_lines
from connectors.sandbox.clock import Clock
from connectors.sandbox.store import Store

PREFERENCES: dict[str, Any] = {
    "concurrency": 15,  # requests at once, all integrations together (service tier 1)
    "approval": False,  # invoices, credit memos and journals wait for approval; no ledger effect until then
    "move_period": False,  # a transaction whose period is closed goes silently into the next open one
    "shows_approval": True,  # of what waits by the box "Approved" alone, REST shows no approvalStatus
    "numbers_itself": False,  # auto-generated numbers with "allow override" off: what was sent as tranId is dropped
    "determines_tax": False,  # its own tax engine computes the nexus's tax on save, unless taxDetailsOverride
    "date_outside_period": True,  # the date may lie outside the posting period
    "may_delete": False,  # what the integration's role is allowed
    "may_approve": False,
    "may_override_periods": False,
    "administrator": False,
}
SCHEMA = """
CREATE TABLE IF NOT EXISTS ns_external (
    space TEXT NOT NULL, external_id TEXT NOT NULL, type TEXT NOT NULL, id TEXT NOT NULL,
    PRIMARY KEY (space, external_id)) WITHOUT ROWID;
"""
FIRST_IDS = {"transaction": 9001, "entity": 1501, "item": 2001}
EXTERNAL_ID_TAKEN = "This record already exists"


class Books:
    """Records of one account, and what reading and writing them needs."""

    def __init__(self, store: Store, clock: Clock):
        self.store = store
        self.clock = clock
        create_tables(store, SCHEMA)
        self.preferences = {**PREFERENCES, **store.setting("preferences", {})}
        self.cache: dict[tuple[str, str], dict] = {}
        self.names: dict[tuple[str, str], tuple[str, str]] = {}
        self.quanta: dict[str, Decimal] = {}

    @property
    def defaults(self) -> dict[str, Any]:
        """The preferences of a new account."""
        return dict(PREFERENCES)

    def forget_cache(self) -> None:
        """Drop what was remembered of master data."""
        self.cache.clear()
        self.names.clear()
        self.quanta.clear()

    def set_preferences(self, given: dict[str, Any]) -> None:
        """Change some preferences; kept over a restart. Raises ValueError for an unknown one or a wrong type."""
        for name, value in given.items():
            if name not in PREFERENCES:
                raise ValueError(f"unknown preference {name}")
            if type(value) is not type(PREFERENCES[name]):
                raise ValueError(f"{name} has the wrong type")
        self.preferences.update(given)
        self.store.keep_setting("preferences", self.preferences)

    def today(self) -> date:
        """The account's date (UTC)."""
        return self.clock.now().date()

    def now(self) -> str:
        """The account's time as REST shows it."""
        return self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    # reading

    def get(self, type: str, id: str) -> dict | None:
        """The record, or None. What comes out of it may not be changed in place."""
        found = self.cache.get((type, id))
        if found is None:
            found = self.store.get(type, id)
            if found is not None and RECORDS[type].transaction_code is None:
                self.cache[type, id] = found
        return found

    def at(self, type: str, id: str) -> dict:
        """The record that a resolved reference names; KeyError when there's none."""
        found = self.get(type, id)
        if found is None:
            raise KeyError(f"{type} {id}")
        return found

    def find_id(self, space: str, external_id: str) -> tuple[str, str] | None:
        """Type and id of the record with that external id in a space."""
        return self.store.db.execute(
            "SELECT type, id FROM ns_external WHERE space=? AND external_id=?", (space, external_id)
        ).fetchone()

    def get_by_external_id(self, type: str, external_id: str) -> dict:
        """Reference data by its external id; KeyError when there's none."""
        found = self.find_id(RECORDS[type].space, external_id)
        if found is None:
            raise KeyError(f"{type} {external_id}")
        return self.at(*found)

    def find_at(self, type: str, key: str) -> dict | None:
        """The record at `{id}` or `eid:{external id}` of an address, or None."""
        if not key.startswith("eid:"):
            return self.get(type, key)
        found = self.find_id(RECORDS[type].space, key[4:])
        return self.get(*found) if found is not None and found[0] == type else None

    def must_find(self, type: str, key: str) -> dict:
        """The same, or a refusal with 404 NONEXISTENT_ID."""
        found = self.find_at(type, key)
        if found is None:
            raise not_there()
        return found

    # references

    def resolve(self, kind: str, value: Any, name: str, path: str) -> dict[str, str]:
        """`{"id", "refName"}` of what a reference names. Refuses what isn't there, naming the field."""
        if not isinstance(value, dict):
            raise invalid_value(value, name, path=path)
        id = value.get("id")
        if id is None and isinstance(value.get("externalId"), str):
            id = f"eid:{value['externalId']}"
        if id is None:
            raise invalid_value(value.get("refName", ""), name, path=path)
        id = str(id)
        known = self.names.get((kind, id))
        if known is None:
            known = self._look_up(kind, id, name, path)
        return {"id": known[0], "refName": known[1]}

    def _look_up(self, kind: str, id: str, name: str, path: str) -> tuple[str, str]:
        for type in REFERENCES.get(kind, (kind,)):
            found = self.find_at(type, id)
            if found is not None:
                known = (found["id"], self.name_of(RECORDS[type], found))
                if RECORDS[type].transaction_code is None:
                    self.names[kind, id] = known
                return known
        if id.startswith("eid:"):
            raise unknown_reference(id[4:], path)
        raise invalid_value(id, name, path=path)

    def name_of(self, record: Record, obj: dict) -> str:
        """What other records show of this one (`refName`)."""
        return " ".join(str(obj[part]) for part in record.label if obj.get(part)) or obj["id"]

    # checking a body

    def check_body(self, record: Record, given: Any, *, strict: bool) -> dict:
        """The body with its references resolved and values checked.

        Unknown names are dropped, or refused when `strict` (X-NetSuite-PropertyNameValidation: Error); a null empties.
        """
        if not isinstance(given, dict):
            raise invalid_content("Invalid content in the request body. The body must be a JSON object.")
        checked: dict[str, Any] = {}
        for name, value in given.items():
            if name in record.lists:
                checked[name] = {"items": self._check_lines(name, record.lists[name], value, strict)}
            else:
                self._check_value(checked, record.fields, record.read_only, name, value, name, strict)
        return checked

    def _check_lines(self, name: str, sublist: Sublist, value: Any, strict: bool) -> list[dict]:
        items = value.get("items") if isinstance(value, dict) else None
        if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
            raise invalid_content(f"Invalid content for the sublist '{name}'.", path=name)
        lines = []
        for number, each in enumerate(items):
            line: dict[str, Any] = {}
            prefix = f"{name}.items[{number}]."
            for key, inner in each.items():
                self._check_value(line, sublist.fields, sublist.read_only, key, inner, prefix + key, strict)
            lines.append(line)
        return lines

    def _check_value(
        self,
        target: dict,
        fields: dict[str, str],
        read_only: frozenset[str],
        name: str,
        value: Any,
        path: str,
        strict: bool,
    ) -> None:
        kind = fields.get(name)
        if kind is None:
            if name.startswith(CUSTOM_PREFIXES):
                target[name] = value
            elif strict and name not in read_only and name not in {"links", "refName", "id"}:
                raise invalid_content(f"Unknown reference or field name '{name}' in the request body.", path=path)
            return
        if value is None:
            target[name] = None
        elif kind.startswith("ref:"):
            target[name] = self.resolve(kind[4:], value, name, path)
        elif CHECKS[kind](value):
            target[name] = {"id": str(value["id"])} if kind == "enum" and isinstance(value, dict) else value
        else:
            detail = f"Invalid value for the resource or sub-resource field '{name}'. Provide a valid value."
            raise invalid_content(detail, path=path)

    # writing

    def merge(self, record: Record, old: dict, given: dict, replace: frozenset[str]) -> dict:
        """What a record is after PATCH or PUT: properties overwritten, lines merged by their key or added."""
        merged = {**old, **given}
        for name, sublist in record.lists.items():
            if name in given and name not in replace:
                merged[name] = {
                    "items": merge_lines(sublist.key, old.get(name, {}).get("items", []), given[name]["items"])
                }
        for name in record.lists:
            if name in merged:
                lines = [
                    {key: each for key, each in line.items() if each is not None} for line in merged[name]["items"]
                ]
                merged[name] = {"items": lines}
        return {name: value for name, value in merged.items() if value is not None}

    def next_id(self, record: Record) -> str:
        """The next internal id in the record's space."""
        return str(self.store.next_number(f"id {record.space}", first=FIRST_IDS.get(record.space, 1001)))

    def put(self, record: Record, obj: dict, old: dict | None) -> None:
        """Store a record and its external id. Refuses an external id that another one of the space has."""
        before = old.get("externalId") if old else None
        after = obj.get("externalId")
        if before != after:
            if before is not None:
                self.store.db.execute("DELETE FROM ns_external WHERE space=? AND external_id=?", (record.space, before))
            if after is not None:
                self.claim_external_id(record, after, obj["id"])
        if record.transaction_code is None:
            self.forget_cache()
        keys = {"entity": obj["entity"]["id"]} if record.name == "customerSubsidiaryRelationship" else None
        self.store.put(record.name, obj["id"], obj, keys=keys)

    def claim_external_id(self, record: Record, external_id: str, id: str) -> None:
        """Take an external id for a record, or refuse since it's taken."""
        row = (record.space, external_id, record.name, id)
        if self.store.db.execute("INSERT OR IGNORE INTO ns_external VALUES (?,?,?,?)", row).rowcount == 0:
            raise user_error(EXTERNAL_ID_TAKEN, path="externalId")

    def remove(self, record: Record, obj: dict) -> None:
        """Forget a record and its external id."""
        self.store.db.execute(
            "DELETE FROM ns_external WHERE space=? AND external_id=?", (record.space, obj.get("externalId"))
        )
        self.store.delete(record.name, obj["id"])
        self.forget_cache()

    # money

    def quantum(self, currency_id: str) -> Decimal:
        """The smallest amount of a currency: 0.01, for JPY 1, for KWD 0.001."""
        found = self.quanta.get(currency_id)
        if found is None:
            precision = self.at("currency", currency_id)["currencyPrecision"]
            found = self.quanta[currency_id] = Decimal(1).scaleb(-int(precision))
        return found


def create_tables(store: Store, script: str) -> None:
    """Make tables and indexes inside the transaction that is running (executescript would end it)."""
    for statement in script.split(";"):
        if statement.strip():
            store.db.execute(statement)
