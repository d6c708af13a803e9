"""Leaving a case alone until something happens: a date, so many documents, a period opens, its customers change.

A snoozed case is open, with its documents, amounts and clocks; it only leaves the queue's first page. The sweep wakes
it, and where something was signed for (a reopening), does that.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.transaction import atomic
from django.utils import timezone

from exceptions import cases
from exceptions.models import ExceptionCase, Snooze
from exceptions.resolutions import ResolutionRefused, repost_documents
from exceptions.resolving import binding, periods
from q2c.core import audit
from q2c.core.history import save_with_reason
from q2c.core.models import LegalEntity, Person
from q2c.core.people import zone_of
from q2c.records.models import GoldenRecord
from q2c.transactions.models import BusinessTransaction

DAYS_MAX = 400
_CUSTOMERS_MAX = 1_000
Until = Snooze.Until


def snooze(
    case: ExceptionCase, *, by: Person, reason: str, until: str, date: dt.date | None = None, count: int | None = None
) -> Snooze:
    """Leave the case alone until then. A new wish replaces one of before, but not a reopening that people agreed on.

    Raises ResolutionRefused naming the field that doesn't fit.
    """
    if not reason.strip():
        raise ResolutionRefused("Say why.")
    with atomic():
        locked = cases.lock_case(case.pk)
        if locked is None or not locked.is_open:
            raise ResolutionRefused(f"{case.number} is closed already.")
        standing = Snooze.objects.filter(case=locked, woken_at__isnull=True).first()
        if standing is not None and standing.proposal_id:
            raise ResolutionRefused("It waits for its period to be reopened, as two people agreed.")
        wakes = _wakes(locked, by, until, date=date, count=count)
        if standing is not None:
            _end(standing, f"{by} chose another")
        made = Snooze.objects.create(case=locked, until=until, wakes=wakes, why=reason, by=by, at=timezone.now())
        _put(locked, snoozed_at=made.at, why=reason, by=by)
        text = f"until {words_of(made)}: {reason}"
        cases.note(locked, verb="snoozed", text=text, by=by, data={"until": until, **wakes})
        audit.record(by, "snooze", "case", locked.pk, why=reason, data={"until": until, **wakes})
    return made


def wake(case: ExceptionCase, *, by: Person, reason: str) -> None:
    """Take the case up again now. Raises ResolutionRefused where it isn't snoozed, or waits for a reopening."""
    with atomic():
        found = Snooze.objects.select_for_update().filter(case=case, woken_at__isnull=True).first()
        if found is None:
            raise ResolutionRefused(f"{case.number} isn’t snoozed.")
        _end(found, f"{by}: {reason}")
        locked = cases.lock_case(case.pk)
        assert locked is not None  # a case is never deleted
        _put(locked, snoozed_at=None, why=reason, by=by)
        cases.note(locked, verb="woken", text=reason, by=by)
        audit.record(by, "wake", "case", case.pk, why=reason, data={"snooze": found.pk})


def wake_due() -> int:
    """Wake what has come, and do what was signed for; one transaction each. Returns how many."""
    woken = 0
    for snooze_id in list(Snooze.objects.filter(woken_at__isnull=True).order_by("pk").values_list("pk", flat=True)):
        with atomic():
            rows = Snooze.objects.select_for_update(of=("self",), skip_locked=True)
            found = rows.select_related("case", "proposal", "by").filter(pk=snooze_id, woken_at__isnull=True).first()
            said = _what_came(found) if found is not None else ""
            if found is None or not said:
                continue
            _wake(found, said)
            woken += 1
    return woken


def words_of(found: Snooze) -> str:
    """What it waits for, inside a sentence."""
    wakes = found.wakes
    if found.until == Until.DATE:
        date = dt.date.fromisoformat(wakes["date"])
        return f"{date.day} {date:%B %Y}"
    if found.until == Until.COUNT:
        return f"it has {wakes['count']:,} documents"
    if found.until == Until.PERIOD:
        return " and ".join(f"{place[2]} is open in {place[0]}" for place in wakes["places"])
    return "one of its customers changes"


def _wakes(case: ExceptionCase, by: Person, until: str, *, date: dt.date | None, count: int | None) -> dict[str, Any]:
    if until == Until.DATE:
        zone = _zone_of(case, by)
        today = timezone.localdate(timezone=zone)
        if date is None or not today < date <= today + dt.timedelta(days=DAYS_MAX):
            raise ResolutionRefused(f"The date has to be after today, and within {DAYS_MAX} days.")
        return {"date": date.isoformat(), "at": _begins(date, zone).isoformat()}
    if until == Until.COUNT:
        present = case.occurrences.filter(closed_at__isnull=True).count()
        if count is None or count <= present:
            raise ResolutionRefused(f"It has {present:,} documents already: name a higher number.")
        return {"count": count}
    if until == Until.PERIOD:
        late = [row for row in periods.late_documents(case, by) if row.closed is not None]
        places = [list(row.place) for row in late if not periods.are_open([row.place])]
        if not places:
            raise ResolutionRefused("None of its documents waits for a period that is closed.")
        return {"places": places}
    if until == Until.CUSTOMER:
        keys = sorted(_customers(case))
        if not keys:
            raise ResolutionRefused("Its documents name no customer.")
        return {"aliases": keys, "since": timezone.now().isoformat()}
    raise ResolutionRefused("Choose what it waits for.")


def _zone_of(case: ExceptionCase, by: Person) -> ZoneInfo:
    """Where the case's days begin: its entity's zone, or that of whoever snoozed a case of several."""
    own = LegalEntity.objects.filter(code=case.legal_entity_code).values_list("time_zone", flat=True).first()
    return ZoneInfo(own) if own else zone_of(by)


def _begins(date: dt.date, zone: ZoneInfo) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(), zone)


def _customers(case: ExceptionCase) -> Iterable[str]:
    """The source ids of the customers of its held documents, as golden records are called by."""
    ids = case.occurrences.filter(closed_at__isnull=True).values("transaction_id")
    rows = BusinessTransaction.objects.filter(pk__in=ids).exclude(customer_id="")
    found = rows.order_by().values_list("source_connection", "customer_id").distinct()[:_CUSTOMERS_MAX]
    return {f"{connection}:{customer}" for connection, customer in found}


def _what_came(found: Snooze) -> str:
    """What has come of what it waits for, or ""; a closed case has nothing to wait for."""
    wakes = found.wakes
    if not found.case.is_open:
        return "the case is closed"
    if found.until == Until.DATE:
        known = wakes.get("at")  # snoozed by an earlier release: only the day
        at = (
            dt.datetime.fromisoformat(known)
            if known
            else _begins(dt.date.fromisoformat(wakes["date"]), _zone_of(found.case, found.by))
        )
        return "the day has come" if timezone.now() >= at else ""
    if found.until == Until.COUNT:
        present = found.case.occurrences.filter(closed_at__isnull=True).count()
        return f"it has {present:,} documents" if present >= wakes["count"] else ""
    if found.until == Until.PERIOD:
        try:
            return words_of(found) if periods.are_open(wakes["places"]) else ""
        except periods.UnknownPeriod as unknown:
            return str(unknown)  # it would sleep for ever
    changed = GoldenRecord.objects.filter(
        record_type="customer",
        aliases__overlap=wakes["aliases"],
        changed_at__gt=dt.datetime.fromisoformat(wakes["since"]),
    )
    name = changed.order_by("pk").values_list("name", flat=True).first()
    return "" if name is None else f"{name or 'a customer'} changed"


def _wake(found: Snooze, said: str) -> None:
    _end(found, said)
    locked = cases.lock_case(found.case_id) if found.proposal is None else None
    if found.proposal is not None and found.case.is_open:
        _do_signed(found)  # locks the documents first
        locked = cases.lock_case(found.case_id)
    if locked is not None and locked.snoozed_at is not None:
        _put(locked, snoozed_at=None, why=said, by=None)
    cases.note(found.case, verb="woken", text=said, by=None)
    audit.record(audit.PORTAL, "wake", "case", found.case_id, why=said, data={"snooze": found.pk})


def _do_signed(found: Snooze) -> None:
    """The period is open: repost what was signed for and is as it was then."""
    assert found.proposal is not None  # the caller looked
    signed = {UUID(row["transaction"]): row for row in found.proposal.content["documents"]}
    present = binding.state_of(signed)
    left = [i for i, row in sorted(signed.items()) if not binding.what_moved(row, present.get(i))]
    reason = f"{words_of(found)} again: {found.why}"
    repost_documents(left, by=None, reason=reason, permission=None)


def _end(found: Snooze, said: str) -> None:
    found.woken_at, found.woken_by = timezone.now(), said[:300]
    found.save(update_fields=["woken_at", "woken_by"])


def _put(case: ExceptionCase, *, snoozed_at: dt.datetime | None, why: str, by: Person | None) -> None:
    case.snoozed_at = snoozed_at
    save_with_reason(case, why=why, by=by)
