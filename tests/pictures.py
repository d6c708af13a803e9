"""`make screenshots`: the main screens for docs/, taken with Chromium from a demo of its own, which is ended after.

What the demo doesn't show by itself is brought about as a vendor or a person would: invoices of an item that the ERP
doesn't know, a mapping that waits for a second person, an answer of the ERP that got lost.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from connectors.sandbox.remote import ControlDoor
from q2c import launch
from tests.conftest import CHROMIUM

FOLDER = launch.ROOT / "docs" / "screenshots"
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
READY_SECONDS, FILLED_SECONDS = 1200, 300
LOST = {"do": "lose_answer", "when": {"method": "POST", "path": "*/invoice"}}
BUYERS = ("Halden Garden Centres Ltd", "Brightwater Interiors Ltd", "Peak & Moor Gifts Ltd")
NEW_SKU, EACH = "CLOCK-2027", 8  # an item that billing sells before the ERP has it; invoices for each buyer
ITEM = "Retail goods"  # what the ERP calls it
FILLED = "tr[data-row]:nth-child(4)"  # of the demo's own deals some are held: they come after its doors are open
NOBODY_CAN_LOOK = {"do": "status", "status": 503, "when": {"method": "GET", "path": "*nvoice*"}}


def main(addresses: list[str]) -> int:
    """Take every picture; with the home of a demo that runs, from that one. Says what it took."""
    if not CHROMIUM:
        sys.stderr.write("There's no Chromium: set Q2C_CHROMIUM, or put `chromium` on the path.\n")
        return 1
    if addresses:
        take_all(json.loads((Path(addresses[0]) / "demo.json").read_text()))
        return 0
    demo = subprocess.Popen([sys.executable, "-m", "q2c.launch"], env={**os.environ, "Q2C_ENV": "demo"})
    try:
        take_all(when_ready(demo))
    finally:
        demo.send_signal(signal.SIGTERM)
        demo.wait()
        launch.reset()
    return 0


def when_ready(demo: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What the demo tells once its doors are open. Raises TimeoutError, or RuntimeError for one that ended."""
    told, until = launch.home() / "demo.json", time.monotonic() + READY_SECONDS
    while not told.exists():
        if demo.poll() is not None:
            raise RuntimeError("the demo ended before it was ready")
        if time.monotonic() > until:
            raise TimeoutError(f"the demo wasn't ready after {READY_SECONDS} s")
        time.sleep(1)
    found: dict[str, Any] = json.loads(told.read_text())
    return found


def take_all(demo: dict[str, Any]) -> None:
    """The pictures, in the order in which the screens are met."""
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(exist_ok=True)
    door = ControlDoor(int(demo["control"].rpartition(":")[2]))
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM)
        try:
            House(chromium, demo).take_all(door)
        finally:
            chromium.close()
            door.call("DELETE", "netsuite/faults")


def sell(door: ControlDoor, sku: str, *, count: int) -> None:
    """Invoices of an item to each buyer, as billing makes them; amounts in pence."""
    address = {"country": "GB", "city": "Leeds", "line1": "1 Mill Lane", "postal_code": "LS1 4AP"}
    notes = {"legal_entity": "GB01"}
    customers = [{"name": name, "email": "ap@buyer.test", "address": address, "metadata": notes} for name in BUYERS]
    invoices = [
        {
            "customer": customer, "currency": "gbp", "metadata": notes,
            "lines": [{"amount": 118_400 + 7_315 * n, "quantity": 4, "description": sku, "metadata": {"sku": sku}}],
        }
        for customer in door.make("stripe", "customer", customers)
        for n in range(count)
    ]  # fmt: skip
    door.make("stripe", "invoice", invoices)


class House:
    """A portal with its people, seen through a browser."""

    def __init__(self, chromium: Any, demo: dict[str, Any]) -> None:
        self.chromium, self.portal = chromium, demo["portal"]
        self.passwords = {person["username"]: person["password"] for person in demo["people"]}
        self.seats: dict[str, Any] = {}  # one sign-in each

    def seat(self, person: str) -> Any:
        """A signed-in person's page."""
        if person not in self.seats:
            page = self.chromium.new_context(viewport=WIDE, reduced_motion="reduce").new_page()
            page.goto(f"{self.portal}/accounts/login/")
            page.fill("[name=login]", person)
            page.fill("[name=password]", self.passwords[person])
            page.click("button[type=submit]")
            page.wait_for_selector("#main h1")
            self.seats[person] = page
        return self.seats[person]

    def open(self, person: str, address: str) -> Any:
        """The page at an address, with what it loads later."""
        page = self.seat(person)
        page.goto(f"{self.portal}{address}")
        page.wait_for_load_state("networkidle")
        return page

    def take(self, page: Any, name: str, *, theme: str = "light", size: dict[str, int] = WIDE) -> None:
        """One picture of what a person has before them."""
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.set_viewport_size(size)
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=FOLDER / f"{name}.png")
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.set_viewport_size(WIDE)

    def until(self, person: str, address: str, selector: str) -> Any:
        """The page once it shows this. Raises TimeoutError when it never does."""
        until = time.monotonic() + FILLED_SECONDS
        while True:
            page = self.open(person, address)
            if page.locator(selector).count():
                return page
            if time.monotonic() > until:
                raise TimeoutError(f"{address} never showed {selector}")
            page.wait_for_timeout(2000)

    def take_all(self, door: ControlDoor) -> None:
        """Queue and case, what waits for a second person, the grid, a bulk preview, a card, and a lost answer."""
        self.until("controller", "/exceptions/cases/", FILLED)
        sell(door, NEW_SKU, count=EACH)
        listed = "/exceptions/cases/?kind=missing_item_mapping"
        page = self.until("billing_ops", listed, "tr[data-row]")
        case = page.locator("tr[data-row] a.say").first.get_attribute("href")
        page = self.open("controller", "/exceptions/cases/")
        self.take(page, "queue")
        self.take(page, "queue-dark-390", theme="dark", size=PHONE)
        page = self.open("billing_ops", case)
        self.take(page, "case")
        number = page.locator(".queue tr[data-row] a.say").first.inner_text().split()[-1]
        self.take(self.open("billing_ops", f"{case}evidence/"), "side-by-side")
        self.take(self.bulk_preview(case), "bulk-preview-dark", theme="dark")
        self.take(self.approval(case), "approval")
        self.take(self.open("controller", "/"), "home")
        self.take(self.open("mapping_admin", "/mappings/grid/?kind=item"), "mapping-grid")
        self.take(self.open("billing_ops", f"/card/?q={number}"), "money-card-390", size=PHONE)
        self.take(self.lost_answer(door), "unknown-outcome")

    def bulk_preview(self, case: str) -> Any:
        """What a bulk action would do, before anybody confirmed it."""
        page = self.open("billing_ops", case)
        page.locator("input[data-pick-all]").check()
        page.locator("#bulk-form button[name=what]").first.click()
        page.wait_for_load_state("networkidle")
        return page

    def approval(self, case: str) -> Any:
        """A mapping that one person proposed, before the other."""
        page = self.open("billing_ops", case)
        form = page.locator("form[aria-label='Map and repost']")
        form.locator("[name=value]").fill(ITEM)
        form.locator("[name=why]").fill("The item was made in the ERP this morning")
        form.locator("button[type=submit]").last.click()
        page.wait_for_selector("#sign")
        return self.open("controller", page.url.removeprefix(self.portal))

    def lost_answer(self, door: ControlDoor) -> Any:
        """A document of which nobody knows whether it was posted: the answer got lost, and nobody can look yet."""
        for fault in (LOST, NOBODY_CAN_LOOK):
            door.call("POST", "netsuite/faults", fault)
        sell(door, "QB-API", count=1)
        page = self.until("controller", "/transactions/?state=unknown", "tr[data-row]")
        page.locator("tr[data-row] a.say").first.click()
        page.wait_for_load_state("networkidle")
        return page


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
