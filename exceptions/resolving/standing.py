"""What exists of a document's journey in each system: from lineage and our ids, and on demand as the systems say now.

A look asks only: each system by the verbs with which it's read anyway, all side by side. What couldn't be asked is said
so, never taken for absent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from connectors import links_out
from connectors.fields import UNREADABLE
from connectors.models import Connection
from connectors.rows import say_unreadable
from mappings.models import CrossReference
from q2c import ports
from q2c.core import access
from q2c.core.models import AccountingPeriod, Person
from q2c.core.money import ZERO, round_money, spoken_money
from q2c.core.problems import Problem
from q2c.flows.catalog import TELLING
from q2c.posting.plans import Holder, Posted
from q2c.records.documents import find_statuses
from q2c.transactions.contributions import IN_SUMMARY
from q2c.transactions.models import BusinessTransaction, LineageLink
from q2c.transactions.selectors import OPEN, trace, transactions_visible_to
from q2c.transactions.workers import run_now

INVOICES = "invoice_to_erp"
# Why what is neither an invoice nor a journal of its own (`reversing.FLOWS`) has no plan, and what takes it back.
IN_ITS_INVOICE = "It’s taken back from its invoice or its order: open one of them in the table."
NO_PLAN = {
    "reversal_to_erp": "A reversal has no plan of its own: open what it took back, in the table. What was taken back "
    "for good stays so.",
    "refund_to_erp": "A refund has no plan. Where it fails, billing says so and the money’s coming back posts by "
    "itself.",
    "summary_to_erp": "A day’s summary has no plan. Correct its documents in billing: what changes goes into the day’s "
    "next summary.",
}
THERE, ABSENT, DIFFERS, UNASKED, SILENT = "there", "absent", "differs", "not_asked", "silent"
ROWS_MAX = 60  # of one journey
SETTLING_MAX = ROWS_MAX - 2  # beside the invoice in billing and in the ERP
LOOK_SECONDS = 12
# Which verb reads a document of a journey, by what lineage calls it; an ERP's are read by `read`.
READS = {"invoice": "invoice", "credit_note": "credit_note", "subscription": "subscription", "customer": "customer",
         "payment": "payment", "refund": "refund", "Opportunity": "order", "Account": "customer"}  # fmt: skip
IN_ERP = frozenset({"customer", "ar_invoice", "ar_credit_memo", "receipt", "ar_refund", "journal"})
SETTLES = {"receipt": "receipt", "ar_credit_memo": "credit_memo"}  # what may settle an invoice, in our words
PAID_OUT = "paid out by"  # whose amount is that of a movement, not of the payout
SETTLING = ("settles", "applied to")  # relations of lineage
JOURNAL = "journal"
OURS = frozenset({"unwinding", "reversal"})  # made here, under the source's id
_GONE = ("record_gone", "target_gone")
_OVER = ("void", "canceled", "cancelled", "incomplete_expired")  # still there, and no more than a record
Key = tuple[str, str, str]  # system, type, id


@dataclass(frozen=True)
class Row:
    """One document of one system. Amounts in its currency; `note` says what the system says of it, or why it couldn't
    be asked; `status` is its state in the system's own word, as asked or as billing's newest event had it, and empty
    where nobody said; `came` are the documents that came from it."""

    key: Key
    system: str  # its name
    says: str = UNASKED
    note: str = ""
    status: str = ""
    number: str = ""
    amount: Decimal | None = None
    open_amount: Decimal | None = None
    currency: str = ""
    period: str = ""
    is_open: bool | None = None
    came: tuple[str, ...] = ()
    transaction_id: UUID | None = None
    link: str = ""


@dataclass(frozen=True)
class Standing:
    """What there is of a journey. `posted` is the invoice that the page is about as the ERP has it, where it stands
    there by itself; `going` are the transactions that aren't at their end; `is_partial` where there are more documents
    than were looked at: never of those that an invoice's plan rests on."""

    txn: BusinessTransaction
    rows: tuple[Row, ...]
    is_asked: bool
    posted: Posted | None = None
    why_not: str = ""  # why there's no posted invoice to unwind
    going: tuple[BusinessTransaction, ...] = ()
    is_partial: bool = False
    periods: Mapping[str, AccountingPeriod] = field(default_factory=dict)  # of the book, by the ERP's id

    def row(self, key: Key) -> Row | None:
        """The row of a document."""
        return next((row for row in self.rows if row.key == key), None)


def look(user: Person, txn: BusinessTransaction, *, asks: bool) -> Standing:
    """What exists of this transaction's journey, as far as the person sees it; with `asks` as the systems say now."""
    reference = _reference(txn)
    own = (txn.source_connection, txn.source_type, txn.source_id)
    starts = [own] if reference is None else [own, (txn.target_connection, "ar_invoice", reference.external_id)]
    links, is_partial = trace(user, starts)
    seen = [link for link in links
            if access.sees_entity(user, link.legal_entity_code, "transactions.view_transaction")]  # fmt: skip
    settling = _settling(txn, reference)
    keys = _keys(txn, seen, settling, reference)
    connections = {row.code: row for row in Connection.objects.all()}
    periods = periods_of(txn.legal_entity_code, txn.target_connection)
    found = _ask_all(keys[:ROWS_MAX], connections) if asks else {}
    rows = [_row(key, seen, connections, found.get(key), periods) for key in keys[:ROWS_MAX]]
    rows = _with_transactions(user, _with_statuses(rows, own))
    posted, why_not = _posted(txn, reference, settling, found, periods, is_asked=asks)
    return Standing(
        txn, tuple(rows), asks, posted, why_not, _going(user, txn, keys), is_partial or len(keys) > ROWS_MAX, periods,
    )  # fmt: skip


def _reference(txn: BusinessTransaction) -> CrossReference | None:
    """Where the invoice of this transaction stands in its ERP now; a plan may have posted it again."""
    if txn.flow != INVOICES:
        return None
    key = f"{txn.source_connection}:invoice:{txn.source_id}"
    return CrossReference.objects.filter(
        record_type="invoice", record_key=key, connection__code=txn.target_connection
    ).first()


def _settling(txn: BusinessTransaction, reference: CrossReference | None) -> list[LineageLink]:
    """What we know to settle the invoice, the last word about each pair."""
    if reference is None or reference.external_type == IN_SUMMARY:
        return []
    rows = LineageLink.objects.filter(
        target_id=reference.external_id, target_type="ar_invoice", target_system=txn.target_connection,
        source_type__in=SETTLES, relation__in=SETTLING,
    )  # fmt: skip
    return list({row.source_id: row for row in rows.order_by("at", "sequence")}.values())


def _keys(
    txn: BusinessTransaction, links: Sequence[LineageLink], settling: Sequence[LineageLink],
    reference: CrossReference | None,
) -> list[Key]:  # fmt: skip
    """The documents of a journey: what a plan about the invoice rests on first, then as they came."""
    found: dict[Key, None] = {(txn.source_connection, txn.source_type, txn.source_id): None}
    if reference is not None and reference.external_type != IN_SUMMARY:
        found[txn.target_connection, "ar_invoice", reference.external_id] = None
    found |= {(link.source_system, link.source_type, link.source_id): None for link in settling}
    for link in links:
        found[link.source_system, link.source_type, link.source_id] = None
        found[link.target_system, link.target_type, link.target_id] = None
    return list(found)


def periods_of(entity: str, erp: str) -> dict[str, AccountingPeriod]:
    """The periods of an entity's book in an ERP by the ERP's id, in order."""
    rows = AccountingPeriod.objects.filter(subsidiary__legal_entity__code=entity, subsidiary__connection__code=erp)
    return {row.external_id: row for row in rows.order_by("start_date")}


def _ask_all(keys: Iterable[Key], connections: Mapping[str, Connection]) -> dict[Key, Any]:
    """What the systems say of these documents now; a Problem where one couldn't say."""
    asked = [(key, verb) for key in keys if (verb := _verb(key, connections)) is not None]

    async def gather() -> list[Any]:
        return await asyncio.gather(*(_ask(*question) for question in asked))

    try:
        answers = run_now(gather) if asked else []
    except Problem as problem:  # the process ends
        answers = [problem] * len(asked)
    return {key: answer for (key, _), answer in zip(asked, answers, strict=True)}


def _verb(key: Key, connections: Mapping[str, Connection]) -> Any:
    system, kind, identifier = key
    if system not in connections:
        return None
    client = ports.target(system)
    if kind in IN_ERP and hasattr(client, "read"):
        return partial(client.read, kind, identifier)
    verb = getattr(client, READS.get(kind, ""), None) if READS.get(kind) else None
    return partial(verb, identifier) if verb is not None else None


async def _ask(key: Key, verb: Any) -> Any:
    try:
        return await asyncio.wait_for(verb(), LOOK_SECONDS)
    except TimeoutError:
        return Problem("system_unavailable", "availability", f"no answer in {LOOK_SECONDS} s")  # type: ignore[arg-type]
    except Problem as problem:
        return problem
    except UNREADABLE as error:  # an answer that we can't read isn't an answer
        return Problem("answer_not_understood", "validation", say_unreadable(error, "")[:200])  # type: ignore[arg-type]


def _row(
    key: Key, links: Sequence[LineageLink], connections: Mapping[str, Connection], answer: Any,
    periods: Mapping[str, AccountingPeriod],
) -> Row:  # fmt: skip
    system, kind, identifier = key
    made = [link for link in links if (link.target_system, link.target_type, link.target_id) == key]
    first = next((link for link in made if link.amount is not None and link.relation != PAID_OUT), None)
    came = tuple(
        dict.fromkeys(
            f"{link.target_type} {link.target_id}" for link in links
            if (link.source_system, link.source_type, link.source_id) == key and link.relation == "became"
        )
    )[:4]  # fmt: skip
    connection = None if kind in OURS else connections.get(system)
    settled = [
        f"{link.source_type} {link.source_id}"
        for link in links
        if link.relation in SETTLING
        and link.source_type in SETTLES
        and (link.target_system, link.target_type, link.target_id) == key
    ]
    row = Row(
        key, "this portal" if kind in OURS else connection.name if connection else system, came=came,
        note=f"By what we know {_settlers(settled)} it." if settled else "",
        amount=abs(first.amount or ZERO) if first else None,
        currency=first.currency if first else "", link=links_out.record_url(connection, kind, identifier),
    )  # fmt: skip
    return row if answer is None else _said(row, answer, periods)


def _settlers(found: Sequence[str]) -> str:
    """Who settles a document: "credit memo 9435 settles" or "2 documents settle"."""
    if len(found) > 1:
        return f"{len(found)} documents settle"
    kind, _, number = found[0].partition(" ")
    return f"{SETTLES[kind].replace('_', ' ')} {number} settles"


def _said(row: Row, answer: Any, periods: Mapping[str, AccountingPeriod]) -> Row:
    """The row with what its system says."""
    if isinstance(answer, Problem):
        if answer.code in _GONE:
            return replace(row, says=ABSENT, note="It isn’t there.")
        return replace(row, says=SILENT, note=answer.summary)
    total = getattr(answer, "total", None)
    total = getattr(answer, "amount", None) if total is None else total
    period = periods.get(getattr(answer, "period", ""))
    found = replace(
        row, says=THERE, number=getattr(answer, "number", ""), open_amount=getattr(answer, "open_amount", None),
        period=period.name if period else "", is_open=_is_open(row.key[1], period),
        amount=total if total is not None else row.amount,
        currency=getattr(answer, "currency_code", "") or row.currency or _currency(answer),
    )  # fmt: skip
    status = str(getattr(answer, "status", "") or "")
    found = replace(found, status=status)
    if status in _OVER:
        return replace(found, says=DIFFERS, note=f"It’s {status} there.")
    is_comparable = row.key[1] in IN_ERP and row.key[1] != JOURNAL  # whose total is the sum of its debits
    if row.amount is not None and total is not None and is_comparable and abs(total) != row.amount:
        return replace(found, says=DIFFERS, note=f"We had {spoken_money(row.amount, row.currency)} in mind.")
    return replace(found, note=f"It’s {status}." if status else "")


def _is_open(kind: str, period: AccountingPeriod | None) -> bool | None:
    """Whether the period still takes such a document; None where nobody knows the period."""
    if period is None:
        return None
    return period.is_ledger_open if kind == JOURNAL else period.is_receivables_open


def _currency(answer: Any) -> str:
    found = getattr(answer, "currency", "")
    return found if isinstance(found, str) and len(found) == 3 else ""


def _with_statuses(rows: Sequence[Row], own: Key) -> list[Row]:
    """What billing's newest event says of an invoice or credit note, beside what a look found."""
    asked = {(row.key[0], row.key[2]) for row in rows if row.key[1] in ("invoice", "credit_note")}
    statuses = find_statuses(asked) if asked else {}
    found = []
    for row in rows:
        status = statuses.get((row.key[0], row.key[2]), "") if row.key[1] in ("invoice", "credit_note") else ""
        row = replace(row, status=row.status or status)
        if status and not row.note:
            row = replace(row, note=f"It’s {status} in billing.", says=DIFFERS if status in _OVER else row.says)
        found.append(row)
    return found


def _with_transactions(user: Person, rows: Sequence[Row]) -> list[Row]:
    """Each row with its number and the transaction that carries it, where the person sees one."""
    ids = {row.key[2] for row in rows}
    visible = transactions_visible_to(user).exclude(flow__in=TELLING)
    by_source = {(t.source_connection, t.source_type, t.source_id): t
                 for t in visible.filter(source_id__in=ids).order_by("id")}  # fmt: skip
    by_target = {(t.target_connection, t.target_type, t.target_id): t
                 for t in visible.filter(target_id__in=ids).order_by("id")}  # fmt: skip
    found = []
    for row in rows:
        txn = by_source.get(row.key)
        number = txn.number if txn is not None else ""
        if txn is None and (txn := by_target.get(row.key)) is not None:
            number = txn.target_number
        if txn is not None:
            row = replace(row, transaction_id=txn.pk, number=row.number or number)
            if row.amount is None and txn.amount is not None:
                row = replace(row, amount=txn.amount, currency=txn.currency)
        found.append(row)
    return found


def _posted(
    txn: BusinessTransaction, reference: CrossReference | None, settling: Sequence[LineageLink],
    found: Mapping[Key, Any], periods: Mapping[str, AccountingPeriod], *, is_asked: bool,
) -> tuple[Posted | None, str]:  # fmt: skip
    """The invoice as the ERP has it, or why it can't be unwound here."""
    if txn.flow != INVOICES:
        return None, NO_PLAN.get(txn.flow, IN_ITS_INVOICE)
    if txn.state != BusinessTransaction.State.COMPLETED or reference is None:
        return None, f"{txn.number or 'The invoice'} isn’t posted, so there’s nothing to take back."
    if reference.external_type != "ar_invoice":
        return None, (
            "It went to the ledger in a day’s summary, or as a credit memo. Correct it by a credit note and an invoice "
            "in billing."
        )
    if len(settling) > SETTLING_MAX:
        return None, (
            f"More than {SETTLING_MAX} documents settle it, and a plan looks at no more of them. Correct it by a "
            "credit note and an invoice in billing."
        )
    document = found.get((txn.target_connection, "ar_invoice", reference.external_id))
    if isinstance(document, Problem):
        gone = document.code in _GONE
        return None, "The ERP doesn’t have the invoice any more." if gone else f"The ERP can’t say: {document.summary}."
    if is_asked and document is None:
        return None, "The ERP can’t be asked how it stands."
    if document is not None and document.open_amount is None:
        return None, "The ERP doesn’t say what is open of it."
    own = _period(txn, document, periods)
    if own is None or txn.amount is None:
        return None, "The ERP’s own list doesn’t have the period in which it’s posted."
    holders = [_holder(txn, link, reference.external_id, found, periods) for link in settling]
    holders = [row for row in holders if row.amount]
    settled = sum((row.amount for row in holders), ZERO)
    later = next((p for p in periods.values() if p.start_date > own.end_date and p.is_receivables_open), None)
    dated = txn.document_date or own.end_date
    total, is_open = round_money(txn.amount, txn.currency), None
    if document is not None:
        total, is_open = round_money(document.total or total, txn.currency), document.open_amount
    return Posted(
        number=txn.number or txn.source_id, document=reference.external_id, currency=txn.currency, total=total,
        open_amount=total - settled if is_open is None else round_money(is_open, txn.currency),
        dated=dated if own.start_date <= dated <= own.end_date else own.start_date, period=own.name,
        is_open=own.is_receivables_open, holders=tuple(holders), next_day=later.start_date if later else None,
        next_period=later.name if later else "",
    ), ""  # fmt: skip


def _period(
    txn: BusinessTransaction, document: Any, periods: Mapping[str, AccountingPeriod]
) -> AccountingPeriod | None:
    """The period in which the ERP has it, else the one that we asked for."""
    if document is not None and document.period in periods:
        return periods[document.period]
    return next((row for row in periods.values() if row.code == txn.period_code), None)


def _holder(
    txn: BusinessTransaction, link: LineageLink, invoice: str, found: Mapping[Key, Any],
    periods: Mapping[str, AccountingPeriod],
) -> Holder:  # fmt: skip
    """What a receipt or credit memo settles of the invoice: as the ERP says, else as we told it."""
    document = found.get((link.source_system, link.source_type, link.source_id))
    kind, amount = SETTLES[link.source_type], link.amount or ZERO
    if document is None or isinstance(document, Problem):
        return Holder(kind, link.source_id, round_money(abs(amount), txn.currency), "", None)
    applied = sum((row.amount for row in document.applied if row.document == invoice), ZERO)
    applied = round_money(applied, txn.currency)
    period = periods.get(document.period)
    return Holder(
        kind, link.source_id, applied, period.name if period else "",
        period.is_receivables_open if period else None, document.number,
    )  # fmt: skip


def _going(user: Person, txn: BusinessTransaction, keys: Iterable[Key]) -> tuple[BusinessTransaction, ...]:
    """The transactions of the journey that aren't at their end, as far as the person sees them."""
    sources = set(keys)
    rows = transactions_visible_to(user).filter(OPEN, source_id__in={key[2] for key in sources})
    mine = rows.exclude(flow__in=TELLING).order_by("id")[:ROWS_MAX]
    named = {(key[0], key[2]) for key in sources}
    return tuple(row for row in mine if (row.source_connection, row.source_id) in named)
