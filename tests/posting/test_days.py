"""Service and due days: every zone, every month, whatever the clocks do; what is expected is counted on a calendar."""

import calendar
import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from connectors.families import SubscriptionPlan
from connectors.stripe import outbound
from q2c.canonical.base import Source
from q2c.canonical.billing import CreditMemo, Invoice, InvoiceLine
from q2c.posting.days import with_days

ZONES = ("Europe/London", "America/New_York", "America/Los_Angeles", "America/St_Johns", "Asia/Tokyo", "Asia/Kolkata",
         "Australia/Sydney", "Pacific/Auckland", "Pacific/Honolulu", "Pacific/Kiritimati", "UTC")  # fmt: skip
AT = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)


def utc(*parts):
    return dt.datetime(*parts, tzinfo=dt.UTC)


def line(start=None, until=None, **more):
    given = {"line_id": "l1", "sku": "SUB", "description": "", "quantity": Decimal(1), "unit_price": Decimal(100),
             "amount": Decimal(100), "service_from": start, "service_until": until}  # fmt: skip
    return InvoiceLine(**{**given, **more})


def invoice(*lines, **more):
    source = Source(connection="stripe", object_type="invoice", object_id="in_1")
    given = {"source": source, "number": "1", "customer_id": "cus_1", "customer_name": "N", "currency": "GBP",
             "issued_at": AT, "total": Decimal(100)}  # fmt: skip
    return Invoice(**{**given, **more}, lines=lines)


def service(zone, start, until):
    (found,) = with_days(invoice(line(start, until)), zone).lines
    return found.service_start, found.service_end


def months_after(anchor, count):
    """As Stripe counts: in UTC, on the anchor's day of the month where the month has it."""
    months = anchor.month - 1 + count
    year, month = anchor.year + months // 12, months % 12 + 1
    return anchor.replace(year=year, month=month, day=min(anchor.day, calendar.monthrange(year, month)[1]))


def days_of_period(start, number):
    """First and last day of the n-th monthly period of a contract, counted on a calendar without any clock."""

    def first(n):
        year, month = start.year + (start.month - 1 + n) // 12, (start.month - 1 + n) % 12 + 1
        return dt.date(year, month, min(start.day, calendar.monthrange(year, month)[1]))

    return first(number), first(number + 1) - dt.timedelta(days=1)


def plan(zone, start, months=24):
    return SubscriptionPlan(external_id="s", order_id="o", customer_id="c", currency="GBP", start_date=start,
                            planned_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), term_months=months, lines=(),
                            product_ids={}, time_zone=zone)  # fmt: skip


@pytest.mark.scenario(46)
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("day", [1, 15, 28, 29, 30, 31])
def test_every_month_of_a_subscription_has_its_own_days_wherever_the_seller_is(zone, day):
    for month in range(1, 13):
        start = dt.date(2027, month, min(day, calendar.monthrange(2027, month)[1]))
        anchor = outbound.starts_at(plan(zone, start))
        for number in range(25):  # February 2028 is a leap month
            period = months_after(anchor, number), months_after(anchor, number + 1)
            assert service(zone, *period) == days_of_period(start, number), (start, number)


@pytest.mark.parametrize("zone", ZONES)
def test_a_term_ends_where_its_last_period_ends(zone):
    for start in (dt.date(2027, m, d) for m in range(1, 13) for d in (1, 28, calendar.monthrange(2027, m)[1])):
        for months in (1, 3, 12, 14, 36):
            sold = plan(zone, start, months)
            assert outbound.ends_at(sold) == months_after(outbound.starts_at(sold), months)


@pytest.mark.parametrize("zone", ZONES)
def test_a_period_begins_within_the_contracts_first_day_and_leaves_the_invoice_an_hour(zone):
    for start in (dt.date(2027, 1, 1) + dt.timedelta(days=n) for n in range(366)):
        begins = outbound.starts_at(plan(zone, start))
        assert begins.date() == start
        assert begins.astimezone(ZoneInfo(zone)).date() == start
        assert (begins + dt.timedelta(hours=2)).astimezone(ZoneInfo(zone)).date() == start


@pytest.mark.parametrize(
    ("zone", "starts"),
    [
        ("Europe/London", utc(2027, 7, 1, 0)),
        ("America/New_York", utc(2027, 7, 1, 5)),
        ("America/Los_Angeles", utc(2027, 7, 1, 8)),
        ("America/St_Johns", utc(2027, 7, 1, 4)),
        ("Asia/Tokyo", utc(2027, 7, 1, 0)),
        ("Pacific/Honolulu", utc(2027, 7, 1, 10)),
    ],
)
def test_a_day_begins_at_the_first_utc_hour_that_is_the_same_day_in_every_season(zone, starts):
    assert outbound.starts_at(plan(zone, dt.date(2027, 7, 1))) == starts


@pytest.mark.parametrize(
    ("zone", "start", "until", "days"),
    [  # what somebody typed into billing by hand, at local midnight or at any hour
        ("Asia/Tokyo", utc(2026, 11, 30, 15), utc(2026, 12, 31, 15), ("2026-12-01", "2026-12-31")),
        ("America/New_York", utc(2027, 3, 1, 5), utc(2027, 4, 1, 4), ("2027-03-01", "2027-03-31")),
        ("Europe/London", utc(2027, 3, 1), utc(2027, 4, 1), ("2027-03-01", "2027-03-31")),
        ("Europe/London", utc(2027, 9, 30, 23), utc(2027, 10, 31, 23), ("2027-10-01", "2027-10-31")),
        ("America/Los_Angeles", utc(2026, 11, 1, 7), utc(2026, 12, 1, 7), ("2026-11-01", "2026-11-30")),
        ("Europe/London", utc(2027, 3, 5, 14, 37), utc(2027, 4, 5, 14, 37), ("2027-03-05", "2027-04-04")),
        ("Europe/London", utc(2028, 2, 29), utc(2028, 3, 29), ("2028-02-29", "2028-03-28")),
        ("Asia/Tokyo", utc(2027, 1, 31, 15), utc(2027, 1, 31, 18), ("2027-02-01", "2027-02-01")),
    ],
)
def test_a_period_that_billing_made_is_read_where_the_seller_is(zone, start, until, days):
    assert service(zone, start, until) == tuple(dt.date.fromisoformat(day) for day in days)


def test_a_due_instant_is_the_sellers_day():
    due = invoice(line(), due_at=utc(2027, 1, 31, 15))
    assert with_days(due, "Asia/Tokyo").due_date == dt.date(2027, 2, 1)
    assert with_days(due, "Europe/London").due_date == dt.date(2027, 1, 31)


def test_a_plain_date_is_never_shifted():
    said = invoice(
        line(utc(2027, 1, 1), utc(2027, 2, 1), service_start=dt.date(2026, 12, 5), service_end=dt.date(2026, 12, 6)),
        due_date=dt.date(2026, 12, 7), due_at=utc(2027, 5, 5),
    )  # fmt: skip
    dated = with_days(said, "Asia/Tokyo")
    assert (dated.lines[0].service_start, dated.lines[0].service_end) == (dt.date(2026, 12, 5), dt.date(2026, 12, 6))
    assert dated.due_date == dt.date(2026, 12, 7)


def test_a_credit_takes_the_days_of_the_lines_that_it_credits():
    memo = CreditMemo(
        source=Source(connection="stripe", object_type="credit_note", object_id="cn_1"), number="1", customer_id="c",
        customer_name="N", currency="JPY", issued_at=AT, total=Decimal(100),
        lines=(line(utc(2026, 11, 30, 15), utc(2026, 12, 31, 15)),),
    )  # fmt: skip
    (credited,) = with_days(memo, "Asia/Tokyo").lines
    assert (credited.service_start, credited.service_end) == (dt.date(2026, 12, 1), dt.date(2026, 12, 31))
