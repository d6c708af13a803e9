"""Stripe's objects in our words. Pure.

Two shapes are read: today's (`2026-10-28.endive`: `parent`, `pricing`, `total_taxes`) and the one before 2025
(`subscription`,
`price`, `tax`), since an endpoint keeps the version with which it was made. Amounts are integers of the currency's
minor unit.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from connectors.fields import decimal, dig, needed, unix
from connectors.stripe.money import from_minor, price_from_minor
from connectors.stripe.taxes import tax_details, tax_total
from q2c.canonical import billing, catalog, contract, party
from q2c.canonical.base import Source

UNIDENTIFIED = "No customer, "  # how load_retail names a buyer that the feed doesn't know
NO_SKUS = ("prod_", "sku-")  # how products' ids begin that Stripe made, or `outbound.product_id` of a SKU
ACTIVE = frozenset({"active", "trialing", "past_due"})


def invoice(raw: Mapping[str, Any], connection: str) -> billing.Invoice:
    """A finalized invoice. `total` may be negative. Line amounts are net of discounts and of tax, so that they and
    `tax_total` sum to `total`. What Stripe says is instants: they become days where the seller is."""
    currency = currency_of(raw)
    notes = invoice_notes(raw)
    lines = tuple(invoice_line(line, currency) for line in raw["lines"]["data"])
    name, is_known = _buyer(raw)
    stamps = raw.get("status_transitions") or {}
    return billing.Invoice(
        source=Source(connection=connection, object_type="invoice", object_id=raw["id"]),
        number=str(raw.get("number") or notes.get("invoice_no") or raw["id"]),
        customer_id=id_of(raw.get("customer")),
        customer_name=name,
        currency=currency,
        issued_at=unix(raw.get("effective_at") or stamps.get("finalized_at") or raw["created"]),
        due_at=unix(raw["due_date"]) if raw.get("due_date") is not None else None,
        total=from_minor(raw["total"], currency),
        tax_total=tax_total(raw, currency),
        lines=lines,
        legal_entity=notes.get("legal_entity") or customer_note(raw, "legal_entity"),
        subscription_id=id_of(dig(raw, "parent.subscription_details.subscription") or raw.get("subscription")),
        order_id=notes.get("order_id", ""),
        po_number=notes.get("po_number", ""),
        is_customer_known=is_known,
        **_feed(notes),
    )


def invoice_notes(raw: Mapping[str, Any]) -> dict[str, str]:
    """What we wrote on an invoice or on the subscription behind it."""
    return {**(dig(raw, "parent.subscription_details.metadata") or {}), **(raw.get("metadata") or {})}


def invoice_line(raw: Mapping[str, Any], currency: str) -> billing.InvoiceLine:
    """One line. Its SKU is what we wrote on it, on its price or product, else the product's id (which is the SKU for
    products that we made)."""
    notes = raw.get("metadata") or {}
    taxes = tax_details(raw, currency)
    amount = from_minor(raw["amount"], currency)
    amount -= sum((from_minor(d["amount"], currency) for d in raw.get("discount_amounts") or ()), Decimal(0))
    amount -= sum((t.amount for t in taxes if t.is_inclusive), Decimal(0))
    quantity = _quantity(raw)
    product = _product_of(raw)
    start, end = _service_period(raw.get("period"))
    return billing.InvoiceLine(
        line_id=raw["id"],
        sku=str(_written_sku(raw) or _product_sku(product) or dig(raw, "price.lookup_key") or ""),
        description=str(raw.get("description") or ""),
        quantity=quantity,
        unit_price=_unit_price(raw, currency, amount=amount, quantity=quantity),
        amount=amount,
        service_from=start,
        service_until=end,
        taxes=taxes,
        product_id=id_of(product),
        revenue_rule=str(notes.get("revenue_rule") or ""),
        declared_amount=_optional_decimal(notes.get("declared_amount")),
        charge_type=charge_type(raw),
    )


def charge_type(raw: Mapping[str, Any]) -> billing.ChargeType:
    """How a line is charged: as its price says, where the line holds one in full (today's lines name it by its id, so
    the catalogue puts it there); else an invoice item is charged once, and what is prorated recurs. Of a
    subscription's other lines nobody knows without their price: it may be metered."""
    price = _price_of(raw)
    if price.get("type") == "one_time":
        return "one_time"
    if price.get("type") == "recurring":
        return "usage" if dig(price, "recurring.usage_type") == "metered" else "recurring"
    parent = raw.get("parent") or {}
    if dig(parent, "subscription_item_details.proration") or dig(parent, "invoice_item_details.proration"):
        return "recurring"
    return "one_time" if parent.get("type") == "invoice_item_details" else ""


def _price_of(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    places = (dig(raw, "pricing.price_details.price"), raw.get("price"))
    return next((found for found in places if isinstance(found, Mapping)), {})


def says_sku(raw: Mapping[str, Any]) -> bool:
    """Whether a line says its SKU: it's written on it, or its product's id is no name that Stripe made (or we, of a SKU
    that can't be one)."""
    product = _product_of(raw)
    is_named = isinstance(product, Mapping) or not str(product or "").startswith(NO_SKUS)
    return bool(_written_sku(raw)) or is_named


def _written_sku(raw: Mapping[str, Any]) -> Any:
    return (raw.get("metadata") or {}).get("sku") or dig(raw, "price.metadata.sku")


def _product_of(raw: Mapping[str, Any]) -> Any:
    return dig(raw, "pricing.price_details.product") or dig(raw, "price.product")


def credit_memo(
    raw: Mapping[str, Any], connection: str, *, original: billing.Invoice | None = None
) -> billing.CreditMemo:
    """A credit note; amounts are positive. `original` is the credited invoice: a credit takes its lines' SKUs, and its
    seller where the note doesn't name one."""
    currency = currency_of(raw)
    notes = raw.get("metadata") or {}
    originals = {line.line_id: line for line in original.lines} if original else {}
    name, is_known = _buyer(raw)
    return billing.CreditMemo(
        source=Source(connection=connection, object_type="credit_note", object_id=raw["id"]),
        number=str(raw.get("number") or notes.get("invoice_no") or raw["id"]),
        customer_id=id_of(raw.get("customer")),
        customer_name=name,
        currency=currency,
        issued_at=unix(raw.get("effective_at") or raw["created"]),
        total=from_minor(raw["total"], currency),
        tax_total=tax_total(raw, currency),
        lines=tuple(_credit_line(line, currency, originals) for line in raw["lines"]["data"]),
        invoice_id=id_of(raw.get("invoice")),
        invoice_issued_at=original.issued_at if original else None,
        applied_amount=_minor_or_none(raw.get("pre_payment_amount"), currency),
        reason=str(raw.get("reason") or raw.get("memo") or ""),
        legal_entity=notes.get("legal_entity")
        or (original.legal_entity if original else "")
        or customer_note(raw, "legal_entity"),
        is_customer_known=is_known,
        refunds=tuple(
            billing.CreditRefund(refund_id=id_of(part["refund"]), amount=from_minor(part["amount_refunded"], currency))
            for part in raw.get("refunds") or ()
        ),
        **_feed(notes),
    )


def _minor_or_none(units: Any, currency: str) -> Decimal | None:
    return None if units is None else from_minor(units, currency)


def _credit_line(
    raw: Mapping[str, Any], currency: str, originals: Mapping[str, billing.InvoiceLine]
) -> billing.InvoiceLine:
    notes = raw.get("metadata") or {}
    original = originals.get(raw.get("invoice_line_item") or "")
    taxes = tax_details(raw, currency)
    amount = from_minor(raw["amount"], currency)
    amount -= sum((from_minor(d["amount"], currency) for d in raw.get("discount_amounts") or ()), Decimal(0))
    amount -= sum((t.amount for t in taxes if t.is_inclusive), Decimal(0))
    quantity = _quantity(raw)
    return billing.InvoiceLine(
        line_id=raw["id"],
        sku=str(notes.get("sku") or (original.sku if original else "")),
        description=str(raw.get("description") or (original.description if original else "")),
        quantity=quantity,
        unit_price=_unit_price(raw, currency, amount=amount, quantity=quantity),
        amount=amount,
        service_from=original.service_from if original else None,
        service_until=original.service_until if original else None,
        taxes=taxes,
        product_id=original.product_id if original else "",
        revenue_rule=original.revenue_rule if original else "",
        declared_amount=_optional_decimal(notes.get("declared_amount")),
        original_line_id=str(raw.get("invoice_line_item") or ""),
        charge_type=original.charge_type if original else "",
    )


def subscription(raw: Mapping[str, Any], connection: str, *, schedule_id: str = "") -> contract.Subscription:
    """A subscription as it stands. `schedule_id` is what it began under where it doesn't say so itself any more."""
    notes = raw.get("metadata") or {}
    zone = ZoneInfo(zone_of(raw))
    return contract.Subscription(
        source=Source(connection=connection, object_type="subscription", object_id=raw["id"]),
        order_id=notes.get("order_id", ""),
        customer_id=id_of(raw.get("customer")),
        currency=_subscription_currency(raw),
        status=str(needed(raw, "status")),
        start_date=unix(raw.get("start_date") or raw["created"]).astimezone(zone).date(),
        is_active=raw["status"] in ACTIVE,
        schedule_id=id_of(raw.get("schedule")) or schedule_id,
    )


def begun_under(raw: Mapping[str, Any]) -> str:
    """The id of the subscription that began under a schedule, also after it was let go; empty before."""
    return id_of(raw.get("subscription") or raw.get("released_subscription"))


def schedule(raw: Mapping[str, Any], connection: str) -> contract.Subscription:
    """A subscription that begins later, as it's planned: `scheduled` until then."""
    notes, first = raw.get("metadata") or {}, (raw.get("phases") or [{}])[0]
    zone = ZoneInfo(zone_of(raw))
    return contract.Subscription(
        source=Source(connection=connection, object_type="subscription", object_id=raw["id"]),
        order_id=notes.get("order_id", ""),
        customer_id=id_of(raw.get("customer")),
        currency=str(first.get("currency") or "").upper(),
        status="scheduled" if raw["status"] == "not_started" else str(raw["status"]),
        start_date=unix(first.get("start_date") or raw["created"]).astimezone(zone).date(),
        is_active=raw["status"] in ACTIVE,
    )


def zone_of(raw: Mapping[str, Any]) -> str:
    """The zone in which a subscription's days are counted, as we wrote it; UTC where we didn't make it."""
    return str((raw.get("metadata") or {}).get("time_zone") or "UTC")


def customer(raw: Mapping[str, Any], connection: str) -> party.Customer:
    """A billing customer. `crm_id` is what we wrote when we made it from a CRM account."""
    notes = raw.get("metadata") or {}
    name = str(raw.get("name") or raw.get("business_name") or raw.get("email") or raw["id"])
    return party.Customer(
        source=Source(connection=connection, object_type="customer", object_id=raw["id"]),
        name=name,
        number=notes.get("number", ""),
        email=str(raw.get("email") or ""),
        phone=str(raw.get("phone") or ""),
        currency=str(raw.get("currency") or "").upper(),
        bill_to=_address(raw.get("address")),
        ship_to=_address(dig(raw, "shipping.address")),
        legal_entity=notes.get("legal_entity", ""),
        crm_id=notes.get("sf_account_id") or notes.get("crm_id") or "",
        is_identified=not _is_unidentified(name, notes),
        pays_from=_last_digits(dig(raw, "invoice_settings.default_payment_method")),
    )


def _last_digits(method: Any) -> str:
    """Sort and last digits of an expanded payment method (`sepa_debit.last4`, `card.last4`, …); a mere id says none."""
    if not isinstance(method, Mapping):
        return ""
    sort = str(method.get("type") or "")
    digits = (method.get(sort) or {}).get("last4")
    return f"{sort} {digits}" if digits else ""


def product(raw: Mapping[str, Any], connection: str) -> catalog.Product:
    """A product; its SKU is what we wrote on it, else its id."""
    return catalog.Product(
        source=Source(connection=connection, object_type="product", object_id=raw["id"]),
        sku=_product_sku(raw),
        name=str(raw.get("name") or raw["id"]),
        is_active=raw.get("active") is not False,
    )


def currency_of(raw: Mapping[str, Any]) -> str:
    """The currency of an object, as ISO 4217 writes it. Raises ValueError when it names none."""
    if not raw.get("currency"):
        raise ValueError(f"{raw.get('object') or 'the object'} {raw.get('id') or ''} names no currency")
    return str(raw["currency"]).upper()


def _subscription_currency(raw: Mapping[str, Any]) -> str:
    """Before 2022 only the prices of its items named a currency."""
    if raw.get("currency"):
        return currency_of(raw)
    items = dig(raw, "items.data") or ()
    return currency_of(items[0].get("price") or items[0].get("plan") or {}) if items else currency_of(raw)


def id_of(value: Any) -> str:
    """The id of a field that may be expanded."""
    if isinstance(value, Mapping):
        value = value.get("id")
    return str(value or "")


def _product_sku(product: Any) -> str:
    if isinstance(product, Mapping):
        return str((product.get("metadata") or {}).get("sku") or product.get("id") or "")
    return str(product or "")


def _buyer(raw: Mapping[str, Any]) -> tuple[str, bool]:
    buyer = raw.get("customer")
    notes = {**(raw.get("metadata") or {}), **((buyer.get("metadata") or {}) if isinstance(buyer, Mapping) else {})}
    name = str(raw.get("customer_name") or (buyer.get("name") if isinstance(buyer, Mapping) else "") or "")
    return name, not _is_unidentified(name, notes)


def _is_unidentified(name: str, notes: Mapping[str, Any]) -> bool:
    return str(notes.get("unidentified") or "").lower() in ("true", "1", "yes") or name.startswith(UNIDENTIFIED)


def customer_note(raw: Mapping[str, Any], name: str) -> str:
    """What we wrote on the customer of an object, where the customer is expanded."""
    return str(dig(raw, f"customer.metadata.{name}") or "") if isinstance(raw.get("customer"), Mapping) else ""


def _feed(notes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "feed": notes.get("feed", ""),
        "feed_type": notes.get("feed_type", ""),
        "feed_number": notes.get("invoice_no", ""),
        "declared_total": _optional_decimal(notes.get("declared_total")),
        "bill_run": _bill_run(notes),
    }


def _bill_run(notes: Mapping[str, Any]) -> billing.BillRunTold | None:
    """Stripe has no bill runs. Whoever bills in runs of their own writes them on each document: `bill_run`, and how
    many documents of the type, seller and currency it issued over how much (`bill_run_count`, `bill_run_amount`)."""
    if not notes.get("bill_run"):
        return None
    count = _optional_decimal(notes.get("bill_run_count"))
    return billing.BillRunTold(
        name=str(notes["bill_run"])[:80],
        document_count=None if count is None else int(count),
        amount=_optional_decimal(notes.get("bill_run_amount")),
    )


def _quantity(raw: Mapping[str, Any]) -> Decimal:
    if raw.get("quantity_decimal") is not None:
        return decimal(raw["quantity_decimal"])
    return decimal(raw["quantity"]) if raw.get("quantity") is not None else Decimal(1)


def _unit_price(raw: Mapping[str, Any], currency: str, *, amount: Decimal, quantity: Decimal) -> Decimal:
    price = (
        dig(raw, "pricing.unit_amount_decimal")
        or raw.get("unit_amount_decimal")
        or dig(raw, "price.unit_amount_decimal")
    )
    if price is not None:
        return price_from_minor(decimal(price), currency)
    return (amount / quantity).quantize(Decimal("0.000001")) if quantity else amount


def _service_period(period: Any) -> tuple[dt.datetime | None, dt.datetime | None]:
    """From when the service runs, and the first instant after it. A single instant is no period."""
    start, end = (period or {}).get("start"), (period or {}).get("end")
    if start is None or end is None or end <= start:
        return None, None
    return unix(start), unix(end)


def _optional_decimal(value: Any) -> Decimal | None:
    return decimal(value) if value not in (None, "") else None


def _address(raw: Any) -> party.Address:
    given = raw or {}
    country = str(given.get("country") or "").upper()
    return party.Address(
        line1=str(given.get("line1") or ""),
        line2=str(given.get("line2") or ""),
        city=str(given.get("city") or ""),
        state=str(given.get("state") or ""),
        postal_code=str(given.get("postal_code") or ""),
        country=country if len(country) == 2 and country.isalpha() else "",
    )
