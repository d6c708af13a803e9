"""Products, prices and tax rates."""

from decimal import Decimal
from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.core import StripeCore, make_id, read_given
from connectors.stripe.sandbox.errors import invalid, missing_param
from connectors.stripe.sandbox.handlers import update_object
from connectors.stripe.sandbox.lists import list_objects

LONGEST_KEY = 200

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


def build_product(stripe: StripeCore, given: dict[str, Any]) -> dict:
    """A new product, saved, with its event. An id may be chosen; it must be new."""
    given = dict(given)
    id = given.get("id") or make_id("prod")
    if stripe.store.get_raw("product", id) is not None:
        raise invalid(f"Product already exists with the ID '{id}'", code="resource_already_exists", param="id")
    product: dict[str, Any] = {
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
    if len(key) > LONGEST_KEY:
        raise invalid(f"Invalid string: must be at most {LONGEST_KEY} characters", param="lookup_key")
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


# tax rates


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
