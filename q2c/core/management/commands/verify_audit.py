"""Check the audit chain against its anchors, and the seals over finished steps; says the first that doesn't hold."""

from django.core.management.base import BaseCommand, CommandError

from q2c.core import audit
from q2c.transactions.seals import verify_seals


class Command(BaseCommand):
    help = "Check the audit chain, its anchors, and the seals over finished steps."

    def handle(self, *args, **options):
        verdict = audit.verify()
        if not verdict.holds:
            raise CommandError(f"entry {verdict.broken_at}: {verdict.why} ({verdict.count} entries before it hold)")
        self.stdout.write(f"{verdict.count} entries hold")
        seals = verify_seals()
        if not seals.holds:
            raise CommandError(f"seal {seals.broken_at}: {seals.why} ({seals.count} seals before it hold)")
        self.stdout.write(f"{seals.count} seals hold")
