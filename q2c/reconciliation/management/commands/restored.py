"""`manage.py restored --by PERSON --why REASON [--change NUMBER] [--drill]`: the database came back from a backup.

Feeds are read again and every write looks first. Once the feeds are quiet, `manage.py restored --forgotten` lists what
the ERP holds of ours that we still know nothing of, and links it.

With `--drill` it's a copy, beside a portal that goes on: before anything else every connection loses its credentials
and is paused, and every channel is switched off, so nothing that the original works with is reached. Two people give
each connection the address and the credentials of another account, test and resume it; then the workers are started.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from q2c.core import audit
from q2c.core.access import may
from q2c.core.models import AuditEntry, Person
from q2c.reconciliation.restored import cut_off, declare_restored, link_forgotten
from q2c.transactions.models import Restore

LOOKS_FIRST_DAYS = 30
BACKUP_DAYS = 31


class Command(BaseCommand):
    help = "Say that the database was restored from a backup, or (--forgotten) link what the ERP holds and we forgot."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--by", metavar="USERNAME", help="who restored it")
        parser.add_argument("--why", default="", help="from which backup, and what had happened")
        parser.add_argument("--change", default="", metavar="NUMBER", help="the approved change (needed in production)")
        parser.add_argument("--days", type=int, default=LOOKS_FIRST_DAYS, help="for how long every write looks first")
        parser.add_argument("--drill", action="store_true", help="a copy: cut every connection and channel off first")
        parser.add_argument("--forgotten", action="store_true", help="list and link what the ERP holds and we forgot")
        parser.add_argument("--since", type=dt.date.fromisoformat, help="documents made on or after this day")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["forgotten"]:
            self._list_forgotten(options["since"])
            return
        person = Person.objects.filter(username=options["by"], is_active=True).first()
        if person is None or not may(person, "connectors.work_connection"):
            raise CommandError("--by must name an active person who may work on connections")
        if not settings.IS_DEMO and not options["change"].strip():
            raise CommandError("In production --change names the approved change")
        why = options["why"].strip() and f"{options['why'].strip()} {options['change'].strip()}".strip()
        try:
            if options["drill"]:
                self._cut_off(person, why)
            restore = declare_restored(by=person, why=why, days=options["days"])
        except ValueError as error:
            raise CommandError(str(error) if why else f"--why is missing: {error}") from error
        self.stdout.write(
            f"Until {restore.looks_until:%Y-%m-%d %H:%M} UTC every write looks first; feeds are read again"
        )
        entry = AuditEntry.objects.filter(verb="restored", subject_id=str(restore.pk)).latest("sequence")
        first, last = entry.data.get(audit.VOID, (0, 0))
        self.stdout.write(
            f"The audit chain’s anchors of entries {first} to {last} are set aside by entry {entry.sequence}"
            if last
            else f"No anchor in {audit.anchor_file()} is newer than the restored audit chain"
        )

    def _cut_off(self, person: Person, why: str) -> None:
        codes, names = cut_off(by=person, why=why)
        self.stdout.write(f"Without credentials and paused: {', '.join(codes) or 'no connection'}")
        self.stdout.write(f"Switched off: {', '.join(names) or 'no channel'}")

    def _list_forgotten(self, since: dt.date | None) -> None:
        if since is None:
            restore = Restore.objects.order_by("-at").first()
            if restore is None:
                raise CommandError("Say --since, or first that the database was restored")
            since = (restore.at - dt.timedelta(days=BACKUP_DAYS)).date()
        found = link_forgotten(since=since)
        rows = [
            {
                "connection": f.connection,
                "document_type": f.document.document_type,
                "id": f.document.id,
                "number": f.document.number,
                "external_id": f.document.external_id,
                "linked_to": f.record_key or None,
            }
            for f in found
        ]
        self.stdout.write(json.dumps(rows, indent=2))
        if any(row["linked_to"] is None for row in rows):
            sys.exit(1)
