"""Who gets a case: by governed rules of category, kind, name and amount, brought to open cases when they change."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from exceptions import cases, rerouting
from exceptions.models import ExceptionCase, RoutingMark
from exceptions.rolling import roll_up
from mappings.drafts import Line, check_lines
from mappings.kinds import ROUTING
from q2c.core.models import LegalEntity
from tests.exceptions.problems import held, missing_item
from tests.factories import make_entity, make_person, make_transaction
from tests.mappings.rules import make_rule, next_number

pytestmark = pytest.mark.django_db
MAPPING = "mapping|*|*"


def end(rule):
    """The rule isn't known any more, as after a change set that retires it."""
    type(rule).objects.filter(pk=rule.pk).update(known_to=next_number())


def queue() -> str:
    return ExceptionCase.objects.get().queue


@pytest.mark.parametrize(
    ("key", "scope", "goes_to"),
    [
        ("*", {}, "controllership"),
        (MAPPING, {}, "controllership"),
        ("mapping|missing_item_mapping|GTX*", {}, "controllership"),
        ("mapping|missing_item_mapping|GTX-1", {"legal_entity": "GB01", "currency": "GBP"}, "controllership"),
        ("*|*|cus_7", {}, "controllership"),
        ("*|*|Acme*", {}, "controllership"),
        ("validation|*|*", {}, "billing_ops"),
        ("mapping|missing_item_mapping|ABC*", {}, "billing_ops"),
        (MAPPING, {"legal_entity": "DE01"}, "billing_ops"),
        (MAPPING, {"connection": "stripe"}, "billing_ops"),
    ],
)
def test_a_case_goes_where_the_rule_of_its_content_says(key, scope, goes_to):
    rule = make_rule(ROUTING, key, "controllership", **scope)
    cases.open_for_steps([held(customers=("cus_7", "Acme Ltd"))])
    case = ExceptionCase.objects.get()
    assert (case.queue, case.routed_by_id) == (goes_to, rule.pk if goes_to == "controllership" else None)


def test_the_first_step_whose_amount_is_reached_takes_it_else_a_wider_rule():
    make_rule(ROUTING, MAPPING, "sales_ops as low")
    make_rule(ROUTING, "mapping|missing_item_mapping|*", "controllership as urgent from 1000; platform from 100")
    for sku, amount in (("A", "1000"), ("B", "999.99"), ("C", "99.99")):
        cases.open_for_steps([held(missing_item(sku), amount=amount, currency="EUR")])
    found = ExceptionCase.objects.order_by("id").values_list("queue", "severity")
    assert list(found) == [("controllership", 1), ("platform", 2), ("sales_ops", 4)]


def test_a_person_is_given_what_they_may_work_and_nothing_else():
    make_entity("GB01")
    anna = make_person("billing_ops", username="anna", entities=("GB01",))
    make_rule(ROUTING, MAPPING, "billing_ops to anna")
    cases.open_for_steps([held(), held(missing_item("B", "DE01"), legal_entity_code="DE01")])
    found = ExceptionCase.objects.order_by("legal_entity_code").values_list("legal_entity_code", "assignee", "state")
    assert list(found) == [("DE01", None, "open"), ("GB01", anna.pk, "in_review")]


@pytest.mark.parametrize(
    ("amounts", "goes_to"),
    [
        ({"cus_7": ("10", "10", "10"), "cus_8": ("31",)}, "billing_ops"),  # most documents, not most of the money
        ({"cus_8": ("10", "10", "10"), "cus_7": ("31",)}, "controllership"),
        ({"cus_7": ("10",), "cus_8": ("10",)}, "billing_ops"),  # half isn't more than half
        ({"cus_7": ("0", "0"), "cus_8": ("0",)}, "controllership"),
        ({"cus_7": ("40",), "cus_8": ("30",), "cus_9": ("30",)}, "billing_ops"),
    ],
)
def test_a_case_of_several_customers_goes_by_the_one_to_whom_most_of_it_belongs(amounts, goes_to):
    rows = [
        held(transaction_id=make_transaction("held", customer_id=who, customer_name="").pk, amount=amount,
             customers=(who, ""), currency="EUR")
        for who, found in amounts.items() for amount in found
    ]  # fmt: skip
    rule = make_rule(ROUTING, "*|*|cus_7", "controllership")
    cases.open_for_steps(rows)
    at_once = queue()
    end(rule)
    make_rule(ROUTING, "*|*|cus_7", "controllership")
    rerouting.route_again([ExceptionCase.objects.get().pk])
    assert (at_once, queue()) == (goes_to, goes_to)


def test_a_case_leaves_a_customers_queue_once_others_have_most_of_it():
    make_rule(ROUTING, "*|*|cus_7", "controllership")
    for who, amount in (("cus_7", "10"), ("cus_8", "90")):
        txn = make_transaction("held", customer_id=who, customer_name="")
        cases.open_for_steps([held(transaction_id=txn.pk, amount=amount, customers=(who, ""), currency="EUR")])
    assert queue() == "controllership"
    roll_up(then=rerouting.follow_amounts)
    assert queue() == "billing_ops"


def test_two_hundred_cases_are_routed_by_one_statement():
    rows = [held(missing_item(f"SKU-{n}")) for n in range(200)]
    make_rule(ROUTING, MAPPING, "controllership")
    with CaptureQueriesContext(database) as queries:
        cases.open_for_steps(rows)
    assert sum("mappings_mappingrule r" in query["sql"] for query in queries) == 1
    assert ExceptionCase.objects.filter(queue="controllership").count() == 200


def test_open_cases_follow_a_rule_that_begins_and_go_back_when_it_ends():
    cases.open_for_steps([held(), held(missing_item("B", "DE01"), legal_entity_code="DE01")])
    rule = make_rule(ROUTING, MAPPING, "controllership as urgent", legal_entity="GB01")
    assert [rerouting.reroute(), rerouting.reroute()] == [1, 0]
    case = ExceptionCase.objects.get(legal_entity_code="GB01")
    assert (case.queue, case.severity, case.routed_by_id) == ("controllership", 1, rule.pk)
    end(rule)
    assert [rerouting.reroute(), rerouting.reroute()] == [1, 0]
    case.refresh_from_db()
    assert (case.queue, case.severity, case.routed_by_id) == ("billing_ops", 2, None)
    assert list(case.notes.order_by("id").values_list("verb", "text")) == [
        ("opened", "NetSuite has no item for SKU GTX-1 in GB01"),
        ("routed", f"to controllership, with another severity: rule {rule.pk} says so"),
        ("routed", "to billing ops, with another severity: no rule says otherwise any more"),
    ]
    assert case.history.count() == 3
    assert ExceptionCase.objects.get(legal_entity_code="DE01").notes.count() == 1


def test_a_rule_of_tomorrow_moves_nothing_today():
    cases.open_for_steps([held()])
    make_rule(ROUTING, MAPPING, "controllership", on=timezone.localdate() + dt.timedelta(days=1))
    assert (rerouting.reroute(), queue()) == (0, "billing_ops")


@pytest.mark.parametrize(
    ("role", "goes_to", "is_kept"),
    [
        ("controller", "controllership", True),
        ("mapping_admin", "billing_ops", True),
        ("auditor", "controllership", False),
    ],
)
def test_a_case_that_somebody_has_goes_only_where_that_person_works(role, goes_to, is_kept):
    cases.open_for_steps([held()])
    person = make_person(role)
    ExceptionCase.objects.update(assignee=person)
    make_rule(ROUTING, MAPPING, "controllership")
    rerouting.reroute()
    case = ExceptionCase.objects.get()
    assert (case.queue, case.assignee) == (goes_to, person if is_kept else None)


def test_what_was_given_back_goes_where_it_was_kept_from():
    cases.open_for_steps([held()])
    person = make_person("mapping_admin")
    cases.assign(ExceptionCase.objects.get(), person, by=person)
    make_rule(ROUTING, MAPPING, "controllership")
    rerouting.reroute()
    assert queue() == "billing_ops"
    cases.assign(ExceptionCase.objects.get(), None, by=person)
    assert queue() == "controllership"


def test_a_case_that_somebody_moved_stays_there():
    cases.open_for_steps([held()])
    cases.escalate(ExceptionCase.objects.get(), queue="platform", why="their login", by=None)
    make_rule(ROUTING, "*", "controllership")
    assert (rerouting.reroute(), queue()) == (0, "platform")


def test_a_case_that_grows_past_a_step_goes_there():
    make_rule(ROUTING, MAPPING, "controllership from 100")
    cases.open_for_steps([held(amount="99", currency="EUR")])
    assert queue() == "billing_ops"
    cases.open_for_steps([held(amount="1", currency="EUR")])
    roll_up(then=rerouting.follow_amounts)
    assert queue() == "controllership"


def test_a_case_that_was_being_opened_while_the_rules_changed_is_looked_at_once_more():
    make_rule(ROUTING, MAPPING, "controllership")
    rerouting.reroute()
    cases.open_for_steps([held(at=timezone.now())])
    ExceptionCase.objects.update(queue="billing_ops", routed_by=None)  # by the rules of before
    RoutingMark.objects.update(applied_at=timezone.now() - dt.timedelta(minutes=5))
    assert [rerouting.reroute(), rerouting.reroute()] == [1, 0]
    assert queue() == "controllership"


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("mapping|*", "controllership", "a key of this kind is category|kind|name"),
        ("*", "the boss", "the boss isn't a queue such as controllership"),
        ("*", "controllership from many", "controllership from many isn't a queue"),
        ("*", "controllership as dire", "controllership as dire isn't a queue"),
    ],
)
def test_what_cannot_be_a_rule_of_routing_is_refused(key, value, fault):
    line = Line(kind=ROUTING, key=key, value=value, effective_from=dt.date(2026, 1, 1))
    faults = check_lines([line], by=make_person("controller"))
    assert [fault in found.text for found in faults] == [True]


def test_the_case_says_which_rule_put_it_into_its_queue(client):
    LegalEntity.objects.get_or_create(code="GB01", defaults={"name": "GB", "currency": "GBP", "time_zone": "UTC"})
    rule = make_rule(ROUTING, MAPPING, "controllership")
    cases.open_for_steps([held()])
    client.force_login(make_person("controller"))
    page = client.get(f"/exceptions/cases/{ExceptionCase.objects.get().pk}/").content.decode()
    assert f'in this queue because of <a href="/mappings/rules/{rule.pk}/">rule {rule.pk}</a>' in page
