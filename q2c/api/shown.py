"""What the API shows of transactions, cases and lineage: plain JSON, money as strings, foreign rows hidden."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from connectors.registry import spellings
from exceptions.models import ExceptionCase, Occurrence
from exceptions.tallies import Totals
from q2c.api.callers import Caller
from q2c.carriers import Key, documents_carrying, ends_of, transactions_carrying
from q2c.core import access
from q2c.core.money import decimals
from q2c.transactions.models import BusinessTransaction, LineageLink, StepRun
from q2c.transactions.selectors import steps_of, trace, transactions_visible_to


def money(amount: Decimal | None, currency: str) -> str | None:
    """An amount as a string with a decimal point."""
    return None if amount is None else f"{amount:.{max(decimals(currency), 2)}f}"


def instant(at: dt.datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    return None if at is None else at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def transaction(row: BusinessTransaction) -> dict[str, Any]:
    """One transaction with its steps, the documents that it made, and its open case."""
    case = Occurrence.objects.filter(transaction_id=row.pk, closed_at__isnull=True).values_list("case_id", flat=True)
    return {
        "id": str(row.pk),
        "state": row.state,
        "flow": row.flow,
        "number": row.number,
        "amount": money(row.amount, row.currency),
        "currency": row.currency,
        "legal_entity": row.legal_entity_code,
        "waits_for": row.waits_for,
        "problem": (row.problem or {}).get("summary", "") if row.state == "held" else "",
        "steps": [_step(run) for run in steps_of(row.pk)],
        "documents": _documents(row),
        "case": f"EX-{case[0]}" if case else None,
    }


def _step(run: StepRun) -> dict[str, Any]:
    return {"name": run.step, "kind": run.kind, "state": run.state, "attempt": run.attempt, "at": instant(run.at)}


def _documents(row: BusinessTransaction) -> list[dict[str, str]]:
    links = LineageLink.objects.filter(transaction_id=row.pk).order_by("sequence")
    made = [(x.target_system, x.target_type, x.target_id) for x in links]
    if row.target_id:
        made.append((row.target_connection, row.target_type, row.target_id))
    return [_document(key) for key in dict.fromkeys(made)]


def _document(key: Key) -> dict[str, str]:
    return {"system": key[0], "type": key[1], "id": key[2]}


def case(row: ExceptionCase, totals: Totals) -> dict[str, Any]:
    """One case with what the caller sees of its documents."""
    return {
        "id": row.number,
        "kind": row.kind,
        "category": row.category,
        "state": row.state,
        "queue": row.queue,
        "severity": row.severity,
        "summary": row.summary,
        "legal_entity": row.legal_entity_code,
        "opened_at": instant(row.opened_at),
        "due_at": instant(row.due_at),
        "closed_at": instant(row.closed_at),
        "documents": totals.document_count,
        "amounts": [{"currency": currency, "amount": money(amount, currency)} for currency, amount in totals.money],
    }


def occurrence(row: Occurrence) -> dict[str, Any]:
    """One document of a case."""
    return {
        "transaction": str(row.transaction_id) if row.transaction_id else None,
        "flow": row.flow,
        "step": row.step,
        "number": row.number,
        "legal_entity": row.legal_entity_code,
        "amount": money(row.amount, row.currency),
        "currency": row.currency,
        "at": instant(row.at),
        "closed_at": instant(row.closed_at),
    }


def traced(caller: Caller, asked: str) -> dict[str, Any] | None:
    """The journey through whatever carries this id, or None when nothing does that the caller sees."""
    forms = spellings(asked)
    rows = list(transactions_carrying(caller, forms, asked))
    starts = {(t.source_connection, t.source_type, t.source_id) for t in rows}
    starts |= {carrier.key for carrier in documents_carrying(caller, forms)}
    if not starts:
        return None
    links, is_partial = trace(caller, sorted(starts))
    visible = [link for link in links if _sees(caller, link.legal_entity_code)]
    if not visible and not rows:
        return None
    ids = {link.transaction_id for link in visible} | {t.pk for t in rows}
    found = transactions_visible_to(caller).filter(pk__in=ids).order_by("id")
    mine = starts | {end for link in visible for end in ends_of(link)}
    return {
        "id": asked,
        "is_partial": is_partial,
        "transactions": [
            {"id": str(t.pk), "flow": t.flow, "state": t.state, "number": t.number, "legal_entity": t.legal_entity_code}
            for t in found
        ],
        "documents": [_document(key) for key in sorted(mine)],
        "links": [_link(caller, link) for link in links],
    }


def _sees(caller: Caller, code: str) -> bool:
    return access.sees_entity(caller, code, "transactions.view_transaction")


def _link(caller: Caller, link: LineageLink) -> dict[str, Any]:
    if not _sees(caller, link.legal_entity_code):
        return {"source": _hidden(link.source_system, link.source_type), "relation": link.relation,
                "target": _hidden(link.target_system, link.target_type)}  # fmt: skip
    source, target = ends_of(link)
    return {
        "source": _document(source),
        "target": _document(target),
        "relation": link.relation,
        "amount": money(link.amount, link.currency),
        "currency": link.currency,
        "transaction": str(link.transaction_id),
        "at": instant(link.at),
    }


def _hidden(system: str, kind: str) -> dict[str, Any]:
    return {"system": system, "type": kind, "id": None}
