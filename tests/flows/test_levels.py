"""Service levels, their error budgets, and who is told before one is used up or credentials expire."""

import datetime as dt
from pathlib import Path

import pytest
import yaml
from django.db.models import F
from django.utils import timezone

from connectors.models import Connection
from exceptions import closing
from exceptions.fixes import Ending
from exceptions.models import ExceptionCase
from mappings import levels as rules
from q2c.core import stats
from q2c.core.models import StatDay, StatHour
from q2c.core.service_levels import LEVELS, Budget, Seen, read_target
from q2c.flows import levels, watching
from q2c.transactions import counting
from q2c.transactions.models import WorkItem
from tests import factories

pytestmark = pytest.mark.django_db


def standing(code, **given):
    return {found.level.code: found for found in levels.standings(**given)}[code].budget


def carry(*, good: int = 0, held: int = 0, flow: str = "invoice_to_erp", entity: str = "GB01"):
    with stats.gathering():
        for measure, count in (("completed", good), ("held", held)):
            if count:
                stats.note(measure, flow=flow, entity=entity, count=count, seconds=1.0 if measure != "held" else None)
    stats.roll_up()


def shift(days: int):
    """What was counted happened so many days ago."""
    StatDay.objects.update(day=F("day") - dt.timedelta(days=days))
    StatHour.objects.update(hour=F("hour") - dt.timedelta(days=days))


def test_targets_are_rules_and_the_catalogue_speaks_where_none_does():
    factories.make_rule("invoice_posting", "90% within 1h", kind="service_level")
    found = rules.targets()
    assert (found["invoice_posting"].share, found["invoice_posting"].seconds) == (0.9, 3600)
    assert {code: target.says for code, target in found.items() if code != "invoice_posting"} == {
        level.code: level.default for level in LEVELS if level.code != "invoice_posting"
    }
    with pytest.raises(ValueError, match="isn't a percentage"):
        read_target("95% within 7m")


def test_a_levels_share_is_exact_at_its_time():
    with stats.gathering():
        for seconds, count in ((900.0, 19), (901.0, 1)):
            stats.note("lead", flow="invoice_to_erp", seconds=seconds, count=count)
        stats.note("lead", flow="customer_to_erp", seconds=9000.0)  # isn't an invoice
    stats.roll_up()
    assert standing("invoice_posting").month == Seen(20, 19)


def test_a_persons_levels_are_those_of_their_entities_and_notes_to_the_source_are_no_documents():
    carry(good=8, held=2)
    carry(good=5, entity="US01")
    carry(held=5, flow="hold_to_source")
    assert standing("success_rate").month == Seen(15, 13)
    assert standing("success_rate", entities=["GB01"]).month == Seen(10, 8)


def test_cases_that_closed_late_count_against_their_resolution():
    one, other = factories.make_case(), factories.make_case(due_at=timezone.now() - dt.timedelta(hours=1))
    closing.close_cases([Ending(case, "resolved", "repost", "done") for case in (one, other)], by=None)
    stats.roll_up()
    assert standing("exception_resolution").month == Seen(2, 1)


def test_the_budget_says_how_much_is_burnt_and_when_it_is_used_up():
    target = read_target("98%")
    budget = Budget(target, Seen(10_000, 9_900), Seen(1_000, 975), Seen(), Seen())
    assert budget.allowed == pytest.approx(200)
    assert budget.burnt == pytest.approx(0.5)
    assert budget.days_left == pytest.approx(4)
    assert budget.state == "kept"
    spent = Budget(target, Seen(100, 97), Seen(), Seen(), Seen())
    assert (spent.days_left, spent.state) == (0.0, "spent")
    quiet = Budget(target, Seen(), Seen(), Seen(), Seen())
    assert (quiet.burnt, quiet.days_left, quiet.state) == (None, None, "quiet")


def test_a_fast_burn_is_one_case_that_closes_by_itself_and_old_failures_wake_nobody():
    carry(good=10, held=90)
    shift(days=2)
    assert watching.watch_levels() == (0, 0)
    carry(good=50, held=50)
    assert watching.watch_levels() == (1, 0)
    assert watching.watch_levels() == (0, 0)
    case = ExceptionCase.objects.get(kind="error_budget_burning")
    assert case.summary == "Success rate (98%) uses up its error budget: in the last hour 50 of 100 weren't as promised"
    StatHour.objects.update(hour=F("hour") - dt.timedelta(hours=8))
    carry(good=100)
    assert watching.watch_levels() == (0, 1)
    case.refresh_from_db()
    assert case.state == "resolved"


def told_burning(level="success_rate"):
    """What Prometheus is told, by which its rule wakes somebody."""
    (found,) = [family for family in levels.LevelMetrics().collect() if family.name == "q2c_error_budget_burns_fast"]
    return {sample.labels["level"]: sample.value for sample in found.samples}[level]


@pytest.mark.parametrize("held", [1, 4])
def test_a_few_failures_of_a_quiet_hour_wake_nobody(held):
    carry(held=held)
    assert standing("success_rate").rate(Seen(held, 0)) > 14.4
    assert (watching.watch_levels(), told_burning()) == ((0, 0), 0)


@pytest.mark.parametrize(
    ("target", "good", "held", "burns"),
    [
        ("98%", 87, 13, True),
        ("98%", 89, 11, False),
        ("95%", 28, 72, True),
        ("93.2%", 0, 100, True),  # of which the highest rate is 14.7
        ("93%", 0, 100, True),
        ("90%", 0, 100, True),
        ("90%", 10, 90, True),
        ("83%", 0, 100, True),
        ("50%", 0, 100, True),
        ("50%", 10, 90, True),
        ("50%", 20, 80, False),
        ("50%", 0, 4, False),
    ],
)
def test_a_total_failure_is_told_whatever_the_target_and_prometheus_is_told_the_same(target, good, held, burns):
    factories.make_rule("success_rate", target, kind="service_level")
    carry(good=good, held=held)
    assert (watching.watch_levels(), told_burning()) == ((int(burns), 0), int(burns))


@pytest.mark.parametrize("target", ["50%", "83%", "90%", "93%", "98%"])
def test_an_hour_in_which_everything_fails_is_told_also_after_good_ones(target):
    good_until_now, all_fail = Seen(10_000, 9_990), Seen(10, 0)
    assert Budget(read_target(target), good_until_now, good_until_now, good_until_now, all_fail).burns_fast


def test_the_rule_wakes_nobody_by_the_rate_alone():
    rules_file = Path(__file__).parents[2] / "docs" / "operations" / "prometheus-alerts.yaml"
    found = [rule for group in yaml.safe_load(rules_file.read_text())["groups"] for rule in group["rules"]]
    (rule,) = [rule for rule in found if rule["alert"] == "Q2CErrorBudgetBurning"]
    assert "q2c_error_budget_burns_fast" in rule["expr"]
    assert "burn_rate" not in rule["expr"]


def test_credentials_are_told_30_7_and_1_days_ahead_each_once_and_no_more_when_renewed():
    connection = factories.make_connection("netsuite")
    told = []
    for days in (31, 29, 29, 6, 6, 0):
        Connection.objects.update(secrets_expire_at=timezone.now() + dt.timedelta(days=days, hours=1))
        watching.warn_of_expiry()
        told.append((days, ExceptionCase.objects.filter(kind="credentials_expiring").count()))
    assert told == [(31, 0), (29, 1), (29, 1), (6, 2), (6, 2), (0, 3)]
    running = ExceptionCase.objects.get(kind="credentials_expiring", closed_at=None)
    assert (running.subject["within"], running.connection_code) == ("1 day", connection.code)
    Connection.objects.update(secrets_expire_at=timezone.now() + dt.timedelta(days=365))
    assert watching.warn_of_expiry() == (0, 1)
    assert not ExceptionCase.objects.filter(kind="credentials_expiring", closed_at=None).exists()


def test_a_warning_that_somebody_waived_is_not_told_again():
    factories.make_connection("netsuite")
    Connection.objects.update(secrets_expire_at=timezone.now() + dt.timedelta(days=5))
    watching.warn_of_expiry()
    case = ExceptionCase.objects.get(kind="credentials_expiring")
    closing.close_cases([Ending(case, "waived", "waived", "it is renewed elsewhere")], by=None)
    assert watching.warn_of_expiry() == (0, 0)


def wait(*minutes: float, state: str = "waiting", flow: str = "invoice_to_erp", **fields):
    """Documents that were received so many minutes ago and are open, as beat finds them."""
    for age in minutes:
        received = timezone.now() - dt.timedelta(minutes=age)
        factories.make_transaction(state, flow=flow, created_at=received, **fields)
    counting.look_at_open()


@pytest.mark.parametrize(
    ("minutes", "total"),
    [
        (14.5, (0, 0, 0, 0)),  # promised within 15 minutes: it isn't late yet
        (15.5, (1, 1, 1, 1)),
        (60 * 1.1, (1, 1, 1, 1)),
        (60 * 5, (1, 1, 1, 0)),
        (60 * 20, (1, 1, 0, 0)),
        (60 * 24 * 5, (1, 0, 0, 0)),
        (60 * 24 * 31, (0, 0, 0, 0)),  # it used up the budget of another 30 days
    ],
)
def test_what_is_open_uses_the_budget_up_from_when_it_is_late_and_counts_where_it_became_so(minutes, total):
    wait(minutes)
    budget = standing("invoice_posting")
    assert tuple(seen.total for seen in (budget.month, budget.day, budget.six_hours, budget.hour)) == total
    assert budget.month.good == 0


@pytest.mark.parametrize("state", ["running", "waiting", "unknown", "held"])
def test_every_open_state_counts_and_what_ended_counts_as_it_ended(state):
    wait(20, state=state)
    wait(20, state="completed")
    wait(20, state="cancelled")
    assert standing("invoice_posting").month == Seen(1, 0)


def test_open_documents_count_for_their_own_level_and_entity_alone():
    wait(61, flow="payment_to_erp")
    wait(61, flow="customer_to_erp")
    wait(61, flow="order_to_subscription", legal_entity_code="US01")
    assert standing("invoice_posting").month == Seen(0, 0)
    assert standing("payment_propagation").month == Seen(1, 0)
    assert standing("order_activation").month == Seen(1, 0)
    assert standing("order_activation", entities=["GB01"]).month == Seen(0, 0)
    assert standing("success_rate").month == Seen(0, 0)


def test_a_repost_that_waits_is_late_by_when_it_was_reposted():
    for minutes in (10, 20):
        txn = factories.make_transaction("waiting", attempt=2)
        since = timezone.now() - dt.timedelta(minutes=minutes)
        WorkItem.objects.create(
            transaction=txn, flow=txn.flow, lane=str(txn.pk), lane_sequence=1, available_at=since, since=since
        )
    counting.look_at_open()
    assert standing("replay_time").month == Seen(1, 0)


def test_an_outage_burns_the_budget_while_it_lasts_and_what_is_held_for_days_wakes_nobody_at_night():
    wait(*[60 * 24 * 2] * 20, state="held")
    assert watching.watch_levels() == (0, 0)
    wait(*range(20, 50))
    assert watching.watch_levels() == (1, 0)
    case = ExceptionCase.objects.get(kind="error_budget_burning")
    assert "Invoice posting" in case.summary
    assert "in the last hour 30 of 30 weren't as promised" in case.summary


def test_levels_ask_three_statements_beside_their_rules_whatever_is_open(django_assert_max_num_queries):
    wait(5, 50, 500, 5000)
    with django_assert_max_num_queries(5):
        levels.standings()
