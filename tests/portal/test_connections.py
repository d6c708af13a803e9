"""The connections' screen: how many calls are answered, how fast, and what waits for each system."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from django.test import Client
from django.utils import timezone

from connectors import registry, slots
from connectors.calls import account_of
from connectors.models import BreakerTurn, ConnectionHealth
from q2c.core import brokers, stats
from q2c.transactions.models import Dependency
from tests import factories
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db


def signed_in(role: str, **fields) -> Client:
    client = Client()
    client.force_login(factories.make_person(role, **fields))
    return client


def test_the_share_answered_counts_refusals_as_answers_and_silence_as_none():
    factories.make_connection()
    for measure, seconds in (("call_answered", 0.9), ("call_refused", 0.1), ("call_failed", 0.04), ("call_failed", 20)):
        stats.note(measure, connection_code="netsuite", seconds=seconds)
    stats.roll_up()
    (row,) = signed_in("platform").get("/connections/").context["rows"]
    assert (row["calls"].total, row["calls"].share, row["calls"].within) == (4, "50.0", pytest.approx(0.95))


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


def test_a_connections_page_shows_when_its_calls_stopped_why_and_how_it_ended():
    netsuite = factories.make_connection("netsuite")
    other = factories.make_connection("stripe")
    client = signed_in("platform")
    assert "They never have." in client.get("/connections/netsuite/").content.decode()
    at = timezone.now() - dt.timedelta(hours=3)
    for minutes, object_type, is_open, why in (
        (0, "", True, "answered 503"), (12, "", False, "Calls go through again"), (60, "invoice", True, "answered 500"),
    ):  # fmt: skip
        moment = at + dt.timedelta(minutes=minutes)
        BreakerTurn.objects.create(connection=netsuite, object_type=object_type, is_open=is_open, at=moment, why=why)
    BreakerTurn.objects.create(connection=other, object_type="", is_open=True, at=at, why="of another system")
    page = client.get("/connections/netsuite/")
    assert [(out.object_type, out.seconds, out.why, out.how) for out in page.context["outages"]] == [
        ("invoice", None, "answered 500", ""), ("", 720.0, "answered 503", "Calls go through again"),
    ]  # fmt: skip
    html = page.content.decode()
    assert "12 min" in html
    assert "so far" in html
    assert "of another system" not in html


@pytest.mark.parametrize(
    ("seen", "calls"),
    [
        ({}, "go through"),
        ({"stopped": ["invoice"]}, "partly stopped"),
        ({"breaker": "half_open"}, "trying one"),
        ({"breaker": "open", "stopped": ["invoice"]}, "stopped"),
    ],
)
def test_a_connections_page_does_not_say_that_calls_go_through_while_those_about_something_are_stopped(seen, calls):
    ConnectionHealth.objects.filter(connection=factories.make_connection("netsuite")).update(**seen)
    html = signed_in("platform").get("/connections/netsuite/").content.decode()
    assert f"<dt>Calls</dt><dd>{calls}<" in html


@pytest.mark.parametrize(
    ("answered", "failed", "seen", "says"),
    [
        (0, 60, {}, "NetSuite answers"),
        (5, 0, {"stopped": ["invoice"]}, "NetSuite answers only in part"),
        (0, 5, {"stopped": ["invoice"]}, "NetSuite answers only in part"),
        (600, 5, {"stopped": ["customer", "invoice"]}, "NetSuite doesn’t answer"),
        (None, 5, {"stopped": ["customer"]}, "NetSuite doesn’t answer"),
        (600, 5, {"breaker": "open"}, "NetSuite doesn’t answer"),
    ],
)
def test_what_answers_about_some_objects_is_not_called_silent(answered, failed, seen, says):
    ago = {
        f"last_{what}_at": None if seconds is None else timezone.now() - dt.timedelta(seconds=seconds)
        for what, seconds in (("success", answered), ("failure", failed))
    }
    ConnectionHealth.objects.filter(connection=factories.make_connection("netsuite")).update(
        last_failure="answered 503", **ago, **seen
    )
    client = signed_in("platform")
    assert f"<h1>{says}</h1>" in client.get("/connections/netsuite/").content.decode()
    is_ill = bool(seen)
    assert ("NetSuite" in str(client.get("/connections/").context["ill"])) is is_ill
    operations = client.get("/operations/").content.decode()
    assert (f"{says}: " in operations) is is_ill
    assert ("NetSuite doesn’t answer" in operations) is ("doesn’t" in says)


@pytest.fixture
def lowered():
    """Lowers what an account takes at once."""
    slots.forget_lowered()

    def lower(connection):
        limits = registry.manifest(connection.vendor).limits
        account = account_of(connection.code, connection.base_url, is_by_address=limits.is_by_address)
        slots.lower(account, connection.at_once or limits.at_once)

    yield lower
    slots.forget_lowered()


def test_a_connections_page_shows_what_it_takes_at_once_now_why_since_when_and_until_when(lowered):
    netsuite, stripe = factories.make_connection("netsuite", at_once=8), factories.make_connection("stripe")
    client = signed_in("platform")
    page = client.get("/connections/netsuite/")
    assert (page.context["at_once"].now, "It refused a call" in page.content.decode()) == (8, False)
    lowered(netsuite)
    page = client.get("/connections/netsuite/")
    at_once = page.context["at_once"]
    left = (at_once.lowered.until - timezone.now()).total_seconds()
    assert (at_once.now, at_once.most, 0 < left <= slots.LOWERED_SECONDS) == (4, 8, True)
    html = page.content.decode()
    assert "It refused a call for too many at once" in html
    assert "4 calls go out at once instead of 8" in html
    assert f"{timezone.localtime(at_once.lowered.until):%H:%M:%S}" in html
    assert client.get(f"/connections/{stripe.code}/").context["at_once"].lowered is None


@pytest.mark.parametrize(("most", "says"), [(8, "these 8 calls"), (1, "this one call")])
def test_while_the_broker_is_away_a_connections_page_says_that_workers_divide_its_calls(monkeypatch, most, says):
    factories.make_connection("netsuite", at_once=most)
    client = signed_in("platform")
    said = f"The broker doesn’t answer: until it’s back the workers divide {says} among themselves"
    assert said not in client.get("/connections/netsuite/").content.decode()
    monkeypatch.setattr(brokers, "answered", lambda url: False)
    page = client.get("/connections/netsuite/")
    assert (page.context["at_once"].now, said in page.content.decode()) == (most, True)


@pytest.mark.parametrize(
    ("code", "settings", "seen", "shown"),
    [
        ("salesforce", {}, {"quota_used": 700, "quota_limit": 1000}, (700, 1000, False)),
        ("salesforce", {}, {}, None),
        ("stripe", {}, {}, None),
        ("stripe", {}, {"quota_used": 700, "quota_limit": 1000}, None),  # the ceiling was taken away
        ("stripe", {"per_day": "1000"}, {}, (0, 1000, True)),
        ("stripe", {"per_day": "1000"}, {"quota_used": 700, "quota_limit": 900, "hours": 0}, (700, 1000, True)),
        ("stripe", {"per_day": "1000"}, {"quota_used": 700, "quota_limit": 900, "hours": 24}, (0, 1000, True)),
    ],
)
def test_the_days_calls_are_told_everywhere_as_the_vendor_tells_them_or_as_counted_here_today(
    code, settings, seen, shown
):
    connection = factories.make_connection(code, settings=settings)
    known = {"quota_used": None, "quota_limit": None, "hours": 1, **seen}
    at = timezone.now() - dt.timedelta(hours=known.pop("hours"))
    ConnectionHealth.objects.filter(connection=connection).update(last_success_at=at, **known)
    client = signed_in("platform")
    page = client.get(f"/connections/{code}/")
    assert page.context["quota"] == shown
    assert ("counted here since 00:00 UTC" in page.content.decode()) == bool(shown and shown[2])
    listed, operations = client.get("/connections/"), client.get("/operations/")
    assert listed.context["rows"][0]["quota"] == shown
    cells = [re.findall(r'<td class="quota lo">(.*?)</td>', page.content.decode()) for page in (listed, operations)]
    share = None if shown is None else shown[0] / shown[1]
    assert len(cells[0]) == 1
    assert cells[0] == cells[1]
    assert ("not told" if share is None else f">{100 * share:.0f} %<") in cells[1][0]
    metrics = client.get("/metrics").content.decode()
    told = re.findall(r'^q2c_quota_used_ratio\{connection="(.*)"\} (.*)$', metrics, re.MULTILINE)
    assert told == ([] if share is None else [(code, str(share))])


def test_each_error_of_a_vendor_stands_on_its_connections_page_with_the_policy_in_force():
    factories.make_connection("stripe")
    rule = make_rule("retry_policy", "stripe|*/rate_limit", "6 times, 1s to 10s, jitter 0%")
    html = signed_in("platform").get("/connections/stripe/").content.decode()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    assert f"*/rate_limit 6 times, 1s to 10s, jitter 0% rule {rule.pk}" in text
    assert f'href="/mappings/rules/{rule.pk}/"' in html
    assert "No answer came system_unavailable 12 times, 0.5s to 5m, jitter 20% no rule says" in text
    assert "*/product_inactive Stripe&#x27;s product is inactive Never: waiting doesn’t mend it" in text


@pytest.mark.parametrize(
    ("role", "offers"),
    [("platform", True), ("controller", True), ("mapping_admin", True), ("billing_ops", False), ("auditor", False)],
)
def test_a_policy_is_proposed_from_there_with_the_key_filled_in(role, offers):
    factories.make_connection("stripe")
    client = signed_in(role)
    html = client.get("/connections/stripe/").content.decode()
    link = "/mappings/rules/propose/?kind=retry_policy&amp;key=stripe%7C%2A%2Frate_limit"
    assert (link in html) == offers
    if offers:
        assert 'value="stripe|*/rate_limit"' in client.get(link.replace("&amp;", "&")).content.decode()
