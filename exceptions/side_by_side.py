"""A document side by side: as it came, as we hold it, of the last attempt, as it would be posted, in the target, and
of the last one of its sort that went through; with who owns each field.

Who owns a field is what the rules in force say (decision 0018), what a mapping made is that mapping's, and what a
document alone can say is its own system's. What came is shown as it came: raw names, raw units, without secrets and
with what is personal masked.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from connectors import registry
from mappings import kinds
from mappings.models import MappingRule
from mappings.survivorship import Owner
from q2c import ports
from q2c.core.masking import mask_values
from q2c.core.redact import redact
from q2c.core.vault import Unsealable
from q2c.flows.field_owners import field_owners
from q2c.inbox.bodies import read_body
from q2c.inbox.models import InboundKey
from q2c.transactions.models import BusinessTransaction

RAW_FIELDS_MAX = 200
RAW_TEXT_MAX = 300
MONEY = frozenset({"Total", "Tax"})
_OWN = "own"  # the document's own system says it
_RULED = frozenset({"customer", "order", "subscription", "product"})  # whose fields have owners by rule


@dataclass(frozen=True)
class Field:
    """What is laid side by side: its words, whose it is, its names in a message, in our document and in the posting.

    Whose: "own", a record's field ("customer.name") or the kinds of rules that make it ("subsidiary").
    """

    title: str
    whose: tuple[str, ...]
    raw: str
    ours: tuple[str, ...]
    posting: str


FIELDS = (
    Field("Number", (_OWN,), "number", ("number",), "number"),
    Field("Customer", ("customer.name",), "customer", ("customer_name",), "customer"),
    Field("Legal entity", ("customer.legal_entity",), "legal_entity", ("legal_entity",), ""),
    Field("Subsidiary", ("subsidiary",), "", (), "subsidiary"),
    Field("Currency", (_OWN,), "currency", ("currency",), "currency_code"),
    Field("Total", (_OWN,), "total", ("total", "amount"), "total"),
    Field("Tax", (_OWN,), "tax_total", ("tax_total",), "tax_total"),
    Field("Document date", (_OWN,), "document_date", ("document_date",), "document_date"),
    Field("Start date", (_OWN,), "start_date", ("start_date",), ""),
    Field("Due date", (_OWN,), "due_date", ("due_date",), "due_date"),
    Field("Purchase order", (_OWN,), "po_number", ("po_number",), ""),
    Field("Terms", ("payment_terms", "customer.payment_terms"), "payment_terms", ("payment_terms",), "terms"),
    Field("Posting date", ("posting_policy",), "", (), "posting_date"),
    Field("Period", ("posting_policy",), "", (), "period"),
    Field("Rate", ("manual_rate", "posting_policy"), "", (), "exchange_rate"),
    Field("Receivables account", ("account",), "", (), "receivables_account"),
)
_ALIKE = frozenset(
    {"Legal entity", "Subsidiary", "Currency", "Receivables account", "Terms"}
)  # worth a look if another
_ORDER_FIELDS = {"Number": "number", "Currency": "currency", "Total": "amount", "Start date": "start_date",
                 "Purchase order": "po_number", "Terms": "payment_terms"}  # fmt: skip


@dataclass(frozen=True)
class Whose:
    """Who owns a field: in words, why, and the rule that says so where one was used."""

    says: str
    why: str
    rule_id: int | None = None
    is_ruled: bool = False  # by the rules of who owns what


@dataclass(frozen=True)
class Raw:
    """What a message says, flat: its fields by their raw names, and where ours stand among them."""

    values: Mapping[str, Any]
    names: Mapping[str, str]  # our field -> the raw one's name

    @property
    def shown(self) -> list[tuple[str, Any]]:
        """Its fields as they came, the first of them."""
        return list(self.values.items())[:RAW_FIELDS_MAX]

    @property
    def more_count(self) -> int:
        """How many more it has than are shown."""
        return max(0, len(self.values) - RAW_FIELDS_MAX)


NOTHING = Raw({}, {})


@dataclass(frozen=True)
class Row:
    """One field side by side; `raw_name` is where the message says it."""

    title: str
    owner: Whose
    raw: Any
    raw_name: str
    ours: Any
    was: Any
    posting: Any
    target: Any
    last: Any
    is_own: bool

    @property
    def now(self) -> Any:
        """What would be posted, or as far as the document came, what we hold."""
        return self.ours if self.posting in (None, "") and self.is_own else self.posting

    @property
    def marks(self) -> frozenset[str]:
        """The cells that somebody should look at: what would be posted isn't ours, or others aren't what would be."""
        marked = {name for name in ("was", "target") if differ(getattr(self, name), self.now)}
        if self.is_own and differ(self.ours, self.posting):
            marked.add("posting")
        if self.title in _ALIKE and differ(self.last, self.now):
            marked.add("last")
        return frozenset(marked)

    def cells(self, columns: Iterable[Column]) -> list[Cell]:
        """Its value in each of these columns."""
        is_money = self.title in MONEY
        return [
            Cell(
                _as_said(getattr(self, column.name)), is_money and column.name != "raw",
                _SAYS[column.name] if column.name in self.marks else "",
                self.raw_name if column.name == "raw" else "",
            )
            for column in columns
        ]  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One value, what is to be said of it, and where a message says it."""

    value: Any
    is_money: bool
    says: str
    name: str


@dataclass(frozen=True)
class Column:
    """A column that holds something."""

    name: str
    title: str


_COLUMNS = (
    Column("raw", "As it came"),
    Column("ours", "As we hold it"),
    Column("was", "Last attempt"),
    Column("posting", "Would be posted"),
    Column("target", "Target holds"),
    Column("last", "Last that went through"),
)
_SAYS = {"was": "was different", "posting": "differs", "target": "differs", "last": "another"}


def columns_of(rows: Iterable[Row]) -> list[Column]:
    """The columns in which some field has a value; an empty one says nothing and isn't shown."""
    rows = list(rows)
    return [c for c in _COLUMNS if any(getattr(row, c.name) not in (None, "") for row in rows)]


def read_raw(key: InboundKey | None) -> Raw:
    """A stored message's fields as they came, secrets replaced and personal data masked; nothing where it is no JSON or
    can't be opened."""
    if key is None:
        return NOTHING
    try:
        said = json.loads(read_body(key.event, key), parse_float=Decimal)
    except (Unsealable, ValueError):
        return NOTHING
    manifest = registry.manifest(key.connection.vendor)
    found = next((part for root in manifest.raw_roots if isinstance(part := _dig(said, root), Mapping)), None)
    if found is None:
        return NOTHING
    values = dict(_flat(mask_values(redact(found))))
    names = {ours: next((name for name in raw if name in values), "") for ours, raw in manifest.raw_fields.items()}
    return Raw(values, names)


def lay_out(
    txn: BusinessTransaction, *, ours: Mapping[str, Any], was: Mapping[str, Any], was_ours: Mapping[str, Any],
    posting: Mapping[str, Any], last: Mapping[str, Any], raw: Raw, rules: Iterable[int], record_type: str,
) -> list[Row]:  # fmt: skip
    """The fields of which anybody says something. `was_ours` is the document as the last attempt read it."""
    by_kind = {rule.kind: rule.pk for rule in MappingRule.objects.filter(pk__in=set(rules)).order_by("-pk")}
    find = field_owners()
    held = {"Number": txn.target_number} if txn.target_id else {}
    own: dict[str, Any] = {
        **ours, "document_date": ours.get("document_date") or txn.document_date, "number": txn.number,
        "customer_name": txn.customer_name, "legal_entity": ours.get("legal_entity") or txn.legal_entity_code,
    }  # fmt: skip
    rows = []
    for asked in FIELDS:
        raw_name = raw.names.get(asked.raw, "") if asked.raw else ""
        owner = _whose(asked, txn, find, by_kind, record_type)
        row = Row(
            asked.title, owner, raw.values.get(raw_name), raw_name, _first(own, asked.ours),
            was.get(asked.posting) or _first(was_ours, asked.ours), posting.get(asked.posting), held.get(asked.title),
            last.get(asked.posting), is_own=asked.whose == (_OWN,),
        )  # fmt: skip
        if any(v not in (None, "") for v in (row.raw, row.ours, row.was, row.posting, row.target, row.last)):
            rows.append(row)
    return rows


def differ(one: Any, other: Any) -> bool:
    """Whether two said values aren't the same; what isn't said differs from nothing."""
    if one in (None, "") or other in (None, ""):
        return False
    return _plain(one) != _plain(other)


def _whose(
    asked: Field, txn: BusinessTransaction, find: Callable[[str, str, str], Owner], by_kind: Mapping[str, int],
    record_type: str,
) -> Whose:  # fmt: skip
    if record_type == "order" and asked.title in _ORDER_FIELDS:
        return _by_rule(find, "order", _ORDER_FIELDS[asked.title], txn)
    for whose in asked.whose:
        if whose in by_kind:
            return Whose("A rule", kinds.BY_CODE[whose].title, by_kind[whose])
    whose = asked.whose[-1]
    if whose == _OWN:
        said = ports.connections().get(txn.source_connection)
        return Whose(said.name if said else txn.source_connection, "whose document it is")
    kind, dot, name = whose.partition(".")
    return _by_rule(find, kind, name, txn) if dot else Whose("Rules", kinds.BY_CODE[whose].title)


def _by_rule(
    find: Callable[[str, str, str], Owner], record_type: str, name: str, txn: BusinessTransaction
) -> Whose:  # fmt: skip
    owner = find(record_type, name, txn.legal_entity_code)
    known = ports.connections()
    if owner.connection:
        systems = [known[owner.connection].name if owner.connection in known else owner.connection]
    else:
        systems = [
            c.name for c in known.values() if owner.family in {str(f) for f in registry.manifest(c.vendor).families}
        ]
    words = name.replace("_", " ")
    why = f"owns a {record_type}’s {words}{' alone' if owner.is_alone else ''}"
    return Whose(" or ".join(systems) or "Nobody", why, is_ruled=True)


def _as_said(value: Any) -> Any:
    """A day as people read it; all else as it is."""
    if isinstance(value, str) and len(value) == len("2026-10-31"):
        with suppress(ValueError):
            return dt.date.fromisoformat(value)
    return value


def _first(said: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((said[name] for name in names if said.get(name) not in (None, "")), None)


def _dig(value: Any, path: str) -> Any:
    for name in path.split(".") if path else ():
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _flat(value: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    """The values of nested JSON by dotted path; what is empty is left out."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _flat(item, f"{path}.{place}")
    elif value not in (None, ""):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        yield path, text if len(text) <= RAW_TEXT_MAX else f"{text[:RAW_TEXT_MAX]}…"


def _plain(value: Any) -> str:
    text = str(value)
    try:
        return str(Decimal(text).normalize())
    except ArithmeticError:
        return text
