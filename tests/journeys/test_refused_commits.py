"""A write is made at the vendor and our own database refuses to remember it: held, and a repost makes no second one."""

from __future__ import annotations

import pytest

from q2c.transactions import remember, restart
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.steps import Write
from tests.journeys.scene import as_params
from tests.journeys.scenes import ALIKE, every_scene

pytestmark = pytest.mark.django_db(transaction=True)
WRITES = [
    param
    for scene in every_scene()
    for step in scene.flow.steps
    if isinstance(step, Write)
    for param in as_params([scene], step.name, rarely=ALIKE)
]


@pytest.mark.parametrize(("scene", "cast", "step"), WRITES, indirect=["cast"])
def test_a_repost_days_later_finds_what_was_made_and_makes_nothing(house, monkeypatch, scene, step):
    code = scene.code
    prepared = scene.prepare(house)
    house.carry()
    before = len(scene.records(house))
    refuse_once(monkeypatch, code, step)
    scene.act(house, prepared, step)
    house.carry(until=lambda: house.states(code).get("held") == 1)
    held = BusinessTransaction.objects.get(flow=code, state="held")
    assert (held.held_step, held.open_intent["step"], held.open_intent["is_open"]) == (step, step, True)
    house.pass_days(2)  # so that no vendor remembers an idempotency key
    restart.restart([held.id])
    house.hasten()
    house.carry()
    assert set(house.states(code)) == {"completed"}
    assert len(scene.records(house)) == before + 1


def refuse_once(monkeypatch, code, step):
    """The database refuses, once, to remember that this step of the flow was written."""
    real, left = remember._copy_steps, [True]

    def copy_steps(cursor, runs, worker):
        ours = [run for run in runs if run.flow.code == code]
        done = [row for run in ours for row in run.rows if row.step == step and row.state == "done"]
        if left and any("skipped" not in (row.used or {}) for row in done):
            left.clear()
            raise ValueError("no such thing")
        real(cursor, runs, worker)

    monkeypatch.setattr(remember, "_copy_steps", copy_steps)
