"""The connections' screen: how many calls are answered, how fast, and what waits for each system."""

from __future__ import annotations

import datetime as dt

import pytest
from django.test import Client
from django.utils import timezone

from connectors.console import figures
from q2c.transactions.models import Dependency
from tests import factories

pytestmark = pytest.mark.django_db


def signed_in(role: str, **fields) -> Client:
    client = Client()
    client.force_login(factories.make_person(role, **fields))
    return client


def test_the_share_answered_counts_refusals_as_answers_and_silence_as_none():
    for status, took in ((204, 900), (400, 100), (503, 40), (None, 20_000)):
        factories.make_exchange(factories.make_transaction(), status=status, took_ms=took)
    (row,) = signed_in("platform").get("/connections/").context["rows"]
    assert (row["calls"].total, row["calls"].share, row["calls"].within) == (4, "50.0", "0.9")


def test_only_the_newest_calls_of_a_day_are_looked_at(monkeypatch):
    monkeypatch.setattr(figures, "CALLS_MAX", 2)
    factories.make_exchange(factories.make_transaction(), status=500)
    for _ in range(2):
        factories.make_exchange(factories.make_transaction())
    calls, is_cut = figures.newest_calls()
    assert [(each.total, each.share) for each in calls.values()] == [(2, "100.0")]
    assert is_cut


def test_what_waits_for_a_paused_system_is_counted_within_the_persons_entities():
    netsuite = factories.make_connection(state="paused", paused_reason="Refused our credentials", paused_by="portal")
    on_its_way = {"state": "waiting", "target_connection": "netsuite"}
    first = factories.make_transaction(**on_its_way, created_at=timezone.now() - dt.timedelta(hours=1))
    factories.make_transaction(**on_its_way)
    factories.make_transaction(**on_its_way, legal_entity_code="JP01")
    child = factories.make_transaction(**on_its_way)  # it waits for its invoice, not for the system
    now = timezone.now()
    Dependency.objects.create(transaction=child, key="invoice:stripe:in_1", since=now, patience_until=now)
    page = signed_in("controller", entities=("GB01",)).get("/connections/")
    (row,) = page.context["rows"]
    assert row["waiting"] == (2, first.created_at)
    assert "<b>2 documents</b> wait in order" in page.content.decode()
    everywhere = signed_in("platform").get("/connections/")
    assert (everywhere.context["worst"]["connection"], everywhere.context["waiting_count"]) == (netsuite, 3)
    assert "Replace credentials" in everywhere.content.decode()


def test_a_new_portal_has_no_figures_and_says_so():
    html = signed_in("platform").get("/connections/").content.decode()
    assert "<h1>No connection yet</h1>" in html
    assert "Last 24 hours" not in html
