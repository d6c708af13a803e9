"""A worker killed before and after every step of every flow: the vendors' logs hold what an undisturbed run makes,
once."""

from __future__ import annotations

import pytest

from q2c.flows import catalog
from q2c.flows.tasks import carry
from q2c.transactions.models import BusinessTransaction
from tests.journeys.deaths import bury, carry_and_die, death_points
from tests.journeys.scenes import SCENES

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.crash]


@pytest.mark.parametrize("code", list(catalog.BY_CODE))
def test_a_killed_worker_loses_nothing_and_doubles_nothing(house, code):
    flow, scene = catalog.BY_CODE[code], SCENES[code]
    prepared = scene.prepare(house)
    house.carry()
    for point in death_points(flow):
        before = len(scene.made(house))
        scene.act(house, prepared, point)
        house.carry(without=code, until=lambda: BusinessTransaction.objects.filter(flow=code, state="running").exists())
        reached = carry_and_die(lambda: carry(code, seconds=20), point)
        bury()
        house.carry()
        if scene.may_skip(point):
            assert len(scene.made(house)) == before + 1, point
            continue
        assert reached, f"the worker never came to {point}"
        assert len(scene.made(house)) == before + 1, point
        assert house.states(code) == {"completed": len(scene.done(code))}, point
