"""What must wait or be held: a missing mapping, a missing parent, a period that closed; and what lets it go on."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from exceptions import kind_words, kinds, releases, resolutions
from exceptions.models import ExceptionCase
from exceptions.preview import preview
from exceptions.resolving import periods
from mappings.approvals import propose_change_set
from mappings.drafts import Line, retirement_of, save_draft
from mappings.models import MappingRule
from q2c.core.models import Person, Subsidiary
from q2c.transactions.models import BusinessTransaction, StepRun, WorkItem
from tests.journeys.scene import over
from tests.journeys.scenes import SCENES, enter, every_scene

pytestmark = pytest.mark.django_db(transaction=True)
NO_PERIOD = {
    **dict.fromkeys(("customer_to_erp", "customer_use_to_erp"), "a customer has no period"),
    **dict.fromkeys(("order_to_subscription", "order_unwinding", "order_to_sale", "status_to_crm"), "no books"),
    "hold_to_source": "no books",
    "application_to_erp": "it applies what is posted, and posts nothing in a period",
}
# Why nobody chooses another date for what these scenes' last write posts.
_PARTLY = "Part of it is in the ERP already"
KEEPS_ITS_DATE = {
    **dict.fromkeys(("invoice_void_to_erp", "unwinding_to_erp", "reversal_to_erp"), _PARTLY),
    "summary_to_erp": "Its posting date is that of what it’s about",
    "accrual_to_erp": "An accrual belongs to its own period",
}
RARELY = {*SCENES} - {"invoice_to_erp"}


def this_month():
    """The UK entity's period of today, as the ERP's controller names it."""
    today = dt.datetime.now(ZoneInfo("Europe/London")).date()
    return {"period": f"{today:%Y-%m}", "subsidiary": Subsidiary.objects.get(legal_entity__code="GB01").external_id}


def person(name):
    return Person.objects.get(username=name)


@pytest.mark.scenario(35, of="the items of an invoice")
def test_a_missing_item_holds_its_documents_and_a_mapping_by_two_people_releases_exactly_these(house):
    customer = house.customer()
    for sku in ("NEW-SKU", "NEW-SKU", "NEW-SKU", "OTHER-SKU", "QB-API"):
        house.invoice(customer, sku=sku)
    house.carry()
    assert (house.held(), len(house.made("netsuite", "invoice"))) == (["missing_item_mapping"] * 4, 1)
    cases = ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES)
    assert sorted(case.occurrences.count() for case in cases) == [1, 3]
    case = next(case for case in cases if case.occurrences.count() == 3)
    known = MappingRule.objects.filter(kind="item", known_to=None).first()
    line = Line(
        kind="item", key="NEW-SKU", value=known.value, effective_from=dt.date(2010, 1, 1), legal_entity="GB01",
        connection="netsuite",
    )  # fmt: skip
    change_set = releases.remap_and_repost(case, by=person("billing_ops"), reason="a new SKU", line=line)
    house.carry()
    assert len(house.made("netsuite", "invoice")) == 1  # one person's word changes nothing
    releases.decide_change_set(change_set, by=person("controller"), approve=True)
    released = preview(BusinessTransaction.objects.filter(pk__in=case.occurrences.values("transaction_id")).first())
    assert (released.has_posting, released.debit, {check.passes for check in released.checks}) == (
        True, released.credit, {True},
    )  # fmt: skip
    rows = {row.title: row for row in released.rows}
    assert (rows["Total"].marks, Decimal(rows["Total"].posting)) == (frozenset(), released.txn.amount)
    held = preview(BusinessTransaction.objects.get(state="held"))
    assert (held.has_posting, held.problem.code, held.stops_at != "") == (False, "missing_item_mapping", True)
    assert len(house.made("netsuite", "invoice")) == 1  # what would be booked is found out without sending anything
    house.carry()
    assert house.states("invoice_to_erp") == {"completed": 4, "held": 1}
    assert len(house.made("netsuite", "invoice")) == 4
    assert [c.state for c in ExceptionCase.objects.filter(pk=case.pk)] == ["resolved"]


@pytest.mark.scenario(38, of="a payment, its invoice and its customer")
def test_what_comes_before_its_parent_waits_without_a_failure_and_goes_on_with_it(house):
    invoice = house.invoice(house.customer())
    house.pay(invoice)
    house.carry(without="customer_to_erp", until=lambda: house.states("invoice_to_erp") == {"waiting": 1})
    house.carry(without="customer_to_erp", until=lambda: house.states("application_to_erp") == {"waiting": 1})
    assert house.made("netsuite") == []
    assert not ExceptionCase.objects.exists()
    assert not StepRun.objects.filter(state="failed").exists()
    assert set(WorkItem.objects.exclude(flow="customer_to_erp").values_list("wait_count", flat=True)) == {0}
    house.carry(until=lambda: set(house.states()) == {"completed"})
    made = {t: len(house.made("netsuite", t)) for t in ("customer", "invoice", "customerPayment")}
    assert made == {"customer": 1, "invoice": 1, "customerPayment": 1}
    assert not ExceptionCase.objects.exists()
    assert set(BusinessTransaction.objects.values_list("attempt", flat=True)) == {1}


@pytest.mark.scenario(45, not_for=NO_PERIOD)
@over([scene for scene in every_scene() if scene.code not in NO_PERIOD], rarely=RARELY)
def test_a_period_that_closes_before_the_post_holds_the_document_with_its_own_date(house, scene):
    prepared = scene.prepare(house)
    house.carry()
    made = len(scene.made(house))
    enter(house, scene, prepared, "late")
    house.locked.append(scene.player.this_month())  # opened again whatever comes
    scene.meet(house, "close_period", times=1, body=scene.player.this_month())
    house.carry(until=lambda: house.states(scene.code).get("held") == 1)
    assert (house.held(), len(scene.made(house))) == (["period_closed"], made)
    before = BusinessTransaction.objects.get(flow=scene.code, state="held")
    (case,) = ExceptionCase.objects.filter(occurrences__transaction_id=before.pk, occurrences__closed_at=None)
    assert set(kinds.kind_of(case.kind).may) == {kind_words.CHOOSE_PERIOD, kind_words.REPOST, kind_words.WAIVE}
    (late,) = periods.late_documents(case, person("controller"))
    ways = {row.code: row.why_not for row in periods.options_of([late])}
    assert ways[kind_words.REOPEN_PERIOD] == ""
    assert ways[kind_words.CHOOSE_PERIOD].startswith(KEEPS_ITS_DATE.get(scene.code, ""))
    assert bool(ways[kind_words.CHOOSE_PERIOD]) is (scene.code in KEEPS_ITS_DATE)
    scene.player.open_month(house)
    resolutions.repost(case, by=person("controller"), reason="opened again for one day")
    house.carry()
    after = BusinessTransaction.objects.get(pk=before.pk)
    assert after.state == "completed"
    assert (after.document_date, after.period_code) == (before.document_date, before.period_code)
    assert len(scene.made(house)) == made + 1


@pytest.mark.scenario(36)
@pytest.mark.parametrize("as_then", [True, False])
def test_a_repost_goes_by_the_newest_mappings_or_on_demand_by_those_of_then(house, as_then):
    customer = house.customer()
    house.carry()
    house.fault("netsuite", "close_period", when={"method": "POST", "path": "*/invoice", "times": 1}, body=this_month())
    house.invoice(customer)
    house.carry(until=lambda: house.held() == ["period_closed"])
    then = MappingRule.objects.get(kind="item", key="QB-API", known_to=None)
    other = MappingRule.objects.filter(kind="item", known_to=None).exclude(value=then.value).first()
    line = replace(retirement_of(then, then.effective_from), act="change", value=other.value)
    change_set = save_draft("Another item", "It changed", lines=[line], by=person("mapping_admin"))
    propose_change_set(change_set, by=person("mapping_admin"))
    releases.decide_change_set(change_set, by=person("controller"), approve=True)
    house.sandboxes.control("POST", "netsuite/account", {"open_period": this_month()})
    case = ExceptionCase.objects.get(closed_at__isnull=True)
    resolutions.repost(case, by=person("controller"), reason="as it was sold", as_then=as_then)
    house.carry()
    step = StepRun.objects.filter(step="map_items", state="done").latest("sequence")
    assert (then.value in bytes(step.output).decode(), step.change_set) == ((True, 1) if as_then else (False, 2))
    assert house.states("invoice_to_erp") == {"completed": 1}
