"""What of a journey goes on without taking anything back: what each transaction that isn't at its end would post now,
in which period, and what it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from django.urls import reverse

from exceptions.models import Occurrence
from exceptions.resolving.standing import Standing, periods_of
from mappings.resolve import Snapshot
from q2c.canonical.posting import Journal, JournalLine
from q2c.core import access
from q2c.core.models import AccountingPeriod, Person
from q2c.core.templatetags.words import spoken_noun
from q2c.flows import catalog, trial
from q2c.flows.trial import Tried
from q2c.posting.plans import Going, turned
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.steps import Write

State = BusinessTransaction.State
Periods = dict[str, AccountingPeriod]  # by the ERP's id


def going_of(user: Person, found: Standing) -> list[Going]:
    """The journey's transactions that aren't at their end: what each would do now, by today's rules."""
    held = [txn.pk for txn in found.going if txn.state == State.HELD]
    waiting = [txn.pk for txn in found.going if txn.state == State.WAITING]
    rules = Snapshot.load([]) if held or waiting else None
    tried = {}
    if rules is not None:
        tried = {row.transaction_id: row for row in [*trial.try_held(held, rules), *trial.try_new(waiting, rules)]}
    cases = Occurrence.objects.filter(transaction_id__in=held, closed_at__isnull=True)
    open_in = dict(cases.values_list("transaction_id", "case_id")) if access.may(user, access.VIEW_CASE) else {}
    books: dict[tuple[str, str], Periods] = {}
    rows = []
    for txn in found.going:
        row, case = tried.get(txn.pk), open_in.get(txn.pk)
        link = reverse("exceptions:case_detail", args=[case]) if case else reverse(
            "portal:transaction_detail", args=[txn.pk]
        )  # fmt: skip
        says = row.says if row is not None else txn.waits_for
        entries = _entries(txn, row, books) if row is not None and _is_certain(txn, row) else ()
        rows.append(Going(
            f"{spoken_noun(txn.fact_type)} {txn.number or txn.source_id}", txn.state, row.outcome if row else "",
            says or "", link, row.target if row else "", txn.currency, entries,
            is_uncounted=not entries and _posts(txn.flow) and not (row and row.outcome == trial.ENDS),
        ))  # fmt: skip
    return rows


def _is_certain(txn: BusinessTransaction, row: Tried) -> bool:
    """Whether it would post what was built: nothing of it is under way, which may stand in the ERP by now."""
    return row.outcome == trial.POSTS and txn.open_intent is None


def _entries(
    txn: BusinessTransaction, row: Tried, books: dict[tuple[str, str], Periods]
) -> tuple[tuple[str, tuple[JournalLine, ...]], ...]:
    """What would post, in order, each with the name of its period; the opposite that the ERP makes of it too."""
    entries: list[tuple[str, tuple[JournalLine, ...]]] = []
    for document in row.writes:
        lines = document.lines if isinstance(document, Journal) else getattr(document, "journal", ())
        if not lines:
            continue
        book = (row.legal_entity or txn.legal_entity_code, row.target)
        if book not in books:
            books[book] = periods_of(*book)
        period = books[book].get(document.period)
        entries.append((period.name if period else row.period, lines))
        if (day := getattr(document, "reversal_date", None)) is not None:
            names = (each.name for each in books[book].values() if each.start_date <= day <= each.end_date)
            entries.append((next(names, f"{day:%B %Y}"), turned(lines)))
    return tuple(entries)


def _posts(flow_code: str) -> bool:
    """Whether a flow writes entries of the ledger."""
    steps = catalog.BY_CODE[flow_code].steps
    prepared = {step.prepared for step in steps if isinstance(step, Write)}
    return any(_is_entry((step.output_type, *get_args(step.output_type))) for step in steps if step.gives in prepared)


def _is_entry(kinds: Iterable[Any]) -> bool:
    return any(kind is Journal or "journal" in getattr(kind, "__struct_fields__", ()) for kind in kinds)
