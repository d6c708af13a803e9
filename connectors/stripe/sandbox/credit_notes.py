"""Credit notes: against an open invoice they lower what remains, against a paid one they say where the money goes."""

from decimal import Decimal
from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.catalog import format_decimal
from connectors.stripe.sandbox.core import StripeCore, make_id, read_given
from connectors.stripe.sandbox.customers import move_customer_balance
from connectors.stripe.sandbox.errors import invalid, missing_param, no_such
from connectors.stripe.sandbox.handlers import update_object
from connectors.stripe.sandbox.lines import (
    TAX_AMOUNT,
    add_up,
    compute_taxes,
    discounted,
    fix_tax,
    load_lines,
    round_amount,
    show_credit_line,
    store_lines,
)
from connectors.stripe.sandbox.payments import mark_paid
from connectors.stripe.sandbox.refunds import build_refund

LINE: forms.Spec = {
    "type": forms.choice("custom_line_item", "invoice_line_item"),
    "invoice_line_item": forms.text,
    "amount": forms.not_negative,
    "quantity": forms.positive,
    "unit_amount": forms.not_negative,
    "unit_amount_decimal": forms.decimal,
    "description": forms.text,
    "metadata": forms.metadata,
    "tax_rates": forms.many(forms.text),
    "tax_amounts": forms.many(TAX_AMOUNT),
}
CREDIT_NOTE: forms.Spec = {
    "invoice": forms.text,
    "amount": forms.positive,
    "lines": forms.many(forms.nested(LINE, required=("type",))),
    "reason": forms.choice("duplicate", "fraudulent", "order_change", "product_unsatisfactory"),
    "memo": forms.text,
    "credit_amount": forms.not_negative,
    "refund_amount": forms.not_negative,
    "out_of_band_amount": forms.not_negative,
    "refunds": forms.many(
        forms.nested({"refund": forms.text, "amount_refunded": forms.positive, "type": forms.choice("refund")})
    ),
    "effective_at": forms.integer,
    "email_type": forms.choice("credit_note", "none"),
    "metadata": forms.metadata,
}
CREDITABLE = ("open", "paid", "uncollectible")
WHERE = ("credit_amount", "refund_amount", "out_of_band_amount")


def compute_lines(stripe: StripeCore, invoice: dict, given: dict[str, Any]) -> list[dict]:
    """The short lines: of the invoice's lines, or free ones, or one of the whole amount."""
    if given.get("amount") and given.get("lines"):
        raise invalid("Only one of amount and lines may be given.", code="parameters_exclusive", param="amount")
    if given.get("amount"):
        return [{"id": make_id("cnli"), "a": given["amount"], "q": "1", "u": str(given["amount"]), "d": "Credit"}]
    if not given.get("lines"):
        raise missing_param("amount")
    known: dict[str, dict] = {}
    if any(each.get("invoice_line_item") for each in given["lines"]):
        known = {line["id"]: line for line in load_lines(stripe, invoice)}
    return [_compute(each, known, f"lines[{number}]") for number, each in enumerate(given["lines"])]


def _compute(given: dict[str, Any], known: dict[str, dict], param: str) -> dict:
    line: dict[str, Any] = {"id": make_id("cnli")}
    source: dict | None = None
    unit, amount = given.get("unit_amount_decimal"), given.get("amount")
    quantity = given.get("quantity")
    if unit is None and given.get("unit_amount") is not None:
        unit = Decimal(given["unit_amount"])
    if given.get("invoice_line_item"):
        source = known.get(given["invoice_line_item"])
        if source is None:
            raise no_such("line_item", given["invoice_line_item"], param=f"{param}[invoice_line_item]")
        line["l"] = source["id"]
        line["d"] = given.get("description") or source.get("d")
        if unit is None:
            unit = Decimal(source["u"])
        if amount is None and (quantity is None or Decimal(quantity) == Decimal(source["q"])):
            amount, quantity = discounted(source), quantity or source["q"]
    elif given.get("type") == "invoice_line_item":
        raise missing_param(f"{param}[invoice_line_item]")
    elif given.get("description"):
        line["d"] = given["description"]
    if amount is None:
        if unit is None:
            raise missing_param(f"{param}[unit_amount]")
        amount = round_amount(unit * Decimal(quantity or 1))
    line["a"] = amount
    if quantity is not None or not line.get("l"):
        line["q"] = format_decimal(Decimal(quantity or 1))
    line["u"] = format_decimal(unit if unit is not None else Decimal(amount))
    if given.get("metadata"):
        line["m"] = given["metadata"]
    if given.get("tax_rates"):
        line["r"] = given["tax_rates"]
    elif source is not None:
        _take_taxes(line, source)
    if given.get("tax_amounts"):
        line["t"] = [fix_tax(each) for each in given["tax_amounts"]]
    return line


def _take_taxes(line: dict, source: dict) -> None:
    """The taxes of the line that is credited: by its rates, or its fixed amounts in proportion."""
    taxes = source.get("t") or ()
    if source.get("computed"):
        line["r"] = [tax["tax_rate"] for tax in taxes]
    elif taxes and discounted(source):
        part = Decimal(line["a"]) / discounted(source)
        line["t"] = [
            {**tax, **{name: round_amount(tax[name] * part) for name in ("amount", "taxable_amount")}} for tax in taxes
        ]


def build_credit_note(
    stripe: StripeCore, invoice: dict, given: dict[str, Any], *, rest_to_balance: bool = False, preview: bool = False
) -> dict:
    """A credit note with everything that follows from it. Raises Refusal when its amounts don't add up.

    With `rest_to_balance` what isn't spoken for becomes the customer's credit (the control door's way).
    """
    if invoice["status"] not in CREDITABLE:
        raise invalid(
            f"Invoice {invoice['id']} is {invoice['status']}; credit notes need an open or paid invoice.",
            code="status_transition_invalid",
            param="invoice",
        )
    lines = compute_lines(stripe, invoice, given)
    rates = {id: stripe.fetch("tax_rate", id, param="tax_rates") for line in lines for id in line.get("r", ())}
    for line in lines:
        compute_taxes(line, rates, [])
    now = stripe.now
    note: dict[str, Any] = {"id": make_id("cn"), "object": "credit_note"}
    add_up(note, lines)
    total = note["total"]
    if total <= 0:
        raise invalid("A credit note's total must be positive.", code="amount_too_small", param="amount")
    credited = invoice["pre_payment_credit_notes_amount"] + invoice["post_payment_credit_notes_amount"]
    if total > invoice["total"] - credited:
        raise invalid(
            f"The sum of credit notes ({credited + total}) can't exceed the invoice's total ({invoice['total']}).",
            code="amount_too_large",
            param="amount",
        )
    before = 0 if invoice["status"] == "paid" else min(total, invoice["amount_remaining"])
    after = total - before
    split = _split(stripe, given, after, rest_to_balance=rest_to_balance)
    note.update(
        amount=total,
        amount_shipping=0,
        created=now,
        currency=invoice["currency"],
        customer=invoice["customer"],
        customer_balance_transaction=None,
        discount_amount=0,
        discount_amounts=[],
        effective_at=given.get("effective_at") or now,
        invoice=invoice["id"],
        livemode=False,
        memo=given.get("memo"),
        metadata=forms.merge_metadata({}, given.get("metadata") or {}),
        number=f"{invoice['number']}-CN-{invoice.get('_notes', 0) + 1:02d}",
        out_of_band_amount=split["out_of_band_amount"] or None,
        pdf=f"{stripe.base_url}/hosted/{note['id']}/pdf",
        post_payment_amount=after,
        pre_payment_amount=before,
        pretax_credit_amounts=[],
        reason=given.get("reason"),
        refunds=[],
        shipping_cost=None,
        status="issued",
        type="mixed" if before and after else "post_payment" if after else "pre_payment",
        voided_at=None,
    )
    note["_lines"] = 0
    if preview:
        note["_preview"] = lines
        return note
    store_lines(stripe, note, lines)
    _settle(stripe, invoice, note, split, given.get("refunds") or [])
    return note


def _split(stripe: StripeCore, given: dict[str, Any], after: int, *, rest_to_balance: bool) -> dict[str, int]:
    split = {name: given.get(name) or 0 for name in WHERE}
    refunded = 0
    for number, each in enumerate(given.get("refunds") or ()):
        refund = stripe.fetch("refund", each.get("refund"), param=f"refunds[{number}][refund]")
        each["amount_refunded"] = each.get("amount_refunded") or refund["amount"]
        refunded += each["amount_refunded"]
    spoken_for = sum(split.values()) + refunded
    if rest_to_balance and spoken_for < after:
        split["credit_amount"] += after - spoken_for
        spoken_for = after
    if spoken_for != after:
        raise invalid(
            f"The sum of credit amount, refund amount and out of band amount ({spoken_for}) must equal the post "
            f"payment credit note amount ({after}).",
            param="credit_amount",
        )
    return split


def _settle(stripe: StripeCore, invoice: dict, note: dict, split: dict[str, int], refunds: list[dict]) -> None:
    """Carry a credit note's amounts to the invoice, the balance and the charge; save all, fire the events."""
    previous = {
        name: invoice[name]
        for name in (
            "amount_remaining",
            "pre_payment_credit_notes_amount",
            "post_payment_credit_notes_amount",
            "status",
        )
    }
    invoice["_notes"] = invoice.get("_notes", 0) + 1
    invoice["amount_remaining"] -= note["pre_payment_amount"]
    invoice["pre_payment_credit_notes_amount"] += note["pre_payment_amount"]
    invoice["post_payment_credit_notes_amount"] += note["post_payment_amount"]
    paid = invoice["amount_remaining"] == 0 and invoice["status"] != "paid"
    if paid:
        mark_paid(stripe, invoice)
    if split["credit_amount"]:
        customer = stripe.fetch("customer", invoice["customer"])
        related = {"credit_note": note["id"], "invoice": invoice["id"]}
        entry = move_customer_balance(
            stripe, customer, -split["credit_amount"], invoice["currency"], "credit_note", **related
        )
        note["customer_balance_transaction"] = entry["id"]
    for each in refunds:
        note["refunds"].append({"amount_refunded": each["amount_refunded"], "refund": each["refund"], "type": "refund"})
    if split["refund_amount"]:
        charge = _find_charge(stripe, invoice)
        refund = build_refund(stripe, charge, {"amount": split["refund_amount"]})
        note["refunds"].append({"amount_refunded": refund["amount"], "refund": refund["id"], "type": "refund"})
    stripe.save(note)
    stripe.save(invoice)
    stripe.emit("credit_note.created", note)
    stripe.emit("invoice.updated", invoice, previous=previous)
    if paid:
        stripe.emit("invoice.paid", invoice)
        stripe.on_invoice_paid(invoice)


def _find_charge(stripe: StripeCore, invoice: dict) -> dict:
    for payment in stripe.store.find("invoice_payment", invoice=invoice["id"]):
        if payment["status"] == "paid" and payment["payment"]["type"] == "payment_intent":
            intent = stripe.fetch("payment_intent", payment["payment"]["payment_intent"])
            return stripe.fetch("charge", intent["latest_charge"])
    raise invalid("The invoice has no charge that could be refunded.", param="refund_amount")


def create_credit_note(stripe: StripeCore, request: Request) -> Answer:
    """POST /credit_notes"""
    given = forms.read_params(request.form(), CREDIT_NOTE, required=("invoice",))
    invoice = stripe.fetch("invoice", given["invoice"], param="invoice")
    return stripe.answer(request, build_credit_note(stripe, invoice, given), effect="created")


def preview_credit_note(stripe: StripeCore, request: Request) -> Answer:
    """GET /credit_notes/preview: what it would be; nothing is kept"""
    given = forms.read_params(read_given(request), CREDIT_NOTE, required=("invoice",))
    invoice = stripe.fetch("invoice", given["invoice"], param="invoice")
    note = build_credit_note(stripe, invoice, given, rest_to_balance=True, preview=True)
    lines = note.pop("_preview")
    shown = stripe.present("credit_note", note)
    shown["lines"]["data"] = [show_credit_line(line, note) for line in lines[:10]]
    shown["lines"]["has_more"] = len(lines) > 10
    return Answer(200, shown)


def update_credit_note(stripe: StripeCore, request: Request) -> Answer:
    """POST /credit_notes/{id}: memo and metadata only"""
    note = stripe.fetch("credit_note", request.params["id"])
    given = forms.read_params(request.form(), {"memo": forms.text, "metadata": forms.metadata})
    return update_object(stripe, request, note, given, "credit_note.updated")


def void_credit_note(stripe: StripeCore, request: Request) -> Answer:
    """POST /credit_notes/{id}/void: only one that lowered an open invoice; what remains rises again"""
    note = stripe.fetch("credit_note", request.params["id"])
    invoice = stripe.fetch("invoice", note["invoice"])
    if note["status"] == "void":
        raise invalid("This credit note is already void.", code="status_transition_invalid", param="id")
    if note["post_payment_amount"] or invoice["status"] != "open":
        raise invalid("You can only void credit notes of open invoices.", code="status_transition_invalid", param="id")
    note.update(status="void", voided_at=stripe.now)
    stripe.save(note)
    previous = {name: invoice[name] for name in ("amount_remaining", "pre_payment_credit_notes_amount")}
    invoice["amount_remaining"] += note["pre_payment_amount"]
    invoice["pre_payment_credit_notes_amount"] -= note["pre_payment_amount"]
    stripe.save(invoice)
    stripe.emit("credit_note.voided", note)
    stripe.emit("invoice.updated", invoice, previous=previous)
    return stripe.answer(request, note, effect="updated")
