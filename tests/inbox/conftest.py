"""A pretended vendor for the inbox: its manifest, one connection, and events whose bodies are canonical JSON."""

import datetime as dt
from decimal import Decimal

import pytest

from connectors.families import Family
from connectors.manifest import Ignored, Limits, Manifest, Means, NotYet, Repeats
from connectors.models import Connection
from q2c.canonical import billing, events
from q2c.canonical.base import Source
from q2c.canonical.schema import from_json, to_json
from q2c.core.customer_keys import forget_keys
from q2c.flows import intake
from q2c.inbox.receive import Arrival

AT = dt.datetime(2026, 11, 1, 12, 0, tzinfo=dt.UTC)


def translate_canonical(raw, context):
    """The body is the canonical event itself, its source marked with the connection."""
    return [from_json(raw, events.AnyEvent)]


def crash(raw, context):
    """A bug of ours."""
    raise TypeError("a bug")


MANIFEST = Manifest(
    code="acme",
    name="Acme Billing",
    families=(Family.BILLING,),
    settings=(),
    limits=Limits(at_once=5),
    repeats=Repeats(),
    errors=(),
    events={
        "fact": Means(translate_canonical),
        "asked": Means(lambda raw, context: [context.fetched], refetch="invoice_event"),
        "bug": Means(crash),
        "draft": Ignored("drafts have no effect"),
        "later": NotYet("comes with a later version"),
    },
)


class AcmeClient:
    """Answers `invoice_event(id)` from what a test put into `answers`; an exception is raised."""

    def __init__(self):
        self.answers = {}
        self.asked = []

    async def invoice_event(self, object_id):
        self.asked.append(object_id)
        answer = self.answers[object_id]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def acme(db, monkeypatch):
    """The connection `acme` and its client."""
    forget_keys()  # of the database of the test before
    client = AcmeClient()
    connection = Connection.objects.create(code="acme", name="Acme", vendor="acme", base_url="http://127.0.0.1:1")
    monkeypatch.setattr(intake.registry, "manifest", lambda code: MANIFEST)
    monkeypatch.setattr(intake, "client_of", lambda source: client)
    monkeypatch.setattr(intake, "_sources", {})
    connection.client = client
    return connection


def invoice(number, total="100.00", *, customer="cus_1", **changes):
    """A canonical invoice of acme with one line."""
    total = Decimal(total)
    line = billing.InvoiceLine(
        line_id="1", sku="GTX-1", description="Gate", quantity=Decimal(1), unit_price=total, amount=total
    )
    fields = {
        "source": Source(connection="acme", object_type="invoice", object_id=f"in_{number}"),
        "number": f"INV-{number}", "customer_id": customer, "customer_name": "Blue Bikes", "currency": "GBP",
        "issued_at": AT, "total": total, "lines": (line,),
    }  # fmt: skip
    return billing.Invoice(**(fields | changes))


def posted(number, total="100.00", at=AT, **changes):
    """The event that this invoice was posted."""
    return events.InvoicePosted(occurred_at=at, invoice=invoice(number, total, **changes))


def arrival(event, key, kind="fact"):
    """The event as a message."""
    return Arrival(event_type=kind, source_id=key, dedupe_key=key, body=to_json(event))


@pytest.fixture
def count_statements():
    """A context manager that lists the statements which reach the driver, Django's and our own."""
    import contextlib

    import psycopg

    @contextlib.contextmanager
    def counting():
        seen, plain = [], psycopg.Cursor.execute

        def execute(self, query, *args, **kwargs):
            seen.append(str(query))
            return plain(self, query, *args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(psycopg.Cursor, "execute", execute)
            yield seen

    return counting
