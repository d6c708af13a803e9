"""A term at Stripe's sandbox, from its first day to its end: so many invoices, each of its own days."""

import calendar
import datetime as dt
from decimal import Decimal

import pytest

from connectors.families import SubscriptionPlan
from connectors.sandbox.testing import running_sandboxes
from q2c.canonical.contract import OrderLine
from q2c.posting.days import with_days
from tests.connectors.lines import client_of, run

YEAR = dt.datetime.now(dt.UTC).year + 1
MONTHS = {"monthly": 1, "quarterly": 3, "semiannual": 6, "annual": 12}
CASES = [
    (zone, start, term, rhythm)
    for zone in ("Europe/London", "America/New_York", "America/Los_Angeles", "Asia/Tokyo", "Pacific/Auckland")
    for start, term, rhythm in (
        (dt.date(YEAR, 9, 1), 3, "monthly"), (dt.date(YEAR, 7, 1), 2, "monthly"), (dt.date(YEAR, 2, 1), 1, "monthly"),
        (dt.date(YEAR, 1, 31), 4, "monthly"), (dt.date(YEAR, 3, 1), 12, "quarterly"),
        (dt.date(YEAR, 8, 31), 12, "semiannual"), (dt.date(YEAR, 10, 15), 12, "annual"),
    )
]  # fmt: skip


def first_day(start, months):
    year, month = start.year + (start.month - 1 + months) // 12, (start.month - 1 + months) % 12 + 1
    return dt.date(year, month, min(start.day, calendar.monthrange(year, month)[1]))


def expected(start, term, rhythm):
    step = MONTHS[rhythm]
    return [(first_day(start, n), first_day(start, n + step) - dt.timedelta(days=1)) for n in range(0, term, step)]


@pytest.fixture(scope="module")
def terms(tmp_path_factory):
    """Every case sold, today's clock turned until all have ended, and what was billed: days by case."""
    with running_sandboxes(tmp_path_factory.mktemp("terms"), vendors=["stripe"]) as running:
        running.control("POST", "stripe/limits", {"enforced": False})
        given = running.vendor("stripe")
        (customer,) = running.make(
            "stripe", "customer", {"name": "Northwind Ltd", "metadata": {"legal_entity": "GB01"}}
        )
        today = dt.datetime.now(dt.UTC).date()
        cases = [*CASES, *(("America/New_York", today - dt.timedelta(days=1), term, "monthly") for term in (1, 3))]

        async def sell():
            billing = client_of("stripe", given["url"], secrets=given["credentials"])
            for n, (zone, start, term, rhythm) in enumerate(cases):
                line = OrderLine(line_id="l1", sku="PLAT-1", quantity=Decimal(1), unit_price=Decimal(100),
                                 billing_frequency=rhythm)  # fmt: skip
                await billing.create_subscription(
                    SubscriptionPlan(external_id=f"sub-{n}", order_id=f"o{n}", customer_id=customer, currency="GBP",
                                     start_date=start, term_months=term, lines=(line,), product_ids={},
                                     planned_at=dt.datetime.now(dt.UTC), time_zone=zone,
                                     metadata={"legal_entity": "GB01"}),
                    key=f"key-{n}",
                )  # fmt: skip

        async def read():
            billing = client_of("stripe", given["url"], secrets=given["credentials"])
            held = running.control("GET", "stripe/documents/invoice?limit=1000")["items"]
            return [await billing.invoice(each["id"]) for each in held]

        run(sell())
        end = dt.date(YEAR + 2, 1, 1)
        for days in range(0, (end - today).days, 25):
            running.control("POST", "clock", {"offset_seconds": days * 86400})
        billed = {}
        for invoice in run(read()):
            billed.setdefault(invoice.order_id, []).append(invoice)
        yield [(case, billed[f"o{n}"]) for n, case in enumerate(cases)]


@pytest.mark.scenario(46, of="the days of documents")
def test_a_term_bills_exactly_its_periods_each_with_its_own_days(terms):
    for (zone, start, term, rhythm), invoices in terms:
        days = [(line.service_start, line.service_end) for i in invoices for line in with_days(i, zone).lines]
        assert sorted(days) == expected(start, term, rhythm), (zone, start, term, rhythm)
