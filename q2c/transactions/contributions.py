"""What documents add to their days' summaries: stored while they wait, frozen into one summary, read back by line.

Freezing is the only way into a summary, and it happens in one database transaction before anything is sent.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.db import connection

from q2c.canonical.posting import JournalLine
from q2c.core.hotpath import fetch_rows, lock_names
from q2c.core.ids import digest

IN_SUMMARY = "summary"  # the external type of a cross-reference to what stands in the ERP only within a summary
PORTAL = "portal"  # the system that a summary comes from: ourselves
_COLUMNS = ("accounts", "debits", "credits", "departments", "classes", "locations", "tax_codes", "revenue_starts",
            "revenue_ends", "revenue_rules")  # fmt: skip
_LISTS = ", ".join(_COLUMNS)
_STORE = f"""
INSERT INTO transactions_contribution (transaction_id, connection_code, external_id, legal_entity_code, posting_date,
    currency, {_LISTS}, at)
VALUES (%s, %s, %s, %s, %s, %s, %s::text[], %s::numeric[], %s::numeric[], %s::text[], %s::text[], %s::text[],
    %s::text[], %s::date[], %s::date[], %s::text[], now())
ON CONFLICT (connection_code, external_id) DO UPDATE SET transaction_id = excluded.transaction_id,
    legal_entity_code = excluded.legal_entity_code, posting_date = excluded.posting_date,
    currency = excluded.currency, {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)}
WHERE transactions_contribution.summary_id IS NULL
"""
_FIND = """
SELECT c.connection_code, c.external_id, c.transaction_id, c.posting_date, c.currency,
    (SELECT sum(d) FROM unnest(c.debits) d), c.at, c.summary_id, s.delta, t.state, t.target_id, t.target_number,
    t.target_type, t.period_code
FROM unnest(%s::text[], %s::text[]) AS k (connection_code, external_id)
JOIN transactions_contribution c USING (connection_code, external_id)
LEFT JOIN transactions_summary s ON s.transaction_id = c.summary_id
LEFT JOIN transactions_businesstransaction t ON t.id = c.summary_id
"""
# A document that is held or was cancelled isn't summed up: its contribution waits with it, or may be another's.
_OPEN = """
transactions_contribution c JOIN transactions_businesstransaction t ON t.id = c.transaction_id
WHERE c.summary_id IS NULL AND t.state IN ('waiting', 'running')
"""
_OPEN_DAYS = f"""
SELECT c.connection_code, c.legal_entity_code, c.posting_date, c.currency, min(c.at) FROM {_OPEN}
GROUP BY 1, 2, 3, 4 ORDER BY 2, 3, 4, 1
"""
_OPEN_OF_DAY = f"""
SELECT c.transaction_id, c.external_id, c.debits, cardinality(c.accounts) FROM {_OPEN}
AND c.connection_code = %s AND c.legal_entity_code = %s AND c.posting_date = %s AND c.currency = %s
ORDER BY c.external_id FOR UPDATE OF c
"""
_NEXT_DELTA = """
SELECT coalesce(max(delta) + 1, 0), max(delta) FILTER (WHERE connection_code = %s) FROM transactions_summary
WHERE legal_entity_code = %s AND posting_date = %s AND currency = %s
"""
_ADD_SUMMARY = """
INSERT INTO transactions_summary (transaction_id, connection_code, legal_entity_code, posting_date, currency, delta, at)
VALUES (%s, %s, %s, %s, %s, %s, now())
"""
_PUT_INTO = "UPDATE transactions_contribution SET summary_id = %s WHERE transaction_id = ANY(%s) RETURNING 1"


@dataclass(frozen=True)
class Day:
    """What a summary is of: one ERP, entity, posting date and currency."""

    connection: str
    legal_entity: str
    posting_date: dt.date
    currency: str

    @property
    def number(self) -> str:
        """How people name it."""
        return f"{self.legal_entity}-{self.posting_date}-{self.currency}"

    @property
    def key(self) -> str:
        """The key that documents of this day wait for."""
        return f"summary:{self.legal_entity}:{self.posting_date}:{self.currency}"


@dataclass(frozen=True)
class Contributing:
    """A contribution to be stored: whose, under which external id, to which day, and its lines at the grain."""

    transaction_id: UUID
    external_id: str
    day: Day
    lines: tuple[JournalLine, ...]
    record: tuple[str, str]  # type and key of the record that it is


@dataclass(frozen=True)
class Contributed:
    """A stored contribution, with the summary that it is in, if it is frozen, and where that stands."""

    transaction_id: UUID
    posting_date: dt.date
    currency: str
    total: Decimal  # of its debits
    at: dt.datetime
    summary_id: UUID | None
    delta: int | None
    summary_state: str | None
    target_id: str | None
    target_number: str | None
    target_type: str | None
    period_code: str | None

    @property
    def is_posted(self) -> bool:
        """Whether the ledger has its summary."""
        return self.summary_state == "completed"


@dataclass(frozen=True)
class Frozen:
    """The open contributions of a day, locked for the transaction that freezes them."""

    day: Day
    delta: int
    supplements: str  # the number of the day's one before, in the same ERP; empty for its first
    transaction_ids: list[UUID]
    contents: str
    total: Decimal
    line_count: int


def store_contributions(rows: Iterable[Contributing]) -> None:
    """Store what waiting documents contribute, in the caller's transaction. A frozen one stays as it is."""
    found = sorted(rows, key=lambda r: (r.day.connection, r.external_id))  # one order for everybody: no deadlock
    with connection.cursor() as cursor:  # of arrays of different lengths, so one statement each, sent in one go
        cursor.executemany(
            _STORE,
            [
                (r.transaction_id, r.day.connection, r.external_id, r.day.legal_entity, r.day.posting_date,
                 r.day.currency, *_columns(r.lines))
                for r in found
            ],
        )  # fmt: skip


def find_contributions(keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Contributed]:
    """The contributions under these (ERP connection, external id), in one statement."""
    rows = fetch_rows(_FIND, [[erp for erp, _ in keys], [external for _, external in keys]])
    return {(row[0], row[1]): Contributed(*row[2:]) for row in rows}


def open_days() -> list[tuple[Day, dt.datetime]]:
    """The days that have contributions in no summary yet, each with the instant of its oldest."""
    return [(Day(*row[:4]), row[4]) for row in fetch_rows(_OPEN_DAYS)]


def lock_open(day: Day) -> Frozen | None:
    """The open contributions of a day, locked until the transaction ends together with its numbering; None without
    any."""
    lock_names([day.key])
    place = [day.legal_entity, day.posting_date, day.currency]
    rows = fetch_rows(_OPEN_OF_DAY, [day.connection, *place])
    if not rows:
        return None
    ((delta, earlier),) = fetch_rows(_NEXT_DELTA, [day.connection, *place])
    return Frozen(
        day=day,
        delta=delta,
        supplements="" if earlier is None else f"{day.number}-{earlier}",
        transaction_ids=[row[0] for row in rows],
        contents=digest(*(f"{external} {sum(debits):f}" for _, external, debits, _ in rows)),
        total=sum((sum(debits, Decimal(0)) for _, _, debits, _ in rows), Decimal(0)),
        line_count=sum(row[3] for row in rows),
    )


def store_summary(frozen: Frozen, summary_id: UUID) -> None:
    """Put the locked contributions into their summary, for good. In the caller's transaction."""
    day = frozen.day
    fetch_rows(_ADD_SUMMARY, [summary_id, day.connection, day.legal_entity, day.posting_date, day.currency,
                              frozen.delta])  # fmt: skip
    put = fetch_rows(_PUT_INTO, [summary_id, frozen.transaction_ids])
    if len(put) != len(frozen.transaction_ids):
        raise RuntimeError(f"{day.number}: a contribution went while it was locked")


def lines_of(summary_id: UUID) -> Iterator[JournalLine]:
    """Every line of a summary's contributions."""
    rows = fetch_rows(
        f"SELECT {_LISTS} FROM transactions_contribution WHERE summary_id = %s ORDER BY external_id", [summary_id]
    )
    for row in rows:
        for account, debit, credit, department, class_, location, tax_code, start, end, rule in zip(*row, strict=True):
            yield JournalLine(
                account=account, debit=debit, credit=credit, department=department, class_=class_, location=location,
                tax_code=tax_code, revenue_start=start, revenue_end=end, revenue_rule=rule,
            )  # fmt: skip


def _columns(lines: Sequence[JournalLine]) -> list[list[object]]:
    names = ("account", "debit", "credit", "department", "class_", "location", "tax_code", "revenue_start",
             "revenue_end", "revenue_rule")  # fmt: skip
    return [[getattr(line, name) for line in lines] for name in names]
