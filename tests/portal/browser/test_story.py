"""In a real browser: the way from a held invoice to an approved rule without JavaScript; keys; fragments."""

import datetime as dt
import re

import pytest
from django.utils import timezone

from connectors.models import ReferenceEntry
from exceptions.models import BulkAction
from mappings.models import MappingRule
from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def enter(open_page, person, **how):
    """Sign in through the form."""
    page = open_page(None, "/accounts/login/", **how)
    page.fill("[name=login]", person.username)
    page.fill("[name=password]", factories.PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_selector("h1")
    return page


def test_a_rule_is_proposed_and_approved_without_javascript(open_page, story, live_server):
    """Two people, two forms, no script."""
    item = {
        "list_name": "items",
        "external_id": "10482",
        "name": "Regency cakestand",
        "read_at": story["held"].created_at,
    }
    ReferenceEntry.objects.create(connection=factories.make_connection("netsuite"), **item)
    first, second = factories.make_person("billing_ops"), factories.make_person("controller")
    page = enter(open_page, first, script=False)
    page.goto(f"{live_server.url}/exceptions/cases/{story['case'].pk}/")
    page.fill("[name=value]", "10482")
    page.fill("form[aria-label='Map and repost'] [name=why]", "The item was made today")
    page.click("text=Propose mapping")
    assert page.locator("h1").inner_text() == "Map and repost: 22423 to Regency cakestand"
    assert "You proposed it" in page.locator("#sign").inner_text()
    address = page.url
    page = enter(open_page, second, script=False)
    page.goto(address)
    page.click("button[value=approve]")
    assert "Approved." in page.locator(".note.done").first.inner_text()
    rule = MappingRule.objects.get(legal_entity_code="GB01")
    assert (rule.key, rule.value, rule.proposed_by, rule.approved_by) == ("22423", "10482", first, second)


def test_keys_search_move_and_open(open_page, story):
    """Slash goes to the search box; j, j, o opens the second row; keys rest while somebody types."""
    page = open_page(factories.make_person("controller"), "/transactions/")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("jo")
    assert page.input_value("#find") == "jo"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.locator("tr.cur a.say").inner_text() == "INV-POSTED"
    page.keyboard.press("o")
    page.wait_for_url(re.compile(f"/transactions/{story['posted'].pk}/"))


def test_keys_of_one_character_can_be_switched_off_and_the_others_stay(open_page, story, live_server):
    """WCAG 2.1.4: neither a letter, a digit nor a sign does anything alone; Ctrl K still goes to the search box."""
    person = factories.make_person("controller")
    case = factories.make_case(transactions=[factories.make_transaction("held")])
    action = BulkAction.objects.create(
        what="repost", made_by=person, state="waiting", frozen_at=timezone.now(), chosen_words="All", item_count=1,
        starts_at=timezone.now() + dt.timedelta(minutes=5),
    )  # fmt: skip
    page = open_page(person, "/you/")
    page.get_by_role("button", name="Switch them off").click()
    assert "do nothing any more" in page.locator(".note.done").inner_text()
    for address, keys in (
        ("/exceptions/cases/", "/jxof12?n"), (f"/exceptions/cases/{case.pk}/", "armc?"),
        (f"/exceptions/bulk/{action.pk}/", "z?"),
    ):  # fmt: skip
        page.goto(f"{live_server.url}{address}")
        for key in keys:
            page.keyboard.press(key)
        assert page.evaluate("document.activeElement.tagName") == "BODY"
        assert page.locator("tr.cur, input[form=bulk-form]:checked, details.pick[open]").count() == 0
        assert page.url == f"{live_server.url}{address}"
    action.refresh_from_db()
    assert action.state == "waiting"
    page.keyboard.press("Control+k")
    assert page.evaluate("document.activeElement.id") == "find"
    page.goto(f"{live_server.url}/keys/")
    assert page.locator("th kbd").all_inner_texts() == ["Ctrl K", "F2", "Ctrl Enter", "Esc"]
    page.goto(f"{live_server.url}/you/")
    page.get_by_role("button", name="Switch them on").click()
    page.goto(f"{live_server.url}/exceptions/cases/")
    page.keyboard.press("j")
    assert page.locator("tr.cur").count() == 1


def test_the_first_stop_of_the_tab_key_skips_to_the_content(open_page, story):
    """Skip link first, and focus is seen."""
    page = open_page(factories.make_person("controller"), "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_an_exchange_loads_when_it_is_opened(open_page, story):
    """Once, as a fragment, from its own address."""
    page = open_page(factories.make_person("controller"), f"/transactions/{story['posted'].pk}/")
    page.locator("summary", has_text=re.compile("POST")).click()
    page.wait_for_selector(".wire-box pre")
    assert "https://erp.example/record/v1/invoice" in page.locator(".wire-box pre").first.inner_text()


def test_the_theme_is_chosen_and_kept(open_page, story, live_server):
    """Dark by choice on a light system, without a flash: set before first paint."""
    page = open_page(factories.make_person("controller"), "/you/")
    page.get_by_role("button", name="Dark", exact=True).click()
    page.goto(f"{live_server.url}/")
    assert page.evaluate("document.documentElement.dataset.bsTheme") == "dark"
