"""A worker killed before and after every step of every flow: the vendors' logs hold what an undisturbed run makes,
once."""

from __future__ import annotations

import pytest

from tests.journeys.deaths import bury, carry_and_die, read_points, write_points
from tests.journeys.scene import over
from tests.journeys.scenes import ALIKE, MORE_STAGES, enter, every_scene

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.crash]


@pytest.mark.scenario(4)
@over(every_scene(), rarely=ALIKE)
def test_one_document_survives_a_death_before_and_after_every_read(house, scene):
    prepared = scene.prepare(house)
    house.carry()
    before, arrived = len(scene.made(house)), scene.arrived(house)
    enter(house, scene, prepared, "reads")
    reached = []
    for point in read_points(scene.flow):
        if carry_and_die(house.carry, point):
            reached.append(point)
        bury()
    house.carry()
    assert reached == read_points(scene.flow)
    assert len(scene.made(house)) == before + scene.each, house.standing()
    assert scene.arrived(house) - arrived == scene.wanted()
    assert house.arrived_twice() == []
    assert set(house.states(scene.code)) == {"completed"}


@pytest.mark.scenario(4, 5)
@over([*every_scene(), *every_scene(*MORE_STAGES)], rarely=ALIKE)
def test_a_death_around_each_write_makes_its_document_once(house, scene):
    prepared = scene.prepare(house)
    house.carry()
    doubles = 0
    for point in write_points(scene.flow):
        before, arrived = len(scene.made(house)), scene.arrived(house)
        enter(house, scene, prepared, point)
        reached = carry_and_die(house.carry, point)
        bury()
        house.carry()
        assert reached, f"the worker never came to {point}"
        wanted = scene.wanted(unheard=1 if point.endswith(":after_answer") else 0)
        doubles += wanted.total() - scene.each
        assert len(scene.made(house)) == before + scene.logged(wanted), (point, house.standing())
        assert scene.arrived(house) - arrived == wanted, point
        assert len(house.arrived_twice()) == doubles, (point, house.arrived_twice())
        assert set(house.states(scene.code)) == {"completed"}, point
