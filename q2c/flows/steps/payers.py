"""Who is billed for what an account bought: the account itself, or one above it, as the entity's policy says."""

from __future__ import annotations

from typing import Any

import msgspec

from q2c.canonical import schema
from q2c.canonical.base import Source
from q2c.canonical.contract import Order
from q2c.canonical.party import Customer
from q2c.core.problems import Awaits, Category, Problem
from q2c.posting.facts import Book

OWN, PARENT, TOP = "own", "parent", "top"
_FIELD = "billed_account"


def buyer_source(document: Order) -> Source:
    """The CRM's account that bought. An order of our API names it by its record key."""
    if document.customer_id.count(":") == 2:
        return source_of(document.customer_id)
    return Source(connection=document.source.connection, object_type="Account", object_id=document.customer_id)


def buyer_key(document: Order) -> str:
    """Our record key of the account that bought."""
    source = buyer_source(document)
    return f"{source.connection}:{source.object_type}:{source.object_id}"


def source_of(record_key: str) -> Source:
    """The source object that a record key names."""
    connection, object_type, object_id = record_key.split(":")
    return Source(connection=connection, object_type=object_type, object_id=object_id)


def want_parents(document: Order) -> list[tuple[str, Any]]:
    """The accounts above the buyer, and who of them is billed by policy."""
    return [("parents", buyer_key(document)), ("rule", ("posting_policy", _FIELD))]


def choose_payer(document: Order, book: Book, mappings: Any, links: Any) -> str:
    """The record key of the account that is billed: the buyer itself (`own`, where no policy says), the account above
    it (`parent`) or the highest of all (`top`).

    Raises Problem `account_hierarchy` for accounts that go round, `missing_posting_policy` for another word.
    """
    buyer = buyer_key(document)
    if links.is_ring(buyer):
        raise Problem(
            "account_hierarchy",
            Category.VALIDATION,
            f"The accounts above the buyer of {document.number} go round in a ring",
            connection=document.source.connection,
            account=document.customer_id,
        )
    said = mappings.get("posting_policy", _FIELD, OWN, legal_entity=book.code, on=document.start_date)
    if said not in (OWN, PARENT, TOP):
        raise Problem(
            "missing_posting_policy",
            Category.MAPPING,
            f"The posting policy of {book.code} doesn't fit: billed account is “{said}”, and may be {OWN}, {PARENT} or"
            f" {TOP}",
            kind="posting_policy",
            key=_FIELD,
            legal_entity=book.code,
        )
    above = links.above(buyer)
    if said == OWN or not above:
        return buyer
    return above[0] if said == PARENT else above[-1]


def want_account(payer: str) -> list[tuple[str, Any]]:
    """The account's golden record."""
    return [("golden", ("customer", payer))]


def match_account(payer: str, links: Any) -> Customer:
    """The account as agreed; waits until the CRM has told us of it."""
    content = links.golden("customer", payer)
    if content is None:
        raise Awaits(f"record:{payer}", f"account {source_of(payer).object_id} from the CRM", patience_seconds=86400)
    fields = set(Customer.__struct_fields__)
    plain = {name: value for name, value in content.items() if name in fields}
    plain.setdefault("source", schema.to_builtins(source_of(payer)))
    return msgspec.convert(plain, Customer, strict=False)


def check_account(account: Customer, payer: str) -> str:
    """A billing address with a country: tax and the selling entity rest on it. Raises Problem
    `customer_without_address`."""
    if not account.bill_to.country:
        raise Problem(
            "customer_without_address",
            Category.VALIDATION,
            f"{account.name} has no billing country in the CRM",
            connection=source_of(payer).connection,
            account=source_of(payer).object_id,
        )
    return "can be billed"


def with_seller(account: Customer, book: Book, document: Order, payer: str) -> Customer:
    """The account as billing will know it: the order's currency, the seller, and the CRM's own id."""
    return msgspec.structs.replace(account, currency=document.currency, legal_entity=book.code, crm_id=payer)
