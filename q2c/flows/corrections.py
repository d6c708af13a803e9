"""Corrections outside that come before their document is held: remembered with it, and read again once it is.

A correction counts only where the document is held, since what was posted is never edited and what runs goes on as it
came. One that comes in the seconds before would be lost: nobody saves the same twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from uuid import UUID

from django.db.transaction import atomic
from django.utils import timezone

from q2c.core.hotpath import fetch_rows
from q2c.core.ids import uuid7_bound
from q2c.flows.done import portal_person
from q2c.inbox.models import InboundKey
from q2c.inbox.replay import ReplayRefused, replay_event
from q2c.records.models import BilledDocument
from q2c.transactions.selectors import finished_sources, held_sources, open_sources

WHY = "The document was corrected before it was held"
AT_ONCE = 200
DAYS_MAX = 3  # for a document whose own transaction never comes
_REMEMBER = """
    UPDATE records_billeddocument d SET corrected_by = n.event
      FROM unnest(%s::text[], %s::text[], %s::uuid[]) AS n (connection, id, event)
     WHERE d.external_id = n.id AND d.connection_code = n.connection
"""


def remember(corrected: Mapping[tuple[str, str], UUID]) -> None:
    """Documents (connection and id) that were corrected and aren't held, with the message that says so. In the commit
    of the batch."""
    if corrected:
        rows = [(connection, external_id, event) for (connection, external_id), event in sorted(corrected.items())]
        fetch_rows(_REMEMBER, [list(column) for column in zip(*rows, strict=True)])


def read_held_again() -> int:
    """Give the remembered corrections of what is held by now back to the translator, and forget those of what has come
    to its end otherwise, or never came in DAYS_MAX days. Returns how many are read again."""
    again, last = 0, None
    remembered = BilledDocument.objects.exclude(corrected_by=None).order_by("pk")
    rows = remembered.values_list("pk", "connection_code", "external_id", "corrected_by")
    while known := list((rows if last is None else rows.filter(pk__gt=last))[:AT_ONCE]):
        again += _settle(known)
        last = known[-1][0]
    return again


def _settle(known: Sequence[tuple[UUID, str, str, UUID | None]]) -> int:
    """Of these documents (id, connection, id there, message): how many corrections are read again."""
    ids = {external_id for _, _, external_id, _ in known}
    held, unfinished, finished = held_sources(ids), open_sources(ids), finished_sources(ids)
    oldest = uuid7_bound(int((timezone.now() - dt.timedelta(days=DAYS_MAX)).timestamp() * 1000))
    again = 0
    for pk, connection, external_id, event in known:
        key = (connection, external_id)
        if event is None or (key not in held and (key in unfinished or (key not in finished and event >= oldest))):
            continue
        with atomic():  # forgotten first, which locks it: one that comes meanwhile is remembered after this one
            is_forgotten = BilledDocument.objects.filter(pk=pk, corrected_by=event).update(corrected_by=None)
            again += bool(is_forgotten) and key in held and _read_again(event)
    return again


def _read_again(event: UUID) -> bool:
    try:
        return replay_event(event, by=portal_person(), reason=WHY)
    except (InboundKey.DoesNotExist, ReplayRefused):  # let go of meanwhile, or erased
        return False
