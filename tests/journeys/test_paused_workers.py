"""A worker that is paused (SIGSTOP) while another one takes over: when it goes on it sends and commits nothing."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from django.db.models import Count

from connectors.models import Exchange
from q2c.transactions.models import StepRun, WorkItem
from tests.journeys.deaths import await_end, bury, carry_and_stop, pause_points
from tests.journeys.scene import over
from tests.journeys.scenes import ALIKE, enter, every_scene

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.crash]


def deadline() -> dt.datetime:
    """Until when the paused worker might send."""
    intents = WorkItem.objects.exclude(intent=None).values_list("intent", flat=True)
    return max((dt.datetime.fromisoformat(i["deadline"]) for i in intents), default=dt.datetime.now(dt.UTC))


@pytest.mark.scenario(13)
@over(every_scene(), rarely=ALIKE)
def test_a_paused_worker_is_fenced_when_it_goes_on(house, scene):
    prepared = scene.prepare(house)
    house.carry()
    for point in pause_points(scene.flow):
        before, arrived = len(scene.made(house)), scene.arrived(house)
        enter(house, scene, prepared, point)
        paused = carry_and_stop(scene.code, point)
        passes_at = deadline()
        bury()
        house.carry()
        assert set(house.states(scene.code)) == {"completed"}, f"the other worker didn't finish what stood at {point}"
        if point.endswith("before_send"):
            time.sleep(max(0.0, (passes_at - dt.datetime.now(dt.UTC)).total_seconds()))
        await_end(paused, goes_on=True)
        house.carry()
        wanted = scene.wanted(unheard=1 if point.endswith(":after_answer") else 0)
        assert len(scene.made(house)) == before + scene.logged(wanted), point
        assert scene.arrived(house) - arrived == wanted, point
        assert set(house.states(scene.code)) == {"completed"}, point
        if point.endswith("after_answer"):
            assert Exchange.objects.filter(is_late=True).exists(), "a late answer is a fact and is kept"
    done = StepRun.objects.filter(state="done", kind="write")
    assert not done.values("transaction_id", "step").annotate(times=Count("*")).filter(times__gt=1).exists()
