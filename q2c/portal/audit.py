"""The audit trail: who did what to what, and why."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from connectors.models import Connection
from q2c.carriers import as_uuid
from q2c.core import access, audit, reveals
from q2c.core.access import requires
from q2c.core.htmx import page, paginate
from q2c.core.models import AuditEntry, Person
from q2c.transactions.models import BusinessTransaction

# verb: what was done, for whoever reads it
SAID = {
    "propose": "Proposed", "approve": "Approved", "reject": "Rejected", "void": "Approval void",
    "activate": "Put in force",
    "pause": "Paused", "resume": "Resumed", "change": "Changed", "test": "Tested", "set_secrets": "Credentials set",
    "repost": "Reposted", "waive": "Waived", "override": "Let pass", "make_way": "Made way for a later version",
    "bring_back": "Brought back, since nothing replaces it",
    "confirm_bulk": "Confirmed in bulk", "undo_bulk": "Undone in time", "finish_bulk": "Finished in bulk",
    "look_again": "Looked again", "replay": "Replayed", "started summary": "Started the summary",
    "anchor_seals": "Anchored the workers’ seals", "approval_refused_after_reset": "Refused after a new password",
    "change_address": "Changed the address", "change_account": "Changed account or credentials",
    "restored": "Told of a restored database", "drop": "Dropped",
    "link": "Linked", "unlink": "Unlinked", "repoint": "Re-pointed",
    "merge_records": "Merged", "undo_merge": "Took back a merge", "say_distinct": "Said that they are two",
    "follow_merge": "Followed a merge", "override_field": "Let another value stand",
    "approve_emergency": "Approved in an emergency", "review_emergency": "Reviewed an emergency",
    "end_emergency": "Ended an emergency",
    "give_role": "Gave a role", "take_role": "Took a role back", "change_role": "Changed a role",
    "give_first_role": "Gave the first role", "reveal": "Saw masked values",
    "edit_runbook": "Changed the runbook", "merge_case": "Merged into another case",
    "take_out_case": "Took a cause out of a case", "split_case": "Took documents out of the case",
    "make": "Made", "try_again": "Tried again", "start": "Started", "cancel": "Cancelled", "end": "Ended",
    "hold_in_force": "Placed under legal hold", "hold_released": "Released the legal hold",
    "hold_declined": "Declined the legal hold", "erase": "Erased the customer",
    "erasure_waits": "Waits to erase the customer", "archive": "Archived", "drop_partition": "Dropped the month",
    "correct_at_source": "Waits for the source’s correction",
}  # fmt: skip
# subject: (what it's called, the screen that shows it)
NUMBERED = {
    "case": ("EX-{id}", "exceptions:case_detail"),
    "change_set": ("CS-{id}", "mappings:change_set_detail"),
    "schedule": ("Schedule {id}", "portal:schedule_edit"),
    "bulk_action": ("BA-{id}", "exceptions:bulk_detail"),
    "backfill": ("BF-{id}", "portal:backfill_detail"),
    "legal_hold": ("LH-{id}", "portal:hold_detail"),
}


@require_GET
@requires("core.view_audit")
def audit_list(request: HttpRequest) -> HttpResponse:
    """What people did, newest first; what the portal did by itself is a view of its own."""
    rows = deeds_visible_to(request.user)
    by = request.GET.get("by", "")
    counts = rows.aggregate(
        people=Count("pk", filter=~Q(actor=audit.PORTAL)), portal=Count("pk", filter=Q(actor=audit.PORTAL)),
        revealed=Count("pk", filter=Q(verb=reveals.VERB)),
    )  # fmt: skip
    if by == "revealed":
        rows = rows.filter(verb=reveals.VERB)
    elif by != "all":
        rows = rows.filter(actor=audit.PORTAL) if by == "portal" else rows.exclude(actor=audit.PORTAL)
    listed = paginate(request, rows, order=("-sequence",))
    tell_entries(listed.rows)
    return page(
        request, "portal/audit_list.html", "portal/_audit_table.html", {"page": listed, "by": by, "counts": counts}
    )


def deeds_visible_to(user: Any) -> QuerySet[AuditEntry]:
    """Entries carry no entity, but for masked values that were shown: beside these, people of some entities see only
    their own deeds."""
    rows = AuditEntry.objects.all()
    codes = access.entities_of(user, "core.view_audit")
    if codes is None:
        return rows
    return rows.filter(Q(actor=user.username) | Q(verb=reveals.VERB, data__entity__in=sorted(codes)))


def tell_entries(entries: Iterable[AuditEntry]) -> None:
    """Each with the name of who did it (`who`), what it was done to (`what`) and where that is shown (`url`)."""
    entries = list(entries)
    people = {p.username: str(p) for p in Person.objects.filter(username__in={e.actor for e in entries})}
    systems = dict(Connection.objects.values_list("code", "name"))
    ids = [as_id for e in entries if e.subject_type == "transaction" and (as_id := as_uuid(e.subject_id))]
    documents = dict(BusinessTransaction.objects.filter(pk__in=ids).values_list("pk", "number")) if ids else {}
    for entry in entries:
        entry.who = people.get(entry.actor, "The portal" if entry.actor == audit.PORTAL else entry.actor)  # type: ignore[attr-defined]
        entry.said = SAID.get(entry.verb, entry.verb.replace("_", " ").capitalize())  # type: ignore[attr-defined]
        entry.what, entry.url = _subject(entry, systems, documents)  # type: ignore[attr-defined]


def _subject(entry: AuditEntry, systems: dict[str, str], documents: dict[uuid.UUID, str]) -> tuple[str, str]:
    kind, key = entry.subject_type, entry.subject_id
    if kind == "transaction" and (found := as_uuid(key)) in documents:
        return documents[found] or "A transaction", reverse("portal:transaction_detail", args=[found])
    bare = key.upper().removeprefix("EX-")
    if kind in NUMBERED and bare.isdecimal():
        title, view = NUMBERED[kind]
        return title.format(id=bare), reverse(view, args=[int(bare)])
    if kind == "exchange":
        return "A request and its answer", ""
    if kind == "role":
        return f"The role {key.replace('_', ' ')}", reverse("portal:role_detail", args=[key])
    if kind == "work":
        return "Work", reverse("portal:pause_list")
    if kind == "event" and (found := as_uuid(key)):
        return "A message", reverse("portal:event_detail", args=[found])
    if kind == "seals":
        return f"Up to seal {key}", ""
    if kind == "connection" and key in systems:
        return systems[key], reverse("connectors:connection_detail", args=[key])
    return f"{kind.replace('_', ' ').capitalize()} {key}", ""
