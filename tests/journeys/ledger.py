"""What the ERP's own books say, read over its API as an accountant's query would."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from tests.sandboxes.netsuite_client import Client

_BALANCES = (
    "SELECT a.acctnumber, c.symbol, SUM(l.amount) AS amount, SUM(l.foreignamount) AS foreignamount "
    "FROM transactionaccountingline l JOIN transaction t ON t.id = l.transaction "
    "JOIN account a ON a.id = l.account JOIN currency c ON c.id = t.currency "
    "JOIN subsidiary s ON s.id = t.subsidiary WHERE s.country = ? GROUP BY a.acctnumber, c.symbol"
)
_OPEN = (
    "SELECT t.externalid, t.foreignamountunpaid FROM transaction t "
    "WHERE t.type IN ('CustInvc', 'CustCred', 'CustPymt') AND t.foreignamountunpaid <> 0 ORDER BY t.id"
)
RECEIVABLES, CLEARING, BANK, FEES, DISPUTES = "1100", "1020", "1010", "6100", "6110"
CLEARING_EUR, CLEARING_CHF = "1022", "1026"


class Ledger:
    """The books of one country's subsidiary."""

    def __init__(self, sandboxes: Any, country: str = "GB") -> None:
        self.country = country
        self.client = Client(sandboxes)

    def balances(self) -> dict[str, Decimal]:
        """Each account's balance in the book's own currency, by its number; a debit is positive."""
        found: dict[str, Decimal] = {}
        for row in self.client.query(_BALANCES, self.country):
            amount = _money(row["amount"])
            found[row["acctnumber"]] = found.get(row["acctnumber"], Decimal(0)) + amount
        return {account: amount for account, amount in found.items() if amount}

    def foreign(self, account: str) -> dict[str, Decimal]:
        """An account's balance per currency of its transactions."""
        rows = self.client.query(_BALANCES, self.country)
        return {r["symbol"]: _money(r["foreignamount"]) for r in rows if r["acctnumber"] == account}

    def open_items(self) -> dict[str, Decimal]:
        """What documents leave open, in their currency, by our external id."""
        return {r["externalid"]: _money(r["foreignamountunpaid"]) for r in self.client.query(_OPEN)}


def _money(text: str) -> Decimal:
    return Decimal(text).quantize(Decimal("0.01"))
