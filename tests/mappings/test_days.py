"""Rules hold by the entity's own day, whatever time zone the person who asks has chosen."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.utils import timezone

from exceptions import limits
from exceptions.resolving import periods, rules, spending
from mappings import freezes, levels, policies
from mappings.days import rules_today, rules_todays
from mappings.drafts import Line, save_draft
from mappings.kinds import ADJUSTMENT_LIMIT, RESOLUTION_APPROVAL, SERVICE_LEVEL
from q2c.core import people
from q2c.core.ids import uuid7
from q2c.core.models import LegalEntity, Person
from tests import factories
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
NOW = dt.datetime(2026, 11, 22, 11, tzinfo=dt.UTC)  # in Auckland midnight has just passed
DAY, TOMORROW = dt.date(2026, 11, 22), dt.date(2026, 11, 23)
ZONES = ("Pacific/Kiritimati", "UTC", "Etc/GMT+12")  # it's tomorrow, today and yesterday there


@pytest.fixture(autouse=True)
def entities():
    with time_machine.travel(NOW, tick=False):
        factories.make_entity("GB01")
        factories.make_entity("NZ01")
        LegalEntity.objects.filter(code="NZ01").update(time_zone="Pacific/Auckland")
        yield


def make_two(kind: str, key: str, until_today: str, from_tomorrow: str) -> None:
    """A rule until the 22nd, and a milder one from the 23rd on."""
    make_rule(kind, key, until_today, until=TOMORROW)
    make_rule(kind, key, from_tomorrow, on=TOMORROW)


def who_approves(entity: str) -> str:
    make_two("approval", "item", "2 controllers", "1 approver")
    return policies.words_of(policies.approval_for({("item", entity)}))


def who_resolves(entity: str) -> str:
    make_two(RESOLUTION_APPROVAL, "waive", "2 controllers", "nobody")
    facts = {"legal_entity": entity, "amount": "1.00", "currency": "GBP"}
    (each,) = rules.asked_of_each("waive", [facts])
    assert each == rules.asked_for("waive", [facts])
    return each.level


def what_may_be_spent(entity: str) -> str:
    make_two(ADJUSTMENT_LIMIT, "write_off|item", "5", "5000")
    spent = spending.Spent(
        resolution="write_off", entity=entity, currency="GBP", invoice=uuid7(), person=None, customer_key="",
        period="Nov 2026", amount=Decimal(1),
    )  # fmt: skip
    return str(next(row.limit for row in spending.limits_of(spent) if row.of == "item"))


def what_is_released(entity: str) -> str:
    make_two("posting_policy", "release_over", "5", "50000")
    (said,) = limits.over_limit([{"legal_entity": entity, "amount": "100.00", "currency": "GBP"}])
    return said.rpartition(" ")[2]


def where_late_ones_go(entity: str) -> str:
    make_two("posting_policy", "late_documents", "next period", "either")
    return periods.clause_of(entity)["says"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    ("asked", "today", "tomorrow"),
    [
        (who_approves, "2 controllers", "1 approver"),
        (who_resolves, "2 controllers", "nobody"),
        (what_may_be_spent, "5", "5000"),
        (what_is_released, "5", "50000"),
        (where_late_ones_go, "next period", "either"),
    ],
)
def test_what_is_asked_is_the_same_for_everybody(asked, today, tomorrow, zone):
    with timezone.override(ZoneInfo(zone)):
        assert asked("GB01") == today


@pytest.mark.parametrize("asked", [who_approves, who_resolves, what_may_be_spent, where_late_ones_go])
def test_an_entity_whose_day_has_begun_goes_by_it(asked):
    mild = {who_approves: "1 approver", who_resolves: "nobody", what_may_be_spent: "5000", where_late_ones_go: "either"}
    assert asked("NZ01") == mild[asked]


@pytest.mark.parametrize("zone", ZONES)
def test_of_a_set_about_every_entity_each_entitys_own_rule_is_asked_on_its_own_day(zone):
    make_rule("approval", "item", "2 controllers", legal_entity="NZ01", until=TOMORROW)
    make_rule("approval", "item", "2 approvers", legal_entity="GB01", until=TOMORROW)
    with timezone.override(ZoneInfo(zone)):
        assert policies.words_of(policies.approval_for({("item", "")})) == "2 approvers"


@pytest.mark.parametrize("zone", ZONES)
def test_a_freeze_and_a_promise_hold_for_everybody_alike(zone):
    make_two(SERVICE_LEVEL, "success_rate", "99%", "50%")
    factories.make_period("GB01")
    make_rule("posting_policy", "close_freeze", "WD-10 to WD+3", until=TOMORROW)
    lines = [Line(kind="account", key="bank", value="1", legal_entity="GB01", effective_from=day)
             for day in (DAY, TOMORROW)]  # fmt: skip
    with timezone.override(ZoneInfo(zone)):
        assert levels.targets()["success_rate"].share == levels.read_target("99%").share
        assert [freeze.legal_entity for freeze in freezes.frozen_now(["GB01"])] == ["GB01"]
        assert [said.partition(", while")[0] for said in freezes.scheduled_into(lines)] == [
            f"bank begins on {TOMORROW}"
        ]


def test_an_entitys_day_is_where_it_is_and_the_day_of_all_is_utcs():
    assert (rules_today(), rules_today("GB01"), rules_today("NZ01"), rules_today("nobody")) == (
        DAY, DAY, TOMORROW, DAY,
    )  # fmt: skip
    assert rules_todays(["", "NZ01"]) == {"": DAY, "NZ01": TOMORROW}


def test_a_person_who_chooses_another_zone_changes_nothing_about_who_agrees(client):
    """Through the door: the page of a draft says who has to approve it."""
    make_two("approval", "item", "2 controllers", "1 approver")
    mira = factories.make_person("mapping_admin", username="mira")
    line = Line(kind="item", key="A", value="1", effective_from=dt.date(2026, 1, 1))
    draft = save_draft("Map", "a new SKU", lines=[line], by=mira)
    client.force_login(mira)
    said = set()
    for zone in ZONES:
        Person.objects.filter(pk=mira.pk).update(preferences={people.ZONE: zone})
        page = client.get(f"/mappings/change-sets/{draft.pk}/").content.decode()
        said.add("2 controllers" in page)
    assert said == {True}
