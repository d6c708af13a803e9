"""Invoices once they count: finalize, pay, send, void, uncollectible, overdue."""

from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.core import StripeCore
from connectors.stripe.sandbox.customers import move_customer_balance
from connectors.stripe.sandbox.errors import invalid
from connectors.stripe.sandbox.payments import apply_payment, charge_invoice, find_method, report_out_of_band

PAYABLE = ("open", "uncollectible")


def finalize(stripe: StripeCore, invoice: dict, customer: dict, *, number: str | None = None) -> None:
    """Draft to open, or to paid when nothing is due: number, dates, the customer's balance, `invoice.finalized`.

    A negative total goes to the customer's balance as credit; credit and debt of earlier invoices are settled here.
    """
    now = stripe.now
    if not invoice.get("_lines"):
        raise invalid(
            "An invoice cannot be finalized without line items.", code="invoice_no_customer_line_items", param="id"
        )
    invoice["number"] = number or invoice["number"]
    if not invoice["number"]:
        invoice["number"] = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
        customer["next_invoice_sequence"] += 1
    customer["currency"] = customer["currency"] or invoice["currency"]
    if invoice.get("_days") is not None:
        invoice["due_date"] = now + invoice["_days"] * 86400
    invoice["effective_at"] = invoice["effective_at"] or now
    invoice["status"] = "open"
    invoice["automatically_finalizes_at"] = None
    invoice["status_transitions"]["finalized_at"] = now
    page = f"{stripe.base_url}/hosted/{invoice['id']}"
    invoice["hosted_invoice_url"], invoice["invoice_pdf"] = page, f"{page}/pdf"
    settle_balance(stripe, invoice, customer)
    stripe.store.put("customer", customer["id"], customer, keys={"email": customer["email"]})
    paid = invoice["amount_remaining"] == 0
    if paid:
        invoice["status"] = "paid"
        invoice["attempted"] = True
        invoice["auto_advance"] = False
        invoice["status_transitions"]["paid_at"] = now
    stripe.save(invoice)
    stripe.stop_timer("finalize", invoice["id"])
    stripe.emit("invoice.finalized", invoice)
    if paid:
        stripe.emit("invoice.paid", invoice)
    elif invoice["due_date"] is not None and invoice["due_date"] >= now:
        stripe.set_timer("overdue", invoice["id"], invoice["due_date"])


# Stripe charges no less than this; a smaller invoice becomes its customer's debt, which the next one collects.
LEAST = {"gbp": 30, "eur": 50, "usd": 50, "chf": 50}


def settle_balance(stripe: StripeCore, invoice: dict, customer: dict) -> None:
    """What is due after the customer's balance: credit is used up, debt is collected, a negative total is credited;
    less than can be charged is owed with the next invoice."""
    total, start = invoice["total"], customer["balance"]
    if customer["currency"] != invoice["currency"]:
        start = 0
    move = total if total < 0 else -start if start > 0 else min(total, -start)
    invoice["starting_balance"] = start
    invoice["ending_balance"] = start + move
    invoice["amount_due"] = invoice["amount_remaining"] = max(0, total - move if total >= 0 else 0)
    if move:
        kind = "applied_to_invoice" if total >= 0 else "invoice_too_small"
        move_customer_balance(stripe, customer, move, invoice["currency"], kind, invoice=invoice["id"])
    due = invoice["amount_due"]
    if 0 < due < LEAST.get(invoice["currency"], 0) and customer["currency"] == invoice["currency"]:
        move_customer_balance(stripe, customer, due, invoice["currency"], "invoice_too_small", invoice=invoice["id"])
        invoice["ending_balance"] += due
        invoice["amount_due"] = invoice["amount_remaining"] = 0


def give_back(stripe: StripeCore, invoice: dict) -> None:
    """A voided invoice gives back the credit that it used, and leaves the debt that it was to collect."""
    move = (invoice["starting_balance"] or 0) - (invoice["ending_balance"] or 0)
    if move:
        customer = stripe.fetch("customer", invoice["customer"], param="customer")
        move_customer_balance(
            stripe, customer, move, invoice["currency"], "unapplied_from_invoice", invoice=invoice["id"]
        )


def finalize_invoice(stripe: StripeCore, request: Request) -> Answer:
    """POST /invoices/{id}/finalize"""
    invoice = stripe.fetch("invoice", request.params["id"])
    given = forms.read_params(request.form(), {"auto_advance": forms.boolean})
    if invoice["status"] != "draft":
        raise invalid(
            f"This invoice is already finalized, you can't re-finalize a {invoice['status']} invoice.",
            code="invoice_not_editable",
        )
    if given.get("auto_advance") is not None:
        invoice["auto_advance"] = given["auto_advance"]
    finalize(stripe, invoice, stripe.fetch("customer", invoice["customer"], param="customer"))
    if invoice["auto_advance"]:
        collect(stripe, invoice)
    return stripe.answer(request, invoice, effect="updated")


def collect(stripe: StripeCore, invoice: dict) -> bool:
    """Charge an open invoice that is collected automatically and has a payment method; whether it's paid now."""
    if invoice["status"] != "open" or invoice["collection_method"] != "charge_automatically":
        return invoice["status"] == "paid"
    method = find_method(stripe, invoice)
    return method is not None and charge_invoice(stripe, invoice, method) is None


def pay_invoice(stripe: StripeCore, request: Request) -> Answer:
    """POST /invoices/{id}/pay: with a payment method (402 when it's declined) or out of band."""
    invoice = stripe.fetch("invoice", request.params["id"])
    spec = {
        "paid_out_of_band": forms.boolean,
        "payment_method": forms.text,
        "source": forms.text,
        "forgive": forms.boolean,
        "off_session": forms.boolean,
    }
    given = forms.read_params(request.form(), spec)
    if invoice["status"] == "draft":
        finalize(stripe, invoice, stripe.fetch("customer", invoice["customer"], param="customer"))
    if invoice["status"] == "paid":
        raise invalid("Invoice is already paid", code="status_transition_invalid")
    if invoice["status"] not in PAYABLE:
        raise invalid(
            f"Cannot pay an invoice that is {invoice['status']}.", code="status_transition_invalid", param="id"
        )
    if given.get("paid_out_of_band"):
        report_out_of_band(stripe, invoice)
        return stripe.answer(request, invoice, effect="updated")
    method = given.get("payment_method") or find_method(stripe, invoice)
    if method is None:
        raise invalid(
            "Cannot charge customer that has no active card. Please add a card or pass a payment_method.",
            code="invoice_payment_intent_requires_action",
        )
    declined = charge_invoice(stripe, invoice, method)
    return declined if declined is not None else stripe.answer(request, invoice, effect="updated")


def send_invoice(stripe: StripeCore, request: Request) -> Answer:
    """POST /invoices/{id}/send"""
    invoice = stripe.fetch("invoice", request.params["id"])
    if invoice["collection_method"] != "send_invoice":
        raise invalid("You can only manually send an invoice if its collection method is 'send_invoice'.")
    if invoice["status"] == "draft":
        finalize(stripe, invoice, stripe.fetch("customer", invoice["customer"], param="customer"))
    stripe.emit("invoice.sent", invoice)
    return stripe.answer(request, invoice, effect="updated")


def close_invoice(status: str, transition: str, event: str, allowed: tuple[str, ...]) -> Any:
    """The handler of /void and /mark_uncollectible."""

    def close(stripe: StripeCore, request: Request) -> Answer:
        invoice = stripe.fetch("invoice", request.params["id"])
        if invoice["status"] not in allowed:
            raise invalid(
                f"You can only pass in open invoices. This invoice isn't open: it's {invoice['status']}.",
                code="status_transition_invalid",
                param="id",
            )
        if status == "void" and invoice["amount_paid"]:
            raise invalid("You can't void an invoice that has payments.", code="status_transition_invalid", param="id")
        previous = {"status": invoice["status"]}
        invoice["status"] = status
        invoice["auto_advance"] = False
        invoice["status_transitions"][transition] = stripe.now
        stripe.save(invoice)
        stripe.stop_timer("overdue", invoice["id"])
        if status == "void":
            give_back(stripe, invoice)
        stripe.emit(event, invoice)
        stripe.emit("invoice.updated", invoice, previous=previous)
        return stripe.answer(request, invoice, effect="updated")

    return close


void_invoice = close_invoice("void", "voided_at", "invoice.voided", PAYABLE)
mark_uncollectible = close_invoice(
    "uncollectible", "marked_uncollectible_at", "invoice.marked_uncollectible", ("open",)
)


def attach_payment(stripe: StripeCore, request: Request) -> Answer:
    """POST /invoices/{id}/attach_payment: a succeeded payment intent, or a payment record; a part is enough."""
    invoice = stripe.fetch("invoice", request.params["id"])
    given = forms.read_params(request.form(), {"payment_intent": forms.text, "payment_record": forms.text})
    if len(given) != 1:
        raise invalid("Exactly one of payment_intent or payment_record is needed.", code="parameters_exclusive")
    if invoice["status"] not in PAYABLE:
        raise invalid(f"The invoice is {invoice['status']}.", code="status_transition_invalid", param="id")
    ((type, id),) = given.items()
    payment = stripe.fetch(type, id, param=type)
    if type == "payment_intent":
        if payment["status"] != "succeeded":
            raise invalid("The payment intent hasn't succeeded.", code="payment_intent_unexpected_state", param=type)
        amount, currency = payment["amount_received"], payment["currency"]
    else:
        amount, currency = payment["amount_guaranteed"]["value"], payment["amount_guaranteed"]["currency"]
    if currency != invoice["currency"]:
        raise invalid(f"The payment is in {currency}, the invoice in {invoice['currency']}.", param=type)
    if stripe.store.find("invoice_payment", **{type: id}):
        raise invalid("The payment is already attached to an invoice.", param=type)
    apply_payment(stripe, invoice, amount, type, id)
    return stripe.answer(request, invoice, effect="updated")


def mark_overdue(stripe: StripeCore, id: str) -> None:
    """The due date has passed: `invoice.overdue`, once, when it's still open."""
    invoice = stripe.store.get("invoice", id)
    if invoice is not None and invoice["status"] == "open":
        stripe.emit("invoice.overdue", invoice)


def finalize_due(stripe: StripeCore, id: str) -> None:
    """An automatic draft's hour is over."""
    invoice = stripe.store.get("invoice", id)
    if invoice is None or invoice["status"] != "draft":
        return
    if not invoice.get("_lines"):
        problem = {"code": "invoice_no_customer_line_items", "type": "invalid_request_error"}
        stripe.change(invoice, last_finalization_error=problem, auto_advance=False)
        stripe.emit("invoice.finalization_failed", invoice)
        return
    finalize(stripe, invoice, stripe.fetch("customer", invoice["customer"]))
    collect(stripe, invoice)
