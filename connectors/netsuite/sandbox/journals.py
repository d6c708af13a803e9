"""Journal entries: balanced in their currency, converted line by line, and the reversing entry of another date."""

from decimal import Decimal

from connectors.netsuite.sandbox.books import Books
from connectors.netsuite.sandbox.errors import build_error, missing_value, user_error
from connectors.netsuite.sandbox.fields import Record
from connectors.netsuite.sandbox.ledger import ZERO, Impact
from connectors.netsuite.sandbox.transactions import check_dimension, fill_header, save_transaction
from connectors.netsuite.sandbox.values import round_money, to_decimal
from connectors.sandbox.request import Refusal

NEEDS_ENTITY = frozenset({"AcctRec", "AcctPay"})


def save_journal(books: Books, record: Record, obj: dict, old: dict | None) -> None:
    """Complete, check and store a journalEntry; a reversalDate makes or moves its reversing entry."""
    fill_header(books, record, obj, old)
    quantum = books.quantum(obj["currency"]["id"])
    lines = obj.get("line", {}).get("items", [])
    if not lines:
        raise user_error("You must enter at least one line item for this transaction.", path="line")
    amounts: list[tuple[str, Decimal]] = []
    for number, line in enumerate(lines):
        amounts.append(_check_line(books, line, number, obj["subsidiary"]["id"], quantum))
        line.setdefault("line", number + 1)
    if sum((amount for _, amount in amounts), ZERO) != 0:
        detail = "The amounts in Transaction must balance: the transaction is out of balance."
        raise Refusal(build_error(400, "TRANS_UNBALNCD", detail, path="line"))
    obj["approved"] = obj["approvalStatus"]["id"] == "2"
    obj.setdefault("isReversal", False)
    total = sum((amount for _, amount in amounts if amount > 0), ZERO)
    obj["total"] = float(total)

    def add_impact(impact: Impact) -> None:
        for account, amount in amounts:
            impact.add(account, amount)

    save_transaction(books, record, obj, old, total=total, impact=add_impact)
    if obj.get("reversalDate") and "reversalEntry" not in obj and not obj["isReversal"]:
        _save_reversal(books, record, obj)


def _check_line(books: Books, line: dict, number: int, subsidiary_id: str, quantum: Decimal) -> tuple[str, Decimal]:
    """Account and amount (a debit is positive) of a line."""
    path = f"line.items[{number}]"
    if line.get("account") is None:
        raise missing_value("Account", path=f"{path}.account")
    account = books.at("account", line["account"]["id"])
    if account.get("isInactive"):
        raise user_error(f"Invalid account reference key {account['id']}.", path=f"{path}.account")
    if account["acctType"]["id"] in NEEDS_ENTITY and line.get("entity") is None:
        raise missing_value("Name", path=f"{path}.entity")
    for name in ("department", "class", "location"):
        if name in line:
            check_dimension(books, name, line[name], subsidiary_id, f"{path}.{name}")
    debit, credit = line.get("debit"), line.get("credit")
    if (debit is None) == (credit is None):
        raise user_error("A line needs either a debit or a credit.", path=path)
    given = debit if credit is None else credit
    amount = round_money(to_decimal(given or 0), quantum)
    line["debit" if credit is None else "credit"] = float(amount)
    return account["id"], amount if credit is None else -amount


def _save_reversal(books: Books, record: Record, obj: dict) -> None:
    """The entry with debits and credits exchanged, on the reversal date, in its own period."""
    if obj["reversalDate"] <= obj["tranDate"]:
        raise user_error("The reversal date must be after the date of the transaction.", path="reversalDate")
    lines = []
    for line in obj["line"]["items"]:
        turned = {name: value for name, value in line.items() if name not in {"debit", "credit"}}
        turned["credit" if "debit" in line else "debit"] = line.get("debit", line.get("credit"))
        lines.append(turned)
    reversal = {
        **{name: obj[name] for name in ("subsidiary", "currency", "exchangeRate", "memo") if name in obj},
        "id": books.next_id(record),
        "createdDate": books.now(),
        "lastModifiedDate": books.now(),
        "tranDate": obj["reversalDate"],
        "isReversal": True,
        "reversalEntry": {"id": obj["id"], "refName": f"Journal #{obj['tranId']}"},
        "line": {"items": lines},
    }
    save_journal(books, record, reversal, None)
    obj["reversalEntry"] = {"id": reversal["id"], "refName": f"Journal #{reversal['tranId']}"}
    books.put(record, obj, obj)
    books.store.db.execute(
        "UPDATE ns_transaction SET reversal=?, reversaldate=? WHERE id=?",
        (reversal["id"], obj["reversalDate"], int(obj["id"])),
    )
