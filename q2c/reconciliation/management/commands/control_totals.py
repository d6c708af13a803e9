"""`manage.py control_totals [--source <name>] [--wait SECONDS]`: does everything agree to the cent?

Of a restored copy of the database, whose ERP is another account or can't be reached and at which no process works:
`--without-erp --allow-in-flight`. Then it says whether what the copy has adds up.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from q2c.core.hotpath import AWAY, drop_lost_connection
from q2c.reconciliation.control_totals import as_json, compute_totals, known_sources

LOOKS_EVERY = 0.5


class Command(BaseCommand):
    help = (
        "Print the control totals as JSON. Exit 0 only if all agree, nothing is in flight, and the ERP says the same;"
        " options leave out the last two."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--source", help="a feed (retail) or a connection; all of them unless it's given")
        parser.add_argument("--without-erp", action="store_true", help="don't ask the ERP for its own totals")
        parser.add_argument("--allow-in-flight", action="store_true", help="what is in flight is no fault")
        parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait for what is in flight")

    def handle(self, *args: Any, **options: Any) -> None:
        until = time.monotonic() + options["wait"]
        sources = [options["source"]] if options["source"] else known_sources()
        if options["source"] and not options["wait"] and options["source"] not in known_sources():
            raise CommandError(f"Nothing was declared or received of {options['source']}.")
        while time.monotonic() < until and not _is_at_rest(sources):
            time.sleep(LOOKS_EVERY)
        totals = compute_totals(
            sources, asks_erp=not options["without_erp"], allows_in_flight=options["allow_in_flight"]
        )
        self.stdout.write(json.dumps(as_json(totals), indent=2))
        for difference in totals.erp_differences:
            self.stderr.write(difference)
        if options["without_erp"]:
            self.stderr.write("The ERP wasn’t asked.")
        if totals.linked:
            self.stderr.write(
                f"{totals.linked:,} of our documents stand in the ERP as one without our external id, to which people"
                " linked them: its totals of ours are without them."
            )
        if not totals.rows:
            self.stderr.write("There are no documents yet.")
        if not totals.agrees:
            sys.exit(1)


def _is_at_rest(sources: list[str]) -> bool:
    """Everything that was declared has been received, and nothing is in flight. Not while the database is away."""
    try:
        totals = compute_totals(sources, asks_erp=False)
    except AWAY:
        drop_lost_connection()
        return False
    return bool(totals.rows) and all(
        row.measures["in_flight"].count == 0 and row.measures["received"].count == row.measures["declared"].count
        for row in totals.rows
    )
