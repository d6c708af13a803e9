"""The whole house with the vendors' sandboxes over HTTP: real signed webhooks, real postings, counts from the
sandboxes' logs."""

from __future__ import annotations

import pytest

from connectors import http
from connectors.sandbox.testing import Sandboxes
from q2c.transactions import workers
from tests.journeys.house import House
from tests.portal.browser.conftest import open_page  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def sandboxes(tmp_path_factory):
    """The three sandboxes in one process of their own."""
    running = Sandboxes(tmp_path_factory.mktemp("sandboxes")).start()
    running.control("POST", "netsuite/limits", {"enforced": False})
    running.control("POST", "stripe/limits", {"enforced": False})
    yield running
    running.stop()


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """One home for the session, so that the doors' secret paths stay the same."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def house(transactional_db, live_server, sandboxes, settings, home):
    """A seeded portal whose webhook doors the sandboxes know."""
    settings.BASE_URL = live_server.url
    settings.SANDBOX_PORT = sandboxes.port
    settings.HOME = home
    house = House(sandboxes, home)
    house.open()
    yield house
    house.close()
    workers.run_now(http.close_sessions)
    workers.stop_worker()
