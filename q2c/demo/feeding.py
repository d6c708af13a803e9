"""The demo's daily life, one tick at a time: a deal is won, now and then it's signed or an account moves, invoices are
paid.

Which tick comes next stands in the sandbox (the highest external id of a deal), so a restart goes on where it stopped.
The money's keys are the tick's number: repeated, nothing happens twice.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from connectors.sandbox.remote import SandboxRefused
from q2c.demo import deals
from q2c.demo.filling import SALESFORCE
from q2c.demo.services import bill_service, credit_service

STRIPE = "stripe"
SOME = 50
CARD = "pm_card_visa"
ACCOUNT_EVERY = 5
PAYOUT_EVERY = 15
CREDIT_EVERY, REFUND_EVERY = 6, 10
SIGN_EVERY = 4  # every other one of these orders stands alone
MOST_FINALIZED = 10


def find_next_deal(door: Any) -> int:
    """The number of the deal that comes next: one after the highest in the sandbox."""
    found = door.query_salesforce(
        "SELECT Ext_Id__c FROM Opportunity WHERE Ext_Id__c LIKE 'DEAL-%' ORDER BY Ext_Id__c DESC LIMIT 1"
    )
    return int(found[0]["Ext_Id__c"].partition("-")[2]) + 1 if found else 1


def make_deals(door: Any, first: int, last: int, today: dt.date) -> int:
    """Make the deals from `first` to `last` that don't exist; how many. One that exists is left alone."""
    made = 0
    for number in range(first, last + 1):
        try:
            door.make(SALESFORCE, "Opportunity", [deals.build_deal(number, today)])
            made += 1
        except SandboxRefused as refused:
            if "DUPLICATE_VALUE" not in refused.body:
                raise
    return made


def tick(door: Any, number: int, today: dt.date) -> list[str]:
    """Everything of one tick; what was done, in words."""
    done = (
        [f"deal {number} won ({deals.find_dirt(number) or 'clean'})"] if make_deals(door, number, number, today) else []
    )
    if number % ACCOUNT_EVERY == 0:
        key, changes = deals.build_account_change(number)
        door.call_salesforce("PATCH", f"sobjects/Account/Ext_Id__c/{key}", changes)
        done.append(f"account {key} changed")
    if number % SIGN_EVERY == 0:
        done += sign_order(door, number, today)
    for action in (
        finalize_invoices,
        bill_service,
        pay_invoice,
        credit_invoice,
        credit_service,
        refund_charge,
        pay_out,
    ):
        try:
            said = action(door, number)
        except SandboxRefused as refused:
            said = f"{action.__name__} refused: {_reason(refused)}"
        if said:
            done.append(said)
    return done


def sign_order(door: Any, number: int, today: dt.date) -> list[str]:
    """The tick's deal is written down in an order, or somebody orders without a deal; the order is activated."""
    is_alone = number % (2 * SIGN_EVERY) == 0
    order = deals.build_order(number, today, is_alone=is_alone)
    if order is None:
        return []
    try:
        door.make(SALESFORCE, "Order", [order])
    except SandboxRefused as refused:
        if "DUPLICATE_VALUE" not in refused.body:
            raise
    key = deals.order_key(number)
    door.call_salesforce("PATCH", f"sobjects/Order/Ext_Id__c/{key}", {"Status": "Activated"})
    return [f"order {key} activated" + (" without a deal" if is_alone else "")]


def list_own_invoices(door: Any, status: str) -> list[dict]:
    """The latest invoices of the newest subscriptions that have a status, oldest first (so none of the retail feed)."""
    page = door.call_stripe("GET", "/v1/subscriptions", {"limit": SOME, "expand[]": "data.latest_invoice"})["data"]
    found = [each["latest_invoice"] for each in page if isinstance(each["latest_invoice"], dict)]
    return [each for each in found if each["status"] == status and each["total"] > 0][::-1]


def finalize_invoices(door: Any, number: int) -> str:
    """Each tick: a biller looks over the drafts and sends them, without waiting for the hour that Stripe gives them."""
    drafts = list_own_invoices(door, "draft")[:MOST_FINALIZED]
    for draft in drafts:
        door.call_stripe("POST", f"/v1/invoices/{draft['id']}/finalize", {}, key=f"demo-finalize-{draft['id']}")
    return f"{len(drafts)} invoices sent" if drafts else ""


def pay_invoice(door: Any, number: int) -> str:
    """Two of three ticks: somebody pays an open invoice by card."""
    if number % 3 == 0:
        return ""
    waiting = list_own_invoices(door, "open")
    if not waiting:
        return ""
    invoice = waiting[number % len(waiting)]
    form = {"payment_method": CARD}
    door.call_stripe("POST", f"/v1/invoices/{invoice['id']}/pay", form, key=f"demo-pay-{number}")
    return f"invoice {invoice['number']} paid"


def credit_invoice(door: Any, number: int) -> str:
    """Now and then: a tenth of an open invoice is credited."""
    if number % CREDIT_EVERY:
        return ""
    waiting = [each for each in list_own_invoices(door, "open") if each["amount_remaining"] >= 100]
    if not waiting:
        return ""
    invoice = waiting[number % len(waiting)]
    form = {"invoice": invoice["id"], "amount": invoice["amount_remaining"] // 10, "reason": "order_change"}
    door.call_stripe("POST", "/v1/credit_notes", form, key=f"demo-credit-{number}")
    return f"invoice {invoice['number']} credited by a tenth"


def refund_charge(door: Any, number: int) -> str:
    """Now and then: a quarter of a charge goes back."""
    if number % REFUND_EVERY:
        return ""
    page = door.call_stripe("GET", "/v1/charges", {"limit": SOME})["data"]
    charges = [each for each in page if each["paid"] and not each["amount_refunded"] and each["amount"] >= 100]
    if not charges:
        return ""
    charge = charges[number % len(charges)]
    form = {"charge": charge["id"], "amount": charge["amount"] // 4, "reason": "requested_by_customer"}
    door.call_stripe("POST", "/v1/refunds", form, key=f"demo-refund-{number}")
    return f"charge {charge['id']} refunded by a quarter"


def pay_out(door: Any, number: int) -> str:
    """Now and then: what was on its way reaches the bank, and the gateway pays its balance out."""
    if number % PAYOUT_EVERY:
        return ""
    for each in door.call_stripe("GET", "/v1/payouts", {"status": "in_transit", "limit": SOME})["data"]:
        door.make(STRIPE, "payout", [{"id": each["id"], "status": "paid"}])
    balance = door.call_stripe("GET", "/v1/balance")
    sums: dict[str, int] = {}
    for each in balance["available"] + balance["pending"]:
        sums[each["currency"]] = sums.get(each["currency"], 0) + each["amount"]
    currencies = sorted(currency for currency, amount in sums.items() if amount > 0)
    for currency in currencies:
        door.make(STRIPE, "payout", [{"currency": currency}])
    return f"payouts in {', '.join(currencies).upper()}" if currencies else ""


def _reason(refused: SandboxRefused) -> str:
    try:
        body = json.loads(refused.body)
    except ValueError:
        return refused.body[:200]
    error = body.get("error") if isinstance(body, dict) else body
    return str(error.get("message") if isinstance(error, dict) else error)[:200]
