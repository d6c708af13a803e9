"""`manage.py sandbox`: run the vendor sandboxes alone."""

import os
from pathlib import Path

from django.core.management.base import BaseCommand, CommandParser

from connectors.sandbox.server import run


class Command(BaseCommand):
    """Needs settings, but neither database nor broker."""

    help = "Run the vendor sandboxes and their control door on 127.0.0.1"
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Where documents are kept, and the control door's port; the vendors take the ports after it."""
        parser.add_argument("--home", default=os.environ.get("Q2C_HOME", ".q2c"))
        parser.add_argument("--port", type=int, default=int(os.environ.get("Q2C_SANDBOX_PORT", "8900")))

    def handle(self, *args: str, **options: str) -> None:
        """Serve until SIGTERM or Ctrl-C."""
        port = int(options["port"])
        run(
            Path(options["home"]),
            port,
            on_ready=lambda: self.stdout.write(f"sandboxes ready, control door at http://127.0.0.1:{port}"),
        )
