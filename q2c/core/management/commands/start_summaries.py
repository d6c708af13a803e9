"""`manage.py start_summaries --by NAME --why TEXT`: sum up days before their cut-off; late documents become deltas."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.transaction import atomic

from q2c.core import audit
from q2c.core.access import entities_where
from q2c.core.models import Person
from q2c.flows.summaries import FLOW, Started, start_summaries_now
from q2c.flows.tasks import nudge
from q2c.transactions.contributions import Day

PERMISSION = "transactions.repost"


class Command(BaseCommand):
    """Beat does this by itself once a day is over and past its entity's cut-off."""

    help = "Sum up at once what waits for a summary, of one entity and day or of all that the person may work on."

    def add_arguments(self, parser: CommandParser) -> None:
        """Who asks and why, and which days."""
        parser.add_argument("--by", required=True, metavar="USERNAME", help="who asks; needs the right to repost")
        parser.add_argument("--why", required=True, help="the reason, which is audited")
        parser.add_argument("--entity", help="only this legal entity's days")
        parser.add_argument("--date", type=dt.date.fromisoformat, help="only this posting date")
        parser.add_argument("--currency", help="only this currency")

    def handle(self, *args: Any, **options: Any) -> None:
        """Freeze the chosen days and say what was started."""
        person = Person.objects.filter(username=options["by"], is_active=True).first()
        if person is None:
            raise CommandError(f"{options['by']} isn't an active person of this portal.")
        allowed = entities_where(person, PERMISSION)
        asked = (options["entity"], options["date"], options["currency"])

        def chosen(day: Day) -> bool:
            mine = allowed is None or day.legal_entity in allowed
            place = (day.legal_entity, day.posting_date, day.currency)
            return mine and all(want in (None, has) for want, has in zip(asked, place, strict=True))

        with atomic():
            started = start_summaries_now(chosen)
            for summary in started:
                self._note(person, options["why"], summary)
            nudge([FLOW] if started else [])
        for summary in started:
            count = summary.document_count
            self.stdout.write(f"{summary.number}: {count:,} document{'' if count == 1 else 's'}")
        if not started:
            self.stdout.write(f"Nothing that {person} may start waits for a summary.")

    def _note(self, person: Person, why: str, summary: Started) -> None:
        audit.record(person, "started summary", "transaction", summary.transaction_id, why=why,
                     data={"number": summary.number, "documents": summary.document_count})  # fmt: skip
