"""A held document as the ERP would hold it, found out in memory from cached lists: nothing is sent, nothing stored.

Its reading steps run again as a repost would run them; what they give is laid beside the document as we hold it, what
the target holds, and the last document of its sort that went through.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db.models import Min

from connectors.models import ReferenceEntry
from exceptions.side_by_side import NOTHING, Cell, Column, Raw, Row, columns_of, differ, lay_out, read_raw
from mappings.resolve import Snapshot, latest_change_set
from q2c.core.money import spoken_money
from q2c.core.problems import Problem
from q2c.flows.trial import read_in_memory
from q2c.inbox.models import InboundKey
from q2c.transactions.batch import Ending, Run
from q2c.transactions.claims import Claim
from q2c.transactions.models import BusinessTransaction, StepRun
from q2c.transactions.steps import encode_output

NEWEST = 2000  # documents of the flow among which one that went through is looked for
LISTS = {"account": "accounts", "department": "departments", "class_": "classes", "location": "locations"}


@dataclass(frozen=True)
class Line:
    """A line of the journal, in the document's currency; one of debit and credit is above zero."""

    account: str
    name: str
    debit: Decimal
    credit: Decimal
    dimensions: list[str]


@dataclass(frozen=True)
class Check:
    """One thing that was checked against what we hold: whether it passes, and the facts."""

    says: str
    passes: bool
    facts: str = ""


@dataclass
class Preview:
    """The document as the ERP would hold it, as far as that can be told."""

    txn: BusinessTransaction
    lines: list[Line] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    problem: Problem | None = None  # what would hold it again
    stops_at: str = ""  # the step's sentence
    period: str = ""
    rate: str = ""
    entity: str = ""
    lists_read_at: dt.datetime | None = None
    last: BusinessTransaction | None = None
    has_posting: bool = False
    raw: Raw = NOTHING  # the message as it came

    @property
    def columns(self) -> list[Column]:
        """What is laid side by side, without what nobody says anything in."""
        return columns_of(self.rows)

    @property
    def table(self) -> list[tuple[Row, list[Cell]]]:
        """The fields, each with its value per column."""
        columns = self.columns
        return [(row, row.cells(columns)) for row in self.rows]

    @property
    def debit(self) -> Decimal:
        """The sum of the debits."""
        return sum((line.debit for line in self.lines), Decimal(0))

    @property
    def credit(self) -> Decimal:
        """The sum of the credits."""
        return sum((line.credit for line in self.lines), Decimal(0))


def preview(txn: BusinessTransaction, *, message: InboundKey | None = None) -> Preview:
    """Read the document again in memory, by the newest rules and what people let pass, and say what would be sent.
    With the message that it came as, what that says stands beside it."""
    run = _read(txn)
    facts = {name: json.loads(encode_output(value)) for name, value in run.facts.items()}
    found = Preview(txn)
    if run.ending is Ending.HELD:
        found.problem, found.stops_at = run.problem, _sentence(run)
    book, period, posting = _object(facts, "book"), _object(facts, "period"), _object(facts, "posting")
    found.has_posting = bool(posting)
    if book:
        found.entity = f"{book['code']}, {book['name']}; its books are in {book['currency']}"
    if period:
        found.period = f"{period['name']}, {'open' if period['is_receivables_open'] else 'closed'}"
    rate = _object(facts, "rate")
    if rate:
        found.rate = f"{rate['pair']} {rate['rate']}" if rate.get("rate") else "none needed"
    journal = posting.get("journal") or posting.get("lines") or []
    journal = journal if journal and "account" in journal[0] else []
    entries = ledger_entries(book.get("connection", txn.target_connection), journal)
    found.lines = [_line(row, entries) for row in journal]
    found.last = _last_success(txn)
    found.raw = read_raw(message)
    started = run.flow.starts_with[0]
    found.rows = lay_out(
        txn, ours=_object(facts, started) or _object(facts, "document"), was=_stored(txn, "posting"),
        was_ours=_stored(txn, "document"), posting=posting, raw=found.raw, record_type=started,
        last=_stored(found.last, "posting") if found.last else {},
        rules={int(rule) for row in run.rows for rule, _ in (row.used or {}).get("rules", ())},
    )  # fmt: skip
    found.checks = _checks(found, facts, journal, entries)
    found.lists_read_at = ReferenceEntry.objects.filter(
        connection__code=book.get("connection", txn.target_connection), list_name="accounts"
    ).aggregate(read=Min("read_at"))["read"]
    return found


def _read(txn: BusinessTransaction) -> Run:
    intent = txn.open_intent
    claim = Claim(txn.pk, 0, intent, (intent or {}).get("generation", 0), 0, 0, 1, "", False)
    return read_in_memory(txn.flow, [claim], Snapshot.load([], latest_change_set()))[0]


def _sentence(run: Run) -> str:
    found = [step.sentence for step in run.flow.steps if step.name == run.problem_step]
    return found[0] if found else run.problem_step


def _object(facts: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = facts.get(name)
    return value if isinstance(value, dict) else {}


def ledger_entries(connection: str, journal: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], ReferenceEntry]:
    """What the ERP's cached lists say of these lines' accounts and dimensions; one query."""
    wanted = {(LISTS[name], row[name]) for row in journal for name in LISTS if row.get(name)}
    rows = ReferenceEntry.objects.filter(
        connection__code=connection, list_name__in={name for name, _ in wanted},
        external_id__in={value for _, value in wanted},
    )  # fmt: skip
    return {(row.list_name, row.external_id): row for row in rows}


def _line(row: Mapping[str, Any], entries: Mapping[tuple[str, str], ReferenceEntry]) -> Line:
    def called(name: str) -> str:
        entry = entries.get((LISTS[name], row[name]))
        return f"{entry.code} {entry.name}".strip() if entry else ""

    dimensions = [
        f"{name.strip('_').capitalize()} {called(name) or row[name]}"
        for name in LISTS
        if name != "account" and row.get(name)
    ]
    if row.get("tax_code"):
        dimensions.append(f"Tax code {row['tax_code']}")
    debit, credit = Decimal(str(row.get("debit") or 0)), Decimal(str(row.get("credit") or 0))
    return Line(row["account"], called("account"), debit, credit, dimensions)


def _last_success(txn: BusinessTransaction) -> BusinessTransaction | None:
    """The newest document of the same flow, entity and currency that went through, of the flow's last ones."""
    newest = BusinessTransaction.objects.filter(flow=txn.flow).order_by("-id").values("pk")[:NEWEST]
    rows = BusinessTransaction.objects.filter(
        pk__in=newest, state="completed", legal_entity_code=txn.legal_entity_code, currency=txn.currency
    )
    return rows.defer("fact").order_by("-id").first()


def _stored(txn: BusinessTransaction, gave: str) -> dict[str, Any]:
    """What the document's last attempt gave: the posting that it built, or the document that it read."""
    built = StepRun.objects.filter(transaction_id=txn.pk, gave=gave, state="done").order_by("-sequence").first()
    value = json.loads(bytes(built.output)) if built and built.output else None
    return value if isinstance(value, dict) else {}


def _checks(
    found: Preview, facts: Mapping[str, Any], journal: list[Any], entries: Mapping[tuple[str, str], ReferenceEntry]
) -> list[Check]:
    checks = []
    if found.problem is not None:
        checks.append(Check(found.problem.summary, False, f"it stops at “{found.stops_at}”"))
    period = _object(facts, "period")
    if period:
        is_open = bool(period["is_receivables_open"] and period["is_ledger_open"])
        checks.append(
            Check(f"{period['name']} is {'open' if is_open else 'closed'}", is_open, "as the ERP’s list says")
        )
    if journal:
        debit, credit = (spoken_money(amount, found.txn.currency) for amount in (found.debit, found.credit))
        checks.append(Check("Debits equal credits", found.debit == found.credit, f"{debit} and {credit}"))
        wanted = {(LISTS[name], row[name]) for row in journal for name in LISTS if row.get(name)}
        gone = sorted(key[1] for key in wanted if key not in entries or not entries[key].is_active)
        what = "Every account and dimension is active in the ERP’s lists"
        checks.append(Check(what, not gone, f"not: {', '.join(gone)}" if gone else f"{len(wanted)} looked up"))
    total, posted = _object(facts, "document").get("total"), _object(facts, "posting").get("total")
    if total is not None and posted is not None:
        checks.append(Check("The total is the document’s own", not differ(total, posted), f"{posted} of {total}"))
    return checks
