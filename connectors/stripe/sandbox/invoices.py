"""Invoices while they're drafts: creating, changing, their items and lines."""

from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.core import StripeCore, find_subscription, make_id, read_given
from connectors.stripe.sandbox.errors import invalid, missing_param, no_such
from connectors.stripe.sandbox.handlers import update_object
from connectors.stripe.sandbox.lines import (
    LINE,
    PRICE_DATA,
    add_up,
    compute_line,
    compute_taxes,
    load_lines,
    show_line,
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
ITEM: forms.Spec = {
    **{name: LINE[name] for name in LINE if name not in {"invoice_item", "tax_amounts"}},
    "customer": forms.text,
    "invoice": forms.text,
    "currency": forms.currency,
    "subscription": forms.text,
    "unit_amount_decimal": forms.decimal,
    "price_data": PRICE_DATA,
    "tax_behavior": forms.text,
}
LINE_UPDATE: forms.Spec = {**LINE, "id": forms.text}


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
        set_lines(stripe, invoice, _without_computed_taxes(load_lines(stripe, invoice)))
    if given.get("auto_advance") is not None and invoice["status"] == "draft":
        given["automatically_finalizes_at"] = stripe.now + 3600 if given["auto_advance"] else None
        if given["auto_advance"]:
            stripe.set_timer("finalize", invoice["id"], stripe.now + 3600)
        else:
            stripe.stop_timer("finalize", invoice["id"])
    return update_object(stripe, request, invoice, given, "invoice.updated")


def _without_computed_taxes(lines: list[dict]) -> list[dict]:
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


# lines of a draft


def add_lines(stripe: StripeCore, request: Request) -> Answer:
    """POST /invoices/{id}/add_lines"""
    return _change_lines(stripe, request, "add")


def update_lines(stripe: StripeCore, request: Request) -> Answer:
    """POST /invoices/{id}/update_lines"""
    return _change_lines(stripe, request, "update")


def remove_lines(stripe: StripeCore, request: Request) -> Answer:
    """POST /invoices/{id}/remove_lines"""
    return _change_lines(stripe, request, "remove")


def _change_lines(stripe: StripeCore, request: Request, how: str) -> Answer:
    invoice = fetch_draft(stripe, request.params["id"])
    one = {
        "add": forms.nested(LINE),
        "update": forms.nested(LINE_UPDATE, required=("id",)),
        "remove": forms.nested({"id": forms.text, "behavior": forms.choice("delete", "unassign")}, required=("id",)),
    }[how]
    spec = {"lines": forms.many(one), "invoice_metadata": forms.metadata}
    given = forms.read_params(request.form(), spec, required=("lines",))
    lines = _without_computed_taxes(load_lines(stripe, invoice))
    known = {line["id"]: line for line in lines}
    for number, each in enumerate(given["lines"]):
        param = f"lines[{number}]"
        if how == "add":
            lines.append(_line_of_item(stripe, invoice, each, param))
            continue
        line = known.get(each["id"])
        if line is None:
            raise no_such("line_item", each["id"], param=f"{param}[id]")
        if how == "remove":
            lines.remove(line)
            _release_item(stripe, line, each.get("behavior") or "delete")
        else:
            _update_line(stripe, line, each, invoice["currency"], param)
    if "invoice_metadata" in given:
        invoice["metadata"] = forms.merge_metadata(invoice["metadata"], given["invoice_metadata"])
    set_lines(stripe, invoice, lines)
    stripe.save(invoice)
    stripe.emit("invoice.updated", invoice, previous={"lines": None})
    return stripe.answer(request, invoice, effect="updated")


def _line_of_item(stripe: StripeCore, invoice: dict, given: dict[str, Any], param: str) -> dict:
    if not given.get("invoice_item"):
        return compute_line(stripe, given, invoice["currency"], param=param)
    item = stripe.fetch("invoiceitem", given["invoice_item"], param=f"{param}[invoice_item]")
    if item["invoice"] is not None:
        raise invalid("The invoice item is already attached to an invoice.", param=f"{param}[invoice_item]")
    item["invoice"] = invoice["id"]
    stripe.save(item)
    return item["_line"]


def _release_item(stripe: StripeCore, line: dict, behavior: str) -> None:
    item = stripe.store.get("invoiceitem", line["i"]) if line.get("i") else None
    if item is None:
        return
    if behavior == "delete":
        stripe.store.delete("invoiceitem", item["id"])
    else:
        item["invoice"] = None
        stripe.save(item)


def _update_line(stripe: StripeCore, line: dict, given: dict[str, Any], currency: str, param: str) -> None:
    computing = {"amount", "quantity", "quantity_decimal", "pricing", "price_data", "tax_rates", "tax_amounts"}
    if computing & set(given):
        base: dict[str, Any] = {"quantity_decimal": forms.decimal(line["q"], param), "product": line.get("o")}
        if line.get("p") and "amount" not in given and "price_data" not in given:
            base["price"] = line["p"]
        elif "amount" not in given:
            base["unit_amount_decimal"] = forms.decimal(line["u"], param)
        if "quantity" in given:
            base.pop("quantity_decimal")
        fresh = compute_line(stripe, {**base, **given}, currency, param=param)
        fresh.pop("id")
        line.update(fresh)
    if "description" in given:
        line["d"] = given["description"]
    if "metadata" in given:
        line["m"] = forms.merge_metadata(line.get("m") or {}, given["metadata"])
    if given.get("period"):
        line["x"] = [given["period"]["start"], given["period"]["end"]]


def update_line(stripe: StripeCore, request: Request) -> Answer:
    """POST /invoices/{id}/lines/{line}"""
    invoice = fetch_draft(stripe, request.params["id"])
    given = forms.read_params(request.form(), LINE)
    lines = _without_computed_taxes(load_lines(stripe, invoice))
    line = next((each for each in lines if each["id"] == request.params["line"]), None)
    if line is None:
        raise no_such("line_item", request.params["line"], param="id")
    _update_line(stripe, line, given, invoice["currency"], "line")
    set_lines(stripe, invoice, lines)
    stripe.save(invoice)
    stripe.emit("invoice.updated", invoice, previous={"lines": None})
    stripe.note(request, invoice, "updated")
    return Answer(200, show_line(line, invoice))


# invoice items


def create_item(stripe: StripeCore, request: Request) -> Answer:
    """POST /invoiceitems: on a draft at once, else pending until an invoice takes it in."""
    given = forms.read_params(request.form(), ITEM)
    invoice = fetch_draft(stripe, given["invoice"], param="invoice") if given.get("invoice") else None
    if not given.get("customer"):
        if invoice is None:
            raise missing_param("customer")
        given["customer"] = invoice["customer"]
    customer = stripe.fetch("customer", given["customer"], param="customer")
    if invoice is not None and invoice["customer"] != customer["id"]:
        raise invalid("The invoice belongs to another customer.", param="invoice")
    item = build_item(stripe, customer, given, invoice)
    if invoice is not None:
        set_lines(stripe, invoice, [*_without_computed_taxes(load_lines(stripe, invoice)), item["_line"]])
        stripe.save(invoice)
    return stripe.answer(request, item, effect="created")


def build_item(stripe: StripeCore, customer: dict, given: dict[str, Any], invoice: dict | None) -> dict:
    """A new invoice item, saved, with its event."""
    currency = given.get("currency") or (invoice["currency"] if invoice else customer["currency"])
    price_id = (given.get("pricing") or {}).get("price")
    if price_id:
        currency = stripe.fetch("price", price_id, param="pricing[price]")["currency"]
    if not currency:
        raise missing_param("currency")
    if invoice is not None and currency != invoice["currency"]:
        raise invalid(f"The currency must be the invoice's: {invoice['currency']}", param="currency")
    line = compute_line(stripe, given, currency, param="")
    id, now = make_id("ii"), stripe.now
    line["i"] = id
    period = given.get("period") or {"start": now, "end": now}
    line["x"] = [period["start"], period["end"]]
    shown = show_line(line, {"id": None, "currency": currency, "period_start": now, "period_end": now})
    item = {
        "id": id,
        "object": "invoiceitem",
        "amount": line["a"],
        "created": now,
        "currency": currency,
        "customer": customer["id"],
        "date": now,
        "description": line.get("d"),
        "discountable": True,
        "discounts": [],
        "invoice": invoice["id"] if invoice else None,
        "livemode": False,
        "metadata": line.get("m") or {},
        "net_amount": line["a"],
        "parent": None,
        "period": period,
        "pricing": shown["pricing"],
        "proration": bool(line.get("pro")),
        "quantity": shown["quantity"],
        "quantity_decimal": shown["quantity_decimal"],
        "tax_rates": [stripe.fetch("tax_rate", rate, param="tax_rates") for rate in line.get("r", ())],
        "test_clock": None,
        "_line": line,
    }
    stripe.save(item)
    stripe.emit("invoiceitem.created", item)
    return item


def delete_item(stripe: StripeCore, request: Request) -> Answer:
    """DELETE /invoiceitems/{id}: not once its invoice is finalized."""
    item = stripe.fetch("invoiceitem", request.params["id"])
    if item["invoice"]:
        invoice = fetch_draft(stripe, item["invoice"])
        lines = [line for line in load_lines(stripe, invoice) if line.get("i") != item["id"]]
        set_lines(stripe, invoice, _without_computed_taxes(lines))
        stripe.save(invoice)
    stripe.store.delete("invoiceitem", item["id"])
    stripe.emit("invoiceitem.deleted", item)
    left = {"id": item["id"], "object": "invoiceitem", "deleted": True}
    stripe.note(request, left, "deleted")
    return Answer(200, left)


def list_items(stripe: StripeCore, request: Request) -> Answer:
    """GET /invoiceitems, by customer, invoice, pending"""
    pending = forms.boolean(read_given(request).get("pending"), "pending")
    accept = None if pending is None else (lambda item: (item["invoice"] is None) is pending)
    return list_objects(
        stripe, request, "invoiceitem", filters=("customer", "invoice"), accept=accept, ignore=("pending",)
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
