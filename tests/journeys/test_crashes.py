"""A worker killed before and after every step of every flow: the vendors' logs hold what an undisturbed run makes,
once."""

from __future__ import annotations

import pytest

from q2c.flows import catalog
from tests.journeys.deaths import bury, carry_and_die, read_points, write_points
from tests.journeys.scenes import MORE_SCENES, SCENES, TRIED, enter

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.crash]


@pytest.mark.scenario(4)
@pytest.mark.parametrize("code", TRIED)
def test_one_document_survives_a_death_before_and_after_every_read(house, code):
    flow, scene = catalog.BY_CODE[code], SCENES[code]
    prepared = scene.prepare(house)
    house.carry()
    before, arrived = len(scene.made(house)), scene.arrived(house)
    enter(house, code, prepared, "reads")
    reached = []
    for point in read_points(flow):
        if carry_and_die(house.carry, point):
            reached.append(point)
        bury()
    house.carry()
    assert reached == read_points(flow)
    assert len(scene.made(house)) == before + scene.each, house.standing()
    assert scene.arrived(house) - arrived == scene.wanted()
    assert house.arrived_twice() == []
    assert set(house.states(code)) == {"completed"}


@pytest.mark.scenario(4, 5)
@pytest.mark.parametrize(
    ("code", "scenes"),
    [*((code, SCENES) for code in TRIED), *((code, MORE_SCENES) for code in MORE_SCENES)],
    ids=[*TRIED, *(f"{code}-more" for code in MORE_SCENES)],
)
def test_a_death_around_each_write_makes_its_document_once(house, code, scenes):
    flow, scene = catalog.BY_CODE[code], scenes[code]
    prepared = scene.prepare(house)
    house.carry()
    doubles = 0
    for point in write_points(flow):
        before, arrived = len(scene.made(house)), scene.arrived(house)
        enter(house, code, prepared, point, scene=scene)
        reached = carry_and_die(house.carry, point)
        bury()
        house.carry()
        assert reached, f"the worker never came to {point}"
        wanted = scene.wanted(unheard=1 if point.endswith(":after_answer") else 0)
        doubles += wanted.total() - scene.each
        assert len(scene.made(house)) == before + scene.logged(wanted), (point, house.standing())
        assert scene.arrived(house) - arrived == wanted, point
        assert len(house.arrived_twice()) == doubles, (point, house.arrived_twice())
        assert set(house.states(code)) == {"completed"}, point
