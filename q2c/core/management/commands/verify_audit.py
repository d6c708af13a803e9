"""Check the audit chain from its beginning, and against its anchors; says the first entry that doesn't hold."""

from django.core.management.base import BaseCommand, CommandError

from q2c.core import audit


class Command(BaseCommand):
    help = "Check the audit chain and its anchors."

    def handle(self, *args, **options):
        verdict = audit.verify()
        if not verdict.holds:
            raise CommandError(f"entry {verdict.broken_at}: {verdict.why} ({verdict.count} entries before it hold)")
        self.stdout.write(f"{verdict.count} entries hold")
