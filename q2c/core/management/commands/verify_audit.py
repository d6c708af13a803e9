"""Check the audit chain against its anchors, and the seals over finished steps; says the first of each that doesn't
hold."""

from django.core.management.base import BaseCommand, CommandError

from q2c.core import audit
from q2c.transactions.seals import verify_seals


class Command(BaseCommand):
    help = "Check the audit chain, its anchors, and the seals over finished steps."

    def handle(self, *args, **options):
        faults = []
        verdict = audit.verify()
        for first, last, entry in verdict.set_aside:
            self.stdout.write(f"anchors of entries {first} to {last} were set aside by the restore of entry {entry}")
        if verdict.holds:
            reach = verdict.newest_anchor
            after = "" if reach == verdict.count else ": nothing guards those after it from being cut"
            said = f"anchored to entry {reach} of {verdict.count}{after}" if reach else "none is anchored"
            self.stdout.write(f"{verdict.count} entries hold, {said}")
        else:
            faults.append(f"entry {verdict.broken_at}: {verdict.why} ({verdict.count} entries before it hold)")
        if verdict.anchored_to:
            faults.append(f"anchors reach entry {verdict.anchored_to}: after a restore say so by `manage.py restored`")
        seals = verify_seals()  # also where the chain doesn't hold: they are another proof
        if seals.holds:
            self.stdout.write(f"{seals.count} seals hold")
        else:
            faults.append(f"seal {seals.broken_at}: {seals.why} ({seals.count} seals before it hold)")
        if faults:
            raise CommandError("; ".join(faults))
