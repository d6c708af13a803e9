"""Who pays whom: what a credit memo, payment or refund applies to, checked against what is still open.

An applied part leaves receivables at the rate at which the other document came in; what differs from the paying
document's own rate is a realised gain or loss of exchange, which the ERP books by itself.
"""

from dataclasses import dataclass
from decimal import Decimal

from connectors.netsuite.sandbox.books import Books
from connectors.netsuite.sandbox.errors import invalid_value, user_error
from connectors.netsuite.sandbox.ledger import ZERO, add_paid, read_row, row_of
from connectors.netsuite.sandbox.values import round_money, to_decimal

WHAT = {
    "creditMemo": ("invoice", "journalEntry"),
    "customerPayment": ("invoice", "journalEntry"),
    "customerRefund": ("creditMemo", "customerPayment"),
}


@dataclass(frozen=True)
class Application:
    """One document that is applied to: how much now, and how much more than before."""

    paid_id: str
    amount: Decimal
    change: Decimal
    rate: Decimal


def plan_applications(
    books: Books, obj: dict, old: dict | None, customer: dict, *, limit: Decimal | None, kind: str | None = None
) -> list[Application]:
    """What the lines of `apply` ask for, checked; completes the lines. `limit` is what the document has to give.

    `kind` is the paying document's record type. Changes `obj`.
    """
    before = _read_before(books, obj["id"]) if old is not None else {}
    quantum = books.quantum(obj["currency"]["id"])
    planned: list[Application] = []
    kept: list[dict] = []
    left = limit
    for number, line in enumerate(obj.get("apply", {}).get("items", [])):
        path = f"apply.items[{number}]"
        if line.get("doc") is None:
            raise invalid_value("", "doc", path=f"{path}.doc")
        if line.get("apply") is False or line.get("amount") == 0:
            continue
        id = line["doc"]["id"]
        row = _read_open_item(books, id, customer, receivable_of(obj))
        if row is None or row["record"] not in WHAT[kind or "creditMemo"]:
            raise invalid_value(id, "doc", path=f"{path}.doc")
        _check_partner(books, row, obj, customer, path)
        open_amount = Decimal(repr(row["foreigntotal"])) - Decimal(repr(row["paid"])) + before.get(id, ZERO)
        if line.get("amount") is None:
            amount = open_amount if left is None else min(open_amount, left)
        else:
            amount = round_money(to_decimal(line["amount"]), quantum)
        if amount <= 0 or amount > open_amount:
            raise user_error(
                f"The amount {amount} to be applied to {row['tranid']} exceeds the {open_amount} that remain.",
                path=f"{path}.amount",
            )
        if left is not None:
            left -= amount
            if left < 0:
                raise user_error("You cannot apply more than your total payments.", path="apply")
        change = amount - before.pop(id, ZERO)
        planned.append(Application(id, amount, change, Decimal(repr(row["exchangerate"]))))
        kept.append(
            {
                **line,
                "apply": True,
                "amount": float(amount),
                "due": float(open_amount),
                "total": row["foreigntotal"],
                "refNum": row["tranid"],
                "line": len(kept) + 1,
            }
        )
    planned += [Application(id, ZERO, -amount, ZERO) for id, amount in before.items()]
    obj["apply"] = {"items": kept}
    return planned


def receivable_of(obj: dict) -> str:
    """The receivables account on which a document stands."""
    return str((obj.get("arAcct") or obj["account"])["id"])  # a payment's or refund's `account` is the bank's


def _read_open_item(books: Books, id: str, customer: dict, receivable: str) -> dict | None:
    """The row of a transaction; of a journal entry with what it debits this customer on that receivables account."""
    row = read_row(books, id)
    if row is None or row["record"] != "journalEntry":
        return row
    owed = ZERO
    for line in books.at("journalEntry", id)["line"]["items"]:
        if line["account"]["id"] == receivable and line.get("entity", {}).get("id") == customer["id"]:
            owed += to_decimal(line.get("debit") or 0) - to_decimal(line.get("credit") or 0)
    return {**row, "entity": customer["id"], "foreigntotal": float(owed)}


def _read_before(books: Books, id: str) -> dict[str, Decimal]:
    rows = books.store.db.execute("SELECT paid, amount FROM ns_application WHERE paying=?", (int(id),))
    return {str(paid): Decimal(repr(amount)) for paid, amount in rows}


def _check_partner(books: Books, row: dict, obj: dict, customer: dict, path: str) -> None:
    """Customer, subsidiary, receivables account (assumed wording: the form doesn't list what stands on another one) and
    currency are the same."""
    is_other = row["entity"] != customer["id"] or row["subsidiary"] != obj["subsidiary"]["id"]
    if not is_other and row["record"] != "journalEntry":  # of which only the lines of this account count
        is_other = receivable_of(books.at(row["record"], row["id"])) != receivable_of(obj)
    if is_other:
        raise invalid_value(row["id"], "doc", path=f"{path}.doc")
    if row["currency"] != obj["currency"]["id"]:
        raise user_error("The currencies of the transactions differ, so one cannot be applied to the other.", path=path)
    if row["approval"] != "2":
        raise user_error(f"{row['tranid']} is pending approval and cannot be applied to.", path=path)


def apply_to(books: Books, obj: dict, planned: list[Application]) -> tuple[Decimal, Decimal]:
    """Write the applications down. Returns what is applied now and the loss of exchange (a gain is negative).

    The loss is in base currency, for a document that credits receivables.
    """
    applied, loss = ZERO, ZERO
    subsidiary = books.at("subsidiary", obj["subsidiary"]["id"])
    quantum = books.quantum(subsidiary["currency"]["id"])
    own = to_decimal(obj["exchangeRate"])
    for each in planned:
        if each.change:
            add_paid(books, each.paid_id, each.change)
        numbers = (int(obj["id"]), int(each.paid_id))
        if each.amount:
            books.store.db.execute(
                "INSERT OR REPLACE INTO ns_application VALUES (?,?,?,?)", (*numbers, float(each.amount), books.now())
            )
            applied += each.amount
            loss += round_money(each.amount * each.rate, quantum) - round_money(each.amount * own, quantum)
        else:
            books.store.db.execute("DELETE FROM ns_application WHERE paying=? AND paid=?", numbers)
    return applied, loss


def undo_applications(books: Books, id: str) -> None:
    """Take back all applications of a document that is deleted."""
    for paid, amount in _read_before(books, id).items():
        add_paid(books, paid, -amount)
    books.store.db.execute("DELETE FROM ns_application WHERE paying=?", (int(id),))


def is_applied_to(books: Books, id: str) -> bool:
    """Whether another document is applied to this one."""
    return (
        books.store.db.execute("SELECT 1 FROM ns_application WHERE paid=? LIMIT 1", (int(id),)).fetchone() is not None
    )


def read_refunded(books: Books, id: str) -> Decimal:
    """What refunds have taken out of a payment or credit memo."""
    row = row_of(books, id)
    return Decimal(repr(row["paid"])) - sum(_read_before(books, id).values(), ZERO)
