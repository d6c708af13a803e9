"""Money going back: refunds, which may fail later, and disputes."""

from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.balance import DISPUTE_FEE, book
from connectors.stripe.sandbox.core import StripeCore, make_id
from connectors.stripe.sandbox.errors import invalid, missing_param
from connectors.stripe.sandbox.handlers import update_object

REFUND: forms.Spec = {
    "payment_intent": forms.text,
    "charge": forms.text,
    "amount": forms.positive,
    "reason": forms.choice("duplicate", "fraudulent", "requested_by_customer"),
    "metadata": forms.metadata,
}


def find_charge(stripe: StripeCore, given: dict[str, Any]) -> dict:
    """The charge that is meant by `charge` or `payment_intent`."""
    if given.get("charge"):
        return stripe.fetch("charge", given["charge"], param="charge")
    if not given.get("payment_intent"):
        raise missing_param("payment_intent")
    intent = stripe.fetch("payment_intent", given["payment_intent"], param="payment_intent")
    if intent["status"] != "succeeded":
        raise invalid(
            "This PaymentIntent does not have a successful charge to refund.",
            code="payment_intent_unexpected_state",
            param="payment_intent",
        )
    return stripe.fetch("charge", intent["latest_charge"])


def build_refund(stripe: StripeCore, charge: dict, given: dict[str, Any]) -> dict:
    """A refund that succeeds, saved, booked, with its events. Raises Refusal when there's nothing left to refund."""
    left = charge["amount_captured"] - charge["amount_refunded"]
    if charge["disputed"]:
        raise invalid("The charge has been disputed and can't be refunded.", code="charge_disputed")
    if left <= 0:
        raise invalid(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount = given.get("amount") or left
    if amount > left:
        raise invalid(f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})", param="amount")
    refund = {
        "id": make_id("re"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": stripe.now,
        "currency": charge["currency"],
        "customer": charge["customer"],
        "description": None,
        "failure_balance_transaction": None,
        "failure_reason": None,
        "metadata": given.get("metadata") or {},
        "payment_intent": charge["payment_intent"],
        "reason": given.get("reason"),
        "receipt_number": None,
        "status": "succeeded",
        **({"_settled": charge["_settled"]} if charge.get("_settled") else {}),
    }
    refund["balance_transaction"] = book(stripe, refund, -amount, "refund", description="REFUND FOR CHARGE")["id"]
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount_captured"]
    stripe.save(refund)
    stripe.save(charge)
    stripe.emit("refund.created", refund)
    stripe.emit("charge.refunded", charge)
    return refund


def create_refund(stripe: StripeCore, request: Request) -> Answer:
    """POST /refunds"""
    given = forms.read_params(request.form(), REFUND)
    return stripe.answer(request, build_refund(stripe, find_charge(stripe, given), given), effect="created")


def update_refund(stripe: StripeCore, request: Request) -> Answer:
    """POST /refunds/{id}: metadata only"""
    refund = stripe.fetch("refund", request.params["id"])
    given = forms.read_params(request.form(), {"metadata": forms.metadata})
    return update_object(stripe, request, refund, given, "refund.updated")


def fail_refund(stripe: StripeCore, refund: dict, reason: str = "lost_or_stolen_card") -> None:
    """The bank couldn't take a refund: the money comes back, days later."""
    if refund["status"] not in {"succeeded", "pending"}:
        raise invalid(f"The refund is {refund['status']}.", param="id")
    back = book(stripe, refund, refund["amount"], "refund_failure", description="REFUND FAILURE")
    charge = stripe.fetch("charge", refund["charge"])
    charge["amount_refunded"] -= refund["amount"]
    charge["refunded"] = False
    stripe.save(charge)
    previous = {"status": refund["status"], "failure_reason": None, "failure_balance_transaction": None}
    refund.update(status="failed", failure_reason=reason, failure_balance_transaction=back["id"])
    stripe.save(refund)
    stripe.emit("refund.updated", refund, previous=previous)
    stripe.emit("refund.failed", refund)


# disputes


def build_dispute(stripe: StripeCore, charge: dict, *, amount: int | None, reason: str | None) -> dict:
    """A customer disputes a charge: the money and a fee are withdrawn at once."""
    if charge["disputed"]:
        raise invalid("The charge is disputed already.", param="charge")
    dispute = {
        "id": make_id("du"),
        "object": "dispute",
        "amount": amount or charge["amount"],
        "balance_transactions": [],
        "charge": charge["id"],
        "created": stripe.now,
        "currency": charge["currency"],
        "evidence": {},
        "evidence_details": {"due_by": stripe.now + 7 * 86400, "has_evidence": False, "submission_count": 0},
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": reason or "general",
        "status": "needs_response",
        **({"_settled": charge["_settled"]} if charge.get("_settled") else {}),
    }
    charge["disputed"] = True
    stripe.save(charge)
    stripe.emit("charge.dispute.created", dispute)
    entry = book(
        stripe, dispute, -dispute["amount"], "adjustment", fee=DISPUTE_FEE, description="Chargeback withdrawal"
    )
    dispute["balance_transactions"].append(stripe.present("balance_transaction", entry))
    stripe.save(dispute)
    stripe.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def update_dispute(stripe: StripeCore, request: Request) -> Answer:
    """POST /disputes/{id}: evidence"""
    dispute = stripe.fetch("dispute", request.params["id"])
    spec = {"evidence": forms.anything, "submit": forms.boolean, "metadata": forms.metadata}
    given = forms.read_params(request.form(), spec)
    if given.pop("submit", None) and dispute["status"] == "needs_response":
        given["status"] = "under_review"
    return update_object(stripe, request, dispute, given, "charge.dispute.updated")


def close_dispute(stripe: StripeCore, request: Request) -> Answer:
    """POST /disputes/{id}/close: given up, so lost"""
    dispute = stripe.fetch("dispute", request.params["id"])
    decide_dispute(stripe, dispute, "lost")
    return stripe.answer(request, dispute, effect="updated")


def decide_dispute(stripe: StripeCore, dispute: dict, status: str) -> None:
    """Won (the money comes back, the fee doesn't) or lost."""
    if dispute["status"] in {"won", "lost"}:
        raise invalid(f"The dispute is already {dispute['status']}.", code="status_transition_invalid", param="id")
    if status not in {"won", "lost"}:
        raise invalid("status must be won or lost", param="status")
    dispute["status"] = status
    if status == "won":
        charge = stripe.fetch("charge", dispute["charge"])
        charge["disputed"] = False
        stripe.save(charge)
        entry = book(stripe, dispute, dispute["amount"], "adjustment", description="Chargeback reversal")
        dispute["balance_transactions"].append(stripe.present("balance_transaction", entry))
        stripe.emit("charge.dispute.funds_reinstated", dispute)
    stripe.save(dispute)
    stripe.emit("charge.dispute.closed", dispute)
