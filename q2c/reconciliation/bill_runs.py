"""What a source's register expects of bill runs: the same days that completeness compares, told to the runs."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

from django.db.models import F, Max, Sum, Window

from q2c.core.hotpath import fetch_rows
from q2c.reconciliation.comparing import Figures, Key
from q2c.transactions.bill_runs import BillRun, BillRunPart

TYPES = ("invoice", "credit_memo")
# Documents of the same day that are of runs which billing names: the register counts them in the day too.
_NAMED = """
SELECT currency, count(*), sum(amount) FROM (
    SELECT DISTINCT ON (t.lane) t.currency,
           CASE WHEN t.flow = 'credit_memo_to_erp' AND t.source_type = 'invoice' THEN -t.amount ELSE t.amount END
      FROM transactions_businesstransaction t JOIN transactions_billrun r ON r.id = t.bill_run_id AND r.is_named
     WHERE t.legal_entity_code = %s AND t.document_date = %s AND t.source_connection = %s
       AND (t.flow = 'credit_memo_to_erp' AND t.source_type <> 'invoice') = %s
     ORDER BY t.lane, t.lane_sequence) named (currency, amount)
GROUP BY currency
"""
NOTHING = (0, Decimal(0))
_EXPECTED = ("expected_count", "expected_amount", "expected_at")


def tell_expected(
    connection: str, document_type: str, first_day: dt.date, days: Mapping[Key, Figures], *, at: dt.datetime
) -> None:
    """Tell each day's run from `first_day` on what the register held at an instant; a type or currency that it hasn't
    is none; nothing is told where the source has still to be asked for some of ours. Of several additions the newest
    is told what the earlier ones leave."""
    if document_type not in TYPES:
        return
    runs = BillRun.objects.filter(connection_code=connection, is_named=False, day__gte=first_day)
    newest = runs.annotate(
        last=Window(Max("addition"), partition_by=[F("connection_code"), F("legal_entity_code"), F("name")])
    ).filter(addition=F("last"))
    rows = []
    for run in newest:
        held = {
            key.currency: (figures.source.count, figures.source.amount) for key, figures in days.items()
            if (key.legal_entity, key.day) == (run.legal_entity_code, run.day)
        }  # fmt: skip
        known = run.parts.filter(document_type=document_type).values_list("currency", flat=True)
        elsewhere = (_earlier(run, document_type), _named(run, document_type))
        unknown = {
            key.currency for key, figures in days.items()
            if (key.legal_entity, key.day) == (run.legal_entity_code, run.day) and figures.unconfirmed.count
        }  # fmt: skip
        for currency in {*held, *known} - unknown:
            count, amount = held.get(currency, NOTHING)
            less = [found.get(currency, NOTHING) for found in elsewhere]
            rows.append(
                BillRunPart(
                    run=run, document_type=document_type, currency=currency, expected_at=at,
                    expected_count=count - sum(n for n, _ in less),
                    expected_amount=amount - sum((a for _, a in less), Decimal(0)),
                )
            )  # fmt: skip
    rows.sort(key=lambda row: (row.run_id, row.currency))
    BillRunPart.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["run", "document_type", "currency"], update_fields=_EXPECTED
    )


def _named(run: BillRun, document_type: str) -> dict[str, tuple[int, Decimal]]:
    """What of its day is of runs that billing names, by currency; asked for only where there are such runs."""
    named = BillRun.objects.filter(
        connection_code=run.connection_code, legal_entity_code=run.legal_entity_code, is_named=True
    )
    if not named.exists():
        return {}
    asked = [run.legal_entity_code, run.day, run.connection_code, document_type == "credit_memo"]
    return {currency: (count, amount or Decimal(0)) for currency, count, amount in fetch_rows(_NAMED, asked)}


def _earlier(run: BillRun, document_type: str) -> dict[str, tuple[int, Decimal]]:
    """What the runs before this addition have had of the same day, by currency."""
    if not run.addition:
        return {}
    parts = BillRunPart.objects.filter(
        run__connection_code=run.connection_code, run__legal_entity_code=run.legal_entity_code, run__name=run.name,
        run__addition__lt=run.addition, document_type=document_type,
    )  # fmt: skip
    found: dict[str, tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    sums = parts.values("currency").annotate(
        count=Sum(F("received_count") + F("ignored_count")), amount=Sum(F("received_amount") + F("ignored_amount"))
    )
    found.update({row["currency"]: (row["count"], row["amount"]) for row in sums})
    return found
