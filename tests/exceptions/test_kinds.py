"""The catalogues: whole, readable, and every code that is raised anywhere has its row."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from exceptions import kind_words, kinds, routing, sla
from exceptions.grouping import fingerprint
from mappings import kinds as mapping_kinds
from q2c.core.problems import Category
from q2c.core.roles import ROLES
from q2c.core.workdays import WorkCalendar

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("q2c", "connectors", "mappings", "exceptions")
QUEUES = {queue for role in ROLES for queue in role.queues}
RAISED = re.compile(r"""Problem\(\s*["']([a-z_]+)["']|problem=["']([a-z_]+)["']""")
# A row of a vendor's error table names its problem second, after its category.
IN_TABLE = re.compile(r"""When\(\s*(?:category=)?\w*\.?[A-Z_]+,\s*(?:problem=)?["']([a-z_]+)["']""")


def raised_codes() -> dict[str, str]:
    found = {}
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "migrations" in path.parts or "sandbox" in path.parts:
                continue
            text = path.read_text()
            for match in (*RAISED.finditer(text), *IN_TABLE.finditer(text)):
                found[next(code for code in match.groups() if code)] = str(path.relative_to(ROOT))
    return found


def test_every_code_that_is_raised_anywhere_has_a_row():
    codes = raised_codes()
    assert len(codes) > 20
    assert {code: path for code, path in codes.items() if not kinds.is_known(code)} == {}


def test_every_row_is_raised_somewhere():
    rows = ("kinds.py", "operating_kinds.py")
    texts = [path.read_text() for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.name not in rows]
    missing = {kind.missing_code for kind in mapping_kinds.KINDS}
    silent = [k.code for k in kinds.KINDS if k.code not in missing and not any(f'"{k.code}"' in text for text in texts)]
    assert silent == []


def test_codes_are_unique_and_every_mapping_kind_has_its_missing_code():
    codes = [kind.code for kind in kinds.KINDS]
    assert len(codes) == len(set(codes))
    assert {kind.missing_code for kind in mapping_kinds.KINDS} <= set(codes)


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.code)
def test_every_kind_has_an_owner_a_fingerprint_a_resolution_and_a_runbook(kind):
    assert kind.owner in QUEUES
    assert kind.same_when
    assert kind.may
    assert set(kind.may) <= set(kind_words.RESOLUTION_WORDS)
    assert kind.sla > dt.timedelta(0)
    assert len(kind.runbook) > 30
    assert kind.says
    assert not kind.says.endswith(".")


def test_nothing_of_an_unknown_outcome_can_be_reposted_waived_or_corrected():
    for kind in kinds.KINDS:
        if kind.category is Category.UNKNOWN_OUTCOME:
            assert not set(kind.may) & {
                kind_words.REPOST,
                kind_words.REMAP_AND_REPOST,
                kind_words.WAIVE,
                kind_words.CORRECT_AT_SOURCE,
            }


def test_what_only_a_mapping_mends_is_never_waived():
    for kind in kinds.KINDS:
        if kind_words.REMAP_AND_REPOST in kind.may:
            assert kind_words.WAIVE not in kind.may


def test_placeholders_are_facts_that_a_problem_can_carry():
    known = set(re.findall(r"\w+", " ".join(" ".join(kind.same_when) for kind in kinds.KINDS)))
    known |= {"gateway", "external_id", "path", "customer", "stream"}
    for kind in kinds.KINDS:
        assert set(re.findall(r"{(\w+)}", kind.says + kind.runbook)) <= known, kind.code


def test_what_a_vendor_refuses_belongs_to_whoever_owns_the_flow():
    refused = kinds.kind_of("vendor_refused")
    assert routing.queue_for(refused, flow="order_to_subscription") == "sales_ops"
    assert routing.queue_for(refused, flow="invoice_to_erp") == "billing_ops"
    assert routing.queue_for(kinds.kind_of("period_closed"), flow="order_to_subscription") == "controllership"


def test_a_fingerprint_depends_on_the_named_facts_alone():
    facts = {"connection": "netsuite", "key": "A", "other": "x"}
    first = fingerprint("k", ("connection", "key"), facts)
    assert first == fingerprint("k", ("connection", "key"), facts | {"other": "y"})
    others = {
        fingerprint("k", ("connection", "key"), facts | {"key": "B"}),
        fingerprint("k2", ("connection", "key"), facts),
        fingerprint("k", ("key", "connection"), facts),
    }
    assert first not in others
    assert re.fullmatch("[0-9a-f]{64}", first)


UTC = dt.UTC
LONDON = WorkCalendar(time_zone="Europe/London", holidays=frozenset({dt.date(2026, 12, 25)}))


@pytest.mark.parametrize(
    ("start", "hours", "due"),
    [
        ("2026-11-20T09:00", 8, "2026-11-20T17:00"),  # a whole Friday
        ("2026-11-20T16:00", 2, "2026-11-23T10:00"),  # over the weekend
        ("2026-11-21T12:00", 1, "2026-11-23T10:00"),  # begun on a Saturday
        ("2026-11-20T20:00", 1, "2026-11-23T10:00"),  # begun after hours
        ("2026-12-24T16:00", 2, "2026-12-28T10:00"),  # over a holiday and a weekend
        ("2026-03-27T16:00", 2, "2026-03-30T09:00"),  # into summer time: ten o'clock there is nine in UTC
    ],
)
def test_a_promise_is_counted_in_the_hours_that_people_work(start, hours, due):
    begin = dt.datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert sla.due_at(begin, dt.timedelta(hours=hours), LONDON) == dt.datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_the_platform_teams_clock_never_stops():
    begin = dt.datetime(2026, 11, 21, 3, tzinfo=UTC)
    assert sla.due_at(begin, dt.timedelta(hours=1), None) == dt.datetime(2026, 11, 21, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "hours", "due"),
    [
        ("2026-11-20T09:00", 8, "2026-11-20T13:00"),  # a Friday around the close: four hours use up eight
        ("2026-11-19T15:00", 8, "2026-11-20T12:00"),  # two hours as ever, then three that count twice
        ("2026-11-19T09:00", 8, "2026-11-19T17:00"),  # used up before the close begins
    ],
)
def test_around_a_close_promised_time_is_used_up_faster(start, hours, due):
    begin, end = (dt.datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (start, due))
    fast = {dt.date(2026, 11, 20)}
    assert sla.due_at(begin, dt.timedelta(hours=hours), LONDON, fast=fast, pace=2) == end
    assert sla.used(begin, end, LONDON, fast=fast, pace=2) == dt.timedelta(hours=hours)


def test_nights_and_weekends_use_up_nothing():
    friday, monday = dt.datetime(2026, 11, 20, 17, tzinfo=UTC), dt.datetime(2026, 11, 23, 9, tzinfo=UTC)
    assert sla.used(friday, monday, LONDON) == dt.timedelta()
    assert sla.used(friday, monday, None) == monday - friday
