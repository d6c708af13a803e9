"""Views of the queue that people keep, and the word that new cases came."""

from __future__ import annotations

import datetime as dt
import re
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from exceptions.models import SavedView
from q2c.core.models import AuditEntry
from tests import factories

pytestmark = pytest.mark.django_db
CASES = "/exceptions/cases/"


def keep(browser, query: str, name: str, **more):
    return browser.post("/exceptions/views/keep/", {"query": query, "name": name, **more}, follow=True)


def test_a_view_keeps_filters_and_order_and_forgets_the_place_in_the_list(sign_in):
    browser = sign_in("controller")
    page = keep(browser, "sort=due&queue=billing_ops&after=1_2_3&at=51&nonsense=1&density=", "Billing").content.decode()
    assert SavedView.objects.get().query == "queue=billing_ops&sort=due"
    assert f'href="{CASES}?queue=billing_ops&amp;sort=due" aria-current="page"' in page
    assert "You find “Billing” above the list." in page
    assert AuditEntry.objects.filter(verb="keep_view").count() == 1


def test_a_shared_view_is_everybodys_and_only_its_owner_forgets_it(sign_in):
    mine, other = sign_in("controller"), sign_in("billing_ops")
    keep(mine, "blocks=any", "Blocks a close now", is_shared="on")
    keep(mine, "owner=mine", "Only for me")
    seen = other.get(CASES).content.decode()
    assert ("Blocks a close now" in seen, "Only for me" in seen) == (True, False)
    view = SavedView.objects.get(name="Blocks a close now")
    assert other.post(f"/exceptions/views/{view.pk}/forget/").status_code == 404
    answer = mine.post(f"/exceptions/views/{view.pk}/forget/", follow=True).content.decode()
    assert "“Blocks a close now” is forgotten. No case changed." in answer
    assert "Blocks a close now</a>" not in other.get(CASES).content.decode()


def test_however_many_are_shared_ones_own_stay_and_the_open_one_is_known(sign_in):
    browser, others = sign_in("controller"), factories.make_person("billing_ops")
    keep(browser, "owner=mine", "Zebra, my own")
    SavedView.objects.bulk_create(
        SavedView(owner=others, name=f"Shared {n:02}", query=f"severity={n}", is_shared=True, made_at=timezone.now())
        for n in range(60)
    )
    page = browser.get(CASES).content.decode()
    assert ("Zebra, my own</a>" in page, page.count(">Shared ")) == (True, 35)
    page = browser.get(f"{CASES}?severity=59").content.decode()
    assert f'href="{CASES}?severity=59" aria-current="page" title="Shared by' in page
    assert ("Zebra, my own</a>" in page, "Name of this view" in page) == (True, False)  # it's kept already


def test_no_more_are_shared_than_are_shown(sign_in):
    browser, others = sign_in("controller"), factories.make_person("billing_ops")
    SavedView.objects.bulk_create(
        SavedView(owner=others, name=f"Shared {n:02}", query=f"severity={n}", is_shared=True, made_at=timezone.now())
        for n in range(23)
    )
    keep(browser, "owner=mine", "The last", is_shared="on")
    answer = keep(browser, "owner=nobody", "One more", is_shared="on").content.decode()
    assert "24 views are shared already. Keep it for yourself, or have one forgotten first. Nothing was kept." in answer
    keep(browser, "owner=nobody", "The last", is_shared="on")  # another question by its name is no more of them
    keep(browser, "owner=nobody", "One more")
    own = SavedView.objects.filter(owner=browser.person).order_by("name").values_list("name", "query", "is_shared")
    assert list(own) == [("One more", "owner=nobody", False), ("The last", "owner=nobody", True)]


@pytest.mark.parametrize(
    ("query", "name", "said"),
    [
        ("owner=mine", "", "Give it a name of up to 40 letters. Nothing was kept."),
        ("owner=mine", "x" * 41, "Give it a name of up to 40 letters. Nothing was kept."),
        ("at=51", "All", "Filter the list first: a view is a name for a filter. Nothing was kept."),
        ("owner=nobody", "Taken", "Somebody else shares a view called “Taken”. Choose another name."),
    ],
)
def test_what_cannot_be_kept_is_said_and_nothing_is(sign_in, query, name, said):
    keep(sign_in("billing_ops"), "queue=billing_ops", "Taken", is_shared="on")
    answer = keep(sign_in("controller"), query, name, **({"is_shared": "on"} if name == "Taken" else {}))
    assert said in answer.content.decode()
    assert SavedView.objects.count() == 1


def test_new_cases_are_counted_by_the_lists_own_filters_and_told_once(sign_in):
    browser = sign_in("controller")
    since = timezone.now() - dt.timedelta(minutes=5)
    factories.make_case("An old one", opened_at=since - dt.timedelta(minutes=1))
    factories.make_case("A new one", severity=1, opened_at=since + dt.timedelta(minutes=1))
    factories.make_case("Another", severity=2, opened_at=since + dt.timedelta(minutes=2))

    def news(**asked):
        return browser.get(f"{CASES}news/?{urlencode({'since': since.isoformat(), **asked})}")

    assert "Show 2 new cases" in news().content.decode()
    urgent = news(severity=1).content.decode()
    assert "Show 1 new case<" in urgent
    assert f'href="{CASES}?severity=1"' in urgent
    assert news(said=2).status_code == 204
    for never in ("yesterday", "2026-13-45T00:00:00Z", "2026-11-01T00:00:00", ""):
        assert browser.get(f"{CASES}news/?since={never}").status_code == 404


def test_the_search_box_leads_to_a_screen_by_its_name(sign_in):
    answer = sign_in("controller").get("/search/?q=excep")
    assert (answer.status_code, answer["Location"]) == (302, CASES)


def test_own_columns_stand_in_their_order_in_the_address_and_in_a_kept_view(sign_in):
    factories.make_case(transactions=[factories.make_transaction("held")])
    browser = sign_in("controller")
    answer = browser.get(f"{CASES}?queue=billing_ops&sort=due&col=owner&col=&col=kind&col=owner&col=nonsense")
    assert (answer.status_code, answer["Location"]) == (302, f"{CASES}?queue=billing_ops&sort=due&columns=owner%2Ckind")
    page = browser.get(answer["Location"]).content.decode()
    heads = re.findall(r'<th role="columnheader" scope="col" class="[^"]*">([^<]*)</th>', page)
    assert heads == ["What is wrong", "Owner", "Kind"]
    assert "Missing item mapping</td>" in page
    assert page.count('<input type="hidden" name="columns" value="owner,kind">') == 1  # filtering keeps them
    keep(browser, "columns=kind,nonsense", "Kinds")
    keep(browser, "queue=billing_ops&columns=money,risk,blocks,due,state,owner", "As they come")
    assert sorted(SavedView.objects.values_list("query", flat=True)) == ["columns=kind", "queue=billing_ops"]
    as_they_come = "&col=".join(("money", "risk", "blocks", "due", "state", "owner"))
    assert browser.get(f"{CASES}?col={as_they_come}")["Location"] == f"{CASES}?"
    plain = browser.get(f"{CASES}?columns=no,such").content.decode()
    assert "Can’t post yet</th>" in plain
