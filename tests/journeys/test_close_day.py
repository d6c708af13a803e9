"""Close day in Chromium: what failed for one reason is one piece of work, and its fix releases all of it, by mouse and
by keyboard alone. `Q2C_CLOSE_DAY=3000` lives it with as many documents."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from connectors.models import ReferenceEntry
from exceptions import tasks
from exceptions.models import CaseFix, ExceptionCase
from q2c import ports
from q2c.core.models import AuditEntry
from q2c.transactions.models import BusinessTransaction

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
DOCUMENTS = int(os.environ.get("Q2C_CLOSE_DAY", "24"))
OTHERS = 4  # which lack a second item as well
MISSING = "NetSuite has no item for SKU NEW-1 in DE01, EUR"
ALSO_MISSING = "NetSuite has no item for SKU NEW-2 in DE01, EUR"


class Mouse:
    """Points and clicks, and reads nothing before the page is there that a click leads to."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def click(self, target: Any) -> None:
        with self.page.expect_navigation():
            target.click()

    def sign_in(self, name: str, password: str) -> None:
        self.page.fill("[name=login]", name)
        self.page.fill("[name=password]", password)
        self.click(self.page.locator("main button[type=submit]"))

    def open_first_case(self) -> None:
        self.click(self.page.get_by_text("Work on the cases").first)
        self.click(self.page.locator("#cases a.say").first)

    def map_to(self, item: str, why: str) -> None:
        form = self.page.locator("form[aria-label='Map and repost']")
        form.locator("[name=value]").fill(item)
        form.locator("[name=why]").fill(why)
        self.click(form.get_by_role("button", name="Propose mapping"))

    def open_decision(self) -> None:
        self.click(self.page.locator("section[aria-labelledby=h-dec] a.say").first)

    def approve(self) -> None:
        self.click(self.page.locator("button[value=approve]"))

    def find(self, words: str) -> None:
        self.page.fill("#find", words)
        with self.page.expect_navigation():
            self.page.press("#find", "Enter")

    def open_first(self) -> None:
        self.click(self.page.locator("tr[data-row] a.say").first)

    def follow(self, words: str) -> None:
        self.click(self.page.locator(f"main a:has-text('{words}')").first)


class Keys:
    """Touches no mouse: every element is reached by its key or by Tab."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def tab_to(self, selector: str) -> None:
        for _ in range(80):
            if self.page.evaluate("s => document.activeElement.matches(s)", selector):
                return
            self.press("Tab")
        raise AssertionError(f"eighty times Tab don't lead to {selector}")

    def go(self, *keys: str) -> None:
        with self.page.expect_navigation():
            self.press(*keys)

    def sign_in(self, name: str, password: str) -> None:
        self.tab_to("[name=login]")
        self.page.keyboard.type(name)
        self.tab_to("[name=password]")
        self.page.keyboard.type(password)
        self.go("Enter")

    def open_first_case(self) -> None:
        self.find("Exceptions")
        self.open_first()

    def open_first(self) -> None:
        self.press("j")
        self.go("o")

    def follow(self, words: str) -> None:
        self.page.evaluate("document.activeElement.blur()")
        for _ in range(200):
            self.press("Tab")
            if words in self.page.evaluate("document.activeElement.textContent"):
                return self.go("Enter")
        raise AssertionError(f"no Tab leads to {words}")

    def map_to(self, item: str, why: str) -> None:
        self.press("m")
        self.tab_to("[name=value]")
        self.page.keyboard.type(item)
        self.tab_to("form[aria-label='Map and repost'] [name=why]")
        self.page.keyboard.type(why)
        self.go("Control+Enter")

    def open_decision(self) -> None:
        self.find("Decisions")
        self.open_first()

    def approve(self) -> None:
        self.go("Control+Enter")

    def find(self, words: str) -> None:
        self.press("/")
        self.page.keyboard.type(words)
        self.go("Enter")


@pytest.fixture
def enter(house, open_page):
    """Signs a person of the company in, through the form."""
    passwords = json.loads((house.home / "people.json").read_text())

    def enter(hands: type[Mouse] | type[Keys], name: str) -> Mouse | Keys:
        person = hands(open_page(None, "/"))
        person.sign_in(name, passwords[name])
        person.page.wait_for_selector("h1")
        return person

    return enter


def bill(house) -> None:
    """Invoices of EUR 100 whose SKU is new in the shop; a few have another new one besides."""
    customer = house.customer(address={"country": "DE", "city": "Kiel"}, metadata={"legal_entity": "DE01"})
    other = [{"amount": 5_000, "quantity": 1, "metadata": {"sku": sku}} for sku in ("NEW-1", "NEW-2")]
    for n in range(DOCUMENTS):
        lines = {"lines": other} if n < OTHERS else {}
        house.invoice(customer, sku="NEW-1", currency="eur", metadata={"legal_entity": "DE01"}, **lines)
    house.carry(until=lambda: house.states("invoice_to_erp") == {"held": DOCUMENTS}, seconds=30 + DOCUMENTS / 5)
    tasks.roll_up_cases()


def text(page: Any, selector: str = "main") -> str:
    """What a person reads there, in one line."""
    return " ".join(page.locator(selector).first.inner_text().split())


@pytest.mark.parametrize("hands", [Mouse, Keys])
def test_what_failed_for_one_reason_is_one_case_and_one_approval_releases_it(house, enter, hands):
    bill(house)
    together = f"EUR {DOCUMENTS * 100:,}.00"

    controller = enter(hands, "controller")
    assert text(controller.page, "h1") == "1 piece of work waits for you"
    assert f"{together} of {DOCUMENTS} documents can’t post yet." in text(controller.page)
    controller.open_first_case()
    case = controller.page.url
    told = text(controller.page)
    assert text(controller.page, "h1") == MISSING
    assert f"{DOCUMENTS} documents, together {together}, are held; they go on where they stopped." in told
    assert "Queue Billing operations" in told
    controller.page.goto(f"{case}evidence/")
    assert "can’t be booked yet" in text(controller.page, "h1")
    controller.page.goto(case)

    item = ReferenceEntry.objects.get(list_name="items", code="QB-API").external_id
    controller.map_to(item, "The shop sells it since today")
    assert "You proposed it" in text(controller.page, "#sign")
    assert controller.page.locator("button[value=approve]").count() == 0

    checker = enter(hands, "mapping_admin")
    checker.open_decision()
    assert f"Approving releases {DOCUMENTS} documents, {together}." in text(checker.page)
    assert f"{OTHERS} of them would be held for another reason." in text(checker.page)
    checker.approve()
    assert "Approved." in text(checker.page, ".note.done")
    ports.forget_kept()
    house.carry(
        until=lambda: house.states("invoice_to_erp") == {"completed": DOCUMENTS - OTHERS, "held": OTHERS},
        seconds=30 + DOCUMENTS / 5,
    )
    tasks.sweep_cases()
    tasks.roll_up_cases()

    made = [entry["external_id"] for entry in house.made("netsuite", "invoice")]
    assert len(made) == len(set(made)) == DOCUMENTS - OTHERS
    assert list(ExceptionCase.objects.filter(closed_at=None).values_list("summary", flat=True)) == [ALSO_MISSING]
    assert list(CaseFix.objects.values_list("how", "document_count")) == [("remap_and_repost", DOCUMENTS)]
    controller.find("Exceptions")
    assert [row.inner_text() for row in controller.page.locator("#cases a.say").all()] == [ALSO_MISSING]
    assert f"{OTHERS} documents" in text(controller.page, "#cases")

    auditor = enter(hands, "auditor")
    posted = BusinessTransaction.objects.filter(flow="invoice_to_erp", state="completed")[0]
    auditor.find(posted.number)
    auditor.open_first()
    auditor.follow("Line by line")
    said = text(auditor.page)
    assert "Item NEW-1 is " in said
    assert "Cora Lindqvist, approved by Mira Tanaka" in said
    verbs = AuditEntry.objects.filter(subject_type="change_set").order_by("-sequence").values_list("actor", "verb")
    assert list(verbs[:3])[::-1] == [
        ("controller", "propose"),
        ("mapping_admin", "approve"),
        ("mapping_admin", "activate"),
    ]
