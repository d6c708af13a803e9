"""What stands on a draft: its lines, and invoice items, which may wait for their invoice."""

from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.core import StripeCore, make_id, read_given
from connectors.stripe.sandbox.errors import invalid, missing_param, no_such
from connectors.stripe.sandbox.invoices import fetch_draft, set_lines, without_computed_taxes
from connectors.stripe.sandbox.lines import LINE, PRICE_DATA, compute_line, load_lines, show_line
from connectors.stripe.sandbox.lists import list_objects

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
    lines = without_computed_taxes(load_lines(stripe, invoice))
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
    lines = without_computed_taxes(load_lines(stripe, invoice))
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
        set_lines(stripe, invoice, [*without_computed_taxes(load_lines(stripe, invoice)), item["_line"]])
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
        set_lines(stripe, invoice, without_computed_taxes(lines))
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
