"""Billing keeps what it answered under our key, its errors too: the order is carried all the same, and once."""

from __future__ import annotations

import pytest

from connectors import registry
from exceptions import resolutions
from exceptions.models import ExceptionCase
from q2c.core.models import Person
from q2c.transactions.models import StepRun
from tests.journeys.house import forget_everything
from tests.journeys.scene import over
from tests.journeys.scenes import enter, every_scene

pytestmark = pytest.mark.django_db(transaction=True)
KEEPING = [
    scene
    for scene in every_scene("order_to_subscription")
    if scene.player.kept_refusal is not None and registry.manifest(scene.vendor).repeats.idempotency_header
]


@pytest.fixture
def before(house, scene):
    """An order is due; how many subscriptions there were."""
    prepared = scene.prepare(house)
    house.carry()
    count = len(scene.made(house))
    enter(house, scene, prepared, "kept")
    return count


def used_key(house, scene):
    """The key under which the newest subscription was made, by billing's own log and by our step."""
    key = scene.made(house)[-1]["idempotency_key"]
    step = StepRun.objects.filter(step=scene.last_write.name, state="done").latest("at")
    assert step.idempotency_key == key
    return key


@pytest.mark.scenario(2, 6)
@over(KEEPING)
def test_an_error_that_billing_keeps_is_left_behind_by_another_key(house, scene, before):
    scene.meet(house, "status", nth=1, status=500, kept=True)
    house.carry(until=lambda: house.states(scene.code).get("unknown") == 1)
    house.carry_to_the_end(scene.code)
    assert (len(scene.made(house)), house.held()) == (before + 1, [])
    assert used_key(house, scene)


@over(KEEPING)
def test_a_refusal_that_billing_keeps_is_left_behind_by_a_repost(house, scene, before):
    scene.meet(house, "status", nth=1, status=400, body=scene.player.kept_refusal, kept=True)
    house.carry(until=lambda: house.states(scene.code).get("held") == 1)
    forget_everything()
    (case,) = ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES)
    resolutions.repost(case, by=Person.objects.get(username="sales_ops"), reason="mended in billing")
    house.carry_to_the_end(scene.code)
    assert len(scene.made(house)) == before + 1
    assert used_key(house, scene)
