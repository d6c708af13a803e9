"""Money coming in: payment intents with their charge, payments of invoices, payment records."""

from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.balance import book_charge
from connectors.stripe.sandbox.core import StripeCore, make_id, read_given
from connectors.stripe.sandbox.customers import does_decline
from connectors.stripe.sandbox.errors import build_error, invalid
from connectors.stripe.sandbox.lists import list_objects

INTENT: forms.Spec = {
    "amount": forms.positive,
    "currency": forms.currency,
    "customer": forms.text,
    "description": forms.text,
    "payment_method": forms.text,
    "payment_method_types": forms.many(forms.text),
    "automatic_payment_methods": forms.anything,
    "confirm": forms.boolean,
    "off_session": forms.boolean,
    "metadata": forms.metadata,
}
DECLINED = {
    "code": "card_declined",
    "decline_code": "generic_decline",
    "message": "Your card was declined.",
    "type": "card_error",
}


def find_method(stripe: StripeCore, invoice: dict) -> str | None:
    """The payment method that collects an invoice: its own, its subscription's (copied to it), or its customer's."""
    if invoice["default_payment_method"]:
        return invoice["default_payment_method"]
    customer = stripe.store.get("customer", invoice["customer"]) or {}
    return (customer.get("invoice_settings") or {}).get("default_payment_method")


def build_intent(stripe: StripeCore, amount: int, currency: str, customer: str | None, **more: Any) -> dict:
    """A new payment intent, not yet saved."""
    id = make_id("pi")
    return {
        "id": id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_received": 0,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "client_secret": f"{id}_secret_{make_id('x')[2:]}",
        "confirmation_method": "automatic",
        "created": stripe.now,
        "currency": currency,
        "customer": customer,
        "description": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "payment_method": None,
        "payment_method_types": ["card"],
        "receipt_email": None,
        "statement_descriptor": None,
        "status": "requires_payment_method",
        **{name: value for name, value in more.items() if value is not None},
    }


def charge_intent(stripe: StripeCore, intent: dict, method: str) -> Answer | None:
    """Take the money: charge, balance transaction, events. None, or the 402 when it's declined."""
    declined = does_decline(stripe, method)
    charge = {
        "id": make_id("ch"),
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": 0 if declined else intent["amount"],
        "amount_refunded": 0,
        "balance_transaction": None,
        "billing_details": {"address": None, "email": None, "name": None, "phone": None},
        "captured": not declined,
        "created": stripe.now,
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_code": "card_declined" if declined else None,
        "failure_message": DECLINED["message"] if declined else None,
        "livemode": False,
        "metadata": intent["metadata"],
        "outcome": {"network_status": "declined_by_network" if declined else "approved_by_network"},
        "paid": not declined,
        "payment_intent": intent["id"],
        "payment_method": method,
        "payment_method_details": {"card": {"brand": "visa", "last4": "4242"}, "type": "card"},
        "receipt_url": None,
        "refunded": False,
        "status": "failed" if declined else "succeeded",
        **({"_settled": intent["_settled"]} if intent.get("_settled") else {}),
    }
    intent["latest_charge"] = charge["id"]
    if declined:
        intent["last_payment_error"] = {**DECLINED, "charge": charge["id"]}
        intent["status"], intent["payment_method"] = "requires_payment_method", None
        stripe.save(charge)
        stripe.save(intent)
        stripe.emit("charge.failed", charge)
        stripe.emit("payment_intent.payment_failed", intent)
        more = {"charge": charge["id"], "payment_intent": intent, "decline_code": DECLINED["decline_code"]}
        return build_error(402, DECLINED["message"], kind="card_error", code="card_declined", **more)
    book_charge(stripe, charge)
    intent.update(status="succeeded", amount_received=intent["amount"], payment_method=method, last_payment_error=None)
    stripe.save(charge)
    stripe.save(intent)
    stripe.emit("charge.succeeded", charge)
    stripe.emit("payment_intent.succeeded", intent)
    return None


def charge_invoice(stripe: StripeCore, invoice: dict, method: str) -> Answer | None:
    """Charge what remains of an invoice. None when it's paid now, the 402 when declined."""
    found = [each for each in stripe.store.find("invoice_payment", invoice=invoice["id"]) if each["status"] == "open"]
    intent = stripe.store.get("payment_intent", found[0]["payment"]["payment_intent"]) if found else None
    if intent is None:
        description = f"Payment for Invoice {invoice['number']}"
        intent = build_intent(
            stripe, invoice["amount_remaining"], invoice["currency"], invoice["customer"], description=description
        )
        stripe.save(intent)
        stripe.emit("payment_intent.created", intent)
    invoice["attempted"] = True
    invoice["attempt_count"] += 1
    intent["amount"] = invoice["amount_remaining"]
    declined = charge_intent(stripe, intent, method)
    if declined is None:
        apply_payment(
            stripe, invoice, intent["amount"], "payment_intent", intent["id"], existing=found[0] if found else None
        )
        return None
    if not found:
        stripe.save(build_invoice_payment(stripe, invoice, intent["amount"], "payment_intent", intent["id"]))
    invoice["next_payment_attempt"] = stripe.now + 3 * 86400 if invoice["auto_advance"] else None
    stripe.save(invoice)
    stripe.emit("invoice.payment_failed", invoice)
    return declined


def build_invoice_payment(stripe: StripeCore, invoice: dict, amount: int, type: str, id: str) -> dict:
    """A payment of an invoice, still open, not yet saved."""
    return {
        "id": make_id("inpay"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": amount,
        "created": stripe.now,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": type == "payment_intent",
        "livemode": False,
        "payment": {"type": type, type: id},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }


def list_invoice_payments(stripe: StripeCore, request: Request) -> Answer:
    """GET /invoice_payments, by invoice, status, and the payment behind it"""
    spec = {"type": forms.choice("payment_intent", "payment_record"), "payment_intent": forms.text}
    wanted = forms.nested({**spec, "payment_record": forms.text}, required=("type",))
    behind = wanted(read_given(request).get("payment"), "payment") or {}
    return list_objects(
        stripe,
        request,
        "invoice_payment",
        filters=("invoice", "status"),
        ignore=("payment",),
        accept=lambda each: all(each["payment"].get(name) == value for name, value in behind.items()),
    )


def apply_payment(
    stripe: StripeCore, invoice: dict, amount: int, type: str, id: str, *, existing: dict | None = None
) -> dict:
    """Set a payment off against an invoice; more than remains is overpaid. Fires what follows from it."""
    payment = existing or build_invoice_payment(stripe, invoice, amount, type, id)
    payment["amount_paid"], payment["status"] = amount, "paid"
    payment["status_transitions"]["paid_at"] = stripe.now
    stripe.save(payment)
    previous = {name: invoice[name] for name in ("amount_paid", "amount_remaining", "status")}
    over = max(0, amount - invoice["amount_remaining"])
    invoice["amount_overpaid"] += over
    invoice["amount_paid"] += amount
    invoice["amount_remaining"] -= amount - over
    invoice["attempted"] = True
    if type == "payment_record":
        invoice["amount_paid_off_stripe"] += amount
    stripe.emit("invoice_payment.paid", payment)
    if invoice["amount_remaining"] == 0:
        mark_paid(stripe, invoice)
    stripe.save(invoice)
    stripe.emit("invoice.updated", invoice, previous=previous)
    if over:
        stripe.emit("invoice.overpaid", invoice)
    if invoice["status"] == "paid":
        stripe.emit("invoice.paid", invoice)
        if type == "payment_intent":
            stripe.emit("invoice.payment_succeeded", invoice)
        stripe.on_invoice_paid(invoice)
    return payment


def mark_paid(stripe: StripeCore, invoice: dict) -> None:
    """Nothing remains to be paid."""
    invoice["status"] = "paid"
    invoice["auto_advance"] = False
    invoice["next_payment_attempt"] = None
    invoice["status_transitions"]["paid_at"] = stripe.now
    stripe.stop_timer("overdue", invoice["id"])


# money that came in outside of Stripe


def build_record(stripe: StripeCore, amount: int, currency: str, customer: str | None, **more: Any) -> dict:
    """A payment record: money received off Stripe, saved."""
    nothing = {"currency": currency, "value": 0}
    record = {
        "id": make_id("pr"),
        "object": "payment_record",
        "amount": {"currency": currency, "value": amount},
        "amount_authorized": {"currency": currency, "value": amount},
        "amount_canceled": nothing,
        "amount_failed": nothing,
        "amount_guaranteed": {"currency": currency, "value": amount},
        "amount_refunded": nothing,
        "amount_requested": {"currency": currency, "value": amount},
        "created": stripe.now,
        "customer_details": {"customer": customer, "email": None, "name": None, "phone": None},
        "customer_presence": None,
        "description": None,
        "livemode": False,
        "metadata": {},
        "payment_method_details": {"custom": {"display_name": "Bank transfer", "type": None}, "type": "custom"},
        "processor_details": {"type": "custom", "custom": {"payment_reference": None}},
        "reported_by": "self",
        **{name: value for name, value in more.items() if value is not None},
    }
    stripe.save(record)
    return record


def report_out_of_band(stripe: StripeCore, invoice: dict) -> dict:
    """What remains of an invoice was paid outside; its payment."""
    record = build_record(stripe, invoice["amount_remaining"], invoice["currency"], invoice["customer"])
    return apply_payment(stripe, invoice, invoice["amount_remaining"], "payment_record", record["id"])


def report_payment(stripe: StripeCore, request: Request) -> Answer:
    """POST /payment_records/report_payment"""
    money = forms.nested({"currency": forms.currency, "value": forms.positive}, required=("currency", "value"))
    spec = {
        "amount_requested": money,
        "customer_details": forms.nested(
            {"customer": forms.text, "email": forms.text, "name": forms.text, "phone": forms.text}
        ),
        "customer_presence": forms.text,
        "description": forms.text,
        "guaranteed": forms.nested({"guaranteed_at": forms.integer}),
        "initiated_at": forms.integer,
        "metadata": forms.metadata,
        "outcome": forms.choice("canceled", "failed", "guaranteed"),
        "payment_method_details": forms.anything,
        "processor_details": forms.anything,
    }
    needed = ("amount_requested", "initiated_at", "payment_method_details")
    given = forms.read_params(request.form(), spec, required=needed)
    if given.get("outcome") != "guaranteed":
        raise invalid("This sandbox records received money only: outcome=guaranteed.", param="outcome")
    details = given.get("customer_details") or {}
    if details.get("customer"):
        stripe.fetch("customer", details["customer"], param="customer_details[customer]")
    wanted = given["amount_requested"]
    more = {
        name: given.get(name) for name in ("description", "metadata", "payment_method_details", "processor_details")
    }
    record = build_record(stripe, wanted["value"], wanted["currency"], details.get("customer"), **more)
    return stripe.answer(request, record, effect="created")


# payment intents of their own


def create_intent(stripe: StripeCore, request: Request) -> Answer:
    """POST /payment_intents, charged at once with confirm=true"""
    given = forms.read_params(request.form(), INTENT, required=("amount", "currency"))
    if given.get("customer"):
        stripe.fetch("customer", given["customer"], param="customer")
    intent = build_intent(
        stripe,
        given["amount"],
        given["currency"],
        given.get("customer"),
        description=given.get("description"),
        metadata=given.get("metadata"),
        payment_method=given.get("payment_method"),
        status="requires_confirmation" if given.get("payment_method") else None,
    )
    stripe.save(intent)
    stripe.emit("payment_intent.created", intent)
    if given.get("confirm"):
        return _confirm(stripe, request, intent, given.get("payment_method"), effect="created")
    return stripe.answer(request, intent, effect="created")


def confirm_intent(stripe: StripeCore, request: Request) -> Answer:
    """POST /payment_intents/{id}/confirm"""
    intent = stripe.fetch("payment_intent", request.params["id"])
    given = forms.read_params(request.form(), {"payment_method": forms.text, "off_session": forms.boolean})
    return _confirm(stripe, request, intent, given.get("payment_method") or intent["payment_method"], effect="updated")


def _confirm(stripe: StripeCore, request: Request, intent: dict, method: str | None, *, effect: str) -> Answer:
    if intent["status"] not in {"requires_payment_method", "requires_confirmation"}:
        raise invalid(
            f"This PaymentIntent's status is {intent['status']}.", code="payment_intent_unexpected_state", param="id"
        )
    if method is None:
        raise invalid(
            "You cannot confirm this PaymentIntent because it's missing a payment method.", param="payment_method"
        )
    declined = charge_intent(stripe, intent, method)
    if declined is not None:
        stripe.note(request, intent, effect)
        return declined
    return stripe.answer(request, intent, effect=effect)


def cancel_intent(stripe: StripeCore, request: Request) -> Answer:
    """POST /payment_intents/{id}/cancel"""
    intent = stripe.fetch("payment_intent", request.params["id"])
    given = forms.read_params(request.form(), {"cancellation_reason": forms.text})
    if intent["status"] in {"succeeded", "canceled"}:
        raise invalid(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    intent.update(status="canceled", canceled_at=stripe.now, cancellation_reason=given.get("cancellation_reason"))
    stripe.save(intent)
    stripe.emit("payment_intent.canceled", intent)
    return stripe.answer(request, intent, effect="updated")
