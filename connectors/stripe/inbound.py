"""Stripe's objects in our words. Pure.

Two shapes are read: today's (`2026-10-28.endive`: `parent`, `pricing`, `total_taxes`) and the one before 2025
(`subscription`,
`price`, `tax`), since an endpoint keeps the version with which it was made. Amounts are integers of the currency's
minor unit.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from connectors.fields import decimal, dig, unix
from connectors.stripe.money import from_minor, price_from_minor
from q2c.canonical import billing, catalog, contract, party
from q2c.canonical.base import Source

UNIDENTIFIED = "No customer, "  # how load_retail names a buyer that the feed doesn't know
ACTIVE = frozenset({"active", "trialing", "past_due"})


def invoice(raw: Mapping[str, Any], connection: str) -> billing.Invoice:
    """A finalized invoice. `total` may be negative. Line amounts are net of discounts and of tax, so that they and
    `tax_total` sum to `total`. What Stripe says is instants: they become days where the seller is."""
    currency = _currency(raw)
    notes = {**(dig(raw, "parent.subscription_details.metadata") or {}), **(raw.get("metadata") or {})}
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
        tax_total=_tax_total(raw, currency),
        lines=lines,
        legal_entity=notes.get("legal_entity") or _customer_note(raw, "legal_entity"),
        subscription_id=id_of(dig(raw, "parent.subscription_details.subscription") or raw.get("subscription")),
        order_id=notes.get("order_id", ""),
        po_number=notes.get("po_number", ""),
        is_customer_known=is_known,
        **_feed(notes),
    )


def invoice_line(raw: Mapping[str, Any], currency: str) -> billing.InvoiceLine:
    """One line. Its SKU is what we wrote on it, else the product's id (which is the SKU for products that we made)."""
    notes = raw.get("metadata") or {}
    taxes = tuple(tax_detail(tax, currency) for tax in raw.get("taxes") or raw.get("tax_amounts") or ())
    amount = from_minor(raw["amount"], currency)
    amount -= sum((from_minor(d["amount"], currency) for d in raw.get("discount_amounts") or ()), Decimal(0))
    amount -= sum((t.amount for t in taxes if t.is_inclusive), Decimal(0))
    quantity = _quantity(raw)
    product = dig(raw, "pricing.price_details.product") or dig(raw, "price.product")
    start, end = _service_period(raw.get("period"))
    return billing.InvoiceLine(
        line_id=raw["id"],
        sku=str(notes.get("sku") or _product_sku(product) or dig(raw, "price.lookup_key") or ""),
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
    )


def tax_detail(raw: Mapping[str, Any], currency: str) -> billing.TaxDetail:
    """One tax of a line, as Stripe or its tax engine computed it."""
    rate = dig(raw, "tax_rate_details.tax_rate") or raw.get("tax_rate")
    percent = rate.get("percentage") if isinstance(rate, Mapping) else None
    return billing.TaxDetail(
        tax_code=id_of(rate) or str(raw.get("type") or "tax"),
        amount=from_minor(raw["amount"], currency),
        base=from_minor(raw.get("taxable_amount") or 0, currency),
        rate=decimal(percent) if percent is not None else Decimal(0),
        jurisdiction=str(rate.get("jurisdiction") or "") if isinstance(rate, Mapping) else "",
        is_inclusive=raw.get("tax_behavior") == "inclusive" or raw.get("inclusive") is True,
        reason=str(raw.get("taxability_reason") or ""),
    )


def credit_memo(
    raw: Mapping[str, Any], connection: str, *, skus: Mapping[str, billing.InvoiceLine] | None = None
) -> billing.CreditMemo:
    """A credit note; amounts are positive. `skus` are the credited invoice's lines by id: a credit takes their item."""
    currency = _currency(raw)
    notes = raw.get("metadata") or {}
    originals = skus or {}
    name, is_known = _buyer(raw)
    return billing.CreditMemo(
        source=Source(connection=connection, object_type="credit_note", object_id=raw["id"]),
        number=str(raw.get("number") or notes.get("invoice_no") or raw["id"]),
        customer_id=id_of(raw.get("customer")),
        customer_name=name,
        currency=currency,
        issued_at=unix(raw.get("effective_at") or raw["created"]),
        total=from_minor(raw["total"], currency),
        tax_total=_tax_total(raw, currency),
        lines=tuple(_credit_line(line, currency, originals) for line in raw["lines"]["data"]),
        invoice_id=id_of(raw.get("invoice")),
        applied_amount=_minor_or_none(raw.get("pre_payment_amount"), currency),
        reason=str(raw.get("reason") or raw.get("memo") or ""),
        legal_entity=notes.get("legal_entity") or _customer_note(raw, "legal_entity"),
        is_customer_known=is_known,
        **_feed(notes),
    )


def _minor_or_none(units: Any, currency: str) -> Decimal | None:
    return None if units is None else from_minor(units, currency)


def _credit_line(
    raw: Mapping[str, Any], currency: str, originals: Mapping[str, billing.InvoiceLine]
) -> billing.InvoiceLine:
    notes = raw.get("metadata") or {}
    original = originals.get(raw.get("invoice_line_item") or "")
    taxes = tuple(tax_detail(tax, currency) for tax in raw.get("taxes") or raw.get("tax_amounts") or ())
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
    )


def payment(raw: Mapping[str, Any], connection: str, *, received_at: dt.datetime) -> billing.Payment:
    """A succeeded payment intent, or a charge that has none: gross, before Stripe's fee."""
    currency = _currency(raw)
    is_intent = raw.get("object") == "payment_intent"
    notes = raw.get("metadata") or {}
    return billing.Payment(
        source=Source(connection=connection, object_type="payment", object_id=raw["id"]),
        customer_id=id_of(raw.get("customer")),
        currency=currency,
        amount=from_minor(raw["amount_received"] if is_intent else raw["amount"], currency),
        received_at=received_at,
        gateway=connection,
        method=str((raw.get("payment_method_types") or [""])[0]) if is_intent else "charge",
        reference=id_of(raw.get("latest_charge")) if is_intent else raw["id"],
        legal_entity=notes.get("legal_entity") or _customer_note(raw, "legal_entity"),
    )


def application(raw: Mapping[str, Any], connection: str, *, applied_at: dt.datetime) -> billing.Application | None:
    """A paid invoice payment, or None when no cash of Stripe's stands behind it (a payment recorded off Stripe)."""
    behind = raw.get("payment") or {}
    payment_id = id_of(behind.get("payment_intent")) or id_of(behind.get("charge"))
    if not payment_id or behind.get("type") == "payment_record":
        return None
    currency = _currency(raw)
    paid_at = dig(raw, "status_transitions.paid_at")
    return billing.Application(
        source=Source(connection=connection, object_type="invoice_payment", object_id=raw["id"]),
        payment_id=payment_id,
        invoice_id=id_of(raw["invoice"]),
        currency=currency,
        amount=from_minor(raw["amount_paid"], currency),
        applied_at=unix(paid_at) if paid_at else applied_at,
    )


def refund(raw: Mapping[str, Any], connection: str) -> billing.Refund:
    """Cash given back, or a refund that failed after all."""
    currency = _currency(raw)
    return billing.Refund(
        source=Source(connection=connection, object_type="refund", object_id=raw["id"]),
        payment_id=id_of(raw.get("payment_intent")) or id_of(raw.get("charge")),
        customer_id=id_of(raw.get("customer")),
        currency=currency,
        amount=from_minor(raw["amount"], currency),
        refunded_at=unix(raw["created"]),
        gateway=connection,
        status=str(raw.get("status") or ""),
        reason=str(raw.get("reason") or ""),
        legal_entity=(raw.get("metadata") or {}).get("legal_entity", ""),
    )


def dispute(raw: Mapping[str, Any], connection: str, *, status: str, at: dt.datetime) -> billing.Dispute:
    """Money that the bank took back (`funds_withdrawn`) or gave again (`funds_reinstated`), with Stripe's dispute
    fee."""
    currency = _currency(raw)
    moved = raw.get("balance_transactions") or ()
    return billing.Dispute(
        source=Source(connection=connection, object_type="dispute", object_id=raw["id"], version=status),
        payment_id=id_of(raw.get("payment_intent")) or id_of(raw.get("charge")),
        currency=currency,
        amount=from_minor(raw["amount"], currency),
        at=at,
        status=status,
        gateway=connection,
        fee=from_minor(moved[-1].get("fee") or 0, currency) if moved else Decimal(0),
        legal_entity=(raw.get("metadata") or {}).get("legal_entity", ""),
    )


def payout(raw: Mapping[str, Any], movements: Sequence[Mapping[str, Any]], connection: str) -> billing.Payout:
    """A payout with every movement that it pays out. `arrival_date` is a plain date (Stripe gives midnight UTC)."""
    currency = _currency(raw)
    return billing.Payout(
        source=Source(connection=connection, object_type="payout", object_id=raw["id"], version=str(raw["status"])),
        currency=currency,
        amount=from_minor(raw["amount"], currency),
        arrival_date=unix(raw["arrival_date"]).date(),
        gateway=connection,
        movements=tuple(balance_transaction(m, connection) for m in movements if m["type"] not in PAYOUT_TYPES),
        status=str(raw["status"]),
        legal_entity=(raw.get("metadata") or {}).get("legal_entity", ""),
    )


PAYOUT_TYPES = frozenset({"payout", "payout_failure", "payout_cancel"})


RECORD_TYPES = {"charge": "payment", "payment": "payment", "refund": "refund", "dispute": "dispute"}


def balance_transaction(raw: Mapping[str, Any], connection: str) -> billing.BalanceTransaction:
    """One movement on Stripe's balance, in the balance's currency; with its source expanded, whose record it moves."""
    currency = _currency(raw)
    about = raw.get("source")
    about = about if isinstance(about, Mapping) else {}
    record_type = RECORD_TYPES.get(str(about.get("object")), "")
    record_id = (record_type == "payment" and id_of(about.get("payment_intent"))) or str(about.get("id") or "")
    return billing.BalanceTransaction(
        source=Source(connection=connection, object_type="balance_transaction", object_id=raw["id"]),
        kind="dispute" if str(raw.get("reporting_category")).startswith("dispute") else str(raw["type"]),
        currency=currency,
        amount=from_minor(raw["amount"], currency),
        fee=from_minor(raw.get("fee") or 0, currency),
        at=unix(raw["created"]),
        about_id=id_of(raw.get("source")),
        fee_description="; ".join(str(f.get("description") or "") for f in raw.get("fee_details") or ()),
        record_type=record_type,
        record_id=record_id if record_type else "",
    )


def subscription(raw: Mapping[str, Any], connection: str) -> contract.Subscription:
    """A subscription as it stands."""
    notes = raw.get("metadata") or {}
    zone = ZoneInfo(notes.get("time_zone") or "UTC")
    return contract.Subscription(
        source=Source(connection=connection, object_type="subscription", object_id=raw["id"]),
        order_id=notes.get("order_id", ""),
        customer_id=id_of(raw.get("customer")),
        currency=_subscription_currency(raw),
        status=str(raw["status"]),
        start_date=unix(raw.get("start_date") or raw["created"]).astimezone(zone).date(),
        is_active=raw["status"] in ACTIVE,
    )


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
    )


def product(raw: Mapping[str, Any], connection: str) -> catalog.Product:
    """A product; its SKU is what we wrote on it, else its id."""
    return catalog.Product(
        source=Source(connection=connection, object_type="product", object_id=raw["id"]),
        sku=_product_sku(raw),
        name=str(raw.get("name") or raw["id"]),
        is_active=raw.get("active") is not False,
    )


def _currency(raw: Mapping[str, Any]) -> str:
    if not raw.get("currency"):
        raise ValueError(f"{raw.get('object') or 'the object'} {raw.get('id') or ''} names no currency")
    return str(raw["currency"]).upper()


def _subscription_currency(raw: Mapping[str, Any]) -> str:
    """Before 2022 only the prices of its items named a currency."""
    if raw.get("currency"):
        return _currency(raw)
    items = dig(raw, "items.data") or ()
    return _currency(items[0].get("price") or items[0].get("plan") or {}) if items else _currency(raw)


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


def _customer_note(raw: Mapping[str, Any], name: str) -> str:
    return str(dig(raw, f"customer.metadata.{name}") or "") if isinstance(raw.get("customer"), Mapping) else ""


def _feed(notes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "feed": notes.get("feed", ""),
        "feed_type": notes.get("feed_type", ""),
        "feed_number": notes.get("invoice_no", ""),
        "declared_total": _optional_decimal(notes.get("declared_total")),
    }


def _tax_total(raw: Mapping[str, Any], currency: str) -> Decimal:
    taxes = raw.get("total_taxes") or raw.get("total_tax_amounts")
    if taxes:
        return sum((from_minor(t["amount"], currency) for t in taxes), Decimal(0))
    return from_minor(raw.get("tax") or 0, currency)


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
