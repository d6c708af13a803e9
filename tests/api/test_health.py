"""What machines ask: alive, ready, ready to accept, figures."""

import datetime as dt
import os
import subprocess
import sys

import pytest
from django.db import OperationalError
from django.utils import timezone

from connectors.models import ConnectionHealth
from q2c.api import health
from q2c.core import stats
from q2c.core.leases import take_lease
from q2c.core.metrics import scrape
from q2c.flows.catalog import FLOWS
from q2c.transactions.models import WorkItem
from tests import factories

pytestmark = pytest.mark.django_db


def test_alive_needs_nothing(client):
    response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")


def test_ready_names_what_is_missing(client):
    take_lease("worker:doors+flows+reconciliation@x", holder="x", seconds=60)
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (503, {"ready": False, "missing": ["beat"]})
    take_lease("beat", holder="x", seconds=60)
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"ready": True, "missing": []})


@pytest.mark.parametrize(
    ("lives", "missing"),
    [
        (["doors", "flows"], ["worker:reconciliation"]),
        (["flows", "reconciliation"], ["worker:doors"]),
        (["doors+reconciliation"], ["worker:flows"]),
        (["flows"], ["worker:doors", "worker:reconciliation"]),
        (["another"], ["worker"]),
        ([], ["worker"]),
    ],
)
def test_ready_names_each_queue_that_nobody_takes_from(client, lives, missing):
    take_lease("beat", holder="x", seconds=60)
    for queues in lives:
        take_lease(f"worker:{queues}@x", holder="x", seconds=60)
    assert client.get("/readyz").json() == {"ready": False, "missing": missing}
    assert client.get("/readyz?for=accept").status_code == 200


def test_a_dead_broker_does_not_close_the_webhook_door(client, settings, tmp_path):
    settings.REDIS_URL = f"unix://{tmp_path}/nothing.sock"
    take_lease("worker:doors+flows@x", holder="x", seconds=60)
    take_lease("worker:reconciliation@x", holder="x", seconds=60)
    take_lease("beat", holder="x", seconds=60)
    assert client.get("/readyz").json() == {"ready": False, "missing": ["broker"]}
    response = client.get("/readyz?for=accept")
    assert (response.status_code, response.json()) == (200, {"ready": True, "missing": []})


def test_a_dead_database_is_named_with_all_that_hangs_on_it(client, monkeypatch):
    def away():
        raise OperationalError("gone")

    monkeypatch.setattr(health.connection, "cursor", away)
    missing = ["database", "migrations"]
    assert client.get("/readyz?for=accept").json() == {"ready": False, "missing": missing}
    assert client.get("/readyz").json() == {"ready": False, "missing": [*missing, "worker", "beat"]}


def test_a_migration_that_is_not_applied_is_named(client, monkeypatch):
    monkeypatch.setattr(health, "_migrated_until", 0.0)
    monkeypatch.setattr(health.MigrationExecutor, "migration_plan", lambda self, targets: ["one"])
    assert client.get("/readyz?for=accept").json() == {"ready": False, "missing": ["migrations"]}


def test_figures_are_open_in_the_demo_and_need_a_token_in_production(client, settings):
    take_lease("worker:flows@x", holder="x", seconds=60)
    client.get("/healthz")
    text = client.get("/metrics").content.decode()
    assert 'q2c_living{part="worker:flows"} 1.0' in text
    assert 'q2c_http_requests_total{method="GET",status="200",view="healthz"}' in text

    settings.IS_DEMO = False
    assert client.get("/metrics").status_code == 401
    settings.METRICS_TOKEN = "abc"
    assert client.get("/metrics", headers={"Authorization": "Bearer abd"}).status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer abc"}).status_code == 200


@pytest.mark.parametrize("host", ["portal-1:8000", "10.1.2.3:8000", "portal.example.com"])
def test_machines_ask_by_any_name_and_pages_answer_to_the_portals_own_only(client, settings, host):
    settings.ALLOWED_HOSTS = ["portal.example.com"]
    settings.IS_DEMO, settings.METRICS_TOKEN = False, "abc"
    token = {"Authorization": "Bearer abc"}
    assert client.get("/healthz", headers={"host": host}).status_code == 200
    assert client.get("/readyz?for=accept", headers={"host": host}).status_code == 200
    assert client.get("/metrics", headers={"host": host}).status_code == 401
    answer = client.get("/metrics", headers={"host": host, **token})
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    assert client.post("/metrics", headers={"host": host, **token}).status_code == 405
    page = client.get("/accounts/login/", headers={"host": host})
    assert page.status_code == (200 if host == "portal.example.com" else 400)


def test_a_method_that_a_stranger_made_up_has_no_series_of_its_own(client):
    client.generic("MADEUP", "/healthz")
    text = scrape().decode()
    assert 'method="other",status="405",view="healthz"' in text
    assert "MADEUP" not in text


def samples(text):
    """Each sample of the text by its name and labels."""
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[:1] != "#"}


def test_what_was_counted_is_told_as_counters_and_histograms_over_all_hosts(client):
    soon = timezone.now() + dt.timedelta(hours=10)
    factories.make_connection("netsuite", secrets_expire_at=soon, settings={"per_day": "1000"})
    ConnectionHealth.objects.update(
        breaker="open", stopped=["payment"], quota_used=400, quota_limit=1000, last_success_at=timezone.now()
    )
    factories.make_pause()
    factories.count_work(40, 2)
    found = samples(client.get("/metrics").content.decode())
    flow = 'connection="netsuite",flow="invoice_to_erp"'
    assert found[f'q2c_documents_total{{{flow},outcome="completed"}}'] == 40
    assert found['q2c_documents_total{connection="",flow="invoice_to_erp",outcome="begun"}'] == 42
    assert found['q2c_documents_held_total{category="mapping",flow="invoice_to_erp"}'] == 2
    assert [found[f'q2c_document_seconds_bucket{{{flow},le="{le}"}}'] for le in ("0.25", "0.5", "10.0", "+Inf")] == [
        0, 39, 40, 40,
    ]  # fmt: skip
    assert found[f"q2c_document_seconds_sum{{{flow}}}"] == pytest.approx(39 * 0.4 + 7)
    assert found['q2c_calls_total{connection="netsuite",object="invoice",outcome="failed"}'] == 1
    assert found['q2c_call_seconds_count{connection="netsuite"}'] == 40
    assert found['q2c_breaker_open{connection="netsuite",object=""}'] == 1
    assert found['q2c_breaker_open{connection="netsuite",object="payment"}'] == 1
    assert found['q2c_quota_used_ratio{connection="netsuite"}'] == 0.4
    assert found['q2c_credentials_expire_seconds{connection="netsuite"}'] == pytest.approx(36_000, abs=60)
    assert (found["q2c_paused"], found['q2c_connection_paused{connection="netsuite"}']) == (1, 0)
    assert found['q2c_service_level{level="success_rate"}'] == pytest.approx(40 / 42)
    assert found['q2c_error_budget_burnt_ratio{level="success_rate"}'] == pytest.approx((2 / 42) / 0.02)


def test_an_empty_queue_is_told_as_0_for_each_flow_beside_those_that_have_work(client):
    txn = factories.make_transaction("waiting")
    due = timezone.now() - dt.timedelta(minutes=1)
    WorkItem.objects.create(transaction=txn, flow=txn.flow, lane="l", lane_sequence=1, available_at=due)
    found = samples(client.get("/metrics").content.decode())
    told = {flow.code: found[f'q2c_work_items{{flow="{flow.code}"}}'] for flow in FLOWS}
    assert told == {flow.code: float(flow.code == txn.flow) for flow in FLOWS}
    WorkItem.objects.all().delete()
    found = samples(client.get("/metrics").content.decode())
    assert [found[f'q2c_work_items{{flow="{flow.code}"}}'] for flow in FLOWS] == [0] * len(FLOWS)
    assert {found[f'q2c_work_oldest_seconds{{flow="{flow.code}"}}'] for flow in FLOWS} == {0}


@pytest.mark.parametrize("connection", ["netsuite", ""])
def test_a_flows_first_burst_is_an_increase_of_series_that_were_there_before(client, connection):
    """Prometheus' increase() doesn't see what a series begins with."""
    factories.make_connection("netsuite")
    before = samples(client.get("/metrics").content.decode())
    with stats.gathering():
        stats.note("held", flow="invoice_to_erp", connection_code=connection, about="mapping", count=7)
    stats.roll_up()
    after = samples(client.get("/metrics").content.decode())
    grown = {name: after[name] - before[name] for name in before if name.startswith("q2c_documents_total{")}
    assert {name: number for name, number in grown.items() if number} == {
        f'q2c_documents_total{{connection="{connection}",flow="invoice_to_erp",outcome="held"}}': 7
    }


def test_counters_of_several_processes_are_added_up_dead_ones_too(tmp_path, monkeypatch):
    counts = (
        "from q2c.core.metrics import REQUEST_SECONDS, REQUESTS;"
        "REQUESTS.labels('home', 'GET', '200').inc(3); REQUEST_SECONDS.labels('home').observe(0.2)"
    )
    where = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", counts], check=True, env=where, timeout=300)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    found = samples(scrape().decode())
    assert found['q2c_http_requests_total{method="GET",status="200",view="home"}'] == 6
    assert found['q2c_http_request_seconds_count{view="home"}'] == 2
    assert found["q2c_figures_behind_seconds"] == 0
