"""After a rotation of the vault's keys: seal under the newest all that older ones sealed. Says counts only."""

from __future__ import annotations

from django.core.management.base import BaseCommand, CommandError

from connectors.models import Connection, Exchange
from exceptions.models import AlertChannel, CaseFile
from q2c.core import audit
from q2c.core.models import Archive, CustomerKey
from q2c.core.resealing import Resealed, reseal, under_older_keys
from q2c.inbox.models import BackfillItem, InboundKey

# What the master key seals: in words, the rows, the column. A message or file of a known customer is under that
# customer's key, which is one of these itself. What waits comes first: a change that is approved in between makes it
# the value itself.
SEALED = (
    ("credentials that wait for a second person", Connection.objects.all(), "next_secrets"),
    ("credentials of connections", Connection.objects.all(), "secrets"),
    ("addresses that wait for a second person", AlertChannel.objects.all(), "next_address"),
    ("addresses of channels", AlertChannel.objects.all(), "address"),
    ("secrets of webhooks that wait for a second person", AlertChannel.objects.all(), "next_secret"),
    ("secrets of webhooks", AlertChannel.objects.all(), "secret"),
    ("former secrets of webhooks", AlertChannel.objects.all(), "former_secret"),
    ("customers’ keys", CustomerKey.objects.all(), "sealed_key"),
    ("keys of archives", Archive.objects.all(), "house_key"),
    ("keys of messages without a customer", InboundKey.objects.filter(customer_key=None), "body_key"),
    ("keys of messages read again that wait", BackfillItem.objects.all(), "body_key"),
    ("keys of files without a customer", CaseFile.objects.filter(customer_key=None), "body_key"),
)


class Command(BaseCommand):
    help = "Seal what older vault keys sealed under the newest one. May be stopped and run again at any time."

    def add_arguments(self, parser):
        parser.add_argument("--check", action="store_true", help="only say how much is under older keys")

    def handle(self, *args, **options):
        found = {}
        for words, rows, column in () if options["check"] else SEALED:
            found[words] = reseal(rows.all(), column)
            self.stdout.write(f"{found[words].done} {words} sealed anew{_unopened(found[words])}")
        left = self._check()
        fixed = under_older_keys(Exchange.objects.filter(customer_key=None), "request").count()
        self.stdout.write(
            f"{fixed} exchanges without a customer never change: they stay under older keys until their months go"
        )
        if any(one.done for one in found.values()):
            audit.record(
                audit.PORTAL, "reseal", "vault", "keys", data={words: one.done for words, one in found.items()}
            )
        if unopened := sum(one.unopened for one in found.values()):
            raise CommandError(f"{unopened} can’t be opened: the key that sealed them isn’t in Q2C_VAULT_KEYS")
        if left and not options["check"]:
            raise CommandError(
                f"{left} came under older keys meanwhile: restart what runs with them, then run this again"
            )

    def _check(self) -> int:
        """Say how much is under older keys, and return it."""
        left = 0
        for words, rows, column in SEALED:
            count = under_older_keys(rows.all(), column).count()
            self.stdout.write(f"{count} {words} are under older keys")
            left += count
        return left


def _unopened(one: Resealed) -> str:
    return f", {one.unopened} can’t be opened" if one.unopened else ""
