"""A rule whose target has gone from the ERP's list gets a case before a document fails on it."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from connectors.models import ReferenceEntry
from exceptions.models import ExceptionCase, Occurrence
from mappings.models import MappingRule
from q2c.flows.lost_targets import tell_lost_targets
from tests.mappings.rules import make_rule
from tests.mappings.sheet_rows import make_items

pytestmark = pytest.mark.django_db


@pytest.mark.scenario(34)
def test_a_lost_target_opens_one_case_per_rule_once_and_closes_it_when_mended():
    make_items()
    make_rule("item", "FINE", "10482", connection="netsuite")
    make_rule("item", "GONE", "10999", connection="netsuite")
    make_rule("item", "NEVER", "4711", legal_entity="GB01")
    make_rule("item", "ENDED", "10999", connection="netsuite", until=timezone.localdate())
    make_rule("account", "fees", "no list of accounts was read", connection="netsuite")
    assert tell_lost_targets("netsuite") == (2, 0)
    found = ExceptionCase.objects.order_by("summary")
    assert [(case.summary, case.queue, case.legal_entity_code) for case in found] == [
        ("NetSuite has no active item 10999 any more, which GONE becomes", "billing_ops", ""),
        ("NetSuite has no active item 4711 any more, which NEVER becomes", "billing_ops", "GB01"),
    ]
    assert tell_lost_targets("netsuite") == (0, 0)
    assert Occurrence.objects.count() == 2
    ReferenceEntry.objects.filter(external_id="10999").update(is_active=True)
    assert tell_lost_targets("netsuite") == (0, 1)
    assert list(found.values_list("state", "resolution")) == [("resolved", "mended"), ("open", "")]
    MappingRule.objects.filter(key="NEVER").update(known_to=99)
    assert tell_lost_targets("netsuite") == (0, 1)


def test_a_rule_that_starts_later_is_told_too():
    make_items()
    make_rule("item", "LATER", "10999", on=timezone.localdate() + dt.timedelta(days=9))
    assert tell_lost_targets("netsuite") == (1, 0)
