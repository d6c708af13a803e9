"""House-keeping tasks that belong to no business room."""

import structlog
from celery import shared_task
from django.db import connection

from q2c.core import archives, audit, erasures, retention, stats
from q2c.core.models import Archive

log = structlog.get_logger(__name__)


@shared_task
def make_partitions(months_ahead: int = 6) -> None:
    """Make the months' partitions ahead, with the owner's rights; safe to run at any time and twice."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT q2c_make_partitions(%s)", [months_ahead])
        made = cursor.fetchone()[0]
    if made:
        log.info("partitions made", names=made)


@shared_task
def drop_expired_partitions() -> None:
    """Let go of the months that are older than policy keeps them and hold nothing unfinished; carry out the erasures
    that waited."""
    erasures.carry_waiting()
    dropped = retention.drop_expired()
    if dropped:
        log.info("partitions dropped", names=dropped)


@shared_task(ignore_result=True)
def carry_erasures() -> None:
    """Carry out the erasures that waited and in whose way nothing stands any more."""
    erasures.carry_waiting()


@shared_task(ignore_result=True)
def look_at_holds() -> None:
    """Carry out the erasures that no hold keeps back any more, and note anew what keeps which expired month."""
    erasures.carry_waiting()
    retention.look_again()


@shared_task(ignore_result=True)
def check_archives(archive_id: int | None = None) -> None:
    """Look whether archives are whole: one, or those that nobody has looked at for 30 days."""
    if archive_id is None:
        archives.check_due()
    else:
        archives.check(Archive.objects.get(pk=archive_id))


@shared_task(ignore_result=True)
def roll_up_stats() -> None:
    """Add up what was counted since."""
    stats.roll_up()


@shared_task(ignore_result=True)
def let_go_of_old_stats() -> None:
    """Drop the hours and days that no screen shows any more."""
    stats.let_go_of_old()


@shared_task
def anchor_audit() -> None:
    """Write the audit chain's head, keyed, to the file outside the database."""
    audit.anchor()
