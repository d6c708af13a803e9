"""Makes the demo's people, entities, connections, opening rules and schedules; safe to run again."""

import json
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from connectors.http import close_sessions
from q2c.demo.seed import seed
from q2c.processes import write_private
from q2c.transactions.workers import run_now, stop_worker


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args, **options):
        if not settings.IS_DEMO:
            raise CommandError("The demo's people and sandboxes have no place in production")
        home = Path(settings.HOME)
        try:
            told = seed(home)
        finally:
            run_now(close_sessions)
            stop_worker()
        write_private(home / "demo.seed.json", json.dumps(told, indent=2))
        self.stdout.write("The demo's company is in place")
