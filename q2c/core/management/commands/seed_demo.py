"""Makes the demo's people, entities, connections, opening rules and schedules; safe to run again."""

import json
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from q2c.demo.seed import seed
from q2c.processes import write_private


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args, **options):
        if not settings.IS_DEMO:
            raise CommandError("The demo's people and sandboxes have no place in production")
        home = Path(settings.HOME)
        write_private(home / "demo.seed.json", json.dumps(seed(home), indent=2))
        self.stdout.write("The demo's company is in place")
