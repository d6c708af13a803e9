"""Any order of selling, billing, paying, mending, crashing and reading again keeps every total (scenario 64).

`Q2C_SHUFFLED` says how many companies are lived through (`make check-all`: 15); one, always the same, in `make test`.
Each run says its seed, and `Q2C_SHUFFLED_SEED` repeats it.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.journeys.shuffled import Shuffled

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.crash]
COMPANIES = int(os.environ.get("Q2C_SHUFFLED") or 1)
STEPS = 8 if COMPANIES == 1 else 20
SEED = int(os.environ.get("Q2C_SHUFFLED_SEED") or (6 if COMPANIES == 1 else random.SystemRandom().randrange(10**6)))


@pytest.mark.scenario(64, of="many flows at once, in any order")
def test_whatever_the_order_what_is_posted_is_what_was_billed(house, record_property):
    lived: Counter[str] = Counter()
    chosen = settings(
        max_examples=COMPANIES + 3,  # Hypothesis begins with those in which next to nothing happens
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    begin = seed(SEED)(lambda: Shuffled(house, lived))
    run_state_machine_as_test(begin, settings=chosen, _min_steps=STEPS)
    record_property("said", f"shuffled with seed {SEED}: {', '.join(f'{n} {name}' for name, n in lived.items())}")
    assert lived["invoices"] + lived["deals"] > 0
