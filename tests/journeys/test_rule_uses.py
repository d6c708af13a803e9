"""A fallback rule lets unknown SKUs post, and whoever looks at it sees how many documents leaned on it."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db.models import Sum
from django.test import Client
from django.utils import timezone

from connectors.models import ReferenceEntry
from exceptions import cases
from mappings.approvals import propose_change_set, sign_change_set
from mappings.drafts import Line, save_draft
from mappings.models import MappingRule, RuleUse
from q2c.core.models import Person
from q2c.flows.tasks import roll_up_rule_uses
from q2c.transactions import workers
from q2c.transactions.models import Worker

pytestmark = pytest.mark.django_db(transaction=True)


def agree_on_fallback() -> MappingRule:
    """Unknown SKUs post to one item: proposed by one person, approved by another."""
    maker, checker = (Person.objects.get(username=name) for name in ("mapping_admin", "controller"))
    item = ReferenceEntry.objects.get(list_name="items", code="QB-API")
    line = Line(
        kind="item", key="*", value=item.external_id, label="Suspense", is_fallback=True,
        effective_from=dt.date(2010, 1, 1),
    )  # fmt: skip
    change_set = save_draft("Unknown SKUs", "They wait in suspense", lines=[line], by=maker)
    propose_change_set(change_set, by=maker)
    sign_change_set(change_set, by=checker, approve=True, alarm=cases.open_case)
    return MappingRule.objects.get(is_fallback=True)


@pytest.mark.scenario(37, of="the rules of an invoice")
def test_each_document_that_a_fallback_lets_pass_is_counted_once_whatever_its_lines(house):
    rule = agree_on_fallback()
    customer = house.customer()
    lines = [{"amount": 500, "quantity": 1, "metadata": {"sku": sku}} for sku in ("NEW-1", "NEW-2")]
    house.invoice(customer, lines=lines)
    house.invoice(customer, sku="NEW-3")
    house.invoice(customer, sku="QB-API")
    house.carry()
    assert house.states("invoice_to_erp") == {"completed": 3}
    assert rule.uses.aggregate(n=Sum("count"))["n"] == 2
    exact = MappingRule.objects.get(kind="item", key="QB-API")
    assert exact.uses.aggregate(n=Sum("count"))["n"] == 1
    client = Client()
    client.force_login(Person.objects.get(username="auditor"))
    assert "fallback · used 2 times" in client.get("/mappings/rules/?kind=item&key=*").content.decode()
    workers.stop_worker()
    Worker.objects.update(beat_at=timezone.now() - dt.timedelta(hours=2))
    roll_up_rule_uses()
    assert list(RuleUse.objects.filter(rule=rule).values_list("worker", "count")) == [("", 2)]
    roll_up_rule_uses()
    assert rule.uses.get().count == 2
