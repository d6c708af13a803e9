"""A source with a register, for tests of completeness."""

from __future__ import annotations

import datetime as dt

from django.utils import timezone
from msgspec import structs

from connectors.families import Polled, Registered
from q2c.canonical import events
from q2c.canonical.schema import to_json
from q2c.flows.intake import carry_due_events
from q2c.inbox.receive import receive
from q2c.reconciliation import completeness
from tests.inbox.conftest import arrival, invoice

HOUR = dt.timedelta(hours=1)


class Register:
    """A source with a register: what it issued, by number. `ask` counts what it was asked."""

    registers = {"invoice": dt.timedelta(days=2)}

    def __init__(self):
        self.made = {}
        self.asked = []

    def issue(self, *numbers, total="100.00", at=None, called="", entity=""):
        at = at or timezone.now() - HOUR
        for number in numbers:
            document = invoice(number, total, issued_at=at, legal_entity=entity)
            if called:
                document = structs.replace(document, number=called)
            self.made[f"in_{number}"] = (document, at, "")

    def event(self, document_id):
        document, at, _ = self.made[document_id]
        return events.InvoicePosted(occurred_at=at, invoice=document)

    def send(self, connection, *numbers):
        """What webhooks brought."""
        arrivals = [arrival(self.event(f"in_{n}"), f"evt_{n}") for n in numbers]
        receive(connection.id, arrivals, via="webhook")
        carry_due_events()

    def _entry(self, document_id):
        document, at, status = self.made[document_id]
        return Registered(
            "invoice", document_id, at, at, document.currency, document.total, document.number, document.customer_id,
            document.legal_entity, status,
        )  # fmt: skip

    async def register(self, document_type, *, since, until):
        self.asked.append("register")
        for document_id, (_, at, _) in self.made.items():
            if since <= at < until:
                yield self._entry(document_id)

    async def registered(self, document_type, document_id):
        self.asked.append(document_id)
        return self._entry(document_id) if document_id in self.made else None

    async def messages_of(self, document_type, entries):
        self.asked.append([e.id for e in entries])
        return [Polled("fact", e.id, f"evt_{e.id[3:]}", to_json(self.event(e.id))) for e in entries]


def check(source, **changes):
    return completeness.check_feed("acme", "invoice", client=source, **changes)


def lose_and_find(source, count, lost):
    """`count` invoices of which one webhook never came; what one cycle finds."""
    source.issue(*range(count))
    source.send(source.connection, *(n for n in range(count) if n != lost))
    return check(source)
