"""The ERP makes the document and its answer is lost, again and again: each is found by a look, and made once.

`Q2C_TRIALS` says how often (`make check-all`: 1,000).
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.journeys.scene import over
from tests.journeys.scenes import every_scene

pytestmark = pytest.mark.django_db(transaction=True)
TRIALS = int(os.environ.get("Q2C_TRIALS") or 10)
AT_ONCE = 100


@pytest.mark.scenario(1)
@over(every_scene("invoice_to_erp"))
def test_however_often_the_answer_is_lost_after_the_commit_each_document_is_made_once(house, scene):
    customer = house.customer()
    house.carry()
    for do, share in (("lose_answer", 0.8), ("truncate", 1.0)):  # the second meets what the first lets pass
        when = {"method": scene.trace.method, "path": scene.trace.arrives_at, "probability": share}
        house.fault(scene.vendor, do, when=when, seed=1)
    for start in range(0, TRIALS, AT_ONCE):
        count = min(TRIALS, start + AT_ONCE)
        house.invoices(customer, count - start)
        house.carry(until=lambda count=count: sum(house.states(scene.code).values()) == count, seconds=60)
        house.carry_to_the_end(scene.code, seconds=120)
    made = [entry["external_id"] for entry in scene.made(house)]
    assert len(made) == len(set(made)) == TRIALS
    assert scene.arrived(house) == Counter(done=TRIALS)
    assert house.states(scene.code) == {"completed": TRIALS}
    assert house.held() == []
