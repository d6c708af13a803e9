"""Steps that turn SKUs, tax codes and account roles into the ERP's own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import structs

from q2c.core.problems import Category, Problem
from q2c.flows.steps import asked
from q2c.posting.facts import Accounts, Book, ItemUse, Policy, RuleDates, TaxUse, use_key
from q2c.transactions.steps import Read

LINE_KINDS = ("item", "department", "class", "location")  # what is asked of a line
ACCOUNT_KINDS = ("account", "gateway_bank", "item")  # what is asked for the accounts of a document
ACCOUNT_ROLES = ("receivables", "receivables_control", "tax", "rounding", "bank", "fees", "disputes", "reserves")


def want_codes(document: Any, book: Book, mappings: Any) -> list[tuple[str, Any]]:
    """Items, product lines (with their rules) and tax codes of all lines, the entity's location, and what rules look
    at."""
    wants: set[tuple[str, Any]] = {("rule", ("item", line.sku, book.code)) for line in document.lines}
    wants.add(("rule", ("location", book.code)))
    wants |= {("rule", ("tax_code", tax.tax_code)) for line in document.lines for tax in line.taxes}
    wants |= {("product_line", line.sku) for line in document.lines}
    return [*wants, *asked.want_facts(document, mappings, *LINE_KINDS)]


def map_items(
    document: Any, book: Book, document_date: dt.date, posting_date: dt.date, mappings: Any, calendar: Any, links: Any
) -> dict[str, ItemUse]:
    """Every SKU must have an approved item mapping in force. Raises Problem naming SKU and entity."""
    on = rule_dates(document_date, posting_date)
    return item_uses(sold_of(document.lines, mappings), document, book, on, mappings, calendar, links)


Sold = dict[str, tuple[str, str]]  # by the key of its use: a SKU, and how it's charged


def sold_of(lines: Iterable[Any], mappings: Any) -> Sold:
    """What lines sell: each SKU once; and where rules look at how a line is charged, once for each way."""
    if "charge_type" not in asked.looks_at(mappings, *LINE_KINDS):
        return {line.sku: (line.sku, "") for line in lines}
    ways: dict[str, dict[str, None]] = {}
    for line in lines:
        ways.setdefault(line.sku, {})[line.charge_type] = None
    return {
        use_key(sku, charge if len(charges) > 1 else ""): (sku, charge)
        for sku, charges in ways.items()
        for charge in charges
    }


def item_uses(
    sold: Sold, document: Any, book: Book, on: RuleDates, mappings: Any, calendar: Any, links: Any
) -> dict[str, ItemUse]:
    """The ERP's items of these SKUs with what its list says of them: accounts, revenue rule and dimensions. Rules for
    the product line's department and class and for the entity's location go before the item's own. Raises Problem
    naming SKU and entity, also for an item that the list doesn't hold: nobody knows then whether it defers."""
    items = calendar.reference(book.connection, "items")
    scope = {"legal_entity": book.code, "connection": book.connection, "currency": document.currency, "on": on}
    facts = asked.facts_of(document, mappings, links, *LINE_KINDS)
    location = mappings.get("location", book.code, document=facts, **scope)
    found: dict[str, ItemUse] = {}
    for key, (sku, charge_type) in sold.items():
        line = links.product_line(sku)
        of_line = {**scope, "document": asked.of_line(facts, charge_type)}
        rule = mappings.resolve("item", sku, product_line=line, **of_line)
        if items and rule.value not in items:
            raise _unlisted("missing_item_mapping", "item", sku, rule.value, book)
        known = items.get(rule.value, {}).get("attributes", {})
        found[key] = ItemUse(
            item=rule.value,
            label=rule.label,
            income_account=known.get("income_account", ""),
            deferral_account=known.get("deferral_account", ""),
            revenue_rule=known.get("revenue_rule", ""),
            department=(line and mappings.get("department", line, **of_line)) or known.get("department", ""),
            class_=(line and mappings.get("class", line, **of_line)) or known.get("class", ""),
            location=location or known.get("location", ""),
        )
    return found


_NAMED = {  # what each kind decides of a line's use
    "item": ("item", "label", "income_account", "deferral_account", "revenue_rule"),
    "department": ("department",), "class": ("class_",), "location": ("location",),
}  # fmt: skip


def named_uses(
    known: dict[str, ItemUse], document: Any, book: Book, on: RuleDates, mappings: Any, calendar: Any, links: Any
) -> dict[str, ItemUse]:
    """Of what a document takes over from the one that it takes back, those parts for which a rule names its own type:
    that rule goes before. Empty while none does."""
    if not any("document_type" in mappings.looks_at(kind) for kind in _NAMED):
        return {}
    facts = asked.facts_of(document, mappings, links, *LINE_KINDS) or {}
    if not facts.get("takes_back"):
        return {}
    scope = {"legal_entity": book.code, "connection": book.connection, "currency": document.currency, "on": on}
    found: dict[str, ItemUse] = {}
    for key, use in known.items():
        sku, _, charge_type = key.partition("|")
        charges = {line.charge_type for line in document.lines if line.sku == sku}
        charge_type = charge_type or (charges.pop() if len(charges) == 1 else "")
        line = links.product_line(sku)
        asks = {"item": sku, "department": line, "class": line, "location": book.code}
        here = {**scope, "document": asked.of_line(facts, charge_type)}
        names = [
            part
            for kind, parts in _NAMED.items()
            if asks[kind] and mappings.names_type(kind, asks[kind], product_line=line, **here)
            for part in parts
        ]
        if names:
            now = item_uses({key: (sku, charge_type)}, document, book, on, mappings, calendar, links)[key]
            found[key] = structs.replace(use, **{name: getattr(now, name) for name in names})
    return found


def named_taxes(used: Iterable[str], document: Any, book: Book, on: RuleDates, mappings: Any, links: Any) -> set[str]:
    """Those tax codes for which a rule names the document's own type, where it takes another one back."""
    if "document_type" not in mappings.looks_at("tax_code"):
        return set()
    facts = asked.facts_of(document, mappings, links, "tax_code") or {}
    here = {"legal_entity": book.code, "connection": book.connection, "on": on, "document": facts}
    here["region"] = asked.region_of(document, mappings, links)
    return {code for code in used if facts.get("takes_back") and mappings.names_type("tax_code", code, **here)}


def want_tax_facts(document: Any, mappings: Any) -> list[tuple[str, Any]]:
    """What rules for tax codes look at: the customer, where they have a region or a condition."""
    return asked.want_facts(document, mappings, "tax_code")


def map_taxes(
    document: Any, book: Book, document_date: dt.date, posting_date: dt.date, mappings: Any, calendar: Any, links: Any
) -> dict[str, TaxUse]:
    """The ERP's code, tax type and tax account of each tax code that the tax engine or billing used. Raises Problem
    naming code and entity."""
    used = sorted({tax.tax_code for line in document.lines for tax in line.taxes})
    return tax_uses(used, document, book, rule_dates(document_date, posting_date), mappings, calendar, links)


def tax_uses(
    used: Iterable[str], document: Any, book: Book, on: RuleDates, mappings: Any, calendar: Any, links: Any
) -> dict[str, TaxUse]:
    """The ERP's tax codes of these, by the region of the document's customer. Raises Problem naming code and entity."""
    scope = {
        "legal_entity": book.code, "connection": book.connection, "on": on,
        "region": asked.region_of(document, mappings, links),
        "document": asked.facts_of(document, mappings, links, "tax_code"),
    }  # fmt: skip
    return {code: _tax_use(code, mappings.resolve("tax_code", code, **scope).value, book, calendar) for code in used}


def rule_dates(document_date: dt.date, posting_date: dt.date) -> RuleDates:
    """The dates by which the rules of a document are found that takes no other one back."""
    return RuleDates(document=document_date, posting=posting_date, original_line=document_date)


def _tax_use(code: str, value: str, book: Book, calendar: Any) -> TaxUse:
    """An ERP takes a tax code only with its tax type, so one that isn't in its list can't be sent."""
    known = calendar.reference(book.connection, "tax_codes").get(value)
    if known is None:
        raise _unlisted("missing_tax_code_mapping", "tax_code", code, value, book)
    facts = known["attributes"]
    return TaxUse(code=value, tax_type=facts.get("tax_type", ""), account=facts.get("account", ""))


def _unlisted(code: str, kind: str, key: str, value: str, book: Book) -> Problem:
    return Problem(
        code,
        Category.MAPPING,
        f"{key} is mapped to {kind.replace('_', ' ')} {value}, which the ERP's list doesn't hold",
        kind=kind,
        key=key,
        connection=book.connection,
        legal_entity=book.code,
    )


def want_accounts(document: Any, mappings: Any) -> list[tuple[str, Any]]:
    """Account roles, the rounding item, and the gateway's clearing and bank; and what rules look at."""
    wants: list[tuple[str, Any]] = [("rule", ("account", role)) for role in ACCOUNT_ROLES]
    wants.append(("rule", ("item", "#rounding")))
    gateway = getattr(document, "gateway", "")
    if gateway:
        wants += [("rule", ("account", f"clearing:{gateway}")), ("rule", ("gateway_bank", gateway))]
    return [*wants, *asked.want_facts(document, mappings, *ACCOUNT_KINDS)]


def find_document_accounts(
    document: Any, book: Book, document_date: dt.date, posting_date: dt.date, policy: Policy, taxes: dict[str, TaxUse],
    mappings: Any, links: Any,
) -> Accounts:  # fmt: skip
    """Receivables, and tax where a tax code names no account of its own. Raises Problem naming the role."""
    return document_accounts("", document, book, document_date, posting_date, policy, taxes, mappings, links)


def document_accounts(
    settled: str, document: Any, book: Book, document_date: dt.date, posting_date: dt.date, policy: Policy,
    taxes: dict[str, TaxUse], mappings: Any, links: Any,
) -> Accounts:  # fmt: skip
    """The same with the receivables account that something else than the rule of this date has said; empty: nothing."""
    has_own = all(use.account for use in taxes.values())
    role = receivables_role(policy)
    needs = (role,) if has_own else (role, "tax")
    on = rule_dates(document_date, posting_date)
    return _find_accounts(document, book, on, mappings, links, needs, receivables=role, settled=settled)


def receipt_accounts(
    settled: str, document: Any, book: Book, document_date: dt.date, posting_date: dt.date, policy: Policy,
    mappings: Any, links: Any,
) -> Accounts:  # fmt: skip
    """The gateway's clearing account, and receivables: `settled`, where something else than the rule of this date has
    said them. Raises Problem naming the role."""
    role = receivables_role(policy)
    on = rule_dates(document_date, posting_date)
    needs = (role, "clearing")
    return _find_accounts(document, book, on, mappings, links, needs, receivables=role, settled=settled)


def find_receivables(
    document: Any, book: Book, document_date: dt.date, posting_date: dt.date, policy: Policy, mappings: Any, links: Any
) -> str:
    """The account of receivables alone, by the rule in force on this posting date. Raises Problem naming the role."""
    on, role = rule_dates(document_date, posting_date), receivables_role(policy)
    scope = _account_scope(document, book, on, mappings, links)
    return str(mappings.resolve("account", role, **scope).value)


def receivables_role(policy: Policy) -> str:
    """The role of the account that stands for receivables. In a summary it's the control account, which the ERP
    doesn't keep by customer: a summed line has no customer."""
    return "receivables_control" if policy.is_summary else "receivables"


def dispute_accounts(
    kept: Mapping[str, str], document: Any, book: Book, document_date: dt.date, posting_date: dt.date, mappings: Any,
    links: Any,
) -> Accounts:  # fmt: skip
    """Disputes, fees and the gateway's clearing account; `kept` by role those that something else than the rules of
    these dates has said. Raises Problem naming the role."""
    on = rule_dates(document_date, posting_date)
    return _find_accounts(document, book, on, mappings, links, ("disputes", "fees", "clearing"), kept=kept)


def payout_accounts(
    kept: Mapping[str, str], document: Any, book: Book, document_date: dt.date, posting_date: dt.date, mappings: Any,
    links: Any,
) -> Accounts:  # fmt: skip
    """Bank, fees and the gateway's clearing account, and reserves where there are any; `kept` by role those that
    something else than the rules of these dates has said. Raises Problem naming the role."""
    needs: tuple[str, ...] = ("bank", "fees", "clearing")
    if any(m.kind == "reserve" for m in document.movements):
        needs = (*needs, "reserves")
    on = rule_dates(document_date, posting_date)
    facts = asked.facts_of(document, mappings, links, *ACCOUNT_KINDS)
    scope = {"legal_entity": book.code, "connection": book.connection, "on": on, "document": facts}
    clearings = {
        code: mappings.resolve("account", f"clearing:{document.gateway}", **scope, currency=code).value
        for code in sorted({m.original_currency for m in document.movements} - {""})
    }
    found = _find_accounts(document, book, on, mappings, links, needs, kept=kept)
    return structs.replace(found, clearings=clearings)


def _find_accounts(
    document: Any, book: Book, on: RuleDates, mappings: Any, links: Any, needs: tuple[str, ...], *,
    receivables: str = "receivables", settled: str = "", kept: Mapping[str, str] | None = None,
) -> Accounts:  # fmt: skip
    scope = _account_scope(document, book, on, mappings, links)
    gateway = getattr(document, "gateway", "")
    kept = kept or {}
    needs = tuple(role for role in needs if role not in kept)

    def account(role: str) -> str:
        if role not in needs:
            return mappings.get("account", role, **scope)
        return mappings.resolve("account", role, **scope).value

    found = Accounts(
        receivables=settled or account(receivables),
        tax=account("tax"),
        rounding=account("rounding"),
        rounding_item=mappings.get("item", "#rounding", **scope),
        clearing=mappings.resolve("account", f"clearing:{gateway}", **scope).value if "clearing" in needs else "",
        bank=mappings.resolve("gateway_bank", gateway, **scope).value if "bank" in needs else "",
        fees=account("fees"),
        disputes=account("disputes"),
        reserves=account("reserves"),
    )
    return structs.replace(found, **kept)


def _account_scope(document: Any, book: Book, on: RuleDates, mappings: Any, links: Any) -> dict[str, Any]:
    return {
        "legal_entity": book.code, "connection": book.connection, "currency": document.currency, "on": on,
        "document": asked.facts_of(document, mappings, links, *ACCOUNT_KINDS),
    }  # fmt: skip


def codes_steps(
    items: Any = map_items, taxes: Any = map_taxes, accounts: Any = find_document_accounts
) -> tuple[Read, ...]:
    """The steps that find items, tax codes and accounts; the arguments say how each is found."""
    return (
        Read("map_items", "Map every SKU to an ERP item and revenue rule", items, gives="items", wants=want_codes),
        Read("map_taxes", "Map the tax codes that the tax engine used", taxes, gives="taxes", wants=want_tax_facts),
        *accounts_step(accounts),
    )


def accounts_step(find: Any, wants: Any = want_accounts) -> tuple[Read, ...]:
    """The step that finds the accounts, after the posting date: an account is the one in force on it."""
    return (Read("find_accounts", "Find the accounts of this posting", find, gives="accounts", wants=wants),)


CODES = codes_steps()
