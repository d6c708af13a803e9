"""The whole house with the vendors' sandboxes over HTTP: real signed webhooks, real postings, counts from the
sandboxes' logs."""

from __future__ import annotations

import pytest

from connectors import http
from connectors.sandbox.testing import Sandboxes
from q2c.transactions import workers
from tests.journeys.house import House
from tests.journeys.scenes import EVERY_FLOW
from tests.journeys.vendors import usual
from tests.portal.browser.conftest import open_page  # noqa: F401 - a fixture


@pytest.fixture(scope="session")
def sandboxes(tmp_path_factory):
    """The vendors' sandboxes in one process of their own."""
    running = Sandboxes(tmp_path_factory.mktemp("sandboxes")).start()
    for vendor in running.control("GET", "vendors"):
        running.control("POST", f"{vendor}/limits", {"enforced": False})
    yield running
    running.stop()


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """One home for the session, so that the doors' secret paths stay the same."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def cast(request):
    """Who plays: those of the test's scene, else those of the demo."""
    return getattr(request, "param", None) or usual()


@pytest.fixture
def house(transactional_db, live_server, sandboxes, settings, home, cast):
    """A seeded portal whose webhook doors the sandboxes know."""
    settings.BASE_URL = live_server.url
    settings.SANDBOX_PORT = sandboxes.port
    settings.HOME = home
    house = House(sandboxes, home, cast)
    house.open()
    yield house
    house.close()
    workers.run_now(http.close_sessions)
    workers.stop_worker()


def pytest_collection_modifyitems(config, items):
    """A scene whose writes go as those of another one is played by `make check-all` alone."""
    if EVERY_FLOW:
        return
    rare = [item for item in items if item.get_closest_marker("check_all")]
    config.hook.pytest_deselected(items=rare)
    items[:] = [item for item in items if item not in rare]
