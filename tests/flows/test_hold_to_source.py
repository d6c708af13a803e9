"""A note overtakes an older one that isn't sent; a refusal is one case of the connection; a gone record is none."""

from __future__ import annotations

import asyncio
import datetime as dt
from types import SimpleNamespace

import pytest

from q2c.canonical.base import Source
from q2c.canonical.contract import HoldNote
from q2c.canonical.schema import to_json
from q2c.core.problems import Category, NeverSent, NotAnswered, NotNeeded, Problem
from q2c.flows.hold_to_source import choose_note, publish_hold

AT = dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)
SOURCE = Source(connection="stripe", object_type="invoice", object_id="in_1")
NOTE = HoldNote(source=SOURCE, at=AT, status="held", message="Held.", link="https://q2c.test/1/")


def refusing(problem):
    async def publish_hold(*args, **kwargs):
        raise problem

    return SimpleNamespace(name="Stripe", publish_hold=publish_hold)


def publish(problem):
    return asyncio.run(publish_hold(NOTE, refusing(problem), SimpleNamespace(key="k")))


def test_only_the_newest_note_of_a_record_is_written():
    newer = HoldNote(source=SOURCE, at=AT + dt.timedelta(seconds=5))
    links = SimpleNamespace(in_lane=lambda flow, lane: [to_json(NOTE), to_json(newer)])
    txn = SimpleNamespace(lane="hold:stripe:invoice:in_1")
    assert choose_note(newer, links, txn) == "stripe"
    with pytest.raises(NotNeeded):
        choose_note(NOTE, links, txn)


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("vendor_refused", Category.VALIDATION),
        ("vendor_reference_refused", Category.MAPPING),
        ("conflict", Category.CONFLICT),
        ("vendor_permission", Category.AUTHENTICATION),  # would pause the connection, and with it what carries money
    ],
)
def test_whatever_a_system_says_against_our_notes_is_one_case_of_the_connection(code, category):
    with pytest.raises(Problem) as caught:
        publish(Problem(code, category, "No", connection="stripe", field="metadata", document="in_1"))
    assert (caught.value.code, caught.value.category) == ("hold_not_told", Category.VALIDATION)
    assert caught.value.subject == {"connection": "stripe"}


@pytest.mark.parametrize("code", ["target_gone", "record_gone"])
def test_a_record_that_is_gone_needs_no_note(code):
    assert publish(Problem(code, Category.VALIDATION, "gone")).status == "gone"


@pytest.mark.parametrize(
    "problem",
    [
        NeverSent("away"),
        NotAnswered("silent"),
        Problem("rate_limited", Category.RATE_LIMIT, "slower"),
        Problem("credentials_refused", Category.AUTHENTICATION, "who are you"),
    ],
)
def test_what_waits_unknown_and_signs_in_no_more_stays_what_it_is(problem):
    with pytest.raises(Problem) as caught:
        publish(problem)
    assert caught.value is problem
