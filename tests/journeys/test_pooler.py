"""Behind PgBouncer in transaction mode: web, workers and beats carry invoices, and every screen answers, though no two
statements of a process can count on the same session."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys

import psycopg
import pytest
import requests
from django.test import Client

from exceptions.models import ExceptionCase
from q2c.launch import ROOT, manage, worker_command
from tests import factories
from tests.architecture.test_screens import SCREENS
from tests.journeys.house import House
from tests.journeys.pooler import PROGRAM, Pooler, free_port
from tests.journeys.stage import Stage, await_that

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(PROGRAM is None, reason="needs PgBouncer (`pgbouncer` on the path or in /usr/sbin)"),
]
INVOICES = 30
HELD = 3
WEB = [sys.executable, "-m", "gunicorn", "-c", "python:q2c.web_server", "q2c.wsgi"]


@pytest.fixture
def pooler(transactional_db):
    running = Pooler().start()
    yield running
    running.stop()


@pytest.fixture
def pooled(pooler, sandboxes, settings, home, tmp_path):
    """A seeded portal of which every program reaches the database through the pooler only."""
    port = free_port()
    settings.BASE_URL = f"http://127.0.0.1:{port}"
    settings.SANDBOX_PORT = sandboxes.port
    settings.HOME = home
    house, stage = House(sandboxes, home), Stage(tmp_path / "stage", sandboxes.port)
    stage.open(WEB, worker_command("reconciliation", 1), DATABASE_URL=pooler.url(), Q2C_POOLER="transaction",
               Q2C_PORT=str(port), Q2C_BASE_URL=settings.BASE_URL, Q2C_WEB_WORKERS="1",
               Q2C_LOG_LEVEL="WARNING")  # fmt: skip
    house.open()
    house.log = tmp_path / "stage" / "stage.log"
    yield house
    stage.close()
    house.close()


class Visitor:
    """A person's browser, without the browser."""

    def __init__(self, address: str, role: str) -> None:
        client = Client()
        client.force_login(factories.make_person(role, username=f"{role}_visits"))
        self.address, self.session = address, requests.Session()
        self.session.cookies.set("sessionid", client.cookies["sessionid"].value)

    def see(self, path: str) -> requests.Response:
        """A page, which must answer 200."""
        answer = self.session.get(self.address + path, timeout=30)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        return answer

    def send(self, path: str, **fields: str) -> requests.Response:
        """A form, which must be taken."""
        fields["csrfmiddlewaretoken"] = self.session.cookies["csrftoken"]
        answer = self.session.post(self.address + path, data=fields, timeout=30)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        return answer


def test_invoices_and_screens_get_through_a_pooler_that_shares_sessions(pooled, settings):
    customer = pooled.customer()
    pooled.invoices(customer, INVOICES)
    pooled.invoices(customer, HELD, sku="NO-SUCH-SKU")

    wanted = {"completed": INVOICES, "held": HELD}
    await_that(lambda: pooled.states("invoice_to_erp") == wanted, seconds=120, what="all carried")
    posted = pooled.made("netsuite", "invoice")
    assert len(posted) == len({entry["external_id"] for entry in posted}) == INVOICES

    visitor = Visitor(settings.BASE_URL, "controller")
    for path in SCREENS.values():
        if "{" not in path:
            visitor.see(path)
    case = ExceptionCase.objects.get(kind="missing_item_mapping")
    visitor.see(f"/exceptions/cases/{case.pk}/")
    visitor.send(f"/exceptions/cases/{case.pk}/note/", text="Asked product management.")
    assert case.notes.filter(text__contains="Asked product management").count() == 1
    rules = list(csv.DictReader(io.StringIO(visitor.see("/mappings/rules/export/?format=csv").text)))
    assert len(rules) > 10
    assert visitor.see("/readyz").json() == {"ready": True, "missing": []}
    told = pooled.log.read_text()
    for sign in ("prepared statement", "cursor", "Traceback", '"level": "error"'):
        assert sign not in told, told[-3000:]


def test_a_pooler_that_nobody_spoke_of_is_noticed_and_the_owner_never_goes_through_one(pooler):
    with psycopg.connect(pooler.url()) as wire:
        (answers,) = wire.execute("SELECT pg_backend_pid()").fetchone()
        assert answers != wire.info.backend_pid  # what the check at each start rests on
    owner = os.environ | {"DATABASE_OWNER_URL": pooler.url(), "DJANGO_SETTINGS_MODULE": "q2c.settings"}
    done = subprocess.run(manage("prepare_database"), cwd=ROOT, env=owner, capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert "DATABASE_OWNER_URL" in done.stderr
