"""A screen that stands open takes its new heading with its new figures, and leaves its form alone."""

import datetime as dt

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from q2c.core.leases import take_lease
from q2c.reconciliation.models import FeedCheck
from tests import factories
from tests.reconciliation.feeds import make_day

NOW = "id => htmx.ajax('GET', location.href, {source: id, target: id, swap: 'outerHTML'})"  # what its timer does


@pytest.mark.parametrize(("address", "part"), [("/completeness/", "#completeness"), ("/operations/", "#operations")])
def test_the_heading_of_an_open_screen_follows_its_figures(transactional_db, open_page, address, part):
    make_day()
    for name in ("beat", "worker:doors+flows+reconciliation@a:2"):
        take_lease(name, holder="a:2", seconds=600)
    page = open_page(factories.make_person("controller"), address)
    expect(page.locator("h1")).to_have_text(
        "Everything that the sources list is here" if "completeness" in part
        else "Every flow runs and every system answers"
    )  # fmt: skip
    page.locator("#id_entity").select_option("GB01")
    FeedCheck.objects.update(checked_at=timezone.now() - dt.timedelta(hours=2))
    factories.make_case(
        kind="feed_unchecked", connection_code="stripe", legal_entity_code="",
        subject={"connection": "stripe", "document_type": "invoices"},
    )  # fmt: skip
    page.evaluate(NOW, part)
    expect(page.locator("h1")).to_contain_text("compared with its")
    assert [page.locator(one).count() for one in ("h1", part, "form[method=get]")] == [1, 1, 1]
    assert page.locator("#id_entity").input_value() == "GB01"
    assert page.complaints == []
