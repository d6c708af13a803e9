"""What a source's register expects of bill runs: the same days that completeness compares, told to the runs."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

from django.db.models import F, Max, Sum, Window

from q2c.reconciliation.comparing import Figures, Key
from q2c.transactions.bill_runs import BillRun, BillRunPart

TYPES = ("invoice", "credit_memo")
_EXPECTED = ("expected_count", "expected_amount", "expected_at")


def tell_expected(
    connection: str, document_type: str, first_day: dt.date, days: Mapping[Key, Figures], *, at: dt.datetime
) -> None:
    """Tell each day's run from `first_day` on what the register held at an instant; a type or currency that it hasn't
    is none. Of several additions the newest is told what the earlier ones leave."""
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
        earlier = _earlier(run, document_type)
        for currency in {*held, *known}:
            count, amount = held.get(currency, (0, Decimal(0)))
            less, less_amount = earlier.get(currency, (0, Decimal(0)))
            rows.append(
                BillRunPart(run=run, document_type=document_type, currency=currency, expected_count=count - less,
                            expected_amount=amount - less_amount, expected_at=at)
            )  # fmt: skip
    rows.sort(key=lambda row: (row.run_id, row.currency))
    BillRunPart.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["run", "document_type", "currency"], update_fields=_EXPECTED
    )


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
