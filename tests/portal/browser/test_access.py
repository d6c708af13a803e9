"""Every screen by axe (WCAG 2.2 AA), light and dark, wide and on a phone: nothing scrolls sideways or is blocked."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests import factories

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def addresses(story):
    return [
        "/",
        "/transactions/",
        "/transactions/?state=held&received_from=x",
        "/transactions/?currency=KWD",
        f"/transactions/{story['held'].pk}/",
        f"/transactions/{story['posted'].pk}/",
        f"/transactions/{story['unknown'].pk}/",
        "/lineage/",
        "/lineage/?id=in_posted",
        "/search/?q=nothing",
        "/inbox/",
        f"/inbox/{story['message'].event_id}/",
        "/decisions/",
        f"/decisions/{story['proposal'].pk}/",
        "/schedules/",
        "/audit/",
        "/you/",
        "/keys/",
        "/exceptions/cases/",
        f"/exceptions/cases/{story['case'].pk}/",
        "/mappings/rules/",
        f"/mappings/rules/{story['rule'].pk}/",
        "/mappings/change-sets/",
        f"/mappings/change-sets/{story['change_set'].pk}/",
        "/connections/",
        "/connections/netsuite/",
        "/no-such-page/",
    ]


@pytest.mark.parametrize(
    ("theme", "width"), [("light", "wide"), ("dark", "wide"), ("light", "phone"), ("dark", "phone")]
)
def test_every_screen_is_accessible(open_page, story, theme, width):
    """axe finds nothing, the page doesn't scroll sideways, and the content policy blocks nothing."""
    person = factories.make_person("controller", display_name="Cora Lindqvist")
    factories.make_person("platform", username=person.username)
    page = open_page(None, "/accounts/login/", theme=theme, width=width)
    found = [faults(page, "/accounts/login/")]
    page = open_page(person, "/", theme=theme, width=width)
    for address in addresses(story):
        page.goto(page.url.split("/", 3)[0] + "//" + page.url.split("/", 3)[2] + address)
        found.append(faults(page, address))
    assert [fault for faults_of_one in found for fault in faults_of_one] == []


def faults(page, address):
    """What axe says, what was blocked, and how far it scrolls sideways."""
    results = Axe().run(page, options=RULES).response["violations"]
    said = [f"{address}: {v['id']} {[n['html'][:160] for n in v['nodes'][:2]]}" for v in results]
    said += [f"{address}: {text}" for text in page.complaints if "404" not in text]
    page.complaints.clear()
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return said + ([f"{address}: {wider} px too wide"] if wider else [])
