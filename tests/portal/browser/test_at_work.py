"""Who fills in a form for long stays signed in; a page that asks for news by itself keeps nobody so. Who was signed out
meanwhile learns it with the next key, and nothing of what they typed is sent or lost."""

import time

import pytest
from django.contrib.sessions.models import Session
from playwright.sync_api import expect

from tests import factories
from tests.mappings.rules import make_rule
from tests.mappings.sheet_rows import make_items
from tests.portal.browser.test_access import faults

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


def end_session():
    Session.objects.all().delete()


def sign_in_elsewhere(page, live_server, person):
    """In another tab of the same browser, as the link of the line opens it."""
    other = page.context.new_page()
    other.goto(f"{live_server.url}/accounts/login/")
    other.fill("[name=login]", person.username)
    other.fill("[name=password]", factories.PASSWORD)
    other.click("button[type=submit]")
    other.wait_for_url(f"{live_server.url}/")
    other.close()
    page.evaluate("window.dispatchEvent(new Event('focus'))")


@pytest.mark.parametrize("is_same", [True, False])
def test_who_was_signed_out_learns_it_with_the_next_key_and_sends_what_they_typed_once_they_are_back(
    open_page, live_server, is_same
):
    person = factories.make_person("controller")
    page = open_page(person, "/")
    page.clock.install()
    page.goto(f"{live_server.url}/you/")
    line, zone = page.locator("#out"), page.locator("[name=zone]")  # the line's words are all there: what's seen counts
    end_session()
    zone.fill("Asia/")
    expect(line).to_be_hidden()  # the page was asked for just now
    page.clock.fast_forward("05:00")
    zone.press_sequentially("Tokyo")
    expect(line).to_contain_text("You were signed out, so nothing can be sent from here.", use_inner_text=True)
    expect(page.locator("#live")).to_contain_text("You were signed out")
    if is_same:
        assert faults(page, "/you/ with the line") == []
    line.get_by_role("button", name="Keep editing").click()
    expect(line).to_be_hidden()
    with page.expect_response("**/you/here/"):
        zone.press("Enter")
    expect(line).to_contain_text("You were signed out", use_inner_text=True)
    assert page.url == f"{live_server.url}/you/"
    sign_in_elsewhere(page, live_server, person if is_same else factories.make_person("controller", username="other"))
    if is_same:
        expect(line).to_contain_text(
            "You’re signed in again. What you typed is still here: send it now.", use_inner_text=True
        )
    else:
        expect(line).to_contain_text("Somebody else is signed in in this browser now", use_inner_text=True)
    page.get_by_role("button", name="Use this zone").click()
    if is_same:  # with the token that the page has learnt
        expect(page.locator("main")).to_contain_text("Times are shown as in Asia/Tokyo now.")
    else:
        expect(line).to_be_visible()
        expect(zone).to_have_value("Asia/Tokyo")
    person.refresh_from_db()
    assert person.preferences.get("time_zone") == ("Asia/Tokyo" if is_same else None)
    assert page.complaints == []


def test_an_answer_that_comes_late_tells_what_was_and_is_left_aside(open_page, live_server):
    person = factories.make_person("controller")
    page = open_page(person, "/")
    page.clock.install()
    page.goto(f"{live_server.url}/you/")
    line, zone, late = page.locator("#out"), page.locator("[name=zone]"), []

    def look():
        page.clock.fast_forward("05:00")
        zone.press("End")

    end_session()
    zone.fill("Asia/Tokyo")
    look()
    expect(line).to_contain_text("You were signed out, so nothing can be sent from here.", use_inner_text=True)
    sign_in_elsewhere(page, live_server, factories.make_person("controller", username="other"))
    expect(line).to_contain_text("Somebody else is signed in in this browser now", use_inner_text=True)
    page.route("**/you/here/", lambda route: late.append((route, route.fetch(max_redirects=0))), times=1)
    look()
    while not late:
        page.wait_for_timeout(20)
    ((route, answer),) = late
    assert answer.headers["x-person"] != str(person.pk)
    end_session()
    sign_in_elsewhere(page, live_server, person)
    expect(line).to_contain_text("You’re signed in again.", use_inner_text=True)
    with page.expect_event("requestfinished", lambda request: request.url.endswith("/you/here/")):
        route.fulfill(status=answer.status, headers={"X-Person": answer.headers["x-person"]})
    page.get_by_role("button", name="Use this zone").click()
    expect(page.locator("main")).to_contain_text("Times are shown as in Asia/Tokyo now.")
    assert page.complaints == []
