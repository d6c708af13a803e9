"""Customer payments (receipts, applied or on account) and customer refunds (paid out against credits)."""

from connectors.netsuite.sandbox.applying import apply_to, plan_applications, read_refunded
from connectors.netsuite.sandbox.books import Books
from connectors.netsuite.sandbox.errors import missing_value, user_error
from connectors.netsuite.sandbox.fields import Record
from connectors.netsuite.sandbox.ledger import ZERO, Impact, account_id
from connectors.netsuite.sandbox.transactions import check_account, fill_party, save_transaction
from connectors.netsuite.sandbox.values import round_money, to_decimal

CASH_TYPES = frozenset({"Bank", "OthCurrAsset"})


def save_payment(books: Books, record: Record, obj: dict, old: dict | None) -> None:
    """Complete, check and store a customerPayment; what it doesn't apply stays on account."""
    customer = fill_party(books, record, obj, old, party="customer")
    if obj.get("payment") is None:
        raise missing_value("Payment Amount", path="payment")
    total = round_money(to_decimal(obj["payment"]), books.quantum(obj["currency"]["id"]))
    if total < 0:
        raise user_error("The payment amount may not be negative.", path="payment")
    obj["payment"] = obj["total"] = float(total)
    cash, receivable = _find_cash_account(books, obj), _fill_receivable(books, obj, customer)
    _check_accounts(books, obj, old)
    planned = plan_applications(books, obj, old, customer, limit=total, kind=record.name)
    refunded = read_refunded(books, obj["id"]) if old is not None else ZERO
    applied, loss = apply_to(books, obj, planned)
    if applied + refunded > total:
        raise user_error("You cannot apply more than your total payments.", path="apply")

    def add_impact(impact: Impact) -> None:
        base = round_money(total * impact.rate, impact.quantum)
        impact.add(cash, total, base)
        impact.add(receivable, -total, -base - loss)
        if loss:
            impact.add(account_id(books, "loss" if loss > 0 else "gain"), ZERO, loss)

    save_transaction(books, record, obj, old, total=total, impact=add_impact, paid=applied + refunded)


def save_refund(books: Books, record: Record, obj: dict, old: dict | None) -> None:
    """Complete, check and store a customerRefund; it pays out open credit memos and receipts on account."""
    customer = fill_party(books, record, obj, old, party="customer")
    cash, receivable = _find_cash_account(books, obj), _fill_receivable(books, obj, customer)
    _check_accounts(books, obj, old)
    planned = plan_applications(books, obj, old, customer, limit=None, kind=record.name)
    total, loss = apply_to(books, obj, planned)
    if total <= 0:
        raise user_error("You must apply this refund to at least one credit or payment.", path="apply")
    obj["total"] = float(total)

    def add_impact(impact: Impact) -> None:
        base = round_money(total * impact.rate, impact.quantum)
        impact.add(receivable, total, base + loss)
        impact.add(cash, -total, -base)
        if loss:
            impact.add(account_id(books, "gain" if loss > 0 else "loss"), ZERO, -loss)

    save_transaction(books, record, obj, old, total=total, impact=add_impact, paid=total)


def _check_accounts(books: Books, obj: dict, old: dict | None) -> None:
    for name in ("account", "arAcct"):
        if old is None and name in obj:
            check_account(books, obj[name], name)


def _find_cash_account(books: Books, obj: dict) -> str:
    """The bank or clearing account, or undeposited funds."""
    if obj.get("account") is None:
        if obj.get("undepFunds") is False:
            raise missing_value("Account", path="account")
        undeposited = account_id(books, "undeposited")
        obj["undepFunds"] = True
        return undeposited
    if obj.get("undepFunds"):
        raise user_error("Choose either an account or undeposited funds.", path="undepFunds")
    account = books.at("account", obj["account"]["id"])
    if account["acctType"]["id"] not in CASH_TYPES:
        raise user_error(f"Invalid account reference key {account['id']}.", path="account")
    return account["id"]


def _fill_receivable(books: Books, obj: dict, customer: dict) -> str:
    if "arAcct" not in obj:
        given = customer.get("receivablesAccount") or {"id": account_id(books, "receivable")}
        obj["arAcct"] = books.resolve("account", given, "arAcct", "arAcct")
    account = books.at("account", obj["arAcct"]["id"])
    if account["acctType"]["id"] != "AcctRec":
        raise user_error(f"Invalid aracct reference key {account['id']}.", path="arAcct")
    return account["id"]
