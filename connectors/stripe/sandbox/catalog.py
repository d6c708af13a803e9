"""Customers, products, prices, tax rates and payment methods."""

from decimal import Decimal
from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.core import StripeCore, make_id, read_given
from connectors.stripe.sandbox.errors import invalid, missing_param
from connectors.stripe.sandbox.lists import list_objects, search_objects

CUSTOMER: forms.Spec = {
    "name": forms.text,
    "email": forms.email,
    "phone": forms.text,
    "description": forms.text,
    "business_name": forms.text,
    "individual_name": forms.text,
    "address": forms.ADDRESS,
    "shipping": forms.nested({"name": forms.text, "phone": forms.text, "address": forms.ADDRESS}),
    "tax_exempt": forms.choice("none", "exempt", "reverse"),
    "preferred_locales": forms.many(forms.text),
    "invoice_prefix": forms.text,
    "next_invoice_sequence": forms.positive,
    "balance": forms.amount,
    "payment_method": forms.text,
    "source": forms.text,
    "tax": forms.anything,
    "tax_id_data": forms.many(forms.nested({"type": forms.text, "value": forms.text}, required=("type", "value"))),
    "invoice_settings": forms.nested(
        {"default_payment_method": forms.text, "footer": forms.text, "custom_fields": forms.anything}
    ),
    "metadata": forms.metadata,
}
PRODUCT: forms.Spec = {
    "id": forms.text,
    "name": forms.text,
    "active": forms.boolean,
    "description": forms.text,
    "default_price": forms.text,
    "tax_code": forms.text,
    "unit_label": forms.text,
    "statement_descriptor": forms.text,
    "url": forms.text,
    "type": forms.choice("service", "good"),
    "images": forms.many(forms.text),
    "shippable": forms.boolean,
    "metadata": forms.metadata,
}
RECURRING = forms.nested(
    {
        "interval": forms.choice("day", "week", "month", "year"),
        "interval_count": forms.positive,
        "usage_type": forms.choice("licensed", "metered"),
        "meter": forms.text,
    },
    required=("interval",),
)
PRICE: forms.Spec = {
    "currency": forms.currency,
    "product": forms.text,
    "product_data": forms.nested(
        {"name": forms.text, "id": forms.text, "active": forms.boolean, "metadata": forms.metadata}, required=("name",)
    ),
    "unit_amount": forms.amount,
    "unit_amount_decimal": forms.decimal,
    "recurring": RECURRING,
    "nickname": forms.text,
    "active": forms.boolean,
    "billing_scheme": forms.choice("per_unit"),
    "lookup_key": forms.text,
    "transfer_lookup_key": forms.boolean,
    "tax_behavior": forms.choice("exclusive", "inclusive", "unspecified"),
    "metadata": forms.metadata,
}
PRICE_UPDATE = {
    name: PRICE[name]
    for name in ("active", "lookup_key", "transfer_lookup_key", "metadata", "nickname", "tax_behavior")
}
TAX_RATE: forms.Spec = {
    "display_name": forms.text,
    "percentage": forms.decimal,
    "inclusive": forms.boolean,
    "active": forms.boolean,
    "country": forms.text,
    "state": forms.text,
    "jurisdiction": forms.text,
    "description": forms.text,
    "tax_type": forms.text,
    "metadata": forms.metadata,
}


def format_decimal(number: Decimal) -> str:
    """A decimal as Stripe writes it: no exponent, no trailing zeros."""
    shown = format(number, "f")
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


# customers


def build_customer(stripe: StripeCore, given: dict[str, Any]) -> dict:
    """A new customer out of its parameters, saved, with its event."""
    given = dict(given)
    settings = given.pop("invoice_settings", None) or {}
    method = given.pop("payment_method", None)
    tax_ids = given.pop("tax_id_data", [])
    for name in ("source", "tax"):
        given.pop(name, None)
    id = make_id("cus")
    customer = {
        "id": id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": stripe.now,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": f"{stripe.store.next_number('invoice_prefix', first=0x1A2B3C4D):08X}",
        "invoice_settings": {
            "custom_fields": settings.get("custom_fields"),
            "default_payment_method": settings.get("default_payment_method") or method,
            "footer": settings.get("footer"),
            "rendering_options": None,
        },
        "livemode": False,
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
    customer.update({name: value for name, value in given.items() if value is not None})
    customer["metadata"] = forms.merge_metadata({}, given.get("metadata") or {})
    if tax_ids:
        customer["tax_ids"] = {
            "object": "list",
            "url": f"/v1/customers/{id}/tax_ids",
            "has_more": False,
            "data": [{"id": make_id("txi"), "object": "tax_id", "customer": id, **each} for each in tax_ids],
        }
    stripe.save(customer)
    stripe.emit("customer.created", customer)
    return customer


def create_customer(stripe: StripeCore, request: Request) -> Answer:
    """POST /customers"""
    return stripe.answer(request, build_customer(stripe, forms.read_params(request.form(), CUSTOMER)), effect="created")


def update_customer(stripe: StripeCore, request: Request) -> Answer:
    """POST /customers/{id}"""
    customer = stripe.fetch("customer", request.params["id"])
    given = forms.read_params(request.form(), CUSTOMER)
    settings = given.pop("invoice_settings", None)
    if settings:
        given["invoice_settings"] = {**customer["invoice_settings"], **settings}
    return update_object(stripe, request, customer, given, "customer.updated")


def update_object(stripe: StripeCore, request: Request, obj: dict, given: dict[str, Any], event: str) -> Answer:
    """Apply an update's parameters, metadata merged, with its event and log entry."""
    if "metadata" in given:
        given["metadata"] = forms.merge_metadata(obj["metadata"], given["metadata"])
    stripe.change(obj, event, **given)
    return stripe.answer(request, obj, effect="updated")


def read_object(type: str) -> Any:
    """The handler of GET /things/{id}."""

    def read(stripe: StripeCore, request: Request) -> Answer:
        obj = stripe.store.get(type, request.params["id"])
        if obj is not None and obj.get("deleted"):
            return Answer(200, obj)
        return stripe.answer(request, stripe.fetch(type, request.params["id"]))

    return read


def list_of(type: str, *filters: str, **options: Any) -> Any:
    """The handler of GET /things."""

    def read(stripe: StripeCore, request: Request) -> Answer:
        return list_objects(stripe, request, type, filters=filters, **options)

    return read


def search_of(type: str) -> Any:
    """The handler of GET /things/search."""

    def read(stripe: StripeCore, request: Request) -> Answer:
        return search_objects(stripe, request, type)

    return read


def delete_object(type: str, event: str) -> Any:
    """The handler of DELETE /things/{id}: afterwards only its id and `deleted` are left."""

    def delete(stripe: StripeCore, request: Request) -> Answer:
        obj = stripe.fetch(type, request.params["id"])
        stripe.emit(event, obj)
        left = {"id": obj["id"], "object": type, "deleted": True}
        stripe.store.put(type, obj["id"], left)
        stripe.note(request, left, "deleted")
        return Answer(200, left)

    return delete


def list_balance_entries(stripe: StripeCore, request: Request) -> Answer:
    """GET /customers/{id}/balance_transactions"""
    customer = stripe.fetch("customer", request.params["id"])
    return list_objects(stripe, request, "customer_balance_transaction", customer=customer["id"])


def create_balance_entry(stripe: StripeCore, request: Request) -> Answer:
    """POST /customers/{id}/balance_transactions"""
    customer = stripe.fetch("customer", request.params["id"])
    spec = {
        "amount": forms.amount,
        "currency": forms.currency,
        "description": forms.text,
        "metadata": forms.metadata,
    }
    given = forms.read_params(request.form(), spec, required=("amount", "currency"))
    entry = move_customer_balance(stripe, customer, given["amount"], given["currency"], "adjustment")
    entry["description"] = given.get("description")
    entry["metadata"] = given.get("metadata") or {}
    stripe.save(entry)
    return stripe.answer(request, entry, effect="created")


def move_customer_balance(
    stripe: StripeCore, customer: dict, amount: int, currency: str, type: str, **related: str | None
) -> dict:
    """Add to a customer's balance (negative is credit for them) with its ledger entry; fires customer.updated."""
    previous = {"balance": customer["balance"]}
    customer["balance"] += amount
    customer["currency"] = customer["currency"] or currency
    entry = {
        "id": make_id("cbtxn"),
        "object": "customer_balance_transaction",
        "amount": amount,
        "created": stripe.now,
        "credit_note": None,
        "currency": currency,
        "customer": customer["id"],
        "description": None,
        "ending_balance": customer["balance"],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "type": type,
        **related,
    }
    stripe.save(entry)
    stripe.save(customer)
    stripe.emit("customer.updated", customer, previous=previous)
    return entry


# products and prices


def build_product(stripe: StripeCore, given: dict[str, Any]) -> dict:
    """A new product, saved, with its event. An id may be chosen; it must be new."""
    given = dict(given)
    id = given.get("id") or make_id("prod")
    if stripe.store.get_raw("product", id) is not None:
        raise invalid(f"Product already exists with the ID '{id}'", code="resource_already_exists", param="id")
    product = {
        "id": id,
        "object": "product",
        "active": True,
        "created": stripe.now,
        "default_price": None,
        "description": None,
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "name": None,
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": None,
        "tax_code": None,
        "type": "service",
        "unit_label": None,
        "updated": stripe.now,
        "url": None,
    }
    product.update({name: value for name, value in given.items() if value is not None})
    product["metadata"] = forms.merge_metadata({}, given.get("metadata") or {})
    stripe.save(product)
    stripe.emit("product.created", product)
    return product


def create_product(stripe: StripeCore, request: Request) -> Answer:
    """POST /products"""
    given = forms.read_params(request.form(), PRODUCT, required=("name",))
    return stripe.answer(request, build_product(stripe, given), effect="created")


def update_product(stripe: StripeCore, request: Request) -> Answer:
    """POST /products/{id}"""
    product = stripe.fetch("product", request.params["id"])
    given = forms.read_params(request.form(), {name: PRODUCT[name] for name in PRODUCT if name != "id"})
    if given.get("default_price"):
        stripe.fetch("price", given["default_price"], param="default_price")
    return update_object(stripe, request, product, {**given, "updated": stripe.now}, "product.updated")


def build_price(stripe: StripeCore, given: dict[str, Any]) -> dict:
    """A new price, saved, with its event. Its amounts can't be changed later."""
    if not given.get("product") and not given.get("product_data"):
        raise missing_param("product")
    if given.get("product"):
        product = stripe.fetch("product", given["product"], param="product")
        if not product["active"]:
            raise invalid(
                f"The product {product['id']} is marked as inactive.", code="product_inactive", param="product"
            )
    else:
        product = build_product(stripe, given["product_data"])
    unit = given.get("unit_amount_decimal")
    if unit is None:
        if given.get("unit_amount") is None:
            raise missing_param("unit_amount")
        unit = Decimal(given["unit_amount"])
    recurring = given.get("recurring")
    price = {
        "id": make_id("price"),
        "object": "price",
        "active": given.get("active") is not False,
        "billing_scheme": "per_unit",
        "created": stripe.now,
        "currency": given["currency"],
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": forms.merge_metadata({}, given.get("metadata") or {}),
        "nickname": given.get("nickname"),
        "product": product["id"],
        "recurring": {
            "interval_count": 1,
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
            **recurring,
        }
        if recurring
        else None,
        "tax_behavior": given.get("tax_behavior") or "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if recurring else "one_time",
        "unit_amount": int(unit) if unit == unit.to_integral_value() else None,
        "unit_amount_decimal": format_decimal(unit),
    }
    take_lookup_key(stripe, price, given)
    stripe.save(price)
    stripe.emit("price.created", price)
    return price


def take_lookup_key(stripe: StripeCore, price: dict, given: dict[str, Any]) -> None:
    """Give a price its lookup key; another price that has it must be told to hand it over."""
    key = given.get("lookup_key")
    if not key:
        return
    for other in stripe.store.find("price", lookup_key=key):
        if other["id"] == price["id"]:
            continue
        if not given.get("transfer_lookup_key"):
            raise invalid(
                f"A price (`{other['id']}`) already uses that lookup key.",
                code="resource_already_exists",
                param="lookup_key",
            )
        stripe.change(other, "price.updated", lookup_key=None)
    price["lookup_key"] = key


def create_price(stripe: StripeCore, request: Request) -> Answer:
    """POST /prices"""
    given = forms.read_params(request.form(), PRICE, required=("currency",))
    return stripe.answer(request, build_price(stripe, given), effect="created")


def update_price(stripe: StripeCore, request: Request) -> Answer:
    """POST /prices/{id}: not its amounts."""
    price = stripe.fetch("price", request.params["id"])
    given = forms.read_params(request.form(), PRICE_UPDATE)
    take_lookup_key(stripe, price, given)
    given.pop("transfer_lookup_key", None)
    return update_object(stripe, request, price, given, "price.updated")


def list_prices(stripe: StripeCore, request: Request) -> Answer:
    """GET /prices, by product, active, type, currency, lookup_keys[]"""
    given = read_given(request)
    keys = forms.many(forms.text)(given.get("lookup_keys"), "lookup_keys")
    active = forms.boolean(given.get("active"), "active")
    plain = {name: given[name] for name in ("currency", "type") if given.get(name)}

    def accept(price: dict) -> bool:
        return (
            (not keys or price["lookup_key"] in keys)
            and (active is None or price["active"] is active)
            and all(price[name] == value for name, value in plain.items())
        )

    ignore = ("lookup_keys", "active", "currency", "type")
    return list_objects(stripe, request, "price", filters=("product",), accept=accept, ignore=ignore)


def list_products(stripe: StripeCore, request: Request) -> Answer:
    """GET /products, by active and ids[]"""
    given = read_given(request)
    ids = forms.many(forms.text)(given.get("ids"), "ids")
    active = forms.boolean(given.get("active"), "active")

    def accept(product: dict) -> bool:
        return (not ids or product["id"] in ids) and (active is None or product["active"] is active)

    return list_objects(stripe, request, "product", accept=accept, ignore=("ids", "active"))


# tax rates and payment methods


def create_tax_rate(stripe: StripeCore, request: Request) -> Answer:
    """POST /tax_rates"""
    given = forms.read_params(request.form(), TAX_RATE, required=("display_name", "percentage", "inclusive"))
    return stripe.answer(request, build_tax_rate(stripe, given), effect="created")


def build_tax_rate(stripe: StripeCore, given: dict[str, Any]) -> dict:
    """A new tax rate, saved. The percentage is a number in Stripe's JSON."""
    rate = {
        "id": make_id("txr"),
        "object": "tax_rate",
        "active": True,
        "country": None,
        "created": stripe.now,
        "description": None,
        "jurisdiction": None,
        "livemode": False,
        "rate_type": "percentage",
        "state": None,
        "tax_type": None,
        **{name: value for name, value in given.items() if value is not None},
    }
    rate["percentage"] = rate["effective_percentage"] = float(given["percentage"])
    rate["metadata"] = given.get("metadata") or {}
    stripe.save(rate)
    return rate


def create_payment_method(stripe: StripeCore, request: Request) -> Answer:
    """POST /payment_methods: only test cards by token, never a number."""
    card = forms.nested({"token": forms.text}, required=("token",))
    spec = {"type": forms.choice("card"), "card": card, "metadata": forms.metadata}
    given = forms.read_params(request.form(), spec, required=("type", "card"))
    return stripe.answer(request, build_payment_method(stripe, given["card"]["token"]), effect="created")


def build_payment_method(stripe: StripeCore, token: str) -> dict:
    """A card; the token's name says how it behaves, `tok_chargeDeclined` is declined."""
    method = {
        "id": make_id("pm"),
        "object": "payment_method",
        "card": {"brand": "visa", "exp_month": 12, "exp_year": 2034, "funding": "credit", "last4": "4242"},
        "created": stripe.now,
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
        "_declines": "declined" in token.lower(),
    }
    stripe.save(method)
    return method


def attach_payment_method(stripe: StripeCore, request: Request) -> Answer:
    """POST /payment_methods/{id}/attach; `pm_card_…` names a test card, a copy of which is attached."""
    given = forms.read_params(request.form(), {"customer": forms.text}, required=("customer",))
    customer = stripe.fetch("customer", given["customer"], param="customer")
    id = request.params["id"]
    method = build_payment_method(stripe, id) if id.startswith("pm_card_") else stripe.fetch("payment_method", id)
    method["customer"] = customer["id"]
    stripe.save(method)
    stripe.emit("payment_method.attached", method)
    return stripe.answer(request, method, effect="updated")


def does_decline(stripe: StripeCore, method: str) -> bool:
    """Whether charging this payment method is declined."""
    if method.startswith("pm_card_"):
        return "declined" in method.lower() or "chargefail" in method.lower() or "chargecustomerfail" in method.lower()
    found = stripe.store.get("payment_method", method)
    return found is None or found["_declines"]
