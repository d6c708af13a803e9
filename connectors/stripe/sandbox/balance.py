"""The account's money at Stripe: balance transactions with their fees, and payouts to the bank."""

from decimal import Decimal
from typing import Any

from connectors.sandbox.request import Answer, Request
from connectors.stripe.sandbox import forms
from connectors.stripe.sandbox.core import StripeCore, make_id, read_given
from connectors.stripe.sandbox.errors import invalid
from connectors.stripe.sandbox.lines import round_amount
from connectors.stripe.sandbox.lists import list_objects

FEE_SHARE, FEE_FIXED = Decimal("0.029"), 30  # of a charge, in minor units
DISPUTE_FEE = 1500
AVAILABLE_AFTER = 2 * 86400
ARRIVES_AFTER = 86400
CATEGORIES = {"charge": "charge", "refund": "refund", "payout": "payout", "adjustment": "dispute"}


def book(
    stripe: StripeCore,
    source: dict,
    amount: int,
    type: str,
    *,
    fee: int = 0,
    description: str | None = None,
    category: str | None = None,
) -> dict:
    """A balance transaction of `amount` minor units, less the fee; saved. What settles in another currency is
    converted: the amount in that currency, rounded, is the amount times `exchange_rate`."""
    now = stripe.now
    settled = source.get("_settled") or {}
    currency = settled.get("currency") or source["currency"]
    if settled:
        amount, fee = (round_amount(each * Decimal(settled["exchange_rate"])) for each in (amount, fee))
    entry: dict[str, Any] = {
        "id": make_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": now if type == "payout" else now + AVAILABLE_AFTER,
        "balance_type": "payments",
        "created": now,
        "currency": currency,
        "description": description,
        "exchange_rate": float(settled["exchange_rate"]) if settled else None,
        "fee": fee,
        "fee_details": [
            {
                "amount": fee,
                "application": None,
                "currency": currency,
                "description": "Stripe processing fees",
                "type": "stripe_fee",
            }
        ]
        if fee
        else [],
        "net": amount - fee,
        "reporting_category": category or CATEGORIES.get(type, type),
        "source": source["id"],
        "status": "available" if type == "payout" else "pending",
        "type": type,
        "_payout": None,
    }
    save_entry(stripe, entry)
    return entry


def save_entry(stripe: StripeCore, entry: dict) -> None:
    """Store a balance transaction; those that no payout has taken yet are found by `open`."""
    keys = {name: entry[name] for name in ("type", "currency", "source")}
    keys["payout"] = entry["_payout"]
    keys["open"] = None if entry["_payout"] or entry["type"] == "payout" else "yes"
    stripe.store.put("balance_transaction", entry["id"], entry, keys=keys, at=entry["created"])


def book_charge(stripe: StripeCore, charge: dict) -> None:
    """Book a succeeded charge, gross with its fee."""
    fee = round_amount(charge["amount"] * FEE_SHARE) + FEE_FIXED
    description = charge["description"]
    charge["balance_transaction"] = book(stripe, charge, charge["amount"], "charge", fee=fee, description=description)[
        "id"
    ]


def list_entries(stripe: StripeCore, request: Request) -> Answer:
    """GET /balance_transactions, by payout (an automatic one), type, currency, source"""
    payout = read_given(request).get("payout")
    if payout and not stripe.fetch("payout", payout, param="payout")["automatic"]:
        raise invalid("Balance transaction history can only be filtered on automatic transfers, not manual.")
    return list_objects(
        stripe,
        request,
        "balance_transaction",
        filters=("payout", "type", "currency", "source"),
        ranges=("available_on",),
    )


def read_balance(stripe: StripeCore, request: Request) -> Answer:
    """GET /balance"""
    sums: dict[str, dict[str, int]] = {"available": {}, "pending": {}}
    for entry in stripe.store.find("balance_transaction", open="yes"):
        place = sums["available" if entry["available_on"] <= stripe.now else "pending"]
        place[entry["currency"]] = place.get(entry["currency"], 0) + entry["net"]
    body: dict[str, Any] = {"object": "balance", "livemode": False}
    for name, amounts in sums.items():
        body[name] = [{"amount": amount, "currency": code} for code, amount in sorted(amounts.items())]
    return Answer(200, body)


# payouts


def build_payout(stripe: StripeCore, amount: int, currency: str, *, automatic: bool, entries: list[dict]) -> dict:
    """A payout on its way to the bank, with the transactions that it pays out; saved, with its event."""
    now = stripe.now
    payout: dict[str, Any] = {
        "id": make_id("po"),
        "object": "payout",
        "amount": amount,
        "arrival_date": (now + ARRIVES_AFTER) // 86400 * 86400,  # a date: midnight UTC
        "automatic": automatic,
        "balance_transaction": None,
        "created": now,
        "currency": currency,
        "description": "STRIPE PAYOUT",
        "destination": "ba_1Sandbox",
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": {},
        "method": "standard",
        "original_payout": None,
        "reconciliation_status": "completed" if automatic else "not_applicable",
        "reversed_by": None,
        "source_type": "card",
        "statement_descriptor": None,
        "status": "in_transit",
        "trace_id": None,
        "type": "bank_account",
    }
    own = book(stripe, payout, -amount, "payout", description="STRIPE PAYOUT")
    payout["balance_transaction"] = own["id"]
    for entry in [*entries, own] if automatic else [own]:
        entry["_payout"], entry["status"] = payout["id"], "available"
        save_entry(stripe, entry)
    stripe.save(payout)
    stripe.emit("payout.created", payout)
    stripe.set_timer("payout", payout["id"], payout["arrival_date"])
    return payout


def sweep(stripe: StripeCore, currency: str | None = None, *, early: bool = False) -> list[dict]:
    """One automatic payout per currency of everything available (or, early, of everything); none for a debt, and none
    by the clock once the account pays out by hand."""
    if not early and not all(payout["automatic"] for payout in stripe.store.find("payout")):
        return []
    groups: dict[str, list[dict]] = {}
    for entry in stripe.store.find("balance_transaction", open="yes"):
        if (early or entry["available_on"] <= stripe.now) and currency in {None, entry["currency"]}:
            groups.setdefault(entry["currency"], []).append(entry)
    payouts = []
    for code, entries in sorted(groups.items()):
        amount = sum(entry["net"] for entry in entries)
        if amount > 0:
            payouts.append(build_payout(stripe, amount, code, automatic=True, entries=entries))
    return payouts


def create_payout(stripe: StripeCore, request: Request) -> Answer:
    """POST /payouts: a manual one of an amount"""
    spec = {"amount": forms.positive, "currency": forms.currency, "metadata": forms.metadata, "description": forms.text}
    given = forms.read_params(request.form(), spec, required=("amount", "currency"))
    entries = stripe.store.find("balance_transaction", open="yes")
    paid = sum(
        each["amount"] for each in stripe.store.find("payout") if not each["automatic"] and each["status"] != "failed"
    )
    available = sum(e["net"] for e in entries if e["currency"] == given["currency"] and e["available_on"] <= stripe.now)
    if given["amount"] > available - paid:
        raise invalid(
            "You have insufficient funds in your Stripe account.", code="balance_insufficient", param="amount"
        )
    payout = build_payout(stripe, given["amount"], given["currency"], automatic=False, entries=[])
    payout["metadata"] = given.get("metadata") or {}
    stripe.save(payout)
    return stripe.answer(request, payout, effect="created")


def arrive(stripe: StripeCore, id: str) -> None:
    """A payout reaches the bank."""
    payout = stripe.store.get("payout", id)
    if payout is not None and payout["status"] == "in_transit":
        stripe.change(payout, status="paid")
        stripe.emit("payout.paid", payout)


def fail_payout(stripe: StripeCore, payout: dict) -> None:
    """The bank sends a payout back: its transactions can be paid out again."""
    if payout["status"] not in {"in_transit", "paid"}:
        raise invalid(f"The payout is {payout['status']}.", param="id")
    back = book(stripe, payout, payout["amount"], "payout_failure", description="Payout returned by the bank")
    payout["status"], payout["failure_code"] = "failed", "account_closed"
    payout["failure_message"] = "The bank account has been closed."
    payout["failure_balance_transaction"] = back["id"]
    stripe.save(payout)
    stripe.emit("payout.failed", payout)
