"""The company's life while it is tormented: sales and their amendments, invoices, payments, refunds, credit notes,
disputes, voids, payouts.

Made at the vendors themselves, as their users would; what the portal makes of them is the verdict's question.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable

import requests

from connectors.sandbox.testing import Sandboxes
from tests.chaos.world import World
from tests.journeys.house import House

SECONDS_BETWEEN = 0.45
UNKNOWN_SKU = 14  # one invoice of so many
OVER_THE_LIMIT = 25  # one of so many is above what posts without a signature
AS_LISTED = 0.6  # of the sales
KEPT = 200  # documents that later actions choose from
# What is done how often, relative to each other.
ACTIONS = {
    "invoice": 30, "pay": 16, "customer": 6, "credit": 6, "refund": 6, "void": 5, "rename": 4, "dispute": 2,
    "void_credit": 2, "win": 4, "amend": 3, "payout": 1,
}  # fmt: skip


class Company(threading.Thread):
    """Acts until it's told to stop. A refusal by the vendor is part of life."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(name="company", daemon=True)
        self.house = House(Sandboxes(world.home, port=world.sandbox_port), world.home)
        self.chance = random.Random(f"{seed} company")
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.is_over = threading.Event()
        self.customers: list[tuple[str, str]] = []  # id and legal entity
        self.open: list[str] = []
        self.paid: list[str] = []  # payments
        self.credits: list[str] = []
        self.accounts: list[str] = []
        self.listed = ""  # the price of the price book

    def run(self) -> None:
        """One action after another."""
        names, weights = list(ACTIONS), list(ACTIONS.values())
        for entity in ("GB01", "US01"):
            self._customer(entity)
        while not self.is_over.wait(self.chance.uniform(0.2, 1.8) * SECONDS_BETWEEN):
            name = self.chance.choices(names, weights)[0]
            act: Callable[[], bool] = getattr(self, f"_{name}")
            try:
                if act():
                    self.counts[name] += 1
            except requests.RequestException:
                self.refused[name] += 1

    def stop(self) -> None:
        """End after the action that is under way."""
        self.is_over.set()
        self.join(timeout=60)

    def _customer(self, entity: str = "") -> bool:
        entity = entity or self.chance.choice(("GB01", "GB01", "US01"))
        country = {"GB01": "GB", "US01": "US"}[entity]
        number = len(self.customers) + 1
        made = self.house.customer(
            name=f"Customer {number} Ltd", email=f"ap@customer{number}.test",
            address={"country": country, "city": "Somewhere"}, metadata={"legal_entity": entity},
        )  # fmt: skip
        self.customers.append((made, entity))
        return True

    def _rename(self) -> bool:
        customer, _ = self.chance.choice(self.customers)
        self.house.ask_stripe(f"customers/{customer}", name=f"Renamed {self.chance.randrange(10**6)} Ltd")
        return True

    def _invoice(self) -> bool:
        customer, entity = self.chance.choice(self.customers)
        sku = "NO-SUCH-SKU" if self.chance.randrange(UNKNOWN_SKU) == 0 else "QB-API"
        amount = self.chance.randrange(1_000, 90_000)
        if entity == "US01" and self.chance.randrange(OVER_THE_LIMIT) == 0:
            amount = 30_000_000
        currency = {"GB01": "gbp", "US01": "usd"}[entity]
        made = self.house.invoice(
            customer, sku=sku, amount=amount, currency=currency, metadata={"legal_entity": entity}
        )  # fmt: skip
        self.open = [*self.open, made][-KEPT:]
        return True

    def _take(self, rows: list[str]) -> str:
        return rows.pop(self.chance.randrange(len(rows))) if rows else ""

    def _pay(self) -> bool:
        invoice = self._take(self.open)
        if invoice:
            self.paid = [*self.paid, self.house.pay(invoice)][-KEPT:]
        return bool(invoice)

    def _credit(self) -> bool:
        if self.open:
            invoice = self.chance.choice(self.open)
            self.credits.append(self.house.credit(invoice, amount=self.chance.randrange(100, 900)))
        return bool(self.open)

    def _void_credit(self) -> bool:
        credit = self._take(self.credits)
        if credit:
            self.house.void_credit(credit)
        return bool(credit)

    def _void(self) -> bool:
        invoice = self._take(self.open)
        if invoice:
            self.house.void(invoice)
        return bool(invoice)

    def _refund(self) -> bool:
        if self.paid:
            self.house.refund(self.chance.choice(self.paid), self.chance.randrange(50, 300))
        return bool(self.paid)

    def _dispute(self) -> bool:
        payment = self._take(self.paid)
        if payment:
            self.house.dispute(payment)
        return bool(payment)

    def _payout(self) -> bool:
        made = self.house.make("stripe", "payout", [{"currency": "gbp"}])[0]
        self.house.make("stripe", "payout", [{"id": made, "status": "paid"}])
        return True

    def _win(self) -> bool:
        if not self.accounts or self.chance.random() < 0.4:
            number = len(self.accounts) + 1
            self.accounts.append(self.house.account(Name=f"Account {number}", AccountNumber=f"AC-{number}"))
        price = f"{self.chance.randrange(100, 2_000)}.50"
        self.listed = self.listed or price  # the first one is in the price book, and what differs from it is held
        if self.chance.random() < AS_LISTED:
            price = self.listed
        self.house.win(self.chance.choice(self.accounts), price=price)
        return True

    def _amend(self) -> bool:
        """More of what was sold, from now on: the rest of its period is charged at once."""
        found = self.house.sandboxes.control("GET", "stripe/documents/subscription?limit=500")["items"]
        sold = [each for each in found if each["status"] == "active" and each["metadata"].get("order_id")]
        if sold:
            subscription = self.chance.choice(sold)
            item = subscription["items"]["data"][0]
            more = {"items[0][id]": item["id"], "items[0][quantity]": item["quantity"] + 1}
            self.house.ask_stripe(
                f"subscriptions/{subscription['id']}", proration_behavior="always_invoice", **more
            )  # fmt: skip
        return bool(sold)
