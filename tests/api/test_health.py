"""What machines ask: alive, ready, ready to accept, figures."""

import pytest
from django.db import OperationalError

from q2c.api import health
from q2c.core.leases import take_lease

pytestmark = pytest.mark.django_db


def test_alive_needs_nothing(client):
    response = client.get("/healthz")
    assert (response.status_code, response.content) == (200, b"ok\n")


def test_ready_names_what_is_missing(client):
    take_lease("worker:flows@x", holder="x", seconds=60)
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (503, {"ready": False, "missing": ["beat"]})
    take_lease("beat", holder="x", seconds=60)
    response = client.get("/readyz")
    assert (response.status_code, response.json()) == (200, {"ready": True, "missing": []})


def test_a_dead_broker_does_not_close_the_webhook_door(client, settings, tmp_path):
    settings.REDIS_URL = f"unix://{tmp_path}/nothing.sock"
    take_lease("worker:flows@x", holder="x", seconds=60)
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
