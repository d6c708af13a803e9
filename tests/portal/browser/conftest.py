"""A portal with rows of every state, a signed-in browser page in either theme and width."""

import pytest
from django.test import Client
from playwright.sync_api import expect

from tests import factories

WIDTHS = {"wide": 1440, "phone": 390}
PATIENCE_MS = 120_000  # of a busy machine
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def open_page(browser, live_server):
    """Opens an address as a person: `open_page(person, "/transactions/", theme="dark", width="phone")`.

    What the browser complains about on the way (blocked scripts and styles, errors) is kept in `page.complaints`.
    """
    contexts = []

    def open_page(person, address, *, theme="light", width="wide", script=True):
        context = browser.new_context(
            viewport={"width": WIDTHS[width], "height": 900}, color_scheme=theme, java_script_enabled=script
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        if person is not None:
            client = Client()
            client.force_login(person)
            session = client.cookies["sessionid"].value
            context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        page = context.new_page()
        page.complaints = []
        page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto(f"{live_server.url}{address}")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def story(transactional_db):
    """A held invoice with its case, a posted one with its journey, a proposal, a connection: by name."""
    factories.make_period("GB01")
    factories.make_connection("salesforce")
    factories.make_connection("stripe")
    factories.make_connection("netsuite")
    held = factories.make_transaction("held", number="INV-HELD")
    factories.make_step(held, "find_customer")
    factories.make_step(held, "map_items", state="failed", problem=held.problem)
    posted = factories.make_transaction(number="INV-POSTED", source_id="in_posted")
    factories.make_step(posted, "find_customer")
    factories.make_step(posted, "post_invoice", kind="write", external_id="inv-stripe-in_posted")
    factories.make_exchange(posted)
    factories.make_reference(posted)
    factories.make_link(posted, ("salesforce", "Order", "801000000000001AAA"), ("stripe", "invoice", "in_posted"))
    factories.make_link(posted, ("stripe", "invoice", "in_posted"), ("netsuite", "invoice", posted.target_id))
    unknown = factories.make_transaction("unknown", number="INV-UNKNOWN")
    case = factories.make_case(transactions=[held])
    message = factories.make_message()
    rule = factories.make_rule("84029G", "10390")
    change_set = factories.make_change_set(state="proposed", case=case)
    proposal = factories.make_proposal()
    factories.make_period("GB01")
    factories.count_work()
    return {
        "held": held, "posted": posted, "unknown": unknown, "case": case, "message": message, "rule": rule,
        "change_set": change_set, "proposal": proposal,
    }  # fmt: skip
