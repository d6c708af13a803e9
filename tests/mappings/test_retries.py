"""How often a vendor's error is tried again: governed rules, from memory, never for what waiting doesn't mend."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from mappings import approvals, drafts
from mappings.drafts import DraftRefused, Line
from mappings.resolve import latest_change_set
from mappings.retries import Retries, retry_faults
from q2c import ports
from q2c.core.problems import Category, NeverSent, Problem
from q2c.core.retries import DEFAULT, read_retry
from tests import factories
from tests.core.people import make_person
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
VENDORS = {"billing-us": "stripe", "erp": "netsuite"}


def busy(error: str, connection: str = "billing-us") -> Problem:
    return Problem("rate_limited", Category.RATE_LIMIT, "Busy", error=error, connection=connection)


def policy(error: str, connection: str = "billing-us") -> str:
    return Retries.load(latest_change_set(), VENDORS).policy(busy(error, connection), "").says


def test_the_most_specific_rule_in_force_says_how_often():
    make_rule("retry_policy", "*|*", "3 times, 1s to 10s, jitter 0%")
    make_rule("retry_policy", "stripe|*", "4 times, 1s to 10s, jitter 0%")
    make_rule("retry_policy", "stripe|503", "never")
    make_rule("retry_policy", "stripe|503", "5 times, 1s to 10s, jitter 0%", connection="billing-us")
    make_rule("retry_policy", "stripe|*/rate_limit", "6 times, 1s to 10s, jitter 0%", until=dt.date(2020, 1, 1))
    assert [policy("503"), policy("*/rate_limit"), policy("429", "erp"), policy("429", "gone")] == [
        "5 times, 1s to 10s, jitter 0%",
        "4 times, 1s to 10s, jitter 0%",
        "3 times, 1s to 10s, jitter 0%",
        "3 times, 1s to 10s, jitter 0%",
    ]


def test_without_a_rule_or_an_answer_our_own_words_count():
    assert policy("503") == DEFAULT.says
    make_rule("retry_policy", "netsuite|system_unavailable", "7 times, 1s to 10s, jitter 0%")
    known = Retries.load(latest_change_set(), VENDORS)
    assert known.policy(NeverSent("No connection"), "erp").attempts == 7


@pytest.mark.parametrize(("error", "attempts"), [
    ("invalid_request_error/rate_limit", 6), ("api_error/rate_limit", 5), ("invalid_request_error/rate_limited", 4),
    ("503", 4),
])  # fmt: skip
def test_a_rule_by_the_vendors_own_table_holds_for_the_errors_of_that_row(error, attempts):
    make_rule("retry_policy", "stripe|*", "4 times, 1s to 10s, jitter 0%")
    make_rule("retry_policy", "stripe|*/rate_limit", "6 times, 1s to 10s, jitter 0%")
    make_rule("retry_policy", "stripe|api_error/rate_limit", "5 times, 1s to 10s, jitter 0%")
    assert policy(error) == f"{attempts} times, 1s to 10s, jitter 0%"


def test_waits_double_from_the_least_to_the_most_and_stray_by_the_jitter():
    retry = read_retry("12 times, 2s to 1m, jitter 10%")
    assert [retry.wait(n) for n in (0, 1, 4, 5, 30)] == [2.0, 4.0, 32.0, 60.0, 60.0]
    strayed = [retry.stray(10.0) for _ in range(200)]
    assert 9.0 <= min(strayed) < max(strayed) <= 11.0
    assert min(retry.stray_later(10.0) for _ in range(200)) >= 10.0


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("netsuite|503", "forever", "forever isn't never, or attempts, least and most wait and jitter"),
        ("netsuite|503", "3 times, 5m to 10s, jitter 20%", "the least wait is above the most"),
        ("netsuite|503", "999 times, 0s to 0s, jitter 0%", "waits are from 0.1s to 24h"),
        ("sapling|503", "3 times, 1s to 10s, jitter 20%", "sapling isn't one of netsuite"),
        ("stripe|invalid_request_error/product_inactive", "3 times, 1s to 10s, jitter 20%", "waiting doesn't mend"),
        ("salesforce|DUPLICATES_DETECTED", "3 times, 1s to 10s, jitter 20%", "waiting doesn't mend"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_in_words(key, value, says):
    operator = make_person("operator", "platform")
    with pytest.raises(DraftRefused) as refused:
        drafts.save_draft("Retry", "why", lines=[line(key, value)], by=operator)
    assert says in refused.value.faults[0].text


def line(key: str, value: str, kind: str = "retry_policy") -> Line:
    return drafts.line_for(Line(kind=kind, key=key, value=value, effective_from=dt.date(2010, 1, 1)))


def test_an_operator_proposes_a_policy_that_somebody_else_approves_and_no_other_rule():
    operator, checker = make_person("operator", "platform"), make_person("checker", "mapping_admin")
    with pytest.raises(DraftRefused, match="proposes no"):
        drafts.save_draft("Map", "why", lines=[line("A", "1", kind="payment_terms")], by=operator)
    change_set = drafts.save_draft("Retry", "why", lines=[line("netsuite|503", "never")], by=operator)
    approvals.propose_change_set(change_set, by=operator)
    assert policy("503", "erp") == DEFAULT.says
    approvals.sign_change_set(change_set, by=checker, approve=True, alarm=lambda problem: None)
    assert policy("503", "erp") == "never"


def test_policies_are_read_once_for_a_change_set_and_not_for_a_batch():
    factories.make_connection("netsuite")
    make_rule("retry_policy", "netsuite|503", "2 times, 1s to 10s, jitter 0%")
    ports.forget_kept()
    ports.BatchContext([])
    with CaptureQueriesContext(database) as asked:
        found = ports.BatchContext([]).retry_of(busy("503", "netsuite"), "")
    assert (found.attempts, len(asked)) == (2, 1)  # the number of the newest change set, as ever


def told(connection: str = "billing-us") -> dict[str, tuple[str | None, str]]:
    lines = Retries.load(latest_change_set(), VENDORS).lines(VENDORS[connection], connection)
    return {line.error: (line.retry and line.retry.says, line.instead) for line in lines}


def test_each_error_of_a_vendors_table_is_told_with_its_policy_or_why_it_is_never_tried():
    lines = told()
    assert {error: lines[error][0] for error in ("429", "*/rate_limit", "5*", "system_unavailable", "*")} == (
        dict.fromkeys(("429", "*/rate_limit", "5*", "system_unavailable", "*"), DEFAULT.says)
    )
    assert lines["*/product_inactive"] == (None, "never: waiting doesn’t mend it")
    assert lines["401"] == (None, "never: the connection is paused")
    assert lines["*/idempotency_key_in_use"] == (None, "only after a look in the target")
    assert lines["*/resource_already_exists"] == (None, "never: what is there is looked up")


def test_a_line_says_the_rule_that_holds_at_its_connection_and_narrower_ones_stand_beside_it():
    make_rule("retry_policy", "stripe|*", "4 times, 1s to 10s, jitter 0%")
    make_rule("retry_policy", "stripe|*/rate_limit", "6 times, 1s to 10s, jitter 0%", connection="billing-us")
    make_rule("retry_policy", "stripe|503", "never")
    make_rule("retry_policy", "netsuite|504", "never")
    make_rule("retry_policy", "stripe|502", "2 times, 1s to 10s, jitter 0%", until=dt.date(2020, 1, 1))
    lines = told()
    assert [lines[error][0] for error in ("*/rate_limit", "5*", "503", "*")] == [
        "6 times, 1s to 10s, jitter 0%", "4 times, 1s to 10s, jitter 0%", "never", "4 times, 1s to 10s, jitter 0%",
    ]  # fmt: skip
    assert ("504" in lines, "502" in lines) == (False, False)


@pytest.mark.parametrize("vendor", ["stripe", "netsuite", "salesforce"])
def test_what_is_told_can_be_proposed_and_what_is_told_never_to_be_tried_is_refused(vendor):
    for each in Retries(0, []).lines(vendor, "x"):
        assert "{" not in each.says
        if each.error and (each.retry is not None or (not each.is_by_status and "*" not in each.error)):
            faults = retry_faults(f"{vendor}|{each.error}", DEFAULT.says)
            assert (faults == []) == (each.retry is not None or each.error.isdecimal()), each
