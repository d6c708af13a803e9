"""The ERP makes the document and its answer is lost, again and again: each is found by a look, and made once.

`Q2C_TRIALS` says how often (`make check-all`: 1,000).
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.journeys.scenes import SCENES

pytestmark = pytest.mark.django_db(transaction=True)
TRIALS = int(os.environ.get("Q2C_TRIALS") or 10)
AT_ONCE = 100


@pytest.mark.scenario(1)
def test_however_often_the_answer_is_lost_after_the_commit_each_document_is_made_once(house):
    customer = house.customer()
    house.carry()
    for do, share in (("lose_answer", 0.8), ("truncate", 1.0)):  # the second meets what the first lets pass
        when = {"method": "POST", "path": "*/invoice", "probability": share}
        house.fault("netsuite", do, when=when, seed=1)
    line = {"amount": 1_000, "quantity": 1, "description": "QB-API", "metadata": {"sku": "QB-API"}}
    given = {"customer": customer, "currency": "gbp", "lines": [line], "metadata": {"legal_entity": "GB01"}}
    for start in range(0, TRIALS, AT_ONCE):
        count = min(TRIALS, start + AT_ONCE)
        house.make("stripe", "invoice", [given] * (count - start))
        house.carry(until=lambda count=count: sum(house.states("invoice_to_erp").values()) == count, seconds=60)
        house.carry_to_the_end("invoice_to_erp", seconds=120)
    made = [entry["external_id"] for entry in house.made("netsuite", "invoice")]
    assert len(made) == len(set(made)) == TRIALS
    assert SCENES["invoice_to_erp"].arrived(house) == Counter(done=TRIALS)
    assert house.states("invoice_to_erp") == {"completed": TRIALS}
    assert house.held() == []
