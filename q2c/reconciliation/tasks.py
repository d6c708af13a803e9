"""Completeness on a schedule: each task may run at any time and twice."""

from __future__ import annotations

import datetime as dt

import structlog
from celery import shared_task

from q2c.core.databases import AWAY
from q2c.core.ending import is_ending
from q2c.reconciliation import completeness, day_totals, uncompared, usual

log = structlog.get_logger()


@shared_task(ignore_result=True)
def check_feeds() -> None:
    """Compare every feed with its source's own register. One that fails keeps none of the others from being
    compared."""
    for row, document_type in completeness.feeds():
        if is_ending():
            return
        try:
            completeness.check_feed(row.code, document_type)
        except AWAY:
            raise  # the database is: nothing can be kept, of no feed
        except Exception:
            log.exception("check_failed", connection=row.code, document_type=document_type)


@shared_task(ignore_result=True)
def roll_up_feeds() -> None:
    """Add what came to its hours, and tell of feeds that bring too little or that nobody compares."""
    uncompared.tell_uncompared()
    usual.roll_up_arrivals()
    usual.tell_quiet_feeds()


@shared_task(ignore_result=True)
def check_totals() -> None:
    """Check that what the last days brought is all accounted for, and tell of what isn't."""
    day_totals.tell_apart()


@shared_task(ignore_result=True)
def count_lost_webhooks() -> None:
    """Count what came by poll only, and tell of connections whose webhooks don't reach us."""
    usual.count_lost_webhooks()
    usual.tell_lost_webhooks()


@shared_task(ignore_result=True)
def check_feed(code: str, document_type: str, since: str) -> None:
    """One feed, from a day on (ISO), since somebody asked."""
    completeness.check_feed(code, document_type, since=dt.date.fromisoformat(since))
