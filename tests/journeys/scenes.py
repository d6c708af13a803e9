"""What each flow needs on stage before a worker is killed in it, and what the vendor's log must then hold once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.journeys.house import House


@dataclass(frozen=True)
class Scene:
    """One flow's stage: prepare once, act per kill, and the vendor's documents to count."""

    vendor: str
    document_type: str
    effect: str = "created"

    def prepare(self, house: House) -> Any:
        """What every act needs."""
        return house.customer()

    def act(self, house: House, prepared: Any, point: str) -> None:
        """Make one fact of this flow."""
        raise NotImplementedError

    def made(self, house: House) -> list[dict[str, Any]]:
        """What the vendor's own log says was made: entries of creates, distinct records of updates."""
        found = house.made(self.vendor, self.document_type, self.effect)
        return found if self.effect == "created" else list({e["id"]: e for e in found}.values())


class Customers(Scene):
    def act(self, house, prepared, point):
        house.customer(name=f"Customer of {point}")


class CustomerUses(Scene):
    """An entity that hasn't sold to the customer yet bills it in its own currency."""

    def act(self, house, prepared, point):
        customer = house.customer(name=f"Customer of {point}")
        house.invoice(customer, amount=5_000, currency="jpy", metadata={"legal_entity": "JP01"})


class Invoices(Scene):
    def act(self, house, prepared, point):
        house.invoice(prepared)


class CreditNotes(Scene):
    def act(self, house, prepared, point):
        invoice = house.invoice(prepared)
        house.make(
            "stripe", "credit_note", [{"invoice": invoice, "amount": 1_000, "metadata": {"legal_entity": "GB01"}}]
        )


class Payments(Scene):
    def act(self, house, prepared, point):
        house.pay(house.invoice(prepared))


class Refunds(Scene):
    def act(self, house, prepared, point):
        house.refund(house.pay(house.invoice(prepared)))


class Disputes(Scene):
    def act(self, house, prepared, point):
        house.dispute(house.pay(house.invoice(prepared)))


class Payouts(Scene):
    def act(self, house, prepared, point):
        house.pay(house.invoice(prepared))
        house.payout()


class Orders(Scene):
    def prepare(self, house):
        return house.account()

    def act(self, house, prepared, point):
        house.win(prepared if "save_customer" not in point else house.account(Name=f"Account of {point}"))


SCENES: dict[str, Scene] = {
    "customer_to_erp": Customers("netsuite", "customer"),
    "customer_use_to_erp": CustomerUses("netsuite", "customerSubsidiaryRelationship"),
    "invoice_to_erp": Invoices("netsuite", "invoice"),
    "credit_memo_to_erp": CreditNotes("netsuite", "creditMemo"),
    "payment_to_erp": Payments("netsuite", "customerPayment"),
    "application_to_erp": Payments("netsuite", "customerPayment", effect="updated"),
    "refund_to_erp": Refunds("netsuite", "journalEntry"),
    "dispute_to_erp": Disputes("netsuite", "journalEntry"),
    "payout_to_erp": Payouts("netsuite", "journalEntry"),
    "order_to_subscription": Orders("stripe", "subscription"),
    "status_to_crm": Orders("salesforce", "Opportunity", effect="updated"),
}
