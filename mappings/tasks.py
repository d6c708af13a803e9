"""The Celery tasks of the mappings room: nudges only; the database says which sheets wait."""

from __future__ import annotations

from celery import shared_task
from django.db.transaction import on_commit
from kombu.exceptions import OperationalError

from mappings import choices, sheets


@shared_task(ignore_result=True)
def check_sheet(sheet_id: int) -> None:
    """Check one sheet."""
    sheets.carry_sheet(sheet_id)


@shared_task(ignore_result=True)
def check_waiting_sheets() -> None:
    """Check the sheets whose nudge was lost or whose worker died."""
    sheets.carry_waiting()


@shared_task(ignore_result=True)
def count_suggestions() -> None:
    """Count how often suggestions were right."""
    choices.count_rates()


def nudge_sheet(sheet_id: int) -> None:
    """Say, after the commit, that a sheet waits. With the broker away beat finds it within a minute."""

    def send() -> None:
        try:
            check_sheet.apply_async((sheet_id,), retry=False, expires=600)
        except (OperationalError, OSError):
            return

    on_commit(send, robust=True)
