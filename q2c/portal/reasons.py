"""Why a document posted where it did: each line of its journal with the rules, as known then, that put it there."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec

from connectors.models import Connection
from exceptions.preview import LISTS, ledger_entries
from mappings import scope
from mappings.kinds import BY_CODE
from mappings.models import CrossReference, MappingRule
from mappings.resolve import Considered, Snapshot, Want
from mappings.selectors import rules_of_today
from q2c.canonical import schema
from q2c.flows import catalog
from q2c.flows.asked_again import facts_again
from q2c.flows.steps.asked import of_line
from q2c.flows.steps.codes import LINE_KINDS
from q2c.portal.told import ToldStep, tell_steps
from q2c.posting.facts import RuleDates
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.selectors import steps_of

KIND_OF = {"department": "department", "class_": "class", "location": "location"}
INVOICE_FLOW = "invoice_to_erp"
# Of a void: the flow that posted what it takes back.
VOIDED_BY = {"invoice_void_to_erp": INVOICE_FLOW, "credit_void_to_erp": "credit_memo_to_erp"}
SKUS_SHOWN = 5


@dataclass
class UsedRule:
    """A rule that a step used, beside what the same rule says today (None: nothing any more)."""

    rule: MappingRule
    step: str
    change_set: int | None
    today: MappingRule | None = None
    asked: str = ""  # the key that was asked for; the rule's own may be a pattern
    looked_at: list[Considered] = field(default_factory=list)

    @property
    def is_same(self) -> bool:
        """Whether the same question would get the same value today."""
        return self.today is not None and self.today.value == self.rule.value


@dataclass
class Reason:
    """One cause of a line's account or dimension, in words, with the rule behind it; no rule where the ERP's own list
    or the document that it takes back decided."""

    text: str
    used: UsedRule | None = None


@dataclass
class PostedLine:
    """One line of the journal. Exactly one of debit and credit is above zero, in the document's currency."""

    account: str
    account_name: str
    debit: Decimal
    credit: Decimal
    dimensions: list[tuple[str, str]] = field(default_factory=list)  # (what, its name)
    reasons: list[Reason] = field(default_factory=list)


@dataclass
class Explained:
    """A posting with its reasons. `others` are the rules that decided about the document as a whole."""

    lines: list[PostedLine]
    currency: str
    posting_date: dt.date | None
    others: list[UsedRule]
    original: BusinessTransaction | None = None
    is_summary: bool = False
    system: str = ""  # why this ERP, in words


class _Gave:
    """What the finished steps of a transaction gave, by name."""

    def __init__(self, steps: Iterable[ToldStep]) -> None:
        self.values = {s.last.gave: s.given for s in steps if s.last is not None and s.last.state == "done"}

    def date(self, name: str) -> dt.date | None:
        """A date that a step gave, or None."""
        text = self.values.get(name)
        return dt.date.fromisoformat(text) if isinstance(text, str) else None

    def dictionary(self, name: str) -> dict[str, Any]:
        """An object that a step gave; empty where none did."""
        value = self.values.get(name)
        return value if isinstance(value, dict) else {}

    @property
    def journal(self) -> list[dict[str, Any]]:
        """The double entry that a step built: a document's expected one, or the lines of a journal itself."""
        posting = self.dictionary("posting")
        rows: list[dict[str, Any]] = posting.get("journal") or posting.get("lines") or []
        return rows if rows and "account" in rows[0] else []


def used_rules(steps: Iterable[ToldStep]) -> list[UsedRule]:
    """The rules that the finished steps used, in their order, each once, with what they say today; one query."""
    found = {
        rule.pk: UsedRule(rule, step.sentence, step.last.change_set, asked=rule.key)
        for step in reversed(list(steps))
        if step.last is not None and step.last.state == "done"
        for rule in reversed(step.rules)
    }
    today = rules_of_today(used.rule for used in found.values())
    for pk, used in found.items():
        used.today = today.get(pk)
    return list(reversed(found.values()))


def has_posting(steps: Iterable[ToldStep]) -> bool:
    """Whether one of the steps built a journal."""
    return bool(_Gave(steps).journal)


def explain_posting(txn: BusinessTransaction) -> Explained | None:
    """The journal of a transaction, line by line, with its reasons; None where it built none."""
    steps = tell_steps(txn, steps_of(txn.pk), [])
    gave = _Gave(steps)
    journal = gave.journal
    if not journal:
        return None
    used = used_rules(steps)
    names = _names(gave.dictionary("book").get("connection", txn.target_connection), journal)
    lines = [_line(row, names) for row in journal]
    original = _original(txn, gave)
    for line, row in zip(lines, journal, strict=True):
        line.reasons = _reasons(line, row, gave, used, original)
    told = {id(reason.used) for line in lines for reason in line.reasons if reason.used}
    _look_again(used, txn, gave)
    return Explained(
        lines, txn.currency, gave.date("posting_date"), [u for u in used if id(u) not in told], original,
        is_summary=not used, system=_why_this_erp(gave.dictionary("book"), used),
    )  # fmt: skip


def _why_this_erp(book: Mapping[str, Any], used: list[UsedRule]) -> str:
    """Why a document is in this ERP and in no other: a rule, what it is about, or the role."""
    erp = Connection.objects.filter(code=book.get("connection", "")).values_list("name", flat=True).first()
    if erp is None:
        return ""
    if key := book.get("follows", ""):
        number = CrossReference.objects.filter(record_key=key).exclude(number="").values_list("number", flat=True)
        noun = key.split(":")[1].replace("_", " ")
        return f"It is in {erp}, where the {noun}{f' {number[0]}' if number else ''} stands."
    if any(u.rule.kind == "target_system" for u in used):
        return f"It is in {erp}, by the rule below that was in force on its date."
    return f"It is in {erp}, which plays the role of ERP for {book.get('code', '')}: no rule sends it elsewhere."


def _line(row: Mapping[str, Any], names: Mapping[tuple[str, str], str]) -> PostedLine:
    dimensions = [
        (name.strip("_"), names.get((LISTS[name], row[name]), row[name])) for name in KIND_OF if row.get(name)
    ]
    account = row["account"]
    return PostedLine(
        account, names.get(("accounts", account), ""), Decimal(row.get("debit", 0)), Decimal(row.get("credit", 0)),
        dimensions,
    )  # fmt: skip


def _names(connection: str, journal: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    """What the ERP calls the accounts and dimensions of these lines."""
    rows = ledger_entries(connection, journal).values()
    return {
        (row.list_name, row.external_id): f"{row.code} {row.name}" if row.code and row.code != row.name else row.name
        for row in rows
    }


def _original(txn: BusinessTransaction, gave: _Gave) -> BusinessTransaction | None:
    """The transaction of what a credit or void takes back, where its lines decided."""
    if not gave.dictionary("original").get("items"):
        return None
    taken = json.loads(bytes(txn.fact)).get("document_id" if txn.flow in VOIDED_BY else "invoice_id", "")
    flow = VOIDED_BY.get(txn.flow, INVOICE_FLOW)
    rows = BusinessTransaction.objects.filter(
        flow=flow, source_connection=txn.source_connection, source_id=taken, state="completed"
    )
    return rows.defer("fact").order_by("-lane_sequence").first() if taken else None


def _as_on(original: BusinessTransaction) -> str:
    return f", as on the {'credited invoice' if original.flow == INVOICE_FLOW else 'voided credit memo'}"


def _reasons(
    line: PostedLine, row: Mapping[str, Any], gave: _Gave, used: list[UsedRule], original: BusinessTransaction | None
) -> list[Reason]:
    reasons = _of_items(line, row, gave, used, original) + _of_taxes(line, gave, used, original)
    roles = [
        Reason(f"The {_role(u.rule.key)} account", u)
        for u in used
        if u.rule.kind in ("account", "gateway_bank", "intercompany") and u.rule.value == line.account
    ]
    reasons += roles or _of_settled(line, gave, original)
    for name, kind in KIND_OF.items():
        reasons += [
            Reason(f"{name.strip('_').capitalize()} {u.rule.value_label or u.rule.value}", u)
            for u in used
            if row.get(name) and u.rule.kind == kind and u.rule.value == row[name]
        ]
    return reasons


def _of_items(
    line: PostedLine, row: Mapping[str, Any], gave: _Gave, used: list[UsedRule], original: BusinessTransaction | None
) -> list[Reason]:
    """The SKUs whose item earns on this account, or defers to it; those of one item and rule together."""
    groups: dict[tuple[str, int], list[str]] = {}
    rules: dict[int, UsedRule | None] = {}
    for key, use in gave.dictionary("items").items():
        sku, _, charge_type = key.partition("|")
        account = use.get("deferral_account") or use.get("income_account") or f"item:{use['item']}"
        if account != line.account or any(use.get(name, "") != row.get(name, "") for name in KIND_OF):
            continue
        by = _decided(used, "item", sku, use["item"])
        verb = "defers to" if use.get("deferral_account") else "earns on"
        then = _as_on(original) if by is None and original is not None else "; in the ERP"
        said = f"item {use.get('label') or use['item']}{then}{'; the' if then[0] == ',' else ' this'} item {verb} it"
        rules[id(by)] = by
        charged = f" ({charge_type.replace('_', '-')})" if charge_type else ""
        groups.setdefault((said, id(by)), []).append(f"{sku}{charged}")
    return [Reason(f"{_skus(skus)} {said}", rules[rule]) for (said, rule), skus in groups.items()]


def _skus(skus: list[str]) -> str:
    if len(skus) == 1:
        return f"SKU {skus[0]} is"
    more = len(skus) - SKUS_SHOWN
    return f"SKUs {', '.join(skus[:SKUS_SHOWN])}{f' and {more} more' if more > 0 else ''} are"


def _of_taxes(
    line: PostedLine, gave: _Gave, used: list[UsedRule], original: BusinessTransaction | None
) -> list[Reason]:
    """The tax codes that post to this account."""
    found = []
    for code, use in gave.dictionary("taxes").items():
        if use.get("account") == line.account:
            by = _decided(used, "tax_code", code, use["code"])
            tail = _as_on(original) if by is None and original is not None else ""
            found.append(Reason(f"Tax {code} is tax code {use['code']}{tail}; the code names it", by))
    return found


def _of_settled(line: PostedLine, gave: _Gave, original: BusinessTransaction | None) -> list[Reason]:
    """The receivables account that no rule gave: that of the open item which it takes back, pays or gives back."""
    names = ("credited_accounts", "accounts")
    if line.account not in [gave.dictionary(name).get("receivables") for name in names]:
        return []
    then = ", on which what it settles stands" if original is None else _as_on(original)
    return [Reason(f"The receivables account{then}")]


def _decided(used: list[UsedRule], kind: str, key: str, value: str) -> UsedRule | None:
    """The rule that answered this key; it remembers that it was asked for it."""
    for u in used:
        if u.rule.kind == kind and u.rule.value == value and (u.rule.key == key or scope.matches(u.rule.key, key)):
            u.asked = key
            return u
    return None


def _role(key: str) -> str:
    role, _, gateway = key.partition(":")
    return f"{role.replace('_', ' ')} ({gateway})" if gateway else role.replace("_", " ")


def _look_again(used: list[UsedRule], txn: BusinessTransaction, gave: _Gave) -> None:
    """Ask each question again as its step knew it: which rules were looked at, and why they lost."""
    document, posting = gave.date("document_date") or txn.document_date, gave.date("posting_date")
    if document is None:
        return
    original = gave.dictionary("original").get("document_date")
    dates = RuleDates(
        document=document,
        posting=posting or document,
        original_line=dt.date.fromisoformat(original) if original else document,
    )
    book = gave.dictionary("book")
    for u in used:
        if u.rule.kind == "target_system":
            u.asked = f"erp|{txn.flow.removesuffix('_to_erp')}"
    snapshots: dict[int, Snapshot] = {}
    facts: dict[int, dict[str, str] | None] = {}
    told = _document(txn, gave)
    for u in used:
        if u.change_set is None or scope.is_pattern(u.asked):
            continue
        snapshot = snapshots.get(u.change_set)
        if snapshot is None:
            wants: list[Want] = [(o.rule.kind, o.asked, {}) for o in used if o.change_set == u.change_set]
            snapshot = snapshots[u.change_set] = Snapshot.load(wants, change_set=u.change_set)
            if told is not None:
                facts[u.change_set] = facts_again(told, snapshot, *{o.rule.kind for o in used})
        kind = BY_CODE[u.rule.kind]
        for charge_type in _charges(told, u):
            u.looked_at = snapshot.explain(
                kind.code, u.asked, on=getattr(dates, kind.date_basis), legal_entity=book.get("code", ""),
                connection=book.get("connection", u.rule.connection_code), currency=txn.currency,
                region=u.rule.region, product_line=u.rule.product_line,
                document=of_line(facts.get(u.change_set), charge_type),
            )  # fmt: skip
            if u.looked_at and u.looked_at[0].rule.id == u.rule.pk:
                break
        if u.looked_at and u.looked_at[0].rule.id != u.rule.pk:
            u.looked_at = []  # it was asked for another document's sake, which this one follows


def _document(txn: BusinessTransaction, gave: _Gave) -> Any:
    """The document as its steps asked rules with it; None where it can't be read any more."""
    flow = catalog.BY_CODE.get(txn.flow)
    if flow is None:
        return None
    read = next((step.output_type for step in flow.steps if step.gives == "document"), None)
    given = gave.dictionary("document")
    try:
        return (
            schema.from_builtins(given, read) if read and given else schema.from_json(bytes(txn.fact), flow.fact_type)
        )
    except msgspec.MsgspecError:  # of an erased customer, or of another release
        return None


def _charges(document: Any, used: UsedRule) -> list[str]:
    """How the lines are charged for which a rule may have answered."""
    lines = getattr(document, "lines", ()) if used.rule.kind in LINE_KINDS else ()
    found = {getattr(line, "charge_type", "") for line in lines if used.rule.kind != "item" or line.sku == used.asked}
    return sorted(found) or [""]
