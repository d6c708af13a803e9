"""What every test may ask for: a browser. The database and the broker come from tests/settings.py."""

import gc
import os
import shutil

import psycopg
import pytest
from django.test import TransactionTestCase

from connectors import slots
from q2c.core import brokers, ids
from q2c.flows import nudger
from q2c.transactions import workers
from tests.brokers import PATIENCE_SECONDS
from tests.core.people import make_person
from tests.emptying import empty_tables
from tests.template import use_template

CHROMIUM = os.environ.get("Q2C_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


LONGEST = "tests/journeys/test_demo.py"


def pytest_configure(config):
    """What was imported stays: looking through it for garbage again and again is a twentieth of the run."""
    gc.set_threshold(50_000, 20, 100)


def pytest_collection_finish(session):
    """Whatever is there by now lives until the end."""
    gc.freeze()


def pytest_collection_modifyitems(items):
    """The longest test begins first, so that nothing waits for it alone at the end.

    Without a Chromium the browser tests are named as not run; where Q2C_REQUIRE_BROWSER=1 they run and fail.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
    if CHROMIUM or os.environ.get("Q2C_REQUIRE_BROWSER") == "1":
        return
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason="needs a Chromium (Q2C_CHROMIUM, or `chromium` on the path)"))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix, django_db_blocker, request):
    """Of several workers only one migrates."""
    if hasattr(request.config, "workerinput"):
        with django_db_blocker.unblock():
            use_template()


@pytest.fixture(scope="session", autouse=True)
def _quick_emptying():
    """Tests that commit are followed by emptying what they filled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_tables)
        yield


@pytest.fixture(scope="session", autouse=True)
def _patient_with_the_broker():
    """A broker that isn't away answers, however late: what a test tells it isn't dropped."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (brokers, nudger, slots):
            patch.setattr(module, "ANSWERS_SECONDS", PATIENCE_SECONDS)
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item):
    """Nothing outlives a test. Its worker ends once the test's own transaction has: only then does a heartbeat write
    what waited for that transaction, and the row it leaves would be another test's. And ids rise within a process:
    those of a test that travelled into the future would last until that day."""
    result = yield
    worker = workers.living_worker()
    workers.stop_worker()
    ids._last = 0
    if worker is not None:
        with psycopg.connect(**workers.connection_parameters()) as wire:
            wire.execute("DELETE FROM transactions_worker WHERE id = %s", [worker.id])
    return result


@pytest.fixture(scope="module")
def browser():
    """A Chromium for the tests of one module; a test opens its own context (`browser.new_context(...)`).

    Not for the session: Playwright's loop runs in this thread until it closes, so no other test could start its own.
    """
    if not CHROMIUM:
        pytest.fail("Q2C_REQUIRE_BROWSER=1, but there's no Chromium on the path")
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")  # the tests' own queries run in the thread of that loop
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        yield chromium
        chromium.close()


def pytest_terminal_summary(terminalreporter):
    """What tests want to be read at the end: `record_property("said", line)`, from a worker too."""
    for report in [r for found in ("passed", "failed") for r in terminalreporter.stats.get(found, ())]:
        for name, line in getattr(report, "user_properties", ()):
            if name == "said" and report.when == "call":
                terminalreporter.write_line(line)


@pytest.fixture
def ben():
    """Of billing."""
    return make_person("ben", "billing_ops")


@pytest.fixture
def cora():
    """Of controllership."""
    return make_person("cora", "controller")


@pytest.fixture
def mira():
    """Who looks after the rules."""
    return make_person("mira", "mapping_admin")
