"""A subscription that is amended twice within its month: what the ERP holds is the contract's value, day by day, though
the webhooks come in the opposite order. What each document must hold is reckoned here by hand, at so much a day."""

from __future__ import annotations

import calendar
import datetime as dt
import time
from collections import defaultdict
from decimal import Decimal as D

import pytest

from connectors.sandbox.remote import ControlDoor
from q2c.demo.taxes import make_tax_rates
from q2c.flows.summaries import start_summaries_now
from q2c.inbox.models import InboundKey
from q2c.reconciliation.control_totals import compute_totals
from q2c.transactions.models import Contribution
from tests.journeys.ledger import RECEIVABLES, Ledger
from tests.journeys.test_events import Post

pytestmark = pytest.mark.django_db(transaction=True)
DEFERRED, TAX, CONTROL = "2200", "2400", "1105"
VAT = D("0.20")
NOON, DAY = dt.time(12, tzinfo=dt.UTC), dt.timedelta(days=1)
AT_FIRST, UPGRADED, IN_THE_END = 10, 16, 13  # pounds a day
UPGRADE, CHANGE = 10, 17  # days after the start


def months_after(day, months):
    year, month = day.year + (day.month - 1 + months) // 12, (day.month - 1 + months) % 12 + 1
    return dt.date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


class Amended:
    """A monthly subscription from today's noon on, amended on two days of its first month and renewed once."""

    def __init__(self, house, customer, how):
        self.house, self.start = house, dt.datetime.now(dt.UTC).date()
        self.renewal, self.end = (months_after(self.start, months) for months in (1, 2))
        self.days = (self.renewal - self.start).days
        product = house.ask_stripe("products", name="Plan", **{"metadata[sku]": "QB-API"})["id"]
        first, upgrade, last = (self._price(product, daily) for daily in (AT_FIRST, UPGRADED, IN_THE_END))
        self._go_to(self.start)
        made = {"customer": customer, "collection_method": "send_invoice", "days_until_due": 30,
                "metadata[legal_entity]": "GB01", "items[0][price]": first,
                "default_tax_rates[0]": make_tax_rates(ControlDoor(house.sandboxes.port))["gb-vat"]}  # fmt: skip
        sold = house.ask_stripe("subscriptions", **made)
        for after, price in ((UPGRADE, upgrade), (CHANGE, last)):
            self._go_to(self.start + after * DAY)
            changed = {"items[0][id]": sold["items"]["data"][0]["id"], "items[0][price]": price}
            house.ask_stripe(f"subscriptions/{sold['id']}", proration_behavior=how, **changed)
        self._go_to(self.renewal)
        self._go_to(self.renewal, hours=2)  # its draft is final after an hour

    def _price(self, product, daily):
        price = {"unit_amount": 100 * daily * self.days, "recurring[interval]": "month", "currency": "gbp"}
        return self.house.ask_stripe("prices", product=product, **price)["id"]

    def _go_to(self, day, *, hours=0):
        at = dt.datetime.combine(day, NOON) + dt.timedelta(hours=hours)
        self.house.sandboxes.control("POST", "clock", {"offset_seconds": at.timestamp() - time.time() + 0.01})

    def rest(self, daily, after):
        """The line of so much a day from a day on until the month's end: amount, first and last day."""
        return D(daily * (self.days - after)), self.start + after * DAY, self.renewal - DAY

    @property
    def next_month(self):
        """The renewal's own line."""
        return D(IN_THE_END * self.days), self.renewal, self.end - DAY

    @property
    def value(self):
        """What is due for both months."""
        first = AT_FIRST * UPGRADE + UPGRADED * (CHANGE - UPGRADE) + IN_THE_END * (self.days - CHANGE)
        return D(first + IN_THE_END * self.days)

    @property
    def earned(self):
        """What is earned on each day of the first month."""
        rates = (AT_FIRST,) * UPGRADE + (UPGRADED,) * (CHANGE - UPGRADE) + (IN_THE_END,) * (self.days - CHANGE)
        return {self.start + n * DAY: D(daily) for n, daily in enumerate(rates)}

    def billed(self, how):
        """The lines of each document, in the order of the ERP's list: its invoices, newest first, then its credit
        memos."""
        first = [self.rest(AT_FIRST, 0)]
        upgrade = [self.rest(-AT_FIRST, UPGRADE), self.rest(UPGRADED, UPGRADE)]
        if how == "create_prorations":  # on the next invoice, with the next month
            change = [self.rest(-UPGRADED, CHANGE), self.rest(IN_THE_END, CHANGE)]
            return [[self.next_month, *upgrade, *change], first], []
        return [[self.next_month], upgrade, first], [[self.rest(UPGRADED, CHANGE), self.rest(-IN_THE_END, CHANGE)]]

    def open(self, how):
        """What the customer owes of each document, in the same order."""
        first, upgrade = AT_FIRST * self.days, (UPGRADED - AT_FIRST) * (self.days - UPGRADE)
        change = (IN_THE_END - UPGRADED) * (self.days - CHANGE)  # below 0: the next invoice is lower by it
        renewed = IN_THE_END * self.days + change
        owed = [renewed + upgrade, first] if how == "create_prorations" else [renewed, upgrade, first]
        return [amount * (1 + VAT) for amount in owed]


def send_in_the_opposite_order(house, post):
    """The webhooks that nobody has heard yet, the newest first; what one posts is in the ERP before the next comes, or
    waits for its day's summary."""
    events = house.sandboxes.control("GET", "stripe/documents/event?limit=1000")["items"]
    known = set(InboundKey.objects.values_list("dedupe_key", flat=True))
    posted = 0
    for event in reversed([event for event in events if event["id"] not in known]):
        assert post.send(event) < 300
        if event["type"] == "invoice.finalized":
            posted += 1
            house.carry(until=lambda posted=posted: count_ready(house) >= posted)
    house.carry()


def count_ready(house):
    made = house.made("netsuite", "invoice") + house.made("netsuite", "creditMemo")
    return len(made) + Contribution.objects.count()


def lines_of(books, kind, entry):
    """What the ERP holds of a document: each line's amount, and the first and last day over which it's earned."""
    items = books.client.read(kind, entry["id"])["item"]["items"]
    dates = [[dt.date.fromisoformat(line[f"revRec{end}Date"]) for end in ("Start", "End")] for line in items]
    return [(D(str(line["amount"])), *ends) for line, ends in zip(items, dates, strict=True)]


def earned_by_day(lines):
    """What straight-line recognition by the dates of these lines earns on each day."""
    days = defaultdict(D)
    for amount, first, last in lines:
        count = (last - first).days + 1
        for n in range(count):
            days[first + n * DAY] += amount / count
    return days


@pytest.mark.scenario(48)
@pytest.mark.parametrize("how", ["always_invoice", "create_prorations"])
def test_two_amendments_in_a_month_post_the_contracts_value_in_whatever_order_they_come(house, live_server, how):
    customer = house.customer()
    house.carry()
    post = Post(house, live_server)
    sold = Amended(house, customer, how)
    send_in_the_opposite_order(house, post)
    assert (set(house.states()), house.held()) == ({"completed"}, []), house.standing()
    books = Ledger(house.sandboxes)
    made = {kind: house.made("netsuite", kind) for kind in ("invoice", "creditMemo")}
    invoices, credits = ([lines_of(books, kind, entry) for entry in entries] for kind, entries in made.items())
    assert (invoices, credits) == sold.billed(how)
    taken_back = [(-amount, *ends) for lines in credits for amount, *ends in lines]
    lines = [line for document in invoices for line in document] + taken_back
    assert sum(amount for amount, *_ in lines) == sold.value
    earned = earned_by_day(lines)
    assert {day: earned[day] for day in sold.earned} == sold.earned
    gross = sold.value * (1 + VAT)
    assert books.balances() == {RECEIVABLES: gross, DEFERRED: -sold.value, TAX: -sold.value * VAT}
    assert sorted(books.open_items().values()) == sorted(sold.open(how))
    assert house.arrived_twice() == []
    assert compute_totals(["stripe"]).agrees


@pytest.mark.scenario(48)
@pytest.mark.parametrize("how", ["always_invoice", "create_prorations"])
def test_two_amendments_in_a_month_say_in_the_summaries_too_what_is_earned_when(house, live_server, how):
    house.post_in_summary("GB01")
    customer = house.customer()
    house.carry()
    post = Post(house, live_server)
    sold = Amended(house, customer, how)
    send_in_the_opposite_order(house, post)
    start_summaries_now(lambda day: True)
    house.carry()
    assert (set(house.states()), house.held()) == ({"completed"}, []), house.standing()
    books = Ledger(house.sandboxes)
    journals = [books.client.read("journalEntry", entry["id"]) for entry in house.made("netsuite", "journalEntry")]
    rows = [line for journal in journals for line in journal["line"]["items"] if "startDate" in line]
    lines = [(D(str(row.get("credit", 0))) - D(str(row.get("debit", 0))),
              *(dt.date.fromisoformat(row[end]) for end in ("startDate", "endDate"))) for row in rows]  # fmt: skip
    invoices, credits = sold.billed(how)
    billed = [line for document in invoices for line in document]
    assert sorted(lines) == sorted([*billed, *((-a, *ends) for document in credits for a, *ends in document)])
    gross = sold.value * (1 + VAT)
    assert books.balances() == {CONTROL: gross, DEFERRED: -sold.value, TAX: -sold.value * VAT}
    assert house.arrived_twice() == []
    assert compute_totals(["stripe"]).agrees
