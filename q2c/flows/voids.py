"""What billing voids before it was posted is never posted: held documents are cancelled, waiting ones end by their own
first step."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils import timezone

from exceptions import cases
from q2c.canonical import events
from q2c.canonical.billing import DocumentVoid
from q2c.transactions import restart
from q2c.transactions.models import BusinessTransaction, Restore

_CARRIED_BY: dict[type[events.Event], tuple[str, str]] = {
    events.InvoiceVoided: ("invoice_to_erp", "invoice"),
    events.CreditMemoVoided: ("credit_memo_to_erp", "credit_memo"),
}
_WHY = "billing voided it before it was posted"
_GIVEN_BACK = "billing voided the invoice and gave the credit back before it was applied"


def cancel_unposted(voided: Iterable[tuple[type[events.Event], DocumentVoid]]) -> set[str]:
    """See that nothing of these documents is posted any more, in the caller's transaction. One of which the ERP may
    hold something is left alone: its void takes it back; after a restore that's each. Returns the flows that have new
    work."""
    flows: set[str] = set()
    given = list(voided)
    may_be_posted = bool(given) and Restore.objects.filter(looks_until__gt=timezone.now()).exists()
    for kind, void in given:
        flow, name = _CARRIED_BY[kind]
        connection = void.source.connection
        carried = BusinessTransaction.objects.filter(
            flow=flow, source_connection=connection, source_id=void.document_id
        )
        unsent = carried.filter(state="held", open_intent__isnull=True).order_by("id")
        done = [] if may_be_posted else restart.cancel(list(unsent.values_list("id", flat=True)), why=_WHY)
        if done:
            cases.close_for_transactions(done, "voided")
            flows |= restart.release_waits([f"{name}:{connection}:{void.document_id}"])
        flows |= restart.hasten(list(carried.filter(state="waiting").values_list("id", flat=True)))
        flows |= _cancel_unapplied(void)
    return flows


def _cancel_unapplied(void: DocumentVoid) -> set[str]:
    """The same of credit that a voided invoice had used of its customer's balance."""
    used = {entry.source.object_id for entry in void.balance_entries}
    carried = BusinessTransaction.objects.filter(
        flow="application_to_erp", source_connection=void.source.connection, source_id__in=used
    )
    unsent = carried.filter(state="held", open_intent__isnull=True).order_by("id")
    done = restart.cancel(list(unsent.values_list("id", flat=True)), why=_GIVEN_BACK)
    if done:
        cases.close_for_transactions(done, "voided")
    return restart.hasten(list(carried.filter(state="waiting").values_list("id", flat=True)))
