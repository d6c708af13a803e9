"""`manage.py demo_feed`: fills the sandboxes with the company, then lives its daily life until it's told to stop."""

from __future__ import annotations

import signal
import threading
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from connectors.sandbox.remote import ControlDoor, SandboxAway, SandboxRefused
from q2c.demo import feeding
from q2c.demo.company import DATA
from q2c.demo.deals import FIRST_DEALS
from q2c.demo.filling import fill_company

FIRST_DAY = DATA / "uci_online_retail" / "online_retail_2010-12-01.csv.gz"
PAUSE_SECONDS = 20.0
AWAY_SECONDS = 2.0


class Command(BaseCommand):
    """Kept running by the demo's supervisor; it may be killed at any moment and goes on where it stopped."""

    help = "Fill the sandboxes with the demo's company and feed new closed-won orders and payments at a modest pace"

    def add_arguments(self, parser: CommandParser) -> None:
        """Pace, and how far to go."""
        parser.add_argument("--port", type=int, default=settings.SANDBOX_PORT, help="the sandboxes' control door")
        parser.add_argument("--every", type=float, default=PAUSE_SECONDS, help="seconds between two deals")
        parser.add_argument("--ticks", type=int, default=0, help="stop after so many; 0 goes on")
        parser.add_argument("--fill-only", action="store_true", help="make the company and stop")
        parser.add_argument("--no-retail", action="store_true", help="leave the first day of retail invoices out")

    def handle(self, *args: Any, **options: Any) -> None:
        """Fill, then tick until SIGTERM or Ctrl-C."""
        self.stop = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self.stop.set())
        door = ControlDoor(options["port"])
        if not self.patiently(lambda: self.fill(door)) or options["fill_only"]:
            return
        self.patiently(lambda: self.begin(door))
        if not options["no_retail"]:
            self.patiently(lambda: call_command("load_retail", FIRST_DAY, port=options["port"]))
        count = 0
        while not self.stop.wait(options["every"]):
            if not self.patiently(lambda: self.go_on(door)):
                return
            count += 1
            if count == options["ticks"]:
                return

    def fill(self, door: ControlDoor) -> None:
        """The company."""
        made = fill_company(door)
        if any(made.values()):
            self.say(", ".join(f"{count} {kind}" for kind, count in made.items() if count))

    def begin(self, door: ControlDoor) -> None:
        """The first deals, all at once."""
        first = feeding.find_next_deal(door)
        if first <= FIRST_DEALS:
            made = feeding.make_deals(door, first, FIRST_DEALS, timezone.now().date())
            self.say(f"{made} deals won")

    def go_on(self, door: ControlDoor) -> None:
        """One tick."""
        for line in feeding.tick(door, feeding.find_next_deal(door), timezone.now().date()):
            self.say(line)

    def patiently(self, action: Any) -> bool:
        """Do it, as often as it takes while the sandboxes are away; False when told to stop meanwhile."""
        while not self.stop.is_set():
            try:
                action()
                return True
            except SandboxAway:
                self.stop.wait(AWAY_SECONDS)
            except SandboxRefused as refused:
                self.say(f"refused: {refused}")
                self.stop.wait(AWAY_SECONDS)
        return False

    def say(self, line: str) -> None:
        """One line of what happened."""
        self.stdout.write(line)
        self.stdout.flush()
