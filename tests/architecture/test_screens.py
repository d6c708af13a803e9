"""Every screen: the same queries for few rows and for many, inside its budget of bytes, nothing inline."""

import json
import re
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from exceptions import bulk, freezing
from exceptions.models import ExceptionCase
from q2c import ports
from q2c.core import middleware
from q2c.core.models import Person
from q2c.flows.field_owners import field_owners
from tests import factories
from tests.reconciliation.feeds import make_day, make_gap

pytestmark = pytest.mark.django_db
COUNTS = Path(__file__).with_name("query_counts.json")
HTML_MAX = 160_000  # plain bytes of a list of 50 rows; about 20 KB on the wire


def fill(first, rows):
    """So many of each thing; the last one of each is what the detail screens show."""
    factories.make_period("GB01")
    field_owners()  # known to this process from here on, as in any that has carried something
    for code in ("salesforce", "stripe", "netsuite"):
        factories.make_connection(code)
    proposer = factories.make_person("billing_ops", username="proposes")
    for n in range(first, first + rows):
        held = factories.make_transaction("held", number=f"INV-H{n}")
        posted = factories.make_transaction(number=f"INV-P{n}", source_id=f"in_p{n}")
        rule = factories.make_rule(key=f"SKU-{n}")
        factories.make_step(posted, "map_items", used={"rules": [[rule.pk, 1]]}, change_set=rule.known_from)
        journal = [{"account": "4000", "debit": "120.00"}, {"account": rule.value, "credit": "120.00"}]
        factories.make_step(posted, "posting", output={"journal": journal})
        factories.make_exchange(posted)
        factories.make_link(posted, ("salesforce", "Order", f"801{n}"), ("stripe", "invoice", f"in_p{n}"))
        case = factories.make_case(f"No item for SKU {n}", transactions=[held])
        bulk.undo(factories.make_bulk(proposer, case), by=proposer)
        message = factories.make_message()
        change_set = factories.make_change_set(f"Map {n}", by=proposer, state="proposed")
        proposal = factories.make_proposal(f"Change {n}")
        emergency = factories.make_emergency(f"Map {n} at once")
        pair = factories.make_pair(n)
        factories.make_alert(f"kind_{n}")
        bill_run = factories.make_bill_run(f"RUN-{n}", case=case, rows=0)
        make_day(currency=f"X{chr(65 + n // 26)}{chr(65 + n % 26)}", ours=9)
        make_gap(number=f"INV-G{n}", case_id=case.pk)
        hold = factories.make_hold(lane=f"stripe:invoice:in_h{n}", document=f"INV-H{n}")
        factories.make_erasure(f"stripe:cus_h{n}")
        factories.make_archive(f"{2000 + n // 12}_{n % 12 + 1:02d}")
        factories.make_expired(f"{2000 + n // 12}_{n % 12 + 1:02d}", holds=[hold.pk])
        role = factories.make_custom_role(f"role_{n}", f"holder_{n}")
        record = factories.make_record("customer", f"stripe:customer:cus_{n}")
    controller = Person.objects.get(username="controls")
    every = ExceptionCase.objects.all()
    draft = freezing.freeze("repost", by=controller, cases=every, chosen={}, words="All")
    done = freezing.freeze("repost", by=controller, cases=every, chosen={}, words="All")
    bulk.undo(done, by=controller)
    backfill = factories.make_backfill(proposer, rows=rows)
    for flow in ("invoice_to_erp", "payment_to_erp"):
        factories.count_work(rows, first + 1, flow=flow)
    ports.BatchContext([])  # retry policies too are known to it
    return {
        "feed": "stripe",
        "day": timezone.now().date(),
        "bulk": done.pk,
        "draft": draft.pk,
        "backfill": backfill.pk,
        "hold": hold.pk,
        "bill_run": bill_run.pk,
        "held": held.pk,
        "posted": posted.pk,
        "case": case.pk,
        "event": message.event_id,
        "rule": rule.pk,
        "change_set": change_set.pk,
        "proposal": proposal.pk,
        "emergency": emergency.pk,
        "record": record.record_key,
        "pair": pair.pk,
        "person": role.person_id,
        "role": role.role,
    }


SCREENS = {
    "home": "/",
    "transactions": "/transactions/",
    "transactions, filtered": "/transactions/?state=held&entity=GB01",
    "transaction, posted": "/transactions/{posted}/",
    "why it posted": "/transactions/{posted}/posting/",
    "what exists of a posted one": "/transactions/{posted}/plans/",
    "what exists of a held one": "/transactions/{held}/plans/",
    "transaction, held": "/transactions/{held}/",
    "lineage": "/lineage/?transaction={posted}",
    "search": "/search/?q=nothing-like-it",
    "inbox": "/inbox/",
    "message": "/inbox/{event}/",
    "decisions": "/decisions/",
    "decision": "/decisions/{proposal}/",
    "emergencies": "/emergencies/",
    "emergency": "/emergencies/{emergency}/",
    "schedules": "/schedules/",
    "bill runs": "/bill-runs/",
    "a bill run": "/bill-runs/{bill_run}/",
    "pauses": "/pauses/",
    "keeping": "/keeping/",
    "legal holds": "/keeping/holds/",
    "a legal hold": "/keeping/holds/{hold}/",
    "proposal of a legal hold": "/keeping/holds/new/",
    "erasures": "/keeping/erasures/",
    "archives": "/keeping/archives/",
    "archived rows": "/keeping/archived/?q=nothing-like-it",
    "back-fills": "/backfills/",
    "a back-fill": "/backfills/{backfill}/",
    "operations": "/operations/",
    "operations of a flow": "/operations/flows/invoice_to_erp/?span=week",
    "audit trail": "/audit/",
    "cases": "/exceptions/cases/",
    "case": "/exceptions/cases/{case}/",
    "bulk actions": "/exceptions/bulk/?of=all",
    "a bulk action, done": "/exceptions/bulk/{bulk}/",
    "a bulk action, draft": "/exceptions/bulk/{draft}/",
    "evidence of a case": "/exceptions/cases/{case}/evidence/",
    "what hangs together with a case": "/exceptions/cases/{case}/related/",
    "kinds of exception": "/exceptions/kinds/",
    "a kind of exception": "/exceptions/kinds/missing_item_mapping/",
    "a sheet of cases": "/exceptions/sheets/",
    "open items": "/exceptions/open-items/",
    "mappings": "/mappings/rules/",
    "mapping": "/mappings/rules/{rule}/",
    "proposal of a mapping": "/mappings/rules/propose/",
    "what it may become": "/mappings/targets/?kind=item&connection=netsuite&value=cake",
    "records": "/mappings/identities/",
    "ids of a record": "/mappings/identities/customer/{record}/",
    "proposal of an id": "/mappings/identities/customer/{record}/change/",
    "duplicates": "/mappings/duplicates/",
    "a duplicate": "/mappings/duplicates/{pair}/",
    "owners of fields": "/mappings/owners/",
    "copy of an entity": "/mappings/rules/copy/",
    "renumbering": "/mappings/rules/renumber/",
    "matrix": "/mappings/matrix/?kind=item",
    "what a key probably becomes": "/mappings/hints/?kind=item&key=GTX-CAKE-2&for=value-0",
    "grid of rules": "/mappings/grid/?kind=item",
    "rules from a sheet": "/mappings/sheets/",
    "change sets": "/mappings/change-sets/",
    "change set": "/mappings/change-sets/{change_set}/",
    "documents of a change set": "/mappings/change-sets/{change_set}/documents/",
    "connections": "/connections/",
    "connection": "/connections/netsuite/",
    "money card": "/card/?q=INV-1",
    "completeness": "/completeness/",
    "completeness of a day": "/completeness/{feed}/invoice/{day}/",
    "flash": "/reports/flash/",
    "cut-off list": "/reports/cut-off/",
    "ignored documents": "/reports/ignored/",
    "you": "/you/",
    "what I may do": "/you/rights/?permission=exceptions.waive_case",
    "people": "/people/",
    "a person": "/people/{person}/",
    "what a person may do": "/people/{person}/rights/",
    "roles": "/roles/",
    "a role": "/roles/{role}/",
    "alerts": "/exceptions/alerts/",
    "what one is told of": "/exceptions/alerts/mine/",
    "out of office": "/you/absences/",
    "keys": "/keys/",
}


@pytest.fixture
def controller(db):
    """A controller of all entities, signed in."""
    client = Client()
    client.force_login(factories.make_person("controller", username="controls"))
    return client


def measure(client, names):
    """Queries per screen, from a process that has read no small table yet."""
    ports.forget_kept()
    counts = {}
    for screen, address in SCREENS.items():
        with CaptureQueriesContext(connection) as queries:
            response = client.get(address.format(**names))
        assert response.status_code == 200, screen
        html = response.content.decode()
        assert len(html) < HTML_MAX, f"{screen}: {len(html)} bytes"
        assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:", html), f"{screen}: inline style or script"
        assert html.count("<h1") == (1 if "<html" in html else 0), screen
        counts[screen] = len(queries)
    return counts


def test_more_rows_cost_no_more_queries_and_the_counts_are_those_written_down(controller, monkeypatch):
    # A minute may pass while the screens are asked: which of them reads small tables afresh is the same each time.
    monkeypatch.setattr(middleware, "WRITTEN_AFTER_SECONDS", 3600)
    monkeypatch.setattr(ports, "KEPT_SECONDS", 3600.0)
    few = measure(controller, fill(0, 2))
    many = measure(controller, fill(2, 60))
    assert many == few
    written = json.loads(COUNTS.read_text())
    assert many == written, "a screen asks more or less than written down: say so in query_counts.json if that's meant"


def test_every_screen_shows_without_any_data(controller):
    empty = [address for address in SCREENS.values() if "{" not in address and "netsuite" not in address]
    assert {controller.get(address).status_code for address in empty} == {200}
