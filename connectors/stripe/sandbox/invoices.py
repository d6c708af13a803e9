"""Invoices while they're drafts: creating, changing, deleting, listing."""

from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.core import StripeCore, find_subscription, make_id, read_given
from connectors.stripe.sandbox.errors import invalid
from connectors.stripe.sandbox.handlers import update_object
from connectors.stripe.sandbox.lines import (
    add_up,
    compute_taxes,
    load_lines,
    store_lines,
)
from connectors.stripe.sandbox.lists import list_objects

INVOICE: forms.Spec = {
    "customer": forms.text,
    "collection_method": forms.choice("charge_automatically", "send_invoice"),
    "days_until_due": forms.not_negative,
    "due_date": forms.integer,
    "auto_advance": forms.boolean,
    "currency": forms.currency,
    "pending_invoice_items_behavior": forms.choice("exclude", "include"),
    "subscription": forms.text,
    "number": forms.text,
    "description": forms.text,
    "footer": forms.text,
    "custom_fields": forms.many(forms.nested({"name": forms.text, "value": forms.text}, required=("name", "value"))),
    "default_tax_rates": forms.many(forms.text),
    "default_payment_method": forms.text,
    "statement_descriptor": forms.text,
    "automatic_tax": forms.nested({"enabled": forms.boolean}),
    "effective_at": forms.integer,
    "metadata": forms.metadata,
}
FIXED = ("customer", "currency", "pending_invoice_items_behavior", "subscription")
UPDATE = {name: kind for name, kind in INVOICE.items() if name not in FIXED}
AFTERWARDS = frozenset({"metadata", "auto_advance", "description", "footer", "custom_fields"})  # also once finalized


def build_invoice(stripe: StripeCore, customer: dict, given: dict[str, Any], *, reason: str = "manual") -> dict:
    """A new draft out of its parameters, without lines, not yet saved."""
    method = given.get("collection_method") or "charge_automatically"
    days, due = given.get("days_until_due"), given.get("due_date")
    if method != "send_invoice" and (days is not None or due is not None):
        raise invalid(
            "You can only set due_date or days_until_due with collection_method=send_invoice", param="due_date"
        )
    if method == "send_invoice" and days is None and due is None:
        raise invalid("If collection_method=send_invoice, you must set days_until_due or due_date.", param="due_date")
    if len(given.get("custom_fields") or ()) > 4:
        raise invalid("At most 4 custom fields are allowed", param="custom_fields")
    for rate in given.get("default_tax_rates") or ():
        stripe.fetch("tax_rate", rate, param="default_tax_rates")
    now = stripe.now
    return {
        "id": make_id("in"),
        "object": "invoice",
        "account_country": "GB",
        "account_name": "Sandbox",
        "amount_due": 0,
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_paid_off_stripe": 0,
        "amount_remaining": 0,
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": bool(given.get("auto_advance")),
        "automatic_tax": {"enabled": bool((given.get("automatic_tax") or {}).get("enabled")), "status": None},
        "automatically_finalizes_at": now + 3600 if given.get("auto_advance") else None,
        "billing_reason": reason,
        "collection_method": method,
        "created": now,
        "currency": given.get("currency") or customer["currency"] or "usd",
        "custom_fields": given.get("custom_fields") or None,
        "customer": customer["id"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "customer_tax_ids": [
            {"type": each["type"], "value": each["value"]} for each in (customer.get("tax_ids") or {}).get("data", ())
        ],
        "default_payment_method": given.get("default_payment_method"),
        "default_tax_rates": given.get("default_tax_rates") or [],
        "description": given.get("description"),
        "discounts": [],
        "due_date": due if due is not None else (now + days * 86400 if days is not None else None),
        "effective_at": given.get("effective_at"),
        "ending_balance": None,
        "footer": given.get("footer"),
        "from_invoice": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "issuer": {"type": "self"},
        "last_finalization_error": None,
        "latest_revision": None,
        "livemode": False,
        "metadata": forms.merge_metadata({}, given.get("metadata") or {}),
        "next_payment_attempt": None,
        "number": given.get("number"),
        "on_behalf_of": None,
        "parent": None,
        "period_end": now,
        "period_start": now,
        "post_payment_credit_notes_amount": 0,
        "pre_payment_credit_notes_amount": 0,
        "receipt_number": None,
        "shipping_cost": None,
        "starting_balance": 0,
        "statement_descriptor": given.get("statement_descriptor"),
        "status": "draft",
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "subtotal": 0,
        "subtotal_excluding_tax": 0,
        "test_clock": None,
        "total": 0,
        "total_discount_amounts": [],
        "total_excluding_tax": 0,
        "total_pretax_credit_amounts": [],
        "total_taxes": [],
        "webhooks_delivered_at": None,
        "_days": days,
        "_lines": 0,
    }


def set_lines(stripe: StripeCore, invoice: dict, lines: list[dict]) -> None:
    """Give a draft its lines: taxes, totals and what would be due; stored with the lines, not yet saved."""
    rates = {
        id: stripe.fetch("tax_rate", id, param="tax_rates")
        for id in {*invoice["default_tax_rates"], *(id for line in lines for id in line.get("r", ()))}
    }
    if rates:
        for line in lines:
            compute_taxes(line, rates, invoice["default_tax_rates"])
    add_up(invoice, lines)
    invoice["amount_due"] = invoice["amount_remaining"] = max(0, invoice["total"])
    store_lines(stripe, invoice, lines)


def create_invoice(stripe: StripeCore, request: Request) -> Answer:
    """POST /invoices: a draft; pending items come in only with pending_invoice_items_behavior=include."""
    given = forms.read_params(request.form(), INVOICE, required=("customer",))
    customer = stripe.fetch("customer", given["customer"], param="customer")
    invoice = build_invoice(stripe, customer, given)
    if given.get("subscription"):
        subscription = stripe.fetch("subscription", given["subscription"], param="subscription")
        invoice["parent"] = make_parent(subscription)
    lines = []
    if given.get("pending_invoice_items_behavior") == "include":
        lines = take_pending(stripe, invoice)
    set_lines(stripe, invoice, lines)
    stripe.save(invoice)
    if invoice["auto_advance"]:
        stripe.set_timer("finalize", invoice["id"], invoice["automatically_finalizes_at"])
    stripe.emit("invoice.created", invoice)
    return stripe.answer(request, invoice, effect="created")


def make_parent(subscription: dict) -> dict:
    """How an invoice names its subscription."""
    return {
        "type": "subscription_details",
        "quote_details": None,
        "subscription_details": {"metadata": subscription["metadata"], "subscription": subscription["id"]},
    }


def update_invoice(stripe: StripeCore, request: Request) -> Answer:
    """POST /invoices/{id}: a finalized one keeps everything but its metadata and texts."""
    invoice = stripe.fetch("invoice", request.params["id"])
    given = forms.read_params(request.form(), UPDATE)
    if invoice["status"] != "draft" and set(given) - AFTERWARDS:
        raise not_editable(invoice)
    if given.get("days_until_due") is not None:
        invoice["_days"] = given.pop("days_until_due")
        given["due_date"] = invoice["created"] + invoice["_days"] * 86400
    if "automatic_tax" in given:
        given["automatic_tax"] = {"enabled": bool((given["automatic_tax"] or {}).get("enabled")), "status": None}
    if "default_tax_rates" in given:
        invoice["default_tax_rates"] = given["default_tax_rates"]
        set_lines(stripe, invoice, without_computed_taxes(load_lines(stripe, invoice)))
    if given.get("auto_advance") is not None and invoice["status"] == "draft":
        given["automatically_finalizes_at"] = stripe.now + 3600 if given["auto_advance"] else None
        if given["auto_advance"]:
            stripe.set_timer("finalize", invoice["id"], stripe.now + 3600)
        else:
            stripe.stop_timer("finalize", invoice["id"])
    return update_object(stripe, request, invoice, given, "invoice.updated")


def without_computed_taxes(lines: list[dict]) -> list[dict]:
    """The lines as they were before taxes were computed from rates."""
    for line in lines:
        if line.pop("computed", None):
            line.pop("t", None)
    return lines


def not_editable(invoice: dict) -> Exception:
    """What every change of a finalized invoice meets."""
    return invalid(
        f"This invoice is no longer editable: its status is {invoice['status']}.", code="invoice_not_editable"
    )


def fetch_draft(stripe: StripeCore, id: str, *, param: str | None = "id") -> dict:
    """An invoice that may still be changed."""
    invoice = stripe.fetch("invoice", id, param=param)
    if invoice["status"] != "draft":
        raise not_editable(invoice)
    return invoice


def delete_invoice(stripe: StripeCore, request: Request) -> Answer:
    """DELETE /invoices/{id}: drafts only; its items become pending again."""
    invoice = fetch_draft(stripe, request.params["id"])
    if find_subscription(invoice):
        raise invalid("You can't delete invoices created by subscriptions.", code="invoice_not_editable")
    for item in stripe.store.find("invoiceitem", invoice=invoice["id"]):
        item["invoice"] = None
        stripe.save(item)
    stripe.emit("invoice.deleted", invoice)
    store_lines(stripe, invoice, [])
    left = {"id": invoice["id"], "object": "invoice", "deleted": True}
    stripe.store.delete("invoice", invoice["id"])
    stripe.note(request, left, "deleted")
    return Answer(200, left)


def list_invoices(stripe: StripeCore, request: Request) -> Answer:
    """GET /invoices, by customer, status, subscription, collection_method, created and due_date"""
    method = read_given(request).get("collection_method")
    accept = (lambda invoice: invoice["collection_method"] == method) if method else None
    return list_objects(
        stripe,
        request,
        "invoice",
        filters=("customer", "status", "subscription"),
        ranges=("due_date",),
        accept=accept,
        ignore=("collection_method",),
    )


def take_pending(stripe: StripeCore, invoice: dict) -> list[dict]:
    """The customer's pending items of the invoice's currency, now on this invoice, as lines."""
    lines = []
    for item in stripe.store.find("invoiceitem", customer=invoice["customer"]):
        if item["invoice"] is None and item["currency"] == invoice["currency"]:
            item["invoice"] = invoice["id"]
            stripe.save(item)
            lines.append(item["_line"])
    return lines
