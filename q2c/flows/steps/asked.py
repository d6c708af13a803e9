"""What mapping rules may look at of a document: its type, its customer's countries, how a line is charged, how it was
paid; and the region of tax codes.

Nothing is found out that no rule in force looks at. What takes an earlier document back is asked as that one, so that
it goes to the same item, tax code and account, unless a rule names its own type (docs/decisions/0066).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from q2c.canonical import schema
from q2c.canonical.billing import CreditMemo, Dispute, Invoice, Payment, Payout, Refund
from q2c.canonical.contract import Order
from q2c.canonical.party import Customer, CustomerWanted
from q2c.flows.steps.systems import CUSTOMER_FLOW
from q2c.flows.steps.systems import region_of as region_of_document

Facts = Mapping[str, str]
PAYMENT_FLOW = "payment_to_erp"
COUNTRIES = frozenset({"customer_country", "ship_to_country"})
OF_CUSTOMER = COUNTRIES | {"region"}
# Our word for a document, and for what it takes back.
_TYPES: dict[type, tuple[str, str]] = {
    Invoice: ("invoice", ""), CreditMemo: ("credit_memo", "invoice"), Payment: ("payment", ""),
    Refund: ("refund", "payment"), Dispute: ("dispute", "payment"), Payout: ("payout", ""), Order: ("order", ""),
    CustomerWanted: ("customer", ""), Customer: ("customer", ""),
}  # fmt: skip
# Documents of our own, by the type of their source. What takes another wholly back has no type of its own: it goes
# exactly where that one went.
_OWN: dict[str, tuple[str, str]] = {
    "write_off": ("write_off", "invoice"), "unwinding": ("invoice", ""),
}  # fmt: skip
_VOID = "_void"  # how connectors' words for a void end: what it's a void of is the other way round


def looks_at(mappings: Any, *kinds: str) -> frozenset[str]:
    """What rules of these kinds look at, all together."""
    return frozenset().union(*(mappings.looks_at(kind) for kind in kinds))


def want_facts(document: Any, mappings: Any, *kinds: str) -> list[tuple[str, Any]]:
    """What has to be known to tell the rules of these kinds about a document: its customer as billing told it, and of a
    refund or dispute the payment that it takes back. Nothing while no rule looks at them."""
    looked_at = looks_at(mappings, *kinds)
    wants: list[tuple[str, Any]] = []
    if looked_at & OF_CUSTOMER and (customer := getattr(document, "customer_id", "")):
        wants.append(("fact", (CUSTOMER_FLOW, document.source.connection, customer)))
    if "payment_method" in looked_at and isinstance(document, Refund | Dispute):
        wants.append(("fact", (PAYMENT_FLOW, document.source.connection, document.payment_id)))
    return wants


def facts_of(document: Any, mappings: Any, links: Any, *kinds: str) -> dict[str, str] | None:
    """What rules of these kinds may look at of a document, how it's charged apart; None where none looks."""
    looked_at = looks_at(mappings, *kinds) - {"region"}
    if not looked_at:
        return None
    kind, taken_back = type_of(document)
    facts = {"document_type": kind, "takes_back": taken_back}
    if looked_at & COUNTRIES and (customer := find_customer(document, links)):
        facts |= countries_of(customer)
    if "payment_method" in looked_at:
        payment = _payment(document, links)
        facts["payment_method"] = payment.method if payment else ""
    return facts


def of_line(facts: dict[str, str] | None, charge_type: str) -> dict[str, str] | None:
    """The same for one of its lines."""
    return {**facts, "charge_type": charge_type} if facts is not None and charge_type else facts


def region_of(document: Any, mappings: Any, links: Any, kind: str = "tax_code") -> str:
    """The country of the customer's billing address, where rules of a kind have a region; empty while unknown."""
    return region_of_document(document, links) if "region" in mappings.looks_at(kind) else ""


def type_of(document: Any) -> tuple[str, str]:
    """Our word for a document, and for what it takes back; empty where it takes nothing back."""
    word = document.source.object_type
    if word.endswith(_VOID):
        return _TYPES[Invoice if isinstance(document, CreditMemo) else CreditMemo]
    return _OWN.get(word) or _TYPES.get(type(document), ("", ""))


def countries_of(customer: Customer) -> dict[str, str]:
    """A customer's countries: of the billing address, and of the shipping address where there's one."""
    bill_to = customer.bill_to.country
    return {"customer_country": bill_to, "ship_to_country": customer.ship_to.country or bill_to}


def find_customer(document: Any, links: Any) -> Customer | None:
    """A document's customer as billing last told it; None while unknown, and of a document that names none."""
    if isinstance(document, Customer):
        return document
    customer = getattr(document, "customer_id", "")
    fact = links.fact(CUSTOMER_FLOW, document.source.connection, customer) if customer else None
    return schema.from_json(fact, CustomerWanted) if fact else None


def _payment(document: Any, links: Any) -> Payment | None:
    if isinstance(document, Payment):
        return document
    if not isinstance(document, Refund | Dispute):
        return None
    fact = links.fact(PAYMENT_FLOW, document.source.connection, document.payment_id)
    return schema.from_json(fact, Payment) if fact else None
