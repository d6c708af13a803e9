"""A customer that the ERP has is changed in billing, and the ERP doesn't say whether it took the change."""

from __future__ import annotations

import pytest

from q2c.core.ids import external_id
from tests.journeys.house import forget_everything
from tests.journeys.scene import over
from tests.journeys.scenes import enter, every_scene
from tests.journeys.test_answers import NOT_ANSWERED, are_stopped

pytestmark = pytest.mark.django_db(transaction=True)
TAKEN = ("lose_answer",)  # the ERP has changed it, and nobody knows


@pytest.mark.scenario(1, 2, 51)
@over(every_scene("customer_to_erp-changed"))
def test_a_change_whose_answer_is_lost_or_strange_stands_in_the_erp_in_the_end(house, scene):
    erp, count = scene.player, len(NOT_ANSWERED)
    prepared = scene.prepare(house)
    house.carry()
    source = house.cast.billing.code
    wanted = {external_id("cus", source=source, object_id=c): f"answers {count - 1 - n}"
              for n, c in enumerate(prepared[-count:])}  # fmt: skip
    known = {e["external_id"]: e["id"] for e in house.made(erp.vendor, scene.trace.record)}
    mark = house.last(erp.vendor)
    enter(house, scene, prepared, "answers", count)
    house.set_connections(settles_after_seconds="60")
    for name, fault in zip(wanted, NOT_ANSWERED, strict=True):
        house.fault(erp.vendor, when={"method": scene.trace.method, "path": f"*{name}", "times": 1}, **fault)
    house.carry(until=lambda: are_stopped(house, scene, unknown=count))
    house.sandboxes.control("DELETE", f"{erp.vendor}/faults")
    forget_everything()
    house.carry_to_the_end(scene.code)

    names = {name: erp.customer_name(house, known[name]) for name in wanted}
    assert names == {name: f"Changed at {said}" for name, said in wanted.items()}
    taken = [e["external_id"] for e in house.sandboxes.log(erp.vendor, after=mark) if e["effect"] == "updated"]
    times = {name: 1 + (fault["do"] in TAKEN) for name, fault in zip(wanted, NOT_ANSWERED, strict=True)}
    assert {name: taken.count(name) for name in wanted} == times
    assert house.made(erp.vendor, scene.trace.record, "deleted") == []
