"""Customer to ERP: a billing customer becomes (or updates) one customer of an ERP. Only this flow makes ERP customers.

Starts on   CustomerChanged (billing); a document that needs the customer in a further ERP, and a change of one that
            stands in several (ours)
Ends with   the ERP's customer, cross-reference stored; documents that waited for it go on
Posts       nothing: master data
Owners      billing operations
Never       makes a customer for somebody whom the source itself can't name, or changes one that people linked; or,
            where policy says so, one who looks like a customer that the ERP has
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from q2c.canonical.party import Customer, CustomerWanted
from q2c.canonical.posting import ErpCustomer, PostedDocument
from q2c.core.ids import external_id
from q2c.core.problems import Category, Problem
from q2c.flows.steps import asked, suspects, systems
from q2c.flows.steps.customer import use_reference
from q2c.flows.told import Link, became, record_key
from q2c.posting.facts import Book
from q2c.transactions.steps import Flow, Read, Write


def want_book(document: Customer) -> list[tuple[str, Any]]:
    """The seller by country or currency, the ERP that takes new customers, its codes, and the policy on doubles."""
    wants: list[tuple[str, Any]] = [
        ("rule", ("selling_entity", k)) for k in (document.bill_to.country, document.currency) if k
    ]
    wants.append(("rule", (suspects.KIND, suspects.FIELD)))
    wants.append(systems.want_rule("customer"))
    if document.payment_terms:
        wants.append(("rule", ("payment_terms", document.payment_terms)))
    return wants


def find_book(document: CustomerWanted, txn: Any, mappings: Any, calendar: Any, links: Any) -> Book:
    """The entity that sells to this customer: named, else by its country, else by its currency; in the ERP that asks
    for it, else in that which takes customers today."""
    code, country, today = document.legal_entity, document.bill_to.country, dt.datetime.now(dt.UTC).date()
    if not code:
        scope = {"connection": txn.source_connection}
        code = mappings.get("selling_entity", country, "", on=today, **scope) if country else ""
        code = code or mappings.resolve("selling_entity", document.currency or "(no currency)", on=today, **scope).value
    erp = document.erp or systems.by_rule("erp|customer", document, code, today, country, mappings, links)
    book = calendar.book(code, erp)
    txn.legal_entity_code, txn.target_connection = book.code, book.connection
    return book


def want_codes(document: Customer, book: Book) -> list[tuple[str, Any]]:
    """The ERP's currency and terms, and the customer itself where the ERP has it."""
    return [
        ("rule", ("currency", document.currency or book.currency)),
        ("rule", ("account", "receivables")),
        ("xref", ("customer", record_key(document.source))),
    ]


def build_customer(document: Customer, book: Book, mappings: Any, links: Any) -> ErpCustomer | None:
    """What the ERP will hold; nothing for a customer whom the source can't name, or who by people's word is a record
    of the ERP that we didn't make from it. Its first subsidiary and currency stay: documents in others see to those
    (customer_use_to_erp). Raises Problem for one without a name."""
    known = links.find("customer", record_key(document.source), book.connection)
    if not document.is_identified or (known is not None and known.is_linked):
        return None
    if not document.name.strip():
        raise Problem(
            "customer_without_name",
            Category.VALIDATION,
            "A customer has no name in billing",
            connection=document.source.connection,
            customer=document.source.object_id,
        )
    today = dt.datetime.now(dt.UTC).date()
    is_new = known is None
    facts = asked.facts_of(document, mappings, links, "payment_terms", "account")
    currency = document.currency or book.currency
    scope = {"connection": book.connection, "on": today}
    here = {**scope, "legal_entity": book.code, "document": facts}
    terms = document.payment_terms
    return ErpCustomer(
        external_id=external_id("cus", source=document.source.connection, object_id=document.source.object_id),
        name=document.name.strip()[:80],
        number=document.number or document.source.object_id,
        subsidiary=book.erp_id if is_new else "",
        currency=mappings.resolve("currency", currency, **scope).value if is_new else "",
        email=document.email,
        phone=document.phone,
        terms=mappings.resolve("payment_terms", terms, **here).value if terms else "",
        bill_to=document.bill_to,
        receivables_account=mappings.get("account", "receivables", **here),
    )


def find_customer(posting: ErpCustomer, erp: Any) -> PostedDocument:
    """Look in the ERP by our external id."""
    return erp.find("customer", posting.external_id)


def save_customer(posting: ErpCustomer, erp: Any) -> PostedDocument:
    """Make or update it: master data is upserted."""
    return erp.save_customer(posting)


def tell(document: Customer, posting: ErpCustomer | None, erp_customer: PostedDocument | None, book: Book) -> list:
    """Lineage from the CRM's account to billing's customer to the ERP's, and how that one may be billed."""
    if posting is None or erp_customer is None:
        return []
    told = became(document.source, "customer", erp_customer, book.connection, step="save_customer")
    if posting.currency:
        told.append(use_reference(book, erp_customer.id, document.currency or book.currency))
    if document.crm_id:
        crm, _, account = document.crm_id.rpartition(":Account:")
        told.append(
            Link(
                crm or "crm",
                "Account",
                account,
                document.source.connection,
                "customer",
                document.source.object_id,
                None,
                "",
                "became",
                "save_customer",
            )
        )
    return told


def completes(document: Customer) -> list[str]:
    """Documents and orders that wait for this customer go on."""
    return [f"customer:{document.source.connection}:customer:{document.source.object_id}"]


CUSTOMER_TO_ERP = Flow(
    code="customer_to_erp",
    title="Customer to ERP",
    starts_with=("document",),
    fact_type=CustomerWanted,
    owner="billing_ops",
    lane_type="customer",
    steps=(
        Read(
            "find_book", "Find the legal entity that sells to this customer", find_book, gives="book", wants=want_book
        ),
        Read(
            "check_suspects",
            "Check that the ERP hasn't got it under another id, as policy asks",
            suspects.check_suspects,
            gives="suspects",
            wants=suspects.want_suspects,
        ),
        Read("build_customer", "Build the ERP's customer", build_customer, gives="posting", wants=want_codes),
        Write(
            "save_customer",
            "Save the customer in the ERP",
            find=find_customer,
            create=save_customer,
            upsert=True,
            prepared="posting",
            port="erp",
            gives="erp_customer",
        ),
    ),
    links=tell,
    completes=completes,
)
