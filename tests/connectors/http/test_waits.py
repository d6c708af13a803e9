"""How long a vendor asks us to wait (the tables of RFC 9110 and the RateLimit draft)."""

import datetime as dt

import pytest

from connectors.waits import WAIT_SECONDS_MAX, parse_rate_limit, parse_retry_after, wait_seconds

NOW = dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("Fri, 20 Nov 2026 09:02:00 GMT", 120),
        ("Friday, 20-Nov-26 09:02:00 GMT", 120),
        ("Fri Nov 20 09:02:00 2026", 120),
        ("Fri, 20 Nov 2026 08:59:00 GMT", 0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("999999", 999999),
    ],
)
def test_retry_after_is_read(given, seconds):
    assert parse_retry_after(given, NOW) == seconds


def test_a_wait_is_capped():
    assert wait_seconds({"Retry-After": "999999"}, NOW) == WAIT_SECONDS_MAX


def test_rate_limit_policies_are_read():
    assert parse_rate_limit('"permin";q=50;w=60,"perhr";q=1000;w=3600') == [
        ("permin", {"q": 50, "w": 60}),
        ("perhr", {"q": 1000, "w": 3600}),
    ]


@pytest.mark.parametrize("given", ['"permin";r=abc', "permin;r=5", '"permin;r=5', '"permin";r=-1', '"permin";r'])
def test_malformed_rate_limits_are_ignored(given):
    assert parse_rate_limit(given) is None
    assert wait_seconds({"RateLimit": given}, NOW) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"RateLimit": '"permin";r=0;t=17'}, 17),
        ({"RateLimit": '"permin";r=3;t=17'}, None),
        ({"Retry-After": "30", "RateLimit": '"permin";r=0;t=17'}, 30),
        ({"Retry-After": "soon", "RateLimit": '"permin";r=0;t=17'}, 17),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW.timestamp()) + 60)}, 60),
        ({"X-RateLimit-Remaining": "5", "X-RateLimit-Reset": "17"}, None),
        ({"RateLimit-Reset": "17"}, 17),
        ({}, None),
    ],
)
def test_what_the_headers_ask_for(headers, seconds):
    assert wait_seconds(headers, NOW) == seconds
