"""Lists: keyset pages, filters in the address, answers in headings, fragments."""

import datetime as dt
import re
from decimal import Decimal

import pytest

from q2c.core import filters
from tests import factories

pytestmark = pytest.mark.django_db


def numbers(response):
    return [txn.number for txn in response.context["page"].rows]


def test_the_pages_of_a_list_follow_each_other_and_lead_back(controller):
    for n in range(120):
        factories.make_transaction(number=f"INV-{n:03d}")
    first = controller.get("/transactions/")
    second = controller.get(f"/transactions/{first.context['page'].next_url}")
    third = controller.get(f"/transactions/{second.context['page'].next_url}")
    assert numbers(first) == [f"INV-{n:03d}" for n in range(119, 69, -1)]
    assert numbers(second) == [f"INV-{n:03d}" for n in range(69, 19, -1)]
    assert numbers(third) == [f"INV-{n:03d}" for n in range(19, -1, -1)]
    assert (third.context["page"].first, third.context["page"].last, third.context["page"].total) == (101, 120, 120)
    assert third.context["page"].next_url == ""
    assert numbers(controller.get(f"/transactions/{third.context['page'].previous_url}")) == numbers(second)
    back = controller.get(f"/transactions/{second.context['page'].previous_url}")
    assert numbers(back) == numbers(first)
    assert back.context["page"].previous_url == ""


def test_a_place_that_cant_be_read_counts_as_the_start(controller):
    factories.make_transaction(number="INV-1")
    for place in ("after=zzz", "before=WzFd", "after=WyJ4Il0", "at=-5", "after=%00"):
        assert numbers(controller.get(f"/transactions/?{place}")) == ["INV-1"]


def test_filters_stand_in_the_address_and_narrow_the_list(controller):
    factories.make_transaction("held", number="INV-H", amount=Decimal("50"))
    factories.make_transaction(number="INV-C", legal_entity_code="US01", currency="USD", amount=Decimal("900"))
    factories.make_entity("US01")
    assert numbers(controller.get("/transactions/?state=held")) == ["INV-H"]
    assert numbers(controller.get("/transactions/?state=open")) == ["INV-H"]
    assert numbers(controller.get("/transactions/?entity=US01")) == ["INV-C"]
    assert numbers(controller.get("/transactions/?least=100")) == ["INV-C"]
    assert numbers(controller.get("/transactions/?number=INV-H")) == ["INV-H"]
    assert numbers(controller.get("/transactions/?currency=usd")) == ["INV-C"]
    assert numbers(controller.get("/transactions/?received_from=1 Jan 2020&received_to=2020-01-31")) == []


def test_a_period_of_an_entity_lists_what_posts_in_it_and_what_is_dated_in_it_in_one_order(controller):
    factories.make_period(code="2026-10")
    for n in range(120):  # every third has no period yet
        period = "" if n % 3 == 0 else "2026-10"
        factories.make_transaction(
            number=f"INV-{n:03d}", period_code=period, document_date=dt.date(2026, 10, 1 + n % 31)
        )
    factories.make_transaction(number="SEP", period_code="2026-09", document_date=dt.date(2026, 10, 5))
    factories.make_transaction("held", number="NOV", period_code="", document_date=dt.date(2026, 11, 1))
    first = controller.get("/transactions/?entity=GB01&period=2026-10")
    second = controller.get(f"/transactions/{first.context['page'].next_url}")
    third = controller.get(f"/transactions/{second.context['page'].next_url}")
    assert numbers(first) == [f"INV-{n:03d}" for n in range(119, 69, -1)]
    assert numbers(second) == [f"INV-{n:03d}" for n in range(69, 19, -1)]
    assert numbers(third) == [f"INV-{n:03d}" for n in range(19, -1, -1)]
    assert (first.context["page"].total, third.context["page"].next_url) == (120, "")
    assert numbers(controller.get(f"/transactions/{third.context['page'].previous_url}")) == numbers(second)
    assert len(numbers(controller.get("/transactions/?period=2026-10"))) == 50  # of any entity: what posts in it
    assert controller.get("/transactions/?period=2026-10").context["page"].total == 80
    assert numbers(controller.get("/transactions/?entity=GB01&period=2026-10&number=INV-003")) == ["INV-003"]
    assert numbers(controller.get("/transactions/?entity=GB01&period=2026-10&state=held")) == []


def test_a_filter_that_cant_be_read_is_named_and_the_rest_holds(controller):
    factories.make_transaction("held", number="INV-H")
    factories.make_transaction(number="INV-C")
    response = controller.get("/transactions/?received_from=10/01&state=held")
    assert "Write the date as 1 Oct 2026 or 2026-10-01." in response.content.decode()
    assert numbers(response) == ["INV-H"]


def test_the_heading_is_the_answer(controller):
    assert "<h1>Nothing is held</h1>" in controller.get("/transactions/").content.decode()
    factories.make_transaction("held")
    assert "<h1>1 transaction is held</h1>" in controller.get("/transactions/").content.decode()
    factories.make_transaction("held")
    factories.make_transaction("unknown")
    assert (
        "<h1>1 outcome is unknown and 2 transactions are held</h1>" in controller.get("/transactions/").content.decode()
    )


def test_htmx_gets_the_fragment_and_a_restored_history_the_page(controller):
    factories.make_transaction(number="INV-1")
    fragment = controller.get("/transactions/", headers={"HX-Request": "true"})
    restored = controller.get("/transactions/", headers={"HX-Request": "true", "HX-History-Restore-Request": "true"})
    assert "<h1>" not in fragment.content.decode()
    assert "INV-1" in fragment.content.decode()
    assert "<h1>" in restored.content.decode()
    assert "HX-Request" in fragment["Vary"]


def test_an_expired_session_sends_the_whole_page_to_the_sign_in(client, db):
    response = client.get(
        "/transactions/", headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/transactions/?state=held"}
    )
    assert response["HX-Redirect"] == "/accounts/login/?next=/transactions/%3Fstate%3Dheld"
    assert response.content == b""


def test_an_empty_list_says_what_would_be_here(controller):
    assert "No transaction yet" in controller.get("/transactions/").content.decode()
    factories.make_transaction()
    assert "No transaction matches this filter" in controller.get("/transactions/?currency=KWD").content.decode()


def test_choices_are_drawn_once_and_still_show_what_is_chosen(controller):
    """A list of choices is kept per process: with another value chosen it's another list."""

    def chosen(address: str) -> list[str]:
        return re.findall(r'<option value="([^"]+)" selected', controller.get(address).text)

    asked = ["?state=held", "?", "?state=completed&q=a%22b", "?state=held", "?"]
    assert [chosen(f"/transactions/{query}") for query in asked] == [["held"], [], ["completed"], ["held"], []]
    assert not any("a&quot;b" in str(kept) for kept in filters._drawn.items())
