"""`manage.py bench`: measures this machine, prints a table, writes bench-results.json. ONLY=part,part selects."""

import os
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from q2c.bench.run import PARTS, run_bench


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = ()

    def add_arguments(self, parser):
        parser.add_argument("--only", default=os.environ.get("ONLY", ""), help=f"some of {','.join(PARTS)}")

    def handle(self, *args, **options):
        if settings.ENV != "test":
            raise CommandError("Run it with Q2C_ENV=test (make bench does): it plays the vendors and lifts limits")
        only = [part for part in options["only"].split(",") if part]
        unknown = sorted(set(only) - set(PARTS))
        if unknown:
            raise CommandError(f"There is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
        report = run_bench(Path(settings.HOME), only, self.stdout.write)
        self.stdout.write(f"\n{report.table()}\n\nwritten to {report.write(Path.cwd())}")
