"""Customers, their balance at Stripe, and the cards that pay for them."""

from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.core import StripeCore, make_id
from connectors.stripe.sandbox.errors import invalid
from connectors.stripe.sandbox.handlers import update_object
from connectors.stripe.sandbox.lists import list_objects

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


def build_customer(stripe: StripeCore, given: dict[str, Any]) -> dict:
    """A new customer out of its parameters, saved, with its event."""
    given = dict(given)
    settings = given.pop("invoice_settings", None) or {}
    method = given.pop("payment_method", None)
    tax_ids = given.pop("tax_id_data", [])
    for name in ("source", "tax"):
        given.pop(name, None)
    id = make_id("cus")
    customer: dict[str, Any] = {
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


# payment methods


def create_payment_method(stripe: StripeCore, request: Request) -> Answer:
    """POST /payment_methods: test cards by token, never a number, and SEPA debits by IBAN (four digits stay)."""
    spec = {
        "type": forms.choice("card", "sepa_debit"),
        "card": forms.nested({"token": forms.text}, required=("token",)),
        "sepa_debit": forms.nested({"iban": forms.text}, required=("iban",)),
        "billing_details": forms.anything,
        "metadata": forms.metadata,
    }
    given = forms.read_params(request.form(), spec, required=("type",))
    if not given.get(given["type"]):
        raise invalid(f"Missing required param: {given['type']}.", code="parameter_missing", param=given["type"])
    if given["type"] == "card":
        return stripe.answer(request, build_payment_method(stripe, given["card"]["token"]), effect="created")
    return stripe.answer(request, _build_sepa_debit(stripe, given["sepa_debit"]["iban"]), effect="created")


def _build_sepa_debit(stripe: StripeCore, iban: str) -> dict:
    plain = iban.replace(" ", "").upper()
    debit = {"bank_code": plain[4:12], "branch_code": "", "country": plain[:2], "last4": plain[-4:]}
    method = {
        "id": make_id("pm"),
        "object": "payment_method",
        "created": stripe.now,
        "customer": None,
        "livemode": False,
        "metadata": {},
        "sepa_debit": debit,
        "type": "sepa_debit",
        "_declines": False,
    }
    stripe.save(method)
    return method


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
