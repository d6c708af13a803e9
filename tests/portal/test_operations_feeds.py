"""Operations doesn't say that everything is well while a feed is quiet, incomplete or not compared."""

import pytest
from django.utils import timezone

from exceptions.models import ExceptionCase
from q2c.core.leases import take_lease
from tests import factories

pytestmark = pytest.mark.django_db

WELL = "Every flow runs and every system answers"
INVOICES = {"connection": "stripe", "document_type": "invoices"}
QUIET = ("feed_quiet", "", INVOICES)
GB = ("entity_quiet", "GB01", {**INVOICES, "legal_entity": "GB01"})
US = ("entity_quiet", "US01", {**INVOICES, "legal_entity": "US01"})
LACKS = ("feed_incomplete", "GB01", {**INVOICES, "document_type": "invoice", "legal_entity": "GB01"})
UNKNOWN = ("feed_incomplete", "", {**LACKS[2], "legal_entity": ""})
UNCHECKED = ("feed_unchecked", "", {"connection": "stripe", "document_type": "payouts"})
BRINGS, LINK = "Stripe brings fewer invoices", '<a href="/completeness/?connection=stripe'


@pytest.fixture(autouse=True)
def a_house_that_is_well():
    take_lease("beat", holder="a:1", seconds=60)
    take_lease("worker:doors+flows+reconciliation@a:2", holder="a:2", seconds=60)
    factories.make_connection("stripe")
    for code in ("GB01", "US01"):
        factories.make_entity(code)


def tell(*told):
    for kind, entity, about in told:
        factories.make_case(kind=kind, connection_code="stripe", legal_entity_code=entity, subject=about)


def heading(client, address="/operations/"):
    html = client.get(address).content.decode()
    return html.split("<h1>")[1].split("</h1>")[0], html


@pytest.mark.parametrize(
    ("told", "entities", "says", "leads"),
    [
        ([], (), WELL, 0),
        ([QUIET], (), f"{WELL}; {BRINGS} than usual", 1),
        ([QUIET], ("GB01",), f"{WELL}; {BRINGS} than usual", 1),
        ([GB], (), f"{WELL}; {BRINGS} of GB01 than usual", 1),
        ([GB, US], ("US01",), f"{WELL}; {BRINGS} of US01 than usual", 1),
        ([GB], ("US01",), WELL, 0),
        ([LACKS], ("GB01",), f"{WELL}; Stripe and we don’t have the same invoices", 1),
        ([LACKS, LACKS], (), f"{WELL}; Stripe and we don’t have the same invoices", 1),
        ([UNKNOWN], ("GB01",), WELL, 0),
        ([UNCHECKED], ("GB01",), f"{WELL}; Stripe’s payouts aren’t compared with its register", 1),
        ([QUIET, UNCHECKED, LACKS], (), f"{WELL}; 2 feeds need somebody", 3),
    ],
)
def test_what_is_amiss_with_feeds_stands_in_the_heading_and_leads_to_completeness(sign_in, told, entities, says, leads):
    tell(*told)
    client = sign_in("controller", entities=entities)
    said, html = heading(client)
    assert (said, html.count(LINK)) == (says, leads)


def test_what_a_person_has_explained_or_what_healed_is_told_no_more(sign_in):
    tell(QUIET)
    ExceptionCase.objects.update(state="waived", closed_at=timezone.now())
    assert heading(sign_in("platform"))[0] == WELL


def test_an_open_page_takes_its_new_heading_with_its_figures(sign_in):
    client = sign_in("platform")
    assert "hx-swap-oob" not in heading(client)[1]
    tell(QUIET)
    part = client.get("/operations/", headers={"HX-Request": "true", "X-By-Itself": "1"}).content.decode()
    assert f'<div class="head" id="operations-head" hx-swap-oob="true"><div><h1>{WELL}; {BRINGS}' in part
    assert ("<html" in part, '<form method="get"' in part) == (False, False)
