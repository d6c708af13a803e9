"""What the control door makes: finished documents as a user or an import would make them, each with its events."""

from collections.abc import Callable
from typing import Any

from connectors.stripe.sandbox import catalog, customers, forms
from connectors.stripe.sandbox.balance import arrive, build_payout, fail_payout, sweep
from connectors.stripe.sandbox.billing import PAYABLE, collect, finalize
from connectors.stripe.sandbox.core import StripeCore
from connectors.stripe.sandbox.credit_notes import CREDIT_NOTE, LINE, build_credit_note
from connectors.stripe.sandbox.errors import invalid, missing_param
from connectors.stripe.sandbox.invoices import INVOICE, build_invoice, set_lines
from connectors.stripe.sandbox.lines import MADE_LINE, compute_line
from connectors.stripe.sandbox.payments import apply_payment, build_intent, build_record, charge_intent
from connectors.stripe.sandbox.refunds import (
    REFUND,
    build_dispute,
    build_refund,
    decide_dispute,
    fail_refund,
    find_charge,
)
from connectors.stripe.sandbox.subscriptions import SUBSCRIPTION, build_subscription

MADE_INVOICE: forms.Spec = {
    **{name: kind for name, kind in INVOICE.items() if name not in {"pending_invoice_items_behavior", "subscription"}},
    "lines": forms.many(forms.nested(MADE_LINE)),
    "status": forms.choice("draft", "open"),
}
MADE_CREDIT_NOTE: forms.Spec = {**CREDIT_NOTE, "lines": forms.many(forms.nested({**LINE, "type": forms.text}))}
# Objects that are there already are changed in the only ways their outside world does.
EXISTING = {"id": forms.text, "status": forms.text, "failure_reason": forms.text}


def make_documents(stripe: StripeCore, type: str, objects: list[dict]) -> list[str]:
    """Make documents of a type; their ids. Raises Refusal, or ValueError for a type that can't be made."""
    maker = MAKERS.get(type)
    if maker is None:
        raise ValueError(f"{type} can't be made here; these can: {', '.join(sorted(MAKERS))}")
    return [maker(stripe, given)["id"] for given in objects]


def make_invoice(stripe: StripeCore, given: dict) -> dict:
    """A finalized invoice with all its lines (a draft with status=draft); a negative total becomes credit."""
    given = forms.read_params(given, MADE_INVOICE, required=("customer", "lines"))
    customer = stripe.fetch("customer", given["customer"], param="customer")
    if not given.get("collection_method"):
        given["collection_method"] = "send_invoice"
        if given.get("days_until_due") is None and given.get("due_date") is None:
            given["days_until_due"] = 30
    invoice = build_invoice(stripe, customer, given)
    lines = [
        compute_line(stripe, each, invoice["currency"], param=f"lines[{number}]")
        for number, each in enumerate(given["lines"])
    ]
    set_lines(stripe, invoice, lines)
    stripe.emit("invoice.created", invoice)
    if given.get("status") == "draft":
        stripe.save(invoice)
        return invoice
    finalize(stripe, invoice, customer)
    if invoice["auto_advance"]:
        collect(stripe, invoice)
    return invoice


def make_credit_note(stripe: StripeCore, given: dict) -> dict:
    """A credit note; what a paid invoice's note leaves open becomes the customer's credit."""
    given = forms.read_params(given, MADE_CREDIT_NOTE, required=("invoice",))
    invoice = stripe.fetch("invoice", given["invoice"], param="invoice")
    return build_credit_note(stripe, invoice, given, rest_to_balance=True)


def make_payment(stripe: StripeCore, given: dict) -> dict:
    """A succeeded payment intent, for an invoice (what remains of it, or `amount`) or for none. `settled` names the
    balance's currency and the rate where the account doesn't settle in the payment's own."""
    spec = {
        "invoice": forms.text,
        "customer": forms.text,
        "amount": forms.positive,
        "currency": forms.currency,
        "payment_method": forms.text,
        "description": forms.text,
        "metadata": forms.metadata,
        "settled": forms.nested(
            {"currency": forms.currency, "exchange_rate": forms.text}, required=("currency", "exchange_rate")
        ),
    }
    given = forms.read_params(given, spec)
    invoice, amount, currency, customer = _find_owed(stripe, given)
    more = {
        "description": given.get("description"),
        "metadata": given.get("metadata"),
        "_settled": given.get("settled"),
    }
    intent = build_intent(stripe, amount, currency, customer, **more)
    stripe.save(intent)
    stripe.emit("payment_intent.created", intent)
    declined = charge_intent(stripe, intent, given.get("payment_method") or "pm_card_visa")
    if invoice is not None and declined is None:
        apply_payment(stripe, invoice, amount, "payment_intent", intent["id"])
    return intent


def make_record(stripe: StripeCore, given: dict) -> dict:
    """A bank transfer that a clerk recorded, for an invoice or for none."""
    spec = {
        "invoice": forms.text,
        "customer": forms.text,
        "amount": forms.positive,
        "currency": forms.currency,
        "metadata": forms.metadata,
    }
    given = forms.read_params(given, spec)
    invoice, amount, currency, customer = _find_owed(stripe, given)
    record = build_record(stripe, amount, currency, customer, metadata=given.get("metadata"))
    if invoice is not None:
        apply_payment(stripe, invoice, amount, "payment_record", record["id"])
    return record


def _find_owed(stripe: StripeCore, given: dict[str, Any]) -> tuple[dict | None, int, str, str | None]:
    """What is paid: the invoice if one is named, amount, currency and customer, where not given from that."""
    invoice = _find_payable(stripe, given)
    currency = given.get("currency") or (invoice["currency"] if invoice else None)
    amount = given.get("amount") or (invoice["amount_remaining"] if invoice else None)
    if amount is None or currency is None:
        raise missing_param("amount")
    customer = given.get("customer") or (invoice["customer"] if invoice else None)
    return invoice, amount, currency, customer


def _find_payable(stripe: StripeCore, given: dict[str, Any]) -> dict | None:
    if not given.get("invoice"):
        return None
    invoice = stripe.fetch("invoice", given["invoice"], param="invoice")
    if invoice["status"] not in PAYABLE:
        raise invalid(f"The invoice is {invoice['status']}.", code="status_transition_invalid", param="invoice")
    if given.get("currency") not in {None, invoice["currency"]}:
        raise invalid("The payment's currency isn't the invoice's.", param="currency")
    return invoice


def make_refund(stripe: StripeCore, given: dict) -> dict:
    """A refund; or, with the id of one and status=failed, its later failure."""
    given = forms.read_params(given, {**REFUND, **EXISTING})
    if given.get("id"):
        refund = stripe.fetch("refund", given["id"], param="id")
        if given.get("status") != "failed":
            raise invalid("Only status=failed happens to an existing refund.", param="status")
        fail_refund(stripe, refund, given.get("failure_reason") or "lost_or_stolen_card")
        return refund
    return build_refund(stripe, find_charge(stripe, given), given)


def make_dispute(stripe: StripeCore, given: dict) -> dict:
    """A dispute of a charge; or, with the id of one and status=won or lost, its end."""
    spec = {
        "charge": forms.text,
        "payment_intent": forms.text,
        "amount": forms.positive,
        "reason": forms.text,
        **EXISTING,
    }
    given = forms.read_params(given, spec)
    if given.get("id"):
        dispute = stripe.fetch("dispute", given["id"], param="id")
        decide_dispute(stripe, dispute, given.get("status") or "")
        return dispute
    return build_dispute(stripe, find_charge(stripe, given), amount=given.get("amount"), reason=given.get("reason"))


def make_payout(stripe: StripeCore, given: dict) -> dict:
    """The payout of everything in a currency, available or not, or with automatic=false a manual one of an amount; or,
    with id and status=paid or failed, what became of one: it reached the bank today, or the bank sent it back."""
    spec = {"currency": forms.currency, "amount": forms.positive, "automatic": forms.boolean}
    given = forms.read_params(given, {**spec, **EXISTING})
    if given.get("id"):
        payout = stripe.fetch("payout", given["id"], param="id")
        if given.get("status") == "failed":
            fail_payout(stripe, payout)
        elif given.get("status") == "paid" and payout["status"] == "in_transit":
            stripe.change(payout, arrival_date=stripe.now // 86400 * 86400)
            arrive(stripe, payout["id"])
        else:
            raise invalid("A payout on its way is paid, or it fails.", param="status")
        return payout
    if not given.get("currency"):
        raise missing_param("currency")
    if given.get("automatic") is False:
        if not given.get("amount"):
            raise missing_param("amount")
        return build_payout(stripe, given["amount"], given["currency"], automatic=False, entries=[])
    payouts = sweep(stripe, given["currency"], early=True)
    if not payouts:
        raise invalid("There is nothing to pay out.", code="balance_insufficient")
    return payouts[0]


def _made(spec: forms.Spec, build: Callable[[StripeCore, dict], dict], *required: str) -> Callable:
    def make(stripe: StripeCore, given: dict) -> dict:
        return build(stripe, forms.read_params(given, spec, required=required))

    return make


MAKERS: dict[str, Callable[[StripeCore, dict], dict]] = {
    "customer": _made(customers.CUSTOMER, customers.build_customer),
    "product": _made(catalog.PRODUCT, catalog.build_product, "name"),
    "price": _made(catalog.PRICE, catalog.build_price, "currency"),
    "tax_rate": _made(catalog.TAX_RATE, catalog.build_tax_rate, "display_name", "percentage", "inclusive"),
    "subscription": _made(SUBSCRIPTION, build_subscription, "customer", "items"),
    "invoice": make_invoice,
    "credit_note": make_credit_note,
    "payment_intent": make_payment,
    "payment_record": make_record,
    "refund": make_refund,
    "dispute": make_dispute,
    "payout": make_payout,
}
