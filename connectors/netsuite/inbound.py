"""NetSuite's records in our words: what it holds after a post, and its lists. Pure.

REST gives money as JSON numbers and references as `{"id", "refName"}`; SuiteQL gives strings, lower-case names and T
/ F.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from connectors.families import ReferenceRow
from connectors.fields import decimal, needed, plain_id
from connectors.netsuite.records import TYPES
from q2c.canonical.posting import AppliedTo, ErpCustomerUse, JournalLine, PostedDocument
from q2c.core.money import round_money

PENDING_APPROVAL = frozenset({"1", "3", "11"})  # approvalStatus: pending, rejected, held
# The account classes of our posting rules, by NetSuite's account type.
ACCOUNT_CLASSES = {
    "Bank": "asset", "AcctRec": "receivable", "OthCurrAsset": "asset", "FixedAsset": "asset", "OthAsset": "asset",
    "UnbilledRec": "asset", "DeferExpense": "asset", "AcctPay": "liability", "CredCard": "liability",
    "OthCurrLiab": "liability", "LongTermLiab": "liability", "DeferRevenue": "deferred_revenue", "Equity": "equity",
    "Income": "revenue", "OthIncome": "revenue", "COGS": "expense", "Expense": "expense", "OthExpense": "expense",
    "NonPosting": "statistical", "Stat": "statistical",
}  # fmt: skip


def posted_document(raw: dict[str, Any], *, document_type: str, account_url: str = "") -> PostedDocument:
    """A transaction record or customer, as read back. Its currency is known by NetSuite's id alone: what a reference
    shows beside it is the currency's name, and a dollar may be named "USA". Raises one of `fields.UNREADABLE` where it
    lacks what its record needs."""
    record = TYPES[document_type]
    for path in record.needs:
        _check_there(raw, path)
    rate = _decimal(raw.get("exchangeRate"))
    total = _decimal(raw.get(record.total)) if record.total else None
    if document_type == "journal":
        total = _journal_total(raw)
    return PostedDocument(
        document_type=document_type,
        id=plain_id(raw["id"]),
        external_id=plain_id(raw.get("externalId") or ""),
        number=plain_id(raw.get(record.number) or ""),
        customer=_id(raw.get("entity") or raw.get("customer")),
        total=total,
        currency=_id(raw.get("currency")),
        posting_date=_date(raw.get("tranDate")),
        period=_id(raw.get("postingPeriod")),
        subsidiary=_id(raw.get("subsidiary")),
        exchange_rate=rate,
        base_amount=None if total is None or rate is None else _base(total * rate),
        is_in_ledger=_is_in_ledger(raw),
        url=f"{account_url}{record.page.format(id=raw['id'])}" if account_url else "",
        applied=_applied(raw.get("apply")),
        open_amount=_decimal(raw.get("amountRemaining")) if document_type == "ar_invoice" else None,
        reversal=_id(raw.get("reversalEntry")),
        reversal_date=_date(raw.get("reversalDate")),
    )


def customer_use(use: ErpCustomerUse, *, account_url: str = "") -> PostedDocument:
    """The customer's record, which allows this use."""
    page = TYPES["customer"].page.format(id=use.customer)
    return PostedDocument(
        document_type="customer",
        id=use.customer,
        external_id=use.external_id,
        currency_code=use.currency_code,
        url=f"{account_url}{page}" if account_url else "",
    )


def subsidiaries(raw: dict[str, Any], relationships: Iterable[dict[str, Any]]) -> set[str]:
    """The ids of the subsidiaries that may bill a customer: its own and those of its relationships."""
    return {_id(raw.get("subsidiary")), *(str(row["subsidiary"]) for row in relationships)}


def currencies(raw: dict[str, Any]) -> set[str]:
    """The ids of the currencies in which a customer may be billed."""
    lines = (raw.get("currencyList") or {}).get("items") or []
    return {_id(raw.get("currency")), *(_id(line.get("currency")) for line in lines)}


def _base(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.000001"))


def _is_in_ledger(raw: dict[str, Any]) -> bool:
    """A journal that waits by the box "Approved" has no approval status: "If you do not check this box, this journal
    entry must be approved before it posts"."""
    is_approved = raw.get("approved") is None or _yes_or_no(raw["approved"])
    return is_approved and _id(raw.get("approvalStatus")) not in PENDING_APPROVAL


def _check_there(raw: dict[str, Any], path: str) -> None:
    value: Any = raw
    for name in path.split("."):
        value = needed(value, name)


def _journal_total(raw: dict[str, Any]) -> Decimal:
    lines, none = raw["line"]["items"], Decimal(0)
    debits, credits_ = (sum((_decimal(x.get(side)) or none for x in lines), none) for side in ("debit", "credit"))
    if debits != credits_:  # the ledger takes none of that sort
        raise ValueError(f"a journal's debits of {debits} aren't its credits of {credits_}")
    return debits


def journal_lines(raw: dict[str, Any]) -> tuple[JournalLine, ...]:
    """What a journal books, line by line; without what only its memo says."""
    _check_there(raw, "line.items")
    return tuple(_journal_line(item) for item in raw["line"]["items"])


def _journal_line(item: dict[str, Any]) -> JournalLine:
    return JournalLine(
        account=_id(needed(item, "account")), debit=_decimal(item.get("debit")) or Decimal(0),
        credit=_decimal(item.get("credit")) or Decimal(0), department=_id(item.get("department")),
        class_=_id(item.get("class")), location=_id(item.get("location")), customer=_id(item.get("entity")),
    )  # fmt: skip


def _applied(sublist: Any) -> tuple[AppliedTo, ...]:
    items = (sublist or {}).get("items") or []
    return tuple(
        AppliedTo(document=plain_id(needed(needed(item, "doc"), "id")), amount=decimal(needed(item, "amount")))
        for item in items
        if _yes_or_no(needed(item, "apply"))
    )


def reference_row(list_name: str, raw: dict[str, Any]) -> ReferenceRow:
    """A row of SuiteQL as a row of one of `families.REFERENCE_LISTS`."""
    return _ROWS[list_name](raw)


def _subsidiary(raw: dict[str, Any]) -> ReferenceRow:
    return _row(
        raw, name="name", currency=raw.get("currency"), country=raw.get("country"), parent=raw.get("parent"),
        legal_name=raw.get("legalname"), is_elimination=_is_true(raw.get("iselimination")),
    )  # fmt: skip


def _period(raw: dict[str, Any]) -> ReferenceRow:
    is_receivables_open, is_ledger_open = period_state(raw)
    return ReferenceRow(
        external_id=str(raw["id"]),
        name=str(raw["periodname"]),
        code=str(raw["startdate"])[:7],
        attributes={
            "start": raw["startdate"],
            "end": raw["enddate"],
            "is_receivables_open": is_receivables_open,
            "is_ledger_open": is_ledger_open,
            "is_adjustment": _is_true(raw.get("isadjust")),
        },
    )


def period_state(raw: dict[str, Any]) -> tuple[bool, bool]:
    """Whether receivables and the general ledger are open in a row of accountingperiod."""
    is_shut = _is_true(raw.get("closed")) or _is_true(raw.get("alllocked"))
    return not (is_shut or _is_true(raw.get("arlocked"))), not is_shut


def _item(raw: dict[str, Any]) -> ReferenceRow:
    return _row(
        raw, name="displayname", code="itemid", type=raw.get("itemtype"),
        deferral_account=raw.get("deferredrevenueaccount"), income_account=raw.get("incomeaccount"),
        revenue_rule=raw.get("revenuerecognitionrule"), department=raw.get("department"), class_=raw.get("class"),
        location=raw.get("location"),
    )  # fmt: skip


def _account(raw: dict[str, Any]) -> ReferenceRow:
    kind = str(raw.get("accttype") or "")
    return _row(raw, name="fullname", code="acctnumber", type=kind, account_class=ACCOUNT_CLASSES.get(kind, ""))


def _currency(raw: dict[str, Any]) -> ReferenceRow:
    return _row(
        raw, name="name", code="symbol", decimals=raw.get("currencyprecision"),
        is_base=_is_true(raw.get("isbasecurrency")),
    )  # fmt: skip


def _term(raw: dict[str, Any]) -> ReferenceRow:
    return _row(raw, name="name", days=raw.get("daysuntilnetdue"))


def _tax_code(raw: dict[str, Any]) -> ReferenceRow:
    rate = {"rate": str(raw["rate"])} if raw.get("rate") is not None else {}
    return _row(raw, name="itemid", code="itemid", tax_type=raw.get("taxtype"), account=raw.get("taxaccount"), **rate)


def _rate(raw: dict[str, Any]) -> ReferenceRow:
    pair = f"{raw['transactioncurrency']}/{raw['basecurrency']}"
    return ReferenceRow(
        external_id=pair,
        name=pair,
        code=pair,
        attributes={"date": raw["effectivedate"], "rate": str(raw["exchangerate"])},
    )


def _plain(raw: dict[str, Any]) -> ReferenceRow:
    return _row(raw, name="name")


def _row(raw: dict[str, Any], *, name: str, code: str = "", **attributes: Any) -> ReferenceRow:
    return ReferenceRow(
        external_id=str(raw["id"]),
        name=str(raw.get(name) or raw.get(code) or raw["id"]),
        code=str(raw.get(code) or ""),
        is_active=not _is_true(raw.get("isinactive")),
        attributes={k.rstrip("_"): v for k, v in attributes.items() if v is not None},
    )


_ROWS = {
    "subsidiaries": _subsidiary,
    "periods": _period,
    "items": _item,
    "accounts": _account,
    "departments": _plain,
    "classes": _plain,
    "locations": _plain,
    "currencies": _currency,
    "terms": _term,
    "tax_codes": _tax_code,
    "rates": _rate,
}


def listed_document(raw: dict[str, Any]) -> PostedDocument:
    """A row of the list of our documents: type, id, number, external id, currency, total (positive)."""
    names = {r.code: ours for ours, r in TYPES.items() if r.code}
    currency = str(raw["currency"])
    return PostedDocument(
        document_type=names.get(str(raw["type"]), str(raw["type"])),
        id=str(raw["id"]),
        external_id=str(raw["externalid"]),
        number=str(raw.get("tranid") or ""),
        currency_code=currency,
        total=round_money(abs(_decimal(raw.get("amount")) or Decimal(0)), currency),
    )


def totals_row(raw: dict[str, Any]) -> dict[str, Any]:
    """One row of the control totals: document type, currency, count, lines, amount (a decimal string, positive)."""
    names = {r.code: ours for ours, r in TYPES.items() if r.code}
    currency = str(raw["currency"])
    amount = _decimal(raw.get("amount")) or Decimal(0)
    return {
        "document_type": names.get(str(raw["type"]), str(raw["type"])),
        "currency": currency,
        "count": int(raw["count"]),
        "lines": int(raw.get("lines") or 0),
        "amount": str(round_money(abs(amount), currency)),
    }


def _is_true(value: Any) -> bool:
    return value in ("T", True, "true")


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither yes nor no")
    return value


def _id(reference: Any) -> str:
    return "" if reference is None or reference.get("id") is None else plain_id(reference["id"])


def _date(value: Any) -> dt.date | None:
    return dt.date.fromisoformat(str(value)[:10]) if value else None


def _decimal(value: Any) -> Decimal | None:
    return None if value is None or value == "" else Decimal(str(value))
