"""What billing says of each invoice, counted from what was done to it alone, and whether the ERP's own books say the
same: per document, per account, once, and with lineage. All sums in minor units."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from q2c.transactions.models import LineageLink
from tests.journeys.house import House
from tests.journeys.ledger import CLEARING, CLEARING_EUR, DISPUTES, FEES, RECEIVABLES, Ledger

CENT = Decimal("0.01")
DISPUTE_FEE = 1_500
IN_SUMMARY = "1105"  # what billing keeps the items of
BOOKS = {"GB01": (RECEIVABLES, CLEARING), "DE01": (IN_SUMMARY, CLEARING_EUR)}  # DE01 posts in summary


@dataclass
class Billed:
    """An invoice as billing, and what people decided of it, leave it."""

    id: str
    sku: str
    amount: int
    entity: str = "GB01"
    credited: int = 0
    payment: str = ""
    refunded: int = 0
    dispute: str = ""
    is_lost: bool = False  # the disputed payment: it's lost while it's argued, too
    is_void: bool = False
    is_given_up: bool = False
    is_taken_back: bool = False
    plans: int = 0  # that took it back; all but the last of one taken back for good posted it again

    @property
    def open(self) -> int:
        """What the customer still owes of it."""
        is_done = self.is_void or self.payment or self.is_given_up or self.is_taken_back
        return 0 if is_done else self.amount - self.credited

    @property
    def paid(self) -> int:
        """What was paid."""
        return self.amount - self.credited if self.payment else 0

    @property
    def stands_as(self) -> str:
        """The external id of the document that stands for it in the ERP."""
        again = self.plans - self.is_taken_back
        return f"re-stripe-{self.id}-{again}" if again else f"inv-stripe-{self.id}"


def judge_books(house: House, posted: list[Billed], subscribed: list[dict[str, Any]]) -> None:
    """The ledgers say of each entity what billing says; `subscribed` are billing's own invoices of sales."""
    of_sales = {d["id"]: d["total"] for d in subscribed}
    for entity, (receivables, clearing) in BOOKS.items():
        own = [i for i in posted if i.entity == entity]
        given_back, lost = sum(i.refunded for i in own), sum(i.paid for i in own if i.is_lost)
        fees = DISPUTE_FEE * sum(bool(i.dispute) for i in own)
        owed = sum(i.open for i in own) + given_back + (sum(of_sales.values()) if entity == "GB01" else 0)
        balances = Ledger(house.sandboxes, entity[:2]).balances()
        assert {a: balances.get(a, Decimal(0)) for a in (receivables, clearing, DISPUTES, FEES)} == {
            receivables: money(owed),
            clearing: money(sum(i.paid for i in own) - given_back - lost - fees),
            DISPUTES: money(lost), FEES: money(fees),
        }, entity  # fmt: skip
        assert sum(balances.values()) == 0
    by_line = [i for i in posted if i.entity == "GB01"]
    items = Ledger(house.sandboxes).open_items()
    assert {name: rest for name, rest in items.items() if not name.endswith(tuple(of_sales))} == {
        i.stands_as: money(i.open) for i in by_line if i.open
    }
    judge_sales(house, of_sales)


def judge_sales(house: House, of_sales: dict[str, int]) -> None:
    """What billing made of sales by itself stands with its own total, one below zero as a credit memo."""
    found = {}
    for kind, sign in (("invoice", 1), ("creditMemo", -1)):
        for d in house.sandboxes.control("GET", f"netsuite/documents/{kind}?limit=500")["items"]:
            found[d["externalId"].rpartition("-")[2]] = sign * Decimal(str(d["total"]))
    assert {name: found.get(name) for name in of_sales} == {name: money(total) for name, total in of_sales.items()}


def judge_documents(house: House, invoices: list[Billed], posted: list[Billed]) -> None:
    """Each document was made once, invoices over what was billed, and none without lineage, nor lineage without it."""
    made = Counter((e["document_type"], e["external_id"]) for e in house.made("netsuite"))
    assert {name: n for name, n in made.items() if n > 1} == {}
    found = house.sandboxes.control("GET", "netsuite/documents/invoice?limit=500")["items"]
    totals = {d["externalId"]: Decimal(str(d["total"])).quantize(CENT) for d in found}
    wanted = {
        name: money(i.amount) for i in posted if i.entity == "GB01"
        for name in {f"inv-stripe-{i.id}", i.stands_as} if not i.is_void or name in totals
    }  # fmt: skip
    # What was made again, was taken back and made again stands too, under its own number.
    assert {name: totals.get(name) for name in wanted} == wanted
    mine = {i.id for i in invoices}
    assert {name for name in totals if name.startswith("inv-stripe-") and name[11:] in mine} <= wanted.keys()
    known = set(LineageLink.objects.filter(target_system="netsuite").values_list("target_id", flat=True))
    ours = ("-stripe-", "sum-portal-")
    documents = {e["id"] for e in house.made("netsuite") if any(part in (e["external_id"] or "") for part in ours)}
    assert documents - known == set()
    assert known - {e["id"] for e in house.sandboxes.log("netsuite")} == set()


def money(minor: int) -> Decimal:
    """Minor units of a currency with two digits."""
    return Decimal(minor).scaleb(-2)
