"""Which bill run a billing document is of: the one that billing names, else that of its billing day and entity.

Runs are kept where a governed rule says so (`mappings.bill_runs`); everywhere else nothing is asked and nothing stored.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection

from mappings.bill_runs import RunPolicies, RunPolicy
from q2c import ports
from q2c.canonical.billing import BillRunTold
from q2c.core.hotpath import fetch_rows
from q2c.records.documents import Billed
from q2c.transactions.batch import Run
from q2c.transactions.bill_run_counts import Ignored, meet_decided, note_ignored
from q2c.transactions.bill_runs import BillRun

if TYPE_CHECKING:
    from q2c.flows.dispatch import Fact

FLOWS = frozenset({"invoice_to_erp", "credit_memo_to_erp"})
INVOICE, CREDIT_MEMO = "invoice", "credit_memo"
TYPES = (INVOICE, CREDIT_MEMO)  # as registers count them

# The newest addition is the one that a document may join. It's locked against its release until the document stands
# in it: whoever releases it finds all that it has.
_LATEST = """
    SELECT n.place, r.id, r.addition, r.state, r.decided_at IS NOT NULL
      FROM unnest(%s::int4[], %s::text[], %s::text[], %s::text[]) AS n (place, connection, entity, name)
      JOIN transactions_billrun r ON r.connection_code = n.connection AND r.legal_entity_code = n.entity
       AND r.name = n.name
     WHERE r.addition = (SELECT max(l.addition) FROM transactions_billrun l WHERE l.connection_code = n.connection
                           AND l.legal_entity_code = n.entity AND l.name = n.name)
     ORDER BY r.id FOR SHARE OF r
"""
_MAKE = """
    INSERT INTO transactions_billrun (connection_code, legal_entity_code, name, addition, is_named, day, period_code,
        state, state_at, holds, stopped_by, stopped_why, reasons, first_at, decided_why, work)
    SELECT c, e, n, a, m, d, p, 'gathering', now(), h, '', '', '[]', now(), '', ''
      FROM unnest(%s::text[], %s::text[], %s::text[], %s::int2[], %s::bool[], %s::date[], %s::text[], %s::bool[])
        AS x (c, e, n, a, m, d, p, h) ORDER BY 1, 2, 3
    ON CONFLICT (connection_code, legal_entity_code, name, addition) DO NOTHING
    RETURNING id, addition, is_named
"""
# A rule that comes in the middle of a day: what came before it is of the day's run too, and may be posted.
_TAKE_IN = """
    UPDATE transactions_businesstransaction t SET bill_run_id = n.run FROM (
        SELECT o.id, r.id AS run FROM transactions_billrun r
          JOIN transactions_businesstransaction o ON o.legal_entity_code = r.legal_entity_code
           AND o.document_date = r.day AND o.source_connection = r.connection_code AND o.flow = ANY(%s)
           AND o.bill_run_id IS NULL
         WHERE r.id = ANY(%s) ORDER BY o.id FOR NO KEY UPDATE OF o) n
     WHERE t.id = n.id
"""
_EXPECT = """
    INSERT INTO transactions_billrunpart AS p (run_id, document_type, currency, expected_count, expected_amount,
        expected_at)
    SELECT r, k, c, n, a, now() FROM unnest(%s::int8[], %s::text[], %s::text[], %s::int4[], %s::numeric[])
        AS x (r, k, c, n, a) ORDER BY 1, 2, 3
    ON CONFLICT (run_id, document_type, currency) DO UPDATE
       SET expected_count = excluded.expected_count, expected_amount = excluded.expected_amount,
           expected_at = excluded.expected_at
     WHERE (p.expected_count, p.expected_amount) IS DISTINCT FROM (excluded.expected_count, excluded.expected_amount)
"""
_JOIN = """
    UPDATE transactions_businesstransaction t SET bill_run_id = n.run
      FROM unnest(%s::uuid[], %s::int8[]) AS n (id, run) WHERE t.id = n.id AND t.bill_run_id IS NULL
"""


class RunKey(NamedTuple):
    """What makes a run one: whose it is in which system, its name, whether billing gave it, its day."""

    connection: str
    legal_entity: str
    name: str
    is_named: bool
    day: dt.date


class _Told(NamedTuple):
    document_type: str
    currency: str
    document_count: int
    amount: Decimal


def key_of(
    policies: RunPolicies, connection_code: str, legal_entity: str, day: dt.date | None, document: Any
) -> RunKey | None:
    """The run of a document; None where none is kept, or while its seller or its day isn't known."""
    if not policies.has_rules or day is None or not legal_entity:
        return None
    if not policies.of(connection_code, legal_entity, day).keeps:
        return None
    told: BillRunTold | None = getattr(document, "bill_run", None)
    return RunKey(connection_code, legal_entity, told.name if told else day.isoformat(), told is not None, day)


def type_of(flow: str, source_type: str) -> str:
    """The type under which a register counts it: billing's negative invoice is an invoice there."""
    return CREDIT_MEMO if flow == "credit_memo_to_erp" and source_type != INVOICE else INVOICE


def runs_of(facts: Sequence[Fact]) -> list[int | None]:
    """The run of each new fact, made where there's none yet; None of what is of no run. In the caller's
    transaction."""
    policies = ports.run_policies()
    if not policies.has_rules:
        return [None] * len(facts)
    keys = [
        key_of(policies, f.source_connection, f.legal_entity_code, f.document_date, f.document)
        if f.flow in FLOWS else None for f in facts
    ]  # fmt: skip
    found = _find_runs({key for key in keys if key is not None}, policies)
    _expect_told(
        (found[key], _told_of(type_of(f.flow, f.source_type), f.currency, f.document))
        for key, f in zip(keys, facts, strict=True) if key is not None
    )  # fmt: skip
    return [None if key is None else found[key] for key in keys]


def keep_runs_waiting(runs: Sequence[Run]) -> None:
    """In the commit that makes them wait: documents whose seller was known only on the way join their run, one whose
    run was released meanwhile is due at once, and one whose run was rejected has it looked at again."""
    joining = [(run, *run.awaits.joins) for run in runs if run.awaits is not None and run.awaits.joins is not None]
    if joining:
        found = _find_runs({key for _, key, _ in joining}, ports.run_policies())
        _expect_told(
            (found[key], _told_of(type_of(run.flow.code, kind), run.currency, run.facts["document"]))
            for run, key, kind in joining
        )
        fetch_rows(_JOIN, [[run.id for run, _, _ in joining], [found[key] for _, key, _ in joining]])
    waiting = [run for run in runs if run.bill_run is not None and run.problem_step == "await_bill_run"]
    if waiting:
        meet_decided([run.bill_run for run in waiting if run.bill_run is not None], [run.id for run in waiting])


def count_ignored(documents: Iterable[tuple[Billed, Any]]) -> None:
    """Documents that came for the first time and lead to nothing, each with its event, are here all the same: their
    run says so. In the commit of the batch."""
    policies = ports.run_policies()
    if not policies.has_rules:
        return
    pairs = [
        (key, d) for d, event in documents
        if d.document_type in TYPES
        and (key := key_of(policies, d.connection_code, d.legal_entity_code, d.document_date,
                           getattr(event, d.document_type, None))) is not None
    ]  # fmt: skip
    found = _find_runs({key for key, _ in pairs}, policies)
    note_ignored(Ignored(found[key], d.document_type, d.currency, d.amount or Decimal(0)) for key, d in pairs)


def _find_runs(keys: set[RunKey], policies: RunPolicies) -> dict[RunKey, int]:
    """The run of each key: the newest addition, or a new one where that takes no more."""
    found: dict[RunKey, int] = {}
    wanted = sorted(keys)
    while wanted:
        latest = _latest(wanted)
        new = []
        for key in wanted:
            policy = policies.of(key.connection, key.legal_entity, key.day)
            if key not in latest:
                new.append((key, 0, policy.holds))
                continue
            run_id, addition, state, is_decided = latest[key]
            if state == BillRun.State.REJECTED or (is_decided and policy.holds and policy.late == "hold"):
                new.append((key, addition + 1, True))
            else:
                found[key] = run_id
        _make(new)
        wanted = [key for key, _, _ in new]
    return found


def _latest(keys: Sequence[RunKey]) -> dict[RunKey, tuple[int, int, str, bool]]:
    columns = [list(range(len(keys))), *([key[i] for key in keys] for i in range(3))]
    return {keys[place]: (run, addition, state, is_decided)
            for place, run, addition, state, is_decided in fetch_rows(_LATEST, columns)}  # fmt: skip


def _make(new: Sequence[tuple[RunKey, int, bool]]) -> None:
    if not new:
        return
    rows = [
        (key.connection, key.legal_entity, key.name, addition, key.is_named, key.day, _period_of(key), holds)
        for key, addition, holds in new
    ]
    made = fetch_rows(_MAKE, [list(column) for column in zip(*rows, strict=True)])
    first = [run for run, addition, is_named in made if not addition and not is_named]
    if first:
        fetch_rows(_TAKE_IN, [sorted(FLOWS), first])


def _period_of(key: RunKey) -> str:
    for (entity, _), periods in ports.periods().items():
        if entity == key.legal_entity:
            for period in periods:
                if period.start_date <= key.day <= period.end_date:
                    return period.code
    return ""


def _told_of(document_type: str, currency: str, document: Any) -> _Told | None:
    told: BillRunTold | None = getattr(document, "bill_run", None)
    if told is None or told.document_count is None or told.amount is None:
        return None
    return _Told(document_type, currency, told.document_count, told.amount)


def _expect_told(pairs: Iterable[tuple[int, _Told | None]]) -> None:
    """What billing tells of a run with its documents is what is expected of it; the last word counts."""
    wanted: Mapping[tuple[int, str, str], _Told] = {
        (run, told.document_type, told.currency): told for run, told in pairs if told is not None
    }
    if not wanted:
        return
    rows = [(*key, told.document_count, told.amount) for key, told in sorted(wanted.items())]
    with connection.cursor() as cursor:
        cursor.execute(_EXPECT, [list(column) for column in zip(*rows, strict=True)])


def waits_for(run: BillRun) -> str:
    """What a document that is ready waits for at the gate."""
    return f"the release of bill run {run.called}"


def policy_of(run: BillRun) -> RunPolicy:
    """What holds for a run today: the rules as they are known now, on its day."""
    return ports.run_policies().of(run.connection_code, run.legal_entity_code, run.day)
