"""Steps of an order before anything is made: complete and approved, and sold by somebody."""

from __future__ import annotations

import datetime as dt
from typing import Any

from msgspec.structs import replace as replace_fields

from q2c.canonical.base import Document
from q2c.canonical.contract import Order, OrderLine
from q2c.canonical.party import Customer
from q2c.core.problems import Category, Problem
from q2c.core.terms import last_day
from q2c.flows.steps import systems
from q2c.flows.told import record_key
from q2c.posting.facts import Book

APPROVED = ("Approved", "Accepted")  # a quote that is being drafted, reviewed or shown to the customer isn't sold
PERIOD_MONTHS = {"monthly": 1, "quarterly": 3, "semiannual": 6, "annual": 12}


def as_read(order: Order) -> Order:
    """An order without what no step reads: a change of that alone is no other order."""
    unapproved = "" if order.quote_status in APPROVED else order.quote_status
    return replace_fields(order, name="", quote_status=unapproved, amount=None)


class BillingCustomer(Document, frozen=True):
    """A customer to be made in billing, under our external id."""

    external_id: str
    customer: Customer


def check_order(document: Order) -> str:
    """Lines, quantities, term and an approved quote. Raises Problem `order_incomplete` naming what is missing, or
    `line_term_differs` naming the lines that aren't sold for the order's term."""
    missing = []
    if not document.lines:
        missing.append("products")
    if not document.customer_id:
        missing.append("an account")
    if document.term_months < 1:
        missing.append("a term")
    if document.quote_status and document.quote_status not in APPROVED:
        missing.append(f"an approved quote (it is {document.quote_status})")
    months = {PERIOD_MONTHS.get(line.billing_frequency, 1) for line in document.lines}
    missing += [f"a term of whole periods of {n} months (it is {document.term_months})" for n in sorted(months)
                if document.term_months % n][:1]  # fmt: skip
    missing += [f"a quantity of {line.sku}" for line in document.lines if line.quantity <= 0]
    missing += ["a SKU on every product" for line in document.lines if not line.sku][:1]
    if missing:
        raise Problem(
            "order_incomplete",
            Category.VALIDATION,
            f"{document.number} was won without {', '.join(missing)}",
            connection=document.source.connection,
            order=document.source.object_id,
            missing=", ".join(missing),
        )
    check_terms(document)
    return "complete"


def check_terms(document: Order) -> None:
    """That every recurring line is sold for the order's own term: billing bills all of them for that one, so a line of
    six months of an order of twelve would be billed twice. Raises Problem `line_term_differs`."""
    odd = [(line, said) for line in document.lines if (said := _own_term(line, document))]
    if not odd:
        return
    (line, said), term = odd[0], _months(document.term_months)
    lines = " and ".join(f"{line.sku} is sold {said}" for line, said in odd)
    raise Problem(
        "line_term_differs",
        Category.VALIDATION,
        f"{document.number} is for {term} from {document.start_date:%-d %B %Y}, but {lines}",
        connection=document.source.connection,
        document=document.source.object_id,
        line=line.line_id,
        sku=line.sku,
        term=said,
        order_term=f"{term} from {document.start_date}",
    )


def _own_term(line: OrderLine, document: Order) -> str:
    """What of a line's term and days isn't the order's, in words; empty where it's sold as the order is, or once."""
    if line.billing_frequency == "one_time":
        return ""
    ends = last_day(document.start_date, document.term_months)
    said = [
        f"for {_months(line.term_months)}" if line.term_months not in (None, document.term_months) else "",
        f"from {line.service_start}" if line.service_start not in (None, document.start_date) else "",
        f"to {line.service_end}" if line.service_end not in (None, ends) else "",
    ]
    return " ".join(part for part in said if part)


def _months(count: int | None) -> str:
    return f"{count} month{'' if count == 1 else 's'}"


def want_book(document: Order) -> list[tuple[str, Any]]:
    """The seller by currency where the order doesn't name one, and the ERP that takes new customers."""
    wants: list[tuple[str, Any]] = [systems.want_rule("customer")]
    return wants if document.legal_entity else [*wants, ("rule", ("selling_entity", document.currency))]


def find_book(document: Order, txn: Any, mappings: Any, calendar: Any) -> Book:
    """The legal entity that sells: named on the order, else by the rule for its currency; in the ERP that takes new
    customers today."""
    code = document.legal_entity
    if not code:
        scope = {"on": document.start_date, "connection": document.source.connection}
        code = mappings.resolve("selling_entity", document.currency, **scope).value
    today = dt.datetime.now(dt.UTC).date()
    book = calendar.book(code, mappings.get(systems.KIND, "erp|customer", "", on=today, legal_entity=code))
    txn.legal_entity_code = book.code
    return book


def want_billing(document: Order) -> list[tuple[str, Any]]:
    """What the order is already, the rules that name its billing system, and what its products belong to."""
    wants: list[tuple[str, Any]] = [("xref", ("order", record_key(document.source)))]
    wants.append(systems.want_rule("order", role="billing"))
    return [*wants, *(("product_line", line.sku) for line in document.lines)]


def choose_billing(document: Order, account: Customer, book: Book, mappings: Any, links: Any, calendar: Any) -> str:
    """The billing system that has the order already; else the one that takes orders of its start date, by the rules;
    else the one that plays the role. Raises Problem `two_target_systems` or `no_system_for_role`."""
    made = links.systems("order", record_key(document.source))
    if made:
        return str(made[0])
    on, region = document.start_date, account.bill_to.country
    named = systems.by_rule("billing|order", document, book.code, on, region, mappings, links)
    return named or str(calendar.billing(book.code))


def days_until_due(document: Order) -> int:
    """Days of the payment terms ("Net 30"); 30 where they don't say."""
    digits = "".join(c for c in document.payment_terms if c.isdigit())
    return int(digits) if digits else 30
