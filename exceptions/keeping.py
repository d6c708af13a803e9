"""Rows that policy lets go of: alerts with what was sent of them, and the rows of bulk actions that are over.

How many months is a rule of mapping kind `retention` (`alerts`, `bulk_rows`). What an open case rests on stays: an
alert of which a case is open, an action that touched one; so does what a legal hold covers (the database refuses it
too). Each batch is a transaction of its own, with its audit entry.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import BooleanField, Exists, OuterRef
from django.db.models.expressions import RawSQL
from django.db.transaction import atomic

from exceptions.models import AlertDelivery, AlertGroup, BulkAction, BulkItem, ExceptionCase
from q2c.core import audit, retention

BATCH = 2000
LET_GO = "let_go"
# The trigger's own function: what it would refuse isn't asked for.
_FREE_ALERT, _FREE_ROW = (
    RawSQL(f"q2c_holds_on_row({table}.*) = '{{}}'", (), output_field=BooleanField())
    for table in ("exceptions_alertgroup", "exceptions_bulkitem")
)


def let_go() -> dict[str, int]:
    """Drop what is older than policy keeps it. Returns how many alerts and rows of bulk actions went."""
    return {"alerts": _repeat(_drop_alerts), "bulk_rows": _repeat(_drop_bulk_rows)}


def _repeat(drop: Callable[[], int]) -> int:
    gone = 0
    while went := drop():
        gone += went
    return gone


@atomic
def _drop_alerts() -> int:
    before = retention.kept_since(AlertGroup)
    if before is None:
        return 0
    open_case = ExceptionCase.objects.filter(
        kind=OuterRef("kind"), connection_code=OuterRef("connection_code"), flow=OuterRef("flow"),
        closed_at__isnull=True, opened_at__gte=OuterRef("first_at"), opened_at__lte=OuterRef("over_at"),
    )  # fmt: skip
    unsent = AlertDelivery.objects.filter(group=OuterRef("pk"), state=AlertDelivery.State.WAITING)
    over = AlertGroup.objects.filter(
        ~Exists(open_case), ~Exists(unsent), _FREE_ALERT, over_at__lt=before, is_planned=True
    )
    ids = list(over.order_by("pk").values_list("pk", flat=True)[:BATCH])
    if not ids:
        return 0
    _, gone = AlertDelivery.objects.filter(group__in=ids).delete()  # and with each what came of sending it
    sent = gone.get(AlertDelivery._meta.label, 0)
    AlertGroup.objects.filter(pk__in=ids).delete()
    facts = {"alerts": len(ids), "messages": sent, "over_before": before.isoformat()}
    audit.record(audit.PORTAL, LET_GO, "alerts", f"{ids[0]} to {ids[-1]}", data=facts)
    return len(ids)


@atomic
def _drop_bulk_rows() -> int:
    before = retention.kept_since(BulkItem)
    if before is None:
        return 0
    rows = BulkItem.objects.filter(action=OuterRef("pk"))
    over = BulkAction.objects.filter(
        Exists(rows), ~Exists(rows.filter(case__closed_at__isnull=True)), ended_at__lt=before,
        state__in=(BulkAction.State.DONE, BulkAction.State.UNDONE),
    )  # fmt: skip
    for action in over.order_by("pk").iterator():
        ids = list(action.items.filter(_FREE_ROW).order_by("id").values_list("pk", flat=True)[:BATCH])
        if ids:
            break
    else:
        return 0
    BulkItem.objects.filter(pk__in=ids).delete()
    facts = {"rows": len(ids), "ended": action.ended_at.isoformat() if action.ended_at else ""}
    audit.record(audit.PORTAL, LET_GO, "bulk_action", action.pk, data=facts)
    return len(ids)
