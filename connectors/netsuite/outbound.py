"""Our postings in NetSuite's words: plain dicts for the REST record API. Pure.

Property names from the REST API Browser 2026.1. Amounts go out as JSON numbers with the digits that they have.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from q2c.canonical import posting
from q2c.canonical.party import Address

CUSTOM_PRICE = {"id": "-1"}  # price level "Custom": without it NetSuite replaces our rate by the item's base price
_LINE_REFERENCES = ("account", "entity", "department", "class", "location", "revenueRecognitionRule")


def erp_customer(customer: posting.ErpCustomer) -> dict[str, Any]:
    """A customer for the upsert by external id, which stands in the path.

    A new one gets our number and its name as its entity id, which is unique in an account: NetSuite would take the name
    alone, and two customers may share one.
    """
    body: dict[str, Any] = {
        "companyName": customer.name[:83],
        **(_given("entityId", f"{customer.number} {customer.name}"[:80]) if customer.subsidiary else {}),
        "isPerson": False,
        **_given_ref("subsidiary", customer.subsidiary),
        **_given_ref("currency", customer.currency),
        **_given("email", customer.email[:254]),
        **_given("phone", customer.phone[:32]),
        **_given_ref("terms", customer.terms),
        **_given_ref("receivablesAccount", customer.receivables_account),
    }
    if customer.bill_to != Address():
        body["addressbook"] = {
            "items": [
                {
                    "label": "Bill to",
                    "defaultBilling": True,
                    "defaultShipping": True,
                    "addressBookAddress": _address(customer.bill_to),
                }
            ]
        }
    return body


def customer_subsidiary(use: posting.ErpCustomerUse) -> dict[str, Any]:
    """The relationship that lets a further subsidiary bill a customer; its external id stands in the path."""
    return {"entity": _ref(use.customer), "subsidiary": _ref(use.subsidiary)}


def customer_currency(use: posting.ErpCustomerUse) -> dict[str, Any]:
    """A further currency, to be merged into a customer."""
    return {"currencyList": {"items": [{"currency": _ref(use.currency)}]}}


def ar_invoice(invoice: posting.ArInvoice) -> dict[str, Any]:
    """An invoice. The period is always sent; NetSuite never mails what we post."""
    return {
        **_sale(invoice),
        **_given_date("dueDate", invoice.due_date),
        **_given_ref("terms", invoice.terms),
        **_given("otherRefNum", invoice.po_number[:45]),
        "toBeEmailed": False,
        **_lines(invoice.lines, makes_revenue_elements=invoice.makes_revenue_elements),
    }


def ar_credit_memo(memo: posting.ArCreditMemo) -> dict[str, Any]:
    """A credit memo, applied only to what the posting names."""
    lines = _lines(memo.lines, makes_revenue_elements=memo.makes_revenue_elements)
    body = {**_sale(memo), "toBeEmailed": False, "autoApply": False, **lines}
    if memo.apply_to:
        body["apply"] = applied(memo.apply_to)
    return body


def cash_receipt(receipt: posting.CashReceipt) -> dict[str, Any]:
    """A customer payment on account, into the gateway's clearing account."""
    return {
        "externalId": receipt.external_id,
        **_given("tranId", receipt.number[:45]),
        "customer": _ref(receipt.customer),
        "subsidiary": _ref(receipt.subsidiary),
        "currency": _ref(receipt.currency),
        **_given_number("exchangeRate", receipt.exchange_rate),
        "payment": receipt.amount,
        "tranDate": receipt.posting_date.isoformat(),
        "postingPeriod": _ref(receipt.period),
        "account": _ref(receipt.account),
        "undepFunds": False,
        **_given_ref("arAcct", receipt.receivables_account),
        **_given("memo", receipt.memo[:999]),
        **_given("checkNumber", receipt.reference[:45]),
        "autoApply": False,
    }


def cash_refund(refund: posting.CashRefund) -> dict[str, Any]:
    """A customer refund out of the gateway's clearing account, which pays out credit memos."""
    return {
        "externalId": refund.external_id,
        "customer": _ref(refund.customer),
        "subsidiary": _ref(refund.subsidiary),
        "currency": _ref(refund.currency),
        **_given_number("exchangeRate", refund.exchange_rate),
        "tranDate": refund.posting_date.isoformat(),
        "postingPeriod": _ref(refund.period),
        "account": _ref(refund.account),
        **_given_ref("arAcct", refund.receivables_account),
        **_given("memo", refund.memo[:999]),
        "apply": applied(refund.apply_to),
    }


def cash_application(application: posting.CashApplication) -> dict[str, Any]:
    """The apply lines to merge into a payment or credit memo."""
    released = [{"doc": _ref(document), "apply": False} for document in application.released]
    return {"apply": {"items": [*released, *applied(application.apply_to)["items"]]}}


def applied(apply_to: tuple[posting.AppliedTo, ...]) -> dict[str, Any]:
    """An apply sublist."""
    return {"items": [{"doc": _ref(a.document), "apply": True, "amount": a.amount} for a in apply_to]}


def journal(entry: posting.Journal) -> dict[str, Any]:
    """A journal entry, approved by what our own house has approved. With a reversal date NetSuite makes the reversing
    entry at once and posts it in that date's period, not on that day only (`reversalDefer`)."""
    body = _entry(entry, entry.lines)
    if entry.reversal_date is not None:
        body |= {"reversalDate": entry.reversal_date.isoformat(), "reversalDefer": False}
    return body


def refund_journal(refund: posting.CashRefund) -> dict[str, Any]:
    """A refund without a credit memo: NetSuite's customer refund has to pay out one."""
    return _entry(refund, refund.journal)


def _entry(entry: posting.Journal | posting.CashRefund, lines: tuple[posting.JournalLine, ...]) -> dict[str, Any]:
    return {
        "externalId": entry.external_id,
        "subsidiary": _ref(entry.subsidiary),
        "currency": _ref(entry.currency),
        **_given_number("exchangeRate", entry.exchange_rate),
        "tranDate": entry.posting_date.isoformat(),
        "postingPeriod": _ref(entry.period),
        **_given("memo", entry.memo[:999]),
        "line": {"items": [_journal_line(line) for line in lines]},
    }


def reversed_lines(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of a journal as NetSuite holds them, with debit and credit exchanged; what a line defers is deferred
    the other way round."""
    turned = []
    for line in lines:
        kept: dict[str, Any] = {k: _ref(line[k]["id"]) for k in _LINE_REFERENCES if line.get(k)}
        kept |= {k: line[k] for k in ("startDate", "endDate", "memo") if line.get(k)}
        side, amount = ("credit", line["debit"]) if line.get("debit") else ("debit", line.get("credit") or 0)
        turned.append({**kept, side: amount})
    return turned


def _sale(document: posting.ArInvoice | posting.ArCreditMemo) -> dict[str, Any]:
    return {
        "externalId": document.external_id,
        "tranId": document.number[:45],
        "entity": _ref(document.customer),
        "subsidiary": _ref(document.subsidiary),
        "currency": _ref(document.currency),
        **_given_number("exchangeRate", document.exchange_rate),
        "tranDate": document.document_date.isoformat(),
        "postingPeriod": _ref(document.period),
        **_given("memo", document.memo[:999]),
        **_given_ref("account", document.receivables_account),
        **_dimensions(document),
    }


def _lines(lines: tuple[posting.ArLine, ...], *, makes_revenue_elements: bool) -> dict[str, Any]:
    """The lines and their taxes as given. `taxDetailsOverride` goes with untaxed ones too: without it NetSuite computes
    what its own nexus says, on save."""
    items, taxes = [], []
    for number, line in enumerate(lines, 1):
        item: dict[str, Any] = {
            "item": _ref(line.item),
            "quantity": line.quantity,
            "rate": line.rate,
            "amount": line.amount,
            "price": CUSTOM_PRICE,
            **_given("description", line.description[:4000]),
            **_given_date("revRecStartDate", line.revenue_start),
            **_given_date("revRecEndDate", line.revenue_end),
            **_dimensions(line),
        }
        if not makes_revenue_elements:
            item["doNotCreateRevenueElement"] = True
        if line.taxes:
            item["taxDetailsReference"] = f"L{number}"
            taxes += [_tax_detail(f"L{number}", tax) for tax in line.taxes]
        items.append(item)
    return {"item": {"items": items}, "taxDetailsOverride": True, "taxDetails": {"items": taxes}}


def _tax_detail(reference: str, tax: posting.ArTax) -> dict[str, Any]:
    """One tax of one line, as its engine computed it."""
    return {
        "taxDetailsReference": reference,
        "taxType": _ref(tax.tax_type),
        "taxCode": _ref(tax.code),
        "taxBasis": tax.base,
        "taxRate": tax.rate,
        "taxAmount": tax.amount,
    }


def _journal_line(line: posting.JournalLine) -> dict[str, Any]:
    side = {"debit": line.debit} if line.debit else {"credit": line.credit}
    return {
        "account": _ref(line.account),
        **side,
        **_given("memo", line.memo[:999]),
        **_given_ref("entity", line.customer),
        **_dimensions(line),
        **_given_ref("revenueRecognitionRule", line.revenue_rule),
        **_given_date("startDate", line.revenue_start),
        **_given_date("endDate", line.revenue_end),
    }


def _address(address: Address) -> dict[str, Any]:
    return {
        **_given("addr1", address.line1[:150]),
        **_given("addr2", address.line2[:150]),
        **_given("city", address.city[:50]),
        **_given("state", address.state[:30]),
        **_given("zip", address.postal_code[:36]),
        **_given_ref("country", address.country),
    }


def _dimensions(holder: Any) -> dict[str, Any]:
    return {
        **_given_ref("department", holder.department),
        **_given_ref("class", holder.class_),
        **_given_ref("location", holder.location),
    }


def _ref(record_id: str) -> dict[str, str]:
    return {"id": record_id}


def _given(name: str, value: str) -> dict[str, str]:
    return {name: value} if value else {}


def _given_ref(name: str, record_id: str) -> dict[str, Any]:
    return {name: _ref(record_id)} if record_id else {}


def _given_date(name: str, date: dt.date | None) -> dict[str, str]:
    return {name: date.isoformat()} if date else {}


def _given_number(name: str, number: Decimal | None) -> dict[str, Decimal]:
    return {name: number} if number is not None else {}
