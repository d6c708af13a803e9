"""Who fills in a form for long stays signed in; a page that asks for news by itself keeps nobody so."""

import time

import pytest

from tests import factories
from tests.mappings.rules import make_rule
from tests.mappings.sheet_rows import make_items

pytestmark = pytest.mark.django_db(transaction=True)


def test_typing_in_the_grid_is_heard_every_few_minutes_and_a_suggestion_is_asked_by_a_person(open_page, live_server):
    make_items()
    make_rule("item", "NEW", "10391", connection="netsuite", currency="USD")
    page = open_page(factories.make_person("mapping_admin"), "/you/")
    page.clock.install()
    page.goto(f"{live_server.url}/mappings/grid/?kind=item")
    asked = []
    page.on("request", lambda request: asked.append(request))

    def count() -> int:
        return sum(request.url.endswith("/you/here/") for request in asked)

    def heard(times: int) -> bool:
        """Whether the server hears of it so often: that much is waited for, and a little longer for once too many."""
        until = time.monotonic() + 60
        while count() < times and time.monotonic() < until:
            page.wait_for_timeout(50)
        page.wait_for_timeout(200)
        return count() == times

    place = page.locator('[name^="key-"]').last.get_attribute("name").partition("-")[2]
    page.focus(f'[name="key-{place}"]')
    page.keyboard.type("NE")
    assert heard(0)  # the page itself was asked for just now
    page.clock.fast_forward("05:00")
    assert heard(0)  # nobody does anything
    page.keyboard.type("W")
    page.keyboard.press("Tab")
    assert heard(1)
    page.clock.fast_forward("05:00")
    page.focus(f'[name="value-{place}"]')
    page.keyboard.press("F2")
    page.wait_for_selector("#hints [data-take]")
    assert heard(2)
    hints = next(request for request in asked if "for=value-" in request.url)
    assert "x-by-itself" not in hints.headers
    assert page.complaints == []


def test_a_poll_still_says_that_it_is_one(open_page):
    page = open_page(factories.make_person("billing_ops"), "/exceptions/")
    every = """document.body.insertAdjacentHTML('beforeend',
        '<div id="poll" hx-get="/you/here/" hx-trigger="every 1s"></div>');
        htmx.process(document.getElementById("poll"))"""
    with page.expect_request("**/you/here/") as asked:
        page.evaluate(every)
    assert asked.value.headers["x-by-itself"] == "1"
