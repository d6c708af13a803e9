"""What a step gave, in one line that a controller reads. Pure; the screen keeps the whole output behind "Details"."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from q2c.core.templatetags.words import count, human, plain_money, spoken_noun

SHOWN = 3  # entries of a list, then "and 2 more"
_DATE = re.compile(r"\d{4}-[01]\d-[0-3]\d")


@dataclass(frozen=True)
class Scene:
    """What the words need beside the value: whose document it is, and what the used rules' values are called."""

    customer: str = ""
    currency: str = ""
    labels: Mapping[str, str] | None = None

    def called(self, value: Any) -> str:
        """The name that a mapping gave for an id, else the id."""
        return (self.labels or {}).get(str(value)) or str(value)


def tell_outcome(gave: str, value: Any, scene: Scene) -> str:
    """One line: "US01, Quantumbit Inc., books in USD". Empty where there's nothing to say."""
    if value is None:
        return "By itself" if gave == "summary" else ""
    if value == "":
        return ""
    if isinstance(value, dict) and value.get("document_type"):
        return _document(value)
    tell = TELLERS.get(gave)
    if tell is not None and (line := tell(value, scene)):
        return line
    if isinstance(value, dict):
        plain = [f"{n.replace('_', ' ')} {_plain(v, scene)}" for n, v in value.items() if _is_plain(n, v)]
        if plain:
            return ", ".join(plain[:SHOWN])
    if isinstance(value, dict | list):
        return str(count(len(value), "entry", "entries")) if value else "nothing needed"
    line = _plain(value, scene)
    return line[:1].upper() + line[1:] if human(line) else line


def _is_plain(name: str, value: Any) -> bool:
    return isinstance(value, str | int | bool) and value != "" and name not in ("external_id", "url")


def _plain(value: Any, scene: Scene) -> str:
    """A date as people write it; an id that a mapping gave with its name; yes and no; anything else as it is."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return day(text) if _DATE.fullmatch(text) else scene.called(text)


def day(text: str) -> str:
    """An ISO date as people write it: "1 Oct 2026"."""
    found = dt.date.fromisoformat(text)
    return f"{found.day} {found:%b %Y}"


def _money(amount: Any, currency: str) -> str:
    try:
        return f"{currency} {plain_money(Decimal(str(amount)), currency)}".strip()
    except InvalidOperation:
        return str(amount)


def _document(value: dict[str, Any]) -> str:
    """What was made there: its kind and the number that people know it by."""
    number = human(value.get("number", ""))
    identifier = str(value.get("id", ""))
    said = f"{spoken_noun(value['document_type'])} {number or identifier}"
    return f"{said}, id {identifier}" if number and human(identifier) and number != identifier else said


def _few(texts: list[str]) -> str:
    more = len(texts) - SHOWN
    return ", ".join(texts[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _book(value: Any, scene: Scene) -> str:
    return f"{value['code']}, {value['name']}; its books are in {value['currency']}"


_POLICY_WORDS = {
    "line": "posted line by line",
    "summary": "posted in a summary of the day",
    "document": "dated as the document",
    "receipt": "dated as received",
}


def _policy(value: Any, scene: Scene) -> str:
    said = [_POLICY_WORDS.get(str(value.get(name)), "") for name in ("detail", "posting_date")]
    limit = value.get("approval_over")
    if limit:
        said.append(f"approval over {plain_money(Decimal(str(limit)), '')} in the currency of the books")
    return ", ".join(text for text in said if text).capitalize()


def _customer(value: Any, scene: Scene) -> str:
    return f"{scene.customer}, customer {value}" if scene.customer and isinstance(value, str) else ""


def _numbered(noun: str) -> Callable[[Any, Scene], str]:
    return lambda value, scene: f"{noun} {value}" if isinstance(value, str) else ""


def _use(value: Any, scene: Scene) -> str:
    parts = str(value).split(":")
    return f"Yes: {parts[-2]} bills it in {parts[-1]}" if len(parts) > 2 else ""


def _period(value: Any, scene: Scene) -> str:
    return f"{value['name']} is {'open' if value.get('is_receivables_open') else 'closed'}"


def _rate(value: Any, scene: Scene) -> str:
    if not value:
        return "None needed: the document is in the currency of the books"
    if not value.get("rate"):
        return ""
    source = "by hand" if value.get("source") == "manual" else f"from {value.get('source', '')}"
    dated = f", of {day(value['rate_date'])}" if value.get("rate_date") else ""
    return f"{value['rate']} for {value.get('pair', '')}, {source}{dated}"


def _items(value: Any, scene: Scene) -> str:
    return _few([f"{sku} is {item.get('label') or scene.called(item.get('item'))}" for sku, item in value.items()])


def _taxes(value: Any, scene: Scene) -> str:
    codes = list(dict.fromkeys(scene.called(tax.get("code")) for tax in value.values()))
    return f"Tax {'code' if len(codes) == 1 else 'codes'} {_few(codes)}" if codes else "No line is taxed"


def _accounts(value: Any, scene: Scene) -> str:
    return _few([f"{name.replace('_', ' ').capitalize()}: {scene.called(account)}" for name, account in value.items()])


def _posting(value: Any, scene: Scene) -> str:
    """What is about to be posted: how many lines, how much; what a customer or a status says."""
    currency = value.get("currency_code") or scene.currency
    if "apply_to" in value:
        amount = sum((Decimal(str(row["amount"])) for row in value["apply_to"]), Decimal(0))
        return f"{_money(amount, currency)} on {count(len(value['apply_to']), 'document')}"
    if isinstance(value.get("fields"), dict):
        said = [f"{n.replace('_', ' ')} {v}" for n, v in value["fields"].items() if isinstance(v, str) and n != "link"]
        return _few(said)
    lines = value.get("lines") or value.get("journal") or ()
    total = value.get("total") or value.get("amount")
    if total is None and lines:
        total = sum((Decimal(str(line.get("debit") or 0)) for line in lines), Decimal(0))
    if total is not None:
        said = [count(len(lines), "line")] if value.get("lines") else []
        said.append(_money(total, currency))
        if value.get("journal") or any("debit" in line for line in lines):
            said.append("debits equal credits")
        return ", ".join(said)
    if value.get("name"):
        return _named(value, scene)
    return ""


def _named(value: Any, scene: Scene) -> str:
    found = value.get("customer") if isinstance(value.get("customer"), dict) else value
    return ", ".join(str(found[n]) for n in ("name", "number", "currency") if human(str(found.get(n) or "")))


def _lines(value: Any, scene: Scene) -> str:
    total = value.get("total")
    said = count(len(value.get("lines", ())), "line")
    return f"{said}, {_money(total, value.get('currency', ''))}" if total is not None else said


def _products(value: Any, scene: Scene) -> str:
    made = [sku for sku, target in value.items() if target == "create"]
    kept = [f"{sku} is {scene.called(target)}" for sku, target in value.items() if target != "create"]
    return _few([*kept, *(f"{sku} is made in billing" for sku in made)])


def _plan(value: Any, scene: Scene) -> str:
    said = [count(len(value.get("lines", ())), "line")]
    if value.get("start_date"):
        said.append(f"from {day(value['start_date'])}")
    if value.get("term_months"):
        said.append(f"for {count(value['term_months'], 'month')}")
    return " ".join(said)


def _original(value: Any, scene: Scene) -> str:
    dated = f"the original of {day(value['document_date'])}" if value.get("document_date") else "the original"
    return f"{count(len(value.get('items', ())), 'item')} of {dated}"


def _window(value: Any, scene: Scene) -> str:
    return "Open at any time" if value == "always" else ""


TELLERS: dict[str, Callable[[Any, Scene], str]] = {
    "book": _book,
    "policy": _policy,
    "erp_customer": _customer,
    "erp_invoice": _numbered("AR invoice"),
    "erp_payment": _numbered("Receipt"),
    "customer_id": _numbered("Customer"),
    "customer_use": _use,
    "period": _period,
    "rate": _rate,
    "items": _items,
    "taxes": _taxes,
    "accounts": _accounts,
    "posting": _posting,
    "account": _named,
    "billing_customer": _named,
    "document": _lines,
    "products": _products,
    "plan": _plan,
    "original": _original,
    "window": _window,
}
