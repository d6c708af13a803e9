"""A mapping changes while documents are on their way: each is what one version of the mappings says, which is kept."""

from __future__ import annotations

import pytest

from q2c.flows import catalog
from q2c.transactions.models import BusinessTransaction, StepRun
from q2c.transactions.steps import parameters
from tests.journeys.house import forget_everything
from tests.journeys.scene import over
from tests.journeys.scenes import SCENES, enter, every_scene

pytestmark = pytest.mark.django_db(transaction=True)
WITH_ITEMS = ("credit_memo_to_erp", "invoice_void_to_erp", "credit_void_to_erp")
NO_RULES = {
    code: "no step of it asks a mapping"
    for code, flow in catalog.BY_CODE.items()
    if not any("mappings" in parameters(function) for step in flow.steps for function in step.functions)
}


def items_by_document(house, scene) -> dict[str, set[str]]:
    """The codes of the items on each invoice that the ERP holds."""
    made = scene.made(house)
    return {entry["external_id"]: scene.player.items_on(house, scene.trace.record, entry["id"]) for entry in made}


def versions(code: str) -> list[set[int]]:
    """The change sets by which the steps of each document of a flow that asked a rule went, in the order of their
    coming."""
    known = BusinessTransaction.objects.filter(flow=code).order_by("id").values_list("pk", flat=True)
    done = StepRun.objects.filter(state="done", used__has_key="rules")
    return [{*done.filter(transaction_id=pk).values_list("change_set", flat=True)} for pk in known]


@pytest.mark.scenario(36)
@pytest.mark.parametrize("fault", ["lose_answer", "reset_before"])
@over(every_scene("invoice_to_erp"))
def test_what_was_sent_keeps_the_version_that_it_was_made_with_and_what_comes_later_has_the_new_one(
    house, scene, fault
):
    customer = house.customer()
    house.carry()
    house.set_connections(settles_after_seconds="60")
    scene.meet(house, fault, times=2)
    line = {"amount": 500, "quantity": 1, "metadata": {"sku": "QB-API"}}
    early = [house.invoice(customer, lines=[line, line]) for _ in range(2)]
    house.carry(until=lambda: house.states(scene.code) == {"unknown": 2})
    house.map_item("QB-API", "POST")
    house.sandboxes.control("DELETE", f"{scene.vendor}/faults")
    forget_everything()
    late = house.invoice(customer, lines=[line, line])
    house.carry(until=lambda: sum(house.states(scene.code).values()) == 3)
    house.carry_to_the_end(scene.code)
    source = house.cast.billing.code
    assert items_by_document(house, scene) == {
        **{f"inv-{source}-{invoice}": {"QB-API"} for invoice in early},
        f"inv-{source}-{late}": {"POST"},
    }
    (then,), (same,), (now,) = versions(scene.code)
    assert then == same < now


@pytest.mark.scenario(36, not_for=NO_RULES)
@over([scene for scene in every_scene() if scene.code not in {*NO_RULES, "invoice_to_erp"}], rarely=SCENES)
def test_a_document_of_any_flow_goes_by_one_version_which_is_kept(house, scene):
    prepared = scene.prepare(house)
    house.carry()
    house.set_connections(settles_after_seconds="60")
    enter(house, scene, prepared, "early")
    scene.meet(house, "lose_answer", times=1)
    house.carry(until=lambda: house.states(scene.code).get("unknown") == 1)
    house.map_item("QB-API", "POST")
    house.sandboxes.control("DELETE", f"{scene.vendor}/faults")
    forget_everything()
    house.carry_to_the_end(scene.code)
    house.carry()
    enter(house, scene, prepared, "late")
    house.carry()
    *_, (then,), (now,) = versions(scene.code)
    assert then < now
    if scene.code in WITH_ITEMS:
        *_, old, new = items_by_document(house, scene).values()
        assert (old, new) == ({"QB-API"}, {"POST"})
