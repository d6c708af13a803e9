"""Which words of a billing document people may correct while it's held, and the corrected document. Pure.

What a document amounts to, its tax, currency, customer, entity and dates that decide its period are never edited: they
are the source's, and a correction of them is a new version from there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

EDIT = "edit"  # what a choice of other words is about
LINES_MAX = 20  # offered at once
NEVER = frozenset({
    "source", "number", "customer_id", "customer_name", "currency", "amount", "total", "tax_total", "taxes", "lines",
    "unit_price", "quantity", "legal_entity", "issued_at", "received_at", "document_date", "service_from",
    "service_until", "declared_total", "declared_amount", "applied_amount", "balance_entries", "collected",
    "refunds", "gateway",
})  # fmt: skip


@dataclass(frozen=True)
class Editable:
    """A field that may be edited. `of` is the document or each of its lines; `length` is the longest text."""

    name: str
    label: str
    of: str = "document"
    is_date: bool = False
    length: int = 200


_SERVICE = (
    Editable("service_start", "First day of service", "line", is_date=True),
    Editable("service_end", "Last day of service", "line", is_date=True),
)
_DESCRIPTION = Editable("description", "Description", "line", length=400)
# By canonical type. Who has to agree to which is a governed rule (`edit_fields|service_start`).
EDITABLE: dict[str, tuple[Editable, ...]] = {
    "Invoice": (
        Editable("po_number", "Purchase order number", length=45),
        Editable("due_date", "Due date", is_date=True),
        _DESCRIPTION,
        *_SERVICE,
    ),
    "CreditMemo": (Editable("reason", "Reason of the credit"), _DESCRIPTION),
    "Payment": (Editable("reference", "Reference", length=80),),
}


# What may be edited only in an emergency: it decides accounts or what the document belongs to.
EMERGENCY: dict[str, tuple[Editable, ...]] = {
    "Invoice": (
        Editable("order_id", "Order", length=80),
        Editable("subscription_id", "Subscription", length=80),
        Editable("sku", "SKU", "line", length=120),
        Editable("revenue_rule", "Revenue rule", "line", length=80),
    ),
    "CreditMemo": (Editable("invoice_id", "Invoice that it credits", length=80), Editable("sku", "SKU", "line")),
}


@dataclass(frozen=True)
class Place:
    """One editable field of one document: `path` names it (`po_number`, `lines/0/description`), `value` is its text."""

    path: str
    label: str
    field: Editable
    value: str


def places_of(document: Any, *, in_emergency: bool = False) -> list[Place]:
    """What of this document may be edited, in reading order, of its first lines only; or in an emergency besides."""
    table = EMERGENCY if in_emergency else EDITABLE
    fields = table.get(type(document).__name__, ())
    found = [Place(f.name, f.label, f, _text(getattr(document, f.name))) for f in fields if f.of == "document"]
    for number, line in enumerate(getattr(document, "lines", ())[:LINES_MAX]):
        for field in fields:
            if field.of == "line":
                label = f"{field.label}, line {number + 1} ({line.sku})"
                found.append(Place(f"lines/{number}/{field.name}", label, field, _text(getattr(line, field.name))))
    return found


def apply_edits(document: Any, changes: Iterable[Mapping[str, str]]) -> Any:
    """The document with these changes ({"path", "new"}). Raises ValueError for a path that may not be edited, a date
    that isn't one, and a service that ends before it starts."""
    places = {place.path: place for place in (*places_of(document), *places_of(document, in_emergency=True))}
    of_document: dict[str, Any] = {}
    of_lines: dict[int, dict[str, Any]] = {}
    for change in changes:
        place = places.get(change["path"])
        if place is None:
            raise ValueError(f"{change['path']} can’t be edited")
        value = _value(place, change["new"])
        if place.field.of == "document":
            of_document[place.field.name] = value
        else:
            of_lines.setdefault(int(place.path.split("/")[1]), {})[place.field.name] = value
    if of_lines:
        lines = list(document.lines)
        for number, values in of_lines.items():
            line = msgspec.structs.replace(lines[number], **values)
            if line.service_start and line.service_end and line.service_end < line.service_start:
                raise ValueError(f"line {number + 1}: its service ends before it starts")
            lines[number] = line
        of_document["lines"] = tuple(lines)
    return msgspec.structs.replace(document, **of_document) if of_document else document


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, dt.date) else str(value or "")


def _value(place: Place, text: str) -> Any:
    if place.field.is_date:
        return dt.date.fromisoformat(text) if text else None
    if len(text) > place.field.length:
        raise ValueError(f"{place.label} is longer than {place.field.length} characters")
    return text
