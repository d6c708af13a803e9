"""Invoices, credit memos and sales orders: lines with items, tax from outside, totals that the ERP adds up itself.

A line's `amount` counts when it's given, else quantity times rate; both are rounded half up to the currency's
smallest amount. What an external engine computed comes as `taxDetails` with `taxDetailsOverride`; without it an
account whose preference `determines_tax` is set computes the standard tax of its subsidiary's country on save.
"""

from datetime import date, timedelta
from decimal import Decimal

from connectors.netsuite.sandbox.applying import apply_to, plan_applications, read_refunded
from connectors.netsuite.sandbox.books import Books
from connectors.netsuite.sandbox.errors import invalid_content, missing_value, user_error
from connectors.netsuite.sandbox.fields import Record
from connectors.netsuite.sandbox.ledger import ZERO, Impact, account_id, row_of
from connectors.netsuite.sandbox.transactions import (
    check_account,
    check_dimension,
    fill_party,
    is_available,
    save_transaction,
)
from connectors.netsuite.sandbox.values import round_money, to_decimal


def save_sale(books: Books, record: Record, obj: dict, old: dict | None) -> None:
    """Complete, check and store an invoice, credit memo or sales order."""
    customer = fill_party(books, record, obj, old, party="entity")
    subsidiary_id = obj["subsidiary"]["id"]
    quantum = books.quantum(obj["currency"]["id"])
    lines = obj.get("item", {}).get("items", [])
    if not lines:
        raise user_error("You must enter at least one line item for this transaction.", path="item")
    credited: dict[str, Decimal] = {}
    subtotal = deferred = ZERO
    taken = {line["line"] for line in lines if "line" in line}
    for number, line in enumerate(lines):
        if "line" not in line:
            line["line"] = next(each for each in range(1, len(lines) + len(taken) + 1) if each not in taken)
            taken.add(line["line"])
        amount, account, defers = _fill_line(books, line, number, subsidiary_id, quantum)
        subtotal += amount
        deferred += amount if defers else ZERO
        credited[account] = credited.get(account, ZERO) + amount
    taxes = _add_taxes(books, obj, lines, quantum, is_new=old is None)
    total = subtotal + sum(taxes.values(), ZERO)
    if total < 0:
        raise user_error("The total of the transaction may not be negative.", path="total")
    obj["subtotal"], obj["taxTotal"], obj["total"] = float(subtotal), float(total - subtotal), float(total)
    obj["deferredRevenue"] = float(deferred)
    _fill_terms(books, obj, customer, old)
    if "account" not in obj:
        obj["account"] = customer.get("receivablesAccount") or _reference(books, account_id(books, "receivable"))
    if old is None:
        check_account(books, obj["account"], "account")
    sign = -1 if record.name == "creditMemo" else 1
    paid, loss = ZERO, ZERO
    if record.name == "creditMemo":
        planned = plan_applications(books, obj, old, customer, limit=total)
        refunded = read_refunded(books, obj["id"]) if old is not None else ZERO
        applied, loss = apply_to(books, obj, planned)
        paid = applied + refunded
        if paid > total:
            raise user_error("You cannot apply more than the total of the credit.", path="apply")
    elif old is not None:
        paid = Decimal(repr(row_of(books, obj["id"])["paid"]))
        if paid > total:
            raise user_error("The total may not be less than the amount already applied.", path="item")

    def add_impact(impact: Impact) -> None:
        receivable = round_money(total * impact.rate, impact.quantum)
        impact.add(obj["account"]["id"], sign * total, sign * receivable - loss)
        if loss:
            impact.add(account_id(books, "loss" if loss > 0 else "gain"), ZERO, loss)
        for account, amount in (*credited.items(), *taxes.items()):
            impact.add(account, -sign * amount)

    save_transaction(books, record, obj, old, total=total, impact=add_impact, paid=paid)


def _fill_line(
    books: Books, line: dict, number: int, subsidiary_id: str, quantum: Decimal
) -> tuple[Decimal, str, bool]:
    """Amount, account to credit, and whether its revenue is deferred."""
    path = f"item.items[{number}]"
    if line.get("item") is None:
        raise missing_value("Item", path=f"{path}.item")
    id = line["item"]["id"]
    item = books.get("serviceSaleItem", id) or books.at("nonInventorySaleItem", id)
    if item.get("isInactive") or not is_available(item, subsidiary_id):
        raise user_error(f"Invalid item reference key {id} for subsidiary {subsidiary_id}.", path=f"{path}.item")
    for name in ("department", "class", "location"):
        if name in line:
            check_dimension(books, name, line[name], subsidiary_id, f"{path}.{name}")
    start, end = line.get("revRecStartDate"), line.get("revRecEndDate")
    if start and end and end < start:
        raise user_error(
            "The revenue recognition end date must not be before its start date.", path=f"{path}.revRecEndDate"
        )
    quantity = line.setdefault("quantity", 1)
    if line.get("amount") is not None:
        amount = round_money(to_decimal(line["amount"]), quantum)
    elif line.get("rate") is not None:
        amount = round_money(to_decimal(line["rate"]) * to_decimal(quantity), quantum)
    else:
        raise missing_value("Amount", path=f"{path}.amount")
    line["amount"] = float(amount)
    if line.get("rate") is None:
        line["rate"] = float(round(amount / to_decimal(quantity), 8)) if quantity else 0
    defers = "deferredRevenueAccount" in item and not item.get("directRevenuePosting")
    return amount, item["deferredRevenueAccount" if defers else "incomeAccount"]["id"], defers


def _add_taxes(books: Books, obj: dict, lines: list[dict], quantum: Decimal, *, is_new: bool) -> dict[str, Decimal]:
    """Tax by liability account, out of the tax details; each must point to a line of the document."""
    details = obj.get("taxDetails", {}).get("items", [])
    if books.preferences["determines_tax"] and not obj.get("taxDetailsOverride"):
        details = _determine_taxes(books, obj, lines)
    elif not details:
        return {}
    elif not obj.get("taxDetailsOverride"):
        raise user_error("To enter tax details, set taxDetailsOverride to true.", path="taxDetailsOverride")
    known = {line.get("taxDetailsReference") for line in lines}
    taxes: dict[str, Decimal] = {}
    for number, detail in enumerate(details):
        path = f"taxDetails.items[{number}]"
        detail.setdefault("line", number + 1)
        if detail.get("taxDetailsReference") not in known or detail.get("taxDetailsReference") is None:
            raise invalid_content(
                f"Invalid tax details reference {detail.get('taxDetailsReference')}.",
                path=f"{path}.taxDetailsReference",
            )
        for name in ("taxType", "taxCode"):
            if detail.get(name) is None:
                raise missing_value("Tax Type" if name == "taxType" else "Tax Code", path=f"{path}.{name}")
        code = books.at("salesTaxItem", detail["taxCode"]["id"])
        if is_new and code.get("isInactive"):
            raise user_error(f"Invalid taxcode reference key {code['id']}.", path=f"{path}.taxCode")
        if code["taxType"]["id"] != detail["taxType"]["id"]:
            raise user_error(
                f"Invalid taxcode reference key {code['id']} for tax type {detail['taxType']['id']}.", path=path
            )
        if detail.get("taxAmount") is None:
            raise missing_value("Tax Amount", path=f"{path}.taxAmount")
        amount = round_money(to_decimal(detail["taxAmount"]), quantum)
        detail["taxAmount"] = float(amount)
        account = code["taxAccount"]["id"]
        taxes[account] = taxes.get(account, ZERO) + amount
    return taxes


def _determine_taxes(books: Books, obj: dict, lines: list[dict]) -> list[dict]:
    """The nexus's standard tax on each line, as NetSuite's own engine would put it there. Changes `obj` and `lines`."""
    country = books.at("subsidiary", obj["subsidiary"]["id"])["country"]["id"]
    code = books.get_by_external_id("salesTaxItem", f"{country}-S")
    found = []
    for number, line in enumerate(lines, 1):
        line["taxDetailsReference"] = f"auto{number}"
        amount = float(to_decimal(line["amount"]) * to_decimal(code["rate"]) / 100)
        found.append({"taxDetailsReference": f"auto{number}", "taxType": code["taxType"], "taxCode": {"id": code["id"]},
                      "taxBasis": line["amount"], "taxRate": code["rate"], "taxAmount": amount})  # fmt: skip
    obj["taxDetails"] = {"items": found}
    return found


def _fill_terms(books: Books, obj: dict, customer: dict, old: dict | None) -> None:
    if "terms" not in obj and "terms" in customer and old is None and "dueDate" not in obj:
        obj["terms"] = customer["terms"]
    if "dueDate" not in obj:
        terms = books.at("term", obj["terms"]["id"]) if "terms" in obj else None
        days = int(terms["daysUntilNetDue"]) if terms else 0
        obj["dueDate"] = (date.fromisoformat(obj["tranDate"]) + timedelta(days=days)).isoformat()


def _reference(books: Books, id: str) -> dict[str, str]:
    return books.resolve("account", {"id": id}, "account", "account")
