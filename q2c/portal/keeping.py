"""Keeping: what is kept how long, what is due and what stays although it is; the archives, and what is in them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import OuterRef, Q, Subquery, Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from kombu.exceptions import OperationalError

from q2c.carriers import as_uuid
from q2c.core import access, archives, audit, holds, masking, retention, reveals
from q2c.core.access import PersonRequest, requires
from q2c.core.archive_files import ArchiveFault
from q2c.core.htmx import page, paginate, refuse
from q2c.core.models import Archive, ArchiveCheck, Erasure, ExpiredMonth, LegalHold
from q2c.core.tasks import check_archives, drop_expired_partitions, look_at_holds
from q2c.core.vault import Unsealable
from q2c.records.persons import persons_among
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.selectors import transactions_visible_to

RUN = "schedules.change_schedule"  # whoever may start and stop what runs by itself
TITLES = {
    "transactions_steprun": "Steps", "transactions_lineagelink": "Lineage",
    "transactions_preparedposting": "Postings", "inbox_inboundevent": "Raw messages",
    "connectors_exchange": "Requests and answers", "outbox_outboxevent": "Outgoing events",
    "exceptions_alertgroup": "Alerts", "exceptions_bulkitem": "Rows of bulk actions",
}  # fmt: skip
SEEN_BY = {"inbox_inboundevent": "inbox.view_event", "connectors_exchange": "transactions.view_exchange"}
NO_WORKER = "Not possible: no worker can be reached now. It’s done daily by itself (Schedules)."
SHOWN = 60
FOUND_MAX = 20


@require_GET
@requires(holds.VIEW)
def keeping(request: HttpRequest) -> HttpResponse:
    """What is kept how long, what is due, what stays and why, holds in force, archives that aren't whole."""
    policies: list[Any] = list(retention.policies())
    expired = list(ExpiredMonth.objects.order_by("table", "partition"))
    mine = holds.holds_visible_to(request.user)
    seen = dict(mine.filter(pk__in={pk for month in expired for pk in month.holds}).values_list("pk", "name"))
    for policy in policies:
        policy.title = TITLES[policy.table]
        policy.oldest_month = policy.oldest and month_words(policy.table, policy.oldest).partition(" of ")[2]
        own = [month for month in expired if month.table == policy.table]
        policy.due, policy.kept = len([m for m in own if not m.why_kept]), len([m for m in own if m.why_kept])
    for month in expired:
        if set(month.holds) - set(seen):  # without the name of a hold that this person doesn't see
            month.why_kept, month.failure = "a legal hold of the house or of another entity", ""
    spans = spans_of(expired)
    damaged = list(_with_checks().exclude(fault="")[:SHOWN])
    for archive in damaged:
        archive.title = month_words(archive.table, archive.partition)
    context = {
        "policies": policies, "spans": spans[:SHOWN], "span_count": len(spans),
        "due_count": sum(not month.why_kept for month in expired),
        "failed": [span for span in spans if span.state == "failed"],
        "held_count": sum(bool(month.holds) for month in expired),
        "looked_at": max((month.looked_at for month in expired), default=None),
        "standing": _told(mine.filter(state=LegalHold.State.IN_FORCE).order_by("-pk")[:SHOWN]),
        "waiting_erasures": Erasure.objects.filter(state=Erasure.State.WAITING).count()
        if access.entities_of(request.user, holds.VIEW) is None else 0,
        "archived": archives.current().aggregate(rows=Sum("row_count"), size=Sum("size_bytes")),
        "archive_count": archives.current().count(), "damaged": damaged,
        "may_run": access.may(request.user, RUN), "may_propose": access.may(request.user, holds.PROPOSE),
    }  # fmt: skip
    return render(request, "portal/keeping.html", context)


@require_POST
@requires(RUN)
def keeping_run(request: PersonRequest) -> HttpResponse:
    """Look anew, or drop now what is due, on a worker."""
    is_drop = request.POST.get("what") == "drop"
    if not _ask_worker(drop_expired_partitions if is_drop else look_at_holds):
        return refuse(request, NO_WORKER, "portal:keeping")
    if is_drop:
        audit.record(request.user, "start", "retention", "now")
    said = "A worker archives and drops what is due. Load this page again to see how far it is."
    messages.success(request, said if is_drop else "A worker looks anew.", extra_tags="done")
    return redirect("portal:keeping")


@require_GET
@requires(holds.VIEW)
def archive_list(request: HttpRequest) -> HttpResponse:
    """Months that were archived, newest first, with what the last look at their files found."""
    listed = paginate(request, _with_checks())
    for archive in listed.rows:
        archive.title = month_words(archive.table, archive.partition)
    context = {
        "page": listed, "may_check": access.may(request.user, RUN),
        "damaged": _with_checks().exclude(fault="").count(),
    }  # fmt: skip
    return page(request, "portal/archive_list.html", "portal/_archive_table.html", context)


@require_POST
@requires(RUN)
def archive_check(request: PersonRequest, archive_id: int) -> HttpResponse:
    """Have a worker look whether one archive is whole."""
    archive = archives.current().filter(pk=archive_id).first()
    if archive is None:
        raise Http404
    if not _ask_worker(check_archives, archive.pk):
        return refuse(request, NO_WORKER, "portal:archive_list")
    said = f"A worker checks {month_words(archive.table, archive.partition)} to its last row."
    messages.success(request, said, extra_tags="done")
    return redirect("portal:archive_list")


@require_http_methods(["GET", "POST"])
@requires("transactions.view_transaction")
def archived(request: PersonRequest) -> HttpResponse:
    """What archives hold of one transaction, found by its number or id; posted with a reason, what is masked of it."""
    text = request.GET.get("q", "").replace("\x00", "").strip()
    found = _find(request.user, text)
    context: dict[str, Any] = {"q": text, "found": found if len(found) > 1 else []}
    if len(found) != 1:
        return render(request, "portal/archived.html", context)
    txn = found[0]
    form = reveals.RevealForm(request.POST) if request.method == "POST" else None
    try:
        tables = _rows_of(request.user, txn)
    except (ArchiveFault, Unsealable) as fault:
        return render(request, "portal/archived.html", {**context, "txn": txn, "fault": str(fault)}, status=409)
    plain = {key: text for _, rows in tables for key, text in rows}
    people = persons_among([txn.customer_name]) if txn.customer_name else ()
    subject = ("transaction", txn.pk)
    shown = reveals.show_masked(
        request.user, subject, plain, entity=txn.legal_entity_code, form=form, people=people
    )  # fmt: skip
    context |= {
        **{name: shown[name] for name in ("is_revealed", "masked_names", "may_reveal", "reveal_form", "reveals")},
        "txn": txn, "tables": [(title, [(key, shown[key]) for key, _ in rows]) for title, rows in tables],
        "row_count": len(plain), "reveal_url": f"{reverse('portal:archived')}?q={txn.pk}",
    }  # fmt: skip
    return render(request, "portal/archived.html", context, status=reveals.status_of(shown))


@require_GET
@requires("transactions.view_transaction")
def archived_download(request: PersonRequest, transaction_id: UUID) -> HttpResponse:
    """The archived rows of a transaction as JSON, masked; the audit trail says that they were taken."""
    txn = transactions_visible_to(request.user).filter(pk=transaction_id).first()
    if txn is None:
        raise Http404
    try:
        tables = _rows_of(request.user, txn)
    except (ArchiveFault, Unsealable) as fault:
        return HttpResponse(f"The archive can’t be read: {fault}\n", status=409, content_type="text/plain")
    if not tables:
        raise Http404
    people = persons_among([txn.customer_name]) if txn.customer_name else ()
    body = {
        title: [json.loads(masking.mask_text(text, people).text) if text.startswith("{") else text for _, text in rows]
        for title, rows in tables
    }
    count = sum(len(rows) for _, rows in tables)
    audit.record(request.user, "export", "transaction", txn.pk, data={"rows": count, "of": "archive"})
    answer = HttpResponse(json.dumps(body, indent=1, ensure_ascii=False), content_type="application/json")
    answer["Content-Disposition"] = f'attachment; filename="archived-{txn.pk}.json"'
    return answer


def month_words(table: str, partition: str) -> str:
    """A month of a table as people say it: Steps of March 2019."""
    year, month = partition.removeprefix(f"{table}_").split("_")
    return f"{TITLES.get(table, table)} of {dt.date(int(year), int(month), 1):%B %Y}"


def _ask_worker(task: Any, *given: int) -> bool:
    """Have a worker do it: whether one could be told. Without a broker nothing is lost: the schedules do it daily."""
    try:
        task.apply_async(given, retry=False, expires=600)
    except (OperationalError, OSError):
        return False
    return True


@dataclass
class Span:
    """Months of a table that stay or go for the same reason, one after the other."""

    table: str
    first: str
    last: str
    state: str  # failed, kept, due
    why: str
    count: int = 1

    @property
    def title(self) -> str:
        """Steps of March 2019; Steps of January 2018 to March 2019."""
        first = month_words(self.table, self.first)
        return first if self.count == 1 else f"{first} to {month_words(self.table, self.last).partition(' of ')[2]}"


def spans_of(months: Iterable[ExpiredMonth]) -> list[Span]:
    """Months (by table and name) folded: what couldn't go first, then what stays, then what is due."""
    spans: list[Span] = []
    for month in months:
        state = "failed" if month.failure else "kept" if month.why_kept else "due"
        why, last = month.failure or month.why_kept, spans[-1] if spans else None
        if last and (last.table, last.state, last.why) == (month.table, state, why):
            last.last, last.count = month.partition, last.count + 1
        else:
            spans.append(Span(month.table, month.partition, month.partition, state, why))
    return sorted(spans, key=lambda span: ("failed", "kept", "due").index(span.state))


def _told(rows: Any) -> list[LegalHold]:
    standing = list(rows)
    for hold in standing:
        hold.covers = holds.words_of(hold)
    return standing


def _with_checks() -> Any:
    newest = ArchiveCheck.objects.filter(archive=OuterRef("pk")).order_by("-id")
    return archives.current().annotate(
        checked_at=Subquery(newest.values("at")[:1]), fault=Subquery(newest.values("fault")[:1]),
        erased=Subquery(newest.values("erased_count")[:1]),
    ).order_by("-pk")  # fmt: skip


def _find(user: Any, text: str) -> list[BusinessTransaction]:
    if not text:
        return []
    own_id = as_uuid(text)
    wanted = Q(pk=own_id) if own_id else Q(number=text) | Q(source_id=text) | Q(target_id=text) | Q(target_number=text)
    return list(transactions_visible_to(user).filter(wanted).order_by("-id")[:FOUND_MAX])


def _rows_of(user: Any, txn: BusinessTransaction) -> list[tuple[str, list[tuple[str, str]]]]:
    """By table: the key and the text of each archived row that this person may see."""
    tables: dict[str, list[tuple[str, str]]] = {}
    for row in archives.find_rows(txn.pk, txn.event_id):
        permission = SEEN_BY.get(row.archive.table, "transactions.view_transaction")
        if not access.sees_entity(user, txn.legal_entity_code, permission):
            continue
        if row.fields is None:
            text = "Erased with the customer’s key: nobody can read it."
        else:
            fields = {name: archives.plain(value) for name, value in row.fields.items() if value is not None}
            text = json.dumps(fields, indent=1, ensure_ascii=False)
        tables.setdefault(TITLES[row.archive.table], []).append((f"{row.archive.table} {row.key}", text))
    return sorted(tables.items())


def is_archived(txn: BusinessTransaction) -> bool:
    """Whether an archive holds the month of this transaction's steps: for a page that has none to show."""
    rows = Archive.objects.filter(table="transactions_steprun", low__lte=txn.pk, high__gt=txn.pk)
    return rows.exists()
