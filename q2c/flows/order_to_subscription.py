"""Order to subscription: a closed-won order becomes a subscription in billing, once.

Starts on   OrderClosedWon (CRM), or an order submitted through the API
Ends with   subscription active (or scheduled), customer in billing and in the ERP
Posts       nothing: invoices follow from billing
Owners      sales operations, billing operations
Never       makes a second subscription, when a later step fails or when the order is changed afterwards
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from msgspec.structs import replace as replace_fields

from connectors.families import SubscriptionPlan, product_key
from q2c.canonical.contract import Order
from q2c.canonical.party import Customer
from q2c.canonical.posting import SavedRecord
from q2c.canonical.schema import from_json
from q2c.core.ids import external_id
from q2c.core.problems import Awaits, Category, NotNeeded, Problem
from q2c.flows.steps import asked, orders, payers, prices
from q2c.flows.told import Link, became, record_key
from q2c.posting.facts import Book
from q2c.transactions.steps import Flow, Read, Wait, Write

ACTIVE = ("active", "trialing", "past_due")
SCHEDULED = "scheduled"  # it starts later


def want_subscription_made(document: Order, txn: Any) -> list[tuple[str, Any]]:
    """The subscription that this order is already, and what was said of the order before."""
    return [("xref", ("order", record_key(document.source))), ("lane", (txn.flow.code, txn.lane))]


def refuse_change(document: Order, links: Any, txn: Any) -> str:
    """An order is made a subscription once, in whichever billing system. Raises Problem `order_changed_after_won` for
    what came later, and NotNeeded where it only moved with its account, which the CRM merged into another."""
    made = links.anywhere("order", record_key(document.source))
    if made is not None:
        told: list[Order] = [from_json(fact, Order) for fact in links.in_lane(txn.flow.code, txn.lane)]
        if any(_has_only_moved(before, document, links) for before in told):
            name = document.name or document.number
            raise NotNeeded(f"{name} only moved with its account, which was merged; it's a subscription already")
        raise Problem(
            "order_changed_after_won",
            Category.CONFLICT,
            f"{document.name or document.number} was changed after it became a subscription",
            connection=document.source.connection,
            order=document.source.object_id,
            subscription=made.external_id,
        )
    return "first"


def _has_only_moved(before: Order, now: Order, links: Any) -> bool:
    is_same = orders.as_read(replace_fields(before, customer_id=now.customer_id)) == orders.as_read(now)
    accounts = (f"{now.source.connection}:{order.customer_id}" for order in (before, now))
    return is_same and before.customer_id != now.customer_id and links.is_one_record("customer", *accounts)


def want_products(document: Order) -> list[tuple[str, Any]]:
    """Look-up keys of the products."""
    return [("rule", ("billing_product", line.sku)) for line in document.lines]


def map_products(
    document: Order, account: Customer, book: Book, billing_system: str, mappings: Any
) -> dict[str, str]:  # fmt: skip
    """Billing's product of every SKU, where rules look at how it's charged for each way of that. Raises Problem naming
    SKU and entity."""
    scope = {"legal_entity": book.code, "currency": document.currency, "on": document.start_date,
             "connection": billing_system}  # fmt: skip
    looked_at = asked.looks_at(mappings, "billing_product")
    sold = {product_key(line) if "charge_type" in looked_at else line.sku: line for line in document.lines}
    facts = asked.countries_of(account) if looked_at else None
    return {
        key: mappings.resolve(
            "billing_product", line.sku, document=asked.of_line(facts, line.charge_type), **scope
        ).value
        for key, line in sold.items()
    }


def want_references(payer: str) -> list[tuple[str, Any]]:
    """The account's customer in billing."""
    return [("xref", ("customer", payer))]


def build_customer(
    document: Order, account: Customer, payer: str, book: Book, links: Any, billing: Any
) -> orders.BillingCustomer | None:
    """The customer to make in billing; nothing when it's there already."""
    if links.find("customer", payer, billing.connection_code) is not None:
        return None
    source = payers.source_of(payer)
    return orders.BillingCustomer(
        external_id=external_id("acc", source=source.connection, object_id=source.object_id),
        customer=payers.with_seller(account, book, document, payer),
    )


def find_customer(billing_customer: orders.BillingCustomer, billing: Any) -> SavedRecord:
    """Look in billing by our external id."""
    return billing.find_customer(billing_customer.external_id)


def save_customer(billing_customer: orders.BillingCustomer, billing: Any, write: Any) -> SavedRecord:
    """Make it under an idempotency key."""
    return billing.save_customer(billing_customer.customer, external_id=billing_customer.external_id, key=write.key)


def choose_customer(payer: str, saved_customer: SavedRecord | None, links: Any, billing: Any) -> str:
    """Billing's id of the customer. What people or a merge said meanwhile goes before what was made."""
    known = links.find("customer", payer, billing.connection_code)
    if known is not None or saved_customer is None:
        return known.external_id
    return saved_customer.id


def want_erp_customer(customer_id: str, billing: Any) -> list[tuple[str, Any]]:
    """The billing customer's reference in the ERP."""
    return [("xref", ("customer", f"{billing.connection_code}:customer:{customer_id}"))]


def await_erp_customer(customer_id: str, book: Book, billing: Any, links: Any, calendar: Any) -> str:
    """The ERP's customer, made by its own flow when billing tells us of the new customer. Where the entity keeps books
    in several, one is enough: an invoice asks for the customer in its own."""
    key = f"{billing.connection_code}:customer:{customer_id}"
    for erp in (book.connection, *sorted(calendar.erps(book.code))):
        found = links.find("customer", key, erp)
        if found is not None:
            return found.external_id
    raise Awaits(f"customer:{key}", f"customer {customer_id} in the ERP")


def plan_subscription(
    document: Order, customer_id: str, products: dict[str, str], book: Book, txn: Any
) -> SubscriptionPlan:
    """What billing is asked to make. An order of single sales alone becomes an invoice over them."""
    notes = {"order_id": document.source.object_id, "order_number": document.number, "legal_entity": book.code}
    if document.po_number:  # invoices carry it to the ERP
        notes["po_number"] = document.po_number
    return SubscriptionPlan(
        external_id=external_id("sub", source=document.source.connection, object_id=document.source.object_id),
        order_id=document.source.object_id,
        customer_id=customer_id,
        currency=document.currency,
        start_date=document.start_date,
        term_months=document.term_months,
        planned_at=txn.created_at,
        lines=document.lines,
        product_ids=products,
        days_until_due=orders.days_until_due(document),
        time_zone=book.time_zone,
        metadata=notes,
    )


def find_subscription(plan: SubscriptionPlan, billing: Any) -> SavedRecord:
    """Look in billing by the order's id."""
    return billing.find_subscription(plan.external_id, customer_id=plan.customer_id)


def create_subscription(plan: SubscriptionPlan, billing: Any, write: Any) -> SavedRecord:
    """Make it under an idempotency key."""
    return billing.create_subscription(plan, key=write.key)


def cancel_subscription(subscription: SavedRecord, billing: Any, write: Any) -> SavedRecord:
    """Take it back, at once: yesterday has begun wherever the seller is."""
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    return billing.cancel_subscription(subscription.id, on=yesterday, key=write.key)


def want_subscription(subscription: SavedRecord, billing: Any) -> list[tuple[str, Any]]:
    """The subscription as billing last told it."""
    return [("golden", ("subscription", f"{billing.connection_code}:subscription:{subscription.id}"))]


def await_activation(subscription: SavedRecord, billing: Any, links: Any) -> str:
    """Active in billing's own words; one that starts later is scheduled, single sales alone are an invoice."""
    if subscription.document_type == "invoice" or subscription.status in (*ACTIVE, SCHEDULED):
        return subscription.status
    key = f"{billing.connection_code}:subscription:{subscription.id}"
    known = links.golden("subscription", key)
    if known is not None and known.get("is_active"):
        return known["status"]
    if known is not None and known.get("status") in ("canceled", "incomplete_expired"):
        raise Problem(
            "subscription_not_active",
            Category.CONFLICT,
            "Billing has ended the subscription before it was active",
            subscription=subscription.id,
            status=known["status"],
        )
    raise Awaits(key, f"activation of subscription {subscription.id}", patience_seconds=2 * 86400)


def tell(document: Order, subscription: SavedRecord, saved_customer: SavedRecord | None, payer: str, txn: Any) -> list:
    """Lineage from the opportunity to the subscription, and from the account to billing's customer."""
    connection = txn.target_connection
    total = sum((line.quantity * line.unit_price for line in document.lines), start=document.lines[0].unit_price * 0)
    told = became(
        document.source,
        "order",
        subscription,
        connection,
        amount=total,
        currency=document.currency,
        step="create_subscription",
    )
    if saved_customer is not None:
        told += became(payers.source_of(payer), "customer", saved_customer, connection, step="save_customer")
    if document.quote_id:
        told.append(
            Link(
                document.source.connection,
                "SBQQ__Quote__c",
                document.quote_id,
                document.source.connection,
                document.source.object_type,
                document.source.object_id,
                total,
                document.currency,
                "became",
                "check_order",
            )
        )
    return told


def completes(document: Order) -> list[str]:
    """Amendments and status that wait for this order go on."""
    return [f"order:{document.source.connection}:{document.source.object_id}"]


ORDER_TO_SUBSCRIPTION = Flow(
    code="order_to_subscription",
    title="Order to subscription",
    starts_with=("document",),
    fact_type=Order,
    owner="sales_ops",
    lane_type="order",
    steps=(
        Read("check_order", "Check the order is complete and approved", orders.check_order, gives="order_checked"),
        Read(
            "refuse_change",
            "See that it isn't a subscription already",
            refuse_change,
            gives="made_once",
            wants=want_subscription_made,
        ),
        Read("find_book", "Find the legal entity and its book", orders.find_book, gives="book", wants=orders.want_book),
        Read(
            "choose_payer",
            "Choose the account that is billed, the buyer's or one above it",
            payers.choose_payer,
            gives="payer",
            wants=payers.want_parents,
        ),
        Read(
            "match_account",
            "Match the account to a golden customer",
            payers.match_account,
            gives="account",
            wants=payers.want_account,
        ),
        Read("check_account", "Check that the account can be billed", payers.check_account, gives="account_checked"),
        Read(
            "choose_billing",
            "Choose the billing system that takes it",
            orders.choose_billing,
            gives="billing_system",
            wants=orders.want_billing,
        ),
        Read("map_products", "Map products to billing's products", map_products, gives="products", wants=want_products),
        Read(
            "check_price",
            "Check currency and price against the price book",
            prices.check_price,
            gives="price_checked",
            wants=prices.want_prices,
        ),
        Read(
            "build_customer",
            "See whether billing knows the customer",
            build_customer,
            gives="billing_customer",
            wants=want_references,
        ),
        Write(
            "save_customer",
            "Make the customer in billing",
            find=find_customer,
            create=save_customer,
            prepared="billing_customer",
            port="billing",
            gives="saved_customer",
        ),
        Read(
            "choose_customer",
            "Choose billing's customer",
            choose_customer,
            gives="customer_id",
            wants=want_references,
        ),
        Wait(
            "await_customer",
            "Wait until the customer is in the ERP",
            until=await_erp_customer,
            gives="erp_customer",
            wants=want_erp_customer,
        ),
        Read("plan_subscription", "Plan the subscription", plan_subscription, gives="plan"),
        Write(
            "create_subscription",
            "Create the subscription",
            find=find_subscription,
            create=create_subscription,
            prepared="plan",
            port="billing",
            gives="subscription",
            undo=cancel_subscription,
        ),
        Wait(
            "await_activation",
            "Wait until billing says the subscription is active",
            until=await_activation,
            gives="activation",
            patience_seconds=2 * 86400,
            wants=want_subscription,
        ),
    ),
    links=tell,
    completes=completes,
)
