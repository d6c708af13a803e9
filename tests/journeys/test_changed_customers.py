"""A customer that the ERP has is changed in billing, and the ERP doesn't say whether it took the change."""

from __future__ import annotations

import pytest

from q2c.core.ids import external_id
from tests.journeys.house import forget_everything
from tests.journeys.scenes import MORE_SCENES, enter
from tests.journeys.test_answers import NOT_ANSWERED, are_stopped

pytestmark = pytest.mark.django_db(transaction=True)
CODE = "customer_to_erp"
TAKEN = ("lose_answer",)  # the ERP has changed it, and nobody knows


@pytest.mark.scenario(1, 2, 51)
def test_a_change_whose_answer_is_lost_or_strange_stands_in_the_erp_in_the_end(house):
    scene, count = MORE_SCENES[CODE], len(NOT_ANSWERED)
    prepared = scene.prepare(house)
    house.carry()
    wanted = {external_id("cus", source="stripe", object_id=c): f"answers {count - 1 - n}"
              for n, c in enumerate(prepared[-count:])}  # fmt: skip
    mark = house.last("netsuite")
    enter(house, CODE, prepared, "answers", count, scene=scene)
    house.set_connections(settles_after_seconds="60")
    for name, fault in zip(wanted, NOT_ANSWERED, strict=True):
        house.fault("netsuite", when={"method": "PUT", "path": f"*{name}", "times": 1}, **fault)
    house.carry(until=lambda: are_stopped(house, CODE, unknown=count))
    house.sandboxes.control("DELETE", "netsuite/faults")
    forget_everything()
    house.carry_to_the_end(CODE)

    held = house.sandboxes.control("GET", "netsuite/documents/customer?limit=1000")["items"]
    names = {c["externalId"]: c["companyName"] for c in held if c.get("externalId") in wanted}
    assert names == {name: f"Changed at {said}" for name, said in wanted.items()}
    taken = [e["external_id"] for e in house.sandboxes.log("netsuite", after=mark) if e["effect"] == "updated"]
    times = {name: 1 + (fault["do"] in TAKEN) for name, fault in zip(wanted, NOT_ANSWERED, strict=True)}
    assert {name: taken.count(name) for name in wanted} == times
    assert house.made("netsuite", "customer", "deleted") == []
