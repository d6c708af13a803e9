"""Every screen by axe (WCAG 2.2 AA), light and dark, wide and on a phone: nothing scrolls sideways or is blocked."""

import datetime as dt

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.utils import timezone

from connectors.models import BreakerTurn
from mappings.sheets import carry_sheet
from q2c.reconciliation.models import LostWebhook
from tests import factories
from tests.portal.browser.conftest import WIDTHS
from tests.reconciliation.feeds import make_day, make_gap

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
BRIEF = {"resultTypes": ["violations"]}  # what passes is looked at, and not described element by element
ALL = BRIEF | {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
LOOKS = [("light", "wide"), ("dark", "phone")]  # a width changes no colours, a theme nothing but colours
PARTS = 4


def addresses(story):
    return [
        "/",
        "/transactions/",
        "/transactions/?state=held&received_from=x",
        "/transactions/?currency=KWD",
        f"/transactions/{story['held'].pk}/",
        f"/transactions/{story['posted'].pk}/",
        f"/transactions/{story['unknown'].pk}/",
        f"/transactions/{story['held'].pk}/plans/",
        f"/transactions/{story['posted'].pk}/plans/",
        "/lineage/",
        "/lineage/?id=in_posted",
        "/search/?q=nothing",
        "/inbox/",
        f"/inbox/{story['message'].event_id}/",
        "/decisions/",
        f"/decisions/{story['proposal'].pk}/",
        "/emergencies/",
        f"/emergencies/{story['emergency'].pk}/",
        "/schedules/",
        "/pauses/",
        "/backfills/new/",
        f"/backfills/{story['backfill'].pk}/",
        "/completeness/",
        f"/completeness/stripe/invoice/{story['day'].day}/",
        "/reports/ignored/",
        "/operations/",
        "/operations/flows/invoice_to_erp/",
        "/audit/",
        "/you/",
        "/keys/",
        "/you/absences/",
        "/exceptions/alerts/",
        "/exceptions/alerts/mine/",
        "/exceptions/alerts/channels/",
        f"/exceptions/alerts/channels/{story['told'].channel_id}/",
        f"/exceptions/alerts/channels/{story['told'].channel_id}/log/",
        f"/exceptions/alerts/messages/{story['told'].pk}/",
        "/exceptions/cases/",
        f"/exceptions/cases/{story['case'].pk}/",
        "/exceptions/bulk/",
        f"/exceptions/bulk/{story['bulk'].pk}/",
        "/mappings/rules/",
        f"/mappings/rules/{story['rule'].pk}/",
        "/mappings/grid/?kind=item",
        "/mappings/matrix/?kind=item",
        "/mappings/rules/copy/",
        "/mappings/rules/renumber/",
        "/mappings/sheets/",
        f"/mappings/sheets/{story['sheet'].pk}/",
        "/mappings/identities/",
        f"/mappings/identities/customer/{story['record'].record_key}/",
        f"/mappings/identities/customer/{story['record'].record_key}/change/",
        "/mappings/owners/",
        "/mappings/duplicates/",
        f"/mappings/duplicates/{story['pair'].pk}/",
        "/mappings/change-sets/",
        f"/mappings/change-sets/{story['change_set'].pk}/",
        "/connections/",
        "/connections/netsuite/",
        "/no-such-page/",
    ]


@pytest.mark.parametrize("part", range(PARTS))
def test_every_screen_is_accessible(open_page, story, part):
    """axe finds nothing in either theme and width, the page doesn't scroll sideways, and the content policy blocks
    nothing."""
    found = []
    if part == 0:
        found += faults(open_page(None, "/accounts/login/"), "/accounts/login/")
    person = factories.make_person("controller", display_name="Cora Lindqvist")
    factories.make_person("platform", username=person.username)
    story["sheet"] = factories.make_sheet(person, "Key\tBecomes\tFrom\nA\t10482\t\nB\t\t1/2/2026\n")
    carry_sheet(story["sheet"].pk)
    lost = {"field": "email", "value": "a@x.test", "by": "salesforce", "at": "2026-11-01T12:00:00+00:00", "kept": ""}
    story["record"] = factories.make_record("customer", "stripe:customer:cus_1", content={"name": "B"}, refused=[lost])
    story["pair"] = factories.make_pair(1)
    story["backfill"] = factories.make_backfill(person)
    story["emergency"] = factories.make_emergency()
    body = '{"type":"exception.raised","data":{"key":"missing_item_mapping/netsuite/invoice_to_erp"}}'
    program = factories.make_channel("Incidents", sort="webhook", off_because="gone")
    story["told"] = factories.make_message_to(
        program, message_id="msg_01JD", body=body, state="failed", error="no answer"
    )
    story["day"] = make_day(ours=9)
    make_day("US01", make_day(day=story["day"].day - dt.timedelta(days=1)).day, waiting_count=1, ours=9)
    make_gap(case_id=story["case"].pk)
    LostWebhook.objects.create(connection_code="stripe", event_type="invoice.paid", day=story["day"].day, count=12)
    since = timezone.now() - dt.timedelta(hours=2)
    for minutes, object_type, is_open in ((0, "", True), (12, "", False), (70, "invoice", True)):
        BreakerTurn.objects.create(
            connection=factories.make_connection("netsuite"), object_type=object_type, is_open=is_open,
            at=since + dt.timedelta(minutes=minutes), why="answered 503" if is_open else "Calls go through again",
        )  # fmt: skip
    story["bulk"] = factories.make_bulk(person, story["case"])
    page = open_page(person, "/")
    home = page.url
    for address in addresses(story)[part::PARTS]:
        page.goto(home.rstrip("/") + address)
        found += faults(page, address)
    assert found == []


def faults(page, address):
    """What axe says of each look of the open page, how far it scrolls sideways, and what was blocked."""
    page.emulate_media(reduced_motion="reduce")  # colours are there at once, not on their way
    page.evaluate(Axe().axe_script)
    said = []
    for theme, width in LOOKS:
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": WIDTHS[width], "height": 900})
        look = f"{address} {theme} {width}"
        violations = page.evaluate("async rules => (await axe.run(rules)).violations", ALL)
        said += [f"{look}: {v['id']} {[n['html'][:160] for n in v['nodes'][:2]]}" for v in violations]
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        said += [f"{look}: {wider} px too wide"] if wider else []
    said += [f"{address}: {text}" for text in page.complaints if "404" not in text]
    page.complaints.clear()
    page.set_viewport_size({"width": WIDTHS["wide"], "height": 900})
    page.emulate_media(color_scheme="light")
    return said
