"""On which day, and so in which month, a document stands: where its seller is, to the minute. Worked out by hand."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace

import pytest

from q2c import ports
from q2c.flows.intake import time_zone_of
from q2c.flows.steps.dates import _INSTANTS, own_date
from tests import factories

pytestmark = pytest.mark.django_db
DAYS = [  # zone, instant in UTC, day there
    ("America/Los_Angeles", "2026-12-01T07:59:00", "2026-11-30"),  # 23:59 at UTC-8, of the month's last day
    ("America/Los_Angeles", "2026-12-01T08:00:00", "2026-12-01"),
    ("Pacific/Auckland", "2026-11-30T11:01:00", "2026-12-01"),  # 00:01 at UTC+13, of the next month's first day
    ("Pacific/Auckland", "2026-11-30T10:59:00", "2026-11-30"),
    ("Europe/London", "2026-10-25T00:30:00", "2026-10-25"),  # 01:30, the first of two: the clocks go back
    ("Europe/London", "2026-10-24T23:30:00", "2026-10-25"),  # 00:30 in summer time
    ("Europe/London", "2026-10-25T23:30:00", "2026-10-25"),  # 23:30 in winter time, of a day of 25 hours
    ("America/New_York", "2027-03-14T03:59:00", "2027-03-13"),  # 22:59 in winter time, before a day of 23 hours
    ("America/New_York", "2027-03-15T03:59:00", "2027-03-14"),  # 23:59 in summer time
    ("Asia/Tokyo", "2028-02-28T15:00:00", "2028-02-29"),  # midnight of the leap day
    ("Asia/Tokyo", "2028-02-29T14:59:00", "2028-02-29"),
    ("America/Los_Angeles", "2028-03-01T07:59:00", "2028-02-29"),
    ("Asia/Tokyo", "2026-12-31T15:00:00", "2027-01-01"),
]


@pytest.mark.scenario(26, 46, of="the days of documents")
@pytest.mark.parametrize(("zone", "at", "day"), DAYS)
def test_an_instant_of_any_document_is_a_day_where_its_seller_is(zone, at, day):
    factories.make_entity("XX01", time_zone=zone)
    ports.forget_kept()
    assert time_zone_of("XX01") == zone, "by which arrivals and bill runs are dated"
    instant = dt.datetime.fromisoformat(at).replace(tzinfo=dt.UTC)
    found = {name: own_date(SimpleNamespace(**{name: instant}), "XX01", ports.Calendar()) for name in _INSTANTS}
    assert found == dict.fromkeys(_INSTANTS, dt.date.fromisoformat(day))
    plain = SimpleNamespace(document_date=dt.date(2026, 11, 30), **{_INSTANTS[0]: instant})
    assert own_date(plain, "XX01", ports.Calendar()) == dt.date(2026, 11, 30), "a plain date is never shifted"
