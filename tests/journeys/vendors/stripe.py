"""Stripe in the journeys."""

from __future__ import annotations

from typing import Any

from tests.journeys.vendors.player import PlaysBilling, PlaysPayments, Trace

SUBSCRIPTIONS = "/v1/subscriptions"
PREPARES = frozenset({"find_price", "find_product"})  # compared with what is sold: a price of another shape isn't it


class Stripe(PlaysBilling, PlaysPayments):
    vendor = "stripe"
    absent = {
        "status": 200,
        "body": {"object": "list", "data": [], "has_more": False, "url": SUBSCRIPTIONS},
    }
    kept_refusal = {
        "error": {"type": "invalid_request_error", "code": "status_transition_invalid", "message": "Not now."}
    }
    subscriptions = ("subscription", "subscription_schedule")
    # It refuses a key that is in use, and answers one that it knows as it did.
    traces = {
        "order_to_subscription": Trace(
            "subscription",
            path=SUBSCRIPTIONS,
            look=SUBSCRIPTIONS,
            works={"done": 1, "refused": 3},
            unseen={"done": 1, "replayed": 1},
        ),
        "order_unwinding": Trace(
            "subscription", effect="deleted", method="DELETE", path=f"{SUBSCRIPTIONS}/*", look=SUBSCRIPTIONS
        ),
        "hold_to_source": Trace(
            "invoice",
            effect="updated",
            path="/v1/invoices/in_*",
            again="replayed",
            works={"done": 1, "refused": 3, "replayed": 1},
            unseen={"done": 1, "replayed": 1},
        ),
    }

    def tells_of_write(self, method, verb):
        return method == "POST" or (verb.startswith("find_") and verb not in PREPARES)

    def undelivered(self, house):
        asked = house.sandboxes.session.get(
            f"{house.sandboxes.vendor(self.vendor)['url']}/v1/events",
            params={"delivery_success": "false", "limit": 100},
            headers=self._key(house),
            timeout=30,
        )
        return {event["id"] for event in asked.json()["data"]}

    def ask(self, house: Any, path: str, **fields: Any) -> dict[str, Any]:
        """A POST to its own API, as somebody in billing would make it."""
        url = f"{house.sandboxes.vendor(self.vendor)['url']}/v1/{path}"
        answer = house.sandboxes.session.post(url, data=fields, headers=self._key(house), timeout=30)
        answer.raise_for_status()
        made: dict[str, Any] = answer.json()
        return made

    def delete(self, house: Any, path: str) -> None:
        """A DELETE to its own API."""
        url = f"{house.sandboxes.vendor(self.vendor)['url']}/v1/{path}"
        house.sandboxes.session.delete(url, headers=self._key(house), timeout=30).raise_for_status()

    def _key(self, house: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {house.sandboxes.vendor(self.vendor)['credentials']['api_key']}"}

    def _make(self, house: Any, document_type: str, **given: Any) -> str:
        found: str = house.make(self.vendor, document_type, [_of_entity(given)])[0]
        return found

    def customer(self, house, **changes):
        usual = {
            "name": "Northwind Ltd",
            "email": "ap@northwind.test",
            "address": {"country": "GB", "city": "Leeds"},
            "metadata": {"legal_entity": "GB01"},
        }
        return self._make(house, "customer", **{**usual, **changes})

    def rename(self, house, customer, name):
        self.ask(house, f"customers/{customer}", name=name)

    def invoices(self, house, customer, count, *, sku, amount, **changes):
        line = {"amount": amount, "quantity": 1, "description": sku, "metadata": {"sku": sku}}
        usual = {"customer": customer, "currency": "gbp", "lines": [line], "metadata": {"legal_entity": "GB01"}}
        return house.make(self.vendor, "invoice", [_of_entity({**usual, **changes})] * count)

    def credit(self, house, invoice, **changes):
        return self._make(house, "credit_note", invoice=invoice, **changes)

    def void(self, house, invoice):
        self.ask(house, f"invoices/{invoice}/void")

    def void_credit(self, house, credit_note):
        self.ask(house, f"credit_notes/{credit_note}/void")

    def pay(self, house, invoice):
        return self._make(house, "payment_intent", invoice=invoice)

    def refund(self, house, payment, amount):
        return self._make(house, "refund", payment_intent=payment, amount=amount)

    def dispute(self, house, payment):
        return self._make(house, "dispute", payment_intent=payment)

    def payout(self, house, currency):
        return self._make(house, "payout", currency=currency)


def _of_entity(given: dict[str, Any]) -> dict[str, Any]:
    entity = given.get("entity")
    rest = {name: value for name, value in given.items() if name != "entity"}
    return rest | {"metadata": {"legal_entity": entity}} if entity else rest


PLAYER = Stripe()
