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
SEED = int(os.environ.get("Q2C_SHUFFLED_SEED") or (7 if COMPANIES == 1 else random.SystemRandom().randrange(10**6)))


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


@pytest.mark.scenario(64)
def test_what_people_and_banks_decide_between_deaths_and_replays_keeps_every_total(house):
    company = Shuffled(house, lived := Counter())
    company.open()
    for amount in (10_000, 20_000, 30_000, 40_000):
        company.create_invoice(pick=0, amount=amount, is_known=1)
    for amount in (50_000, 60_000):
        company.create_summed_invoice(amount=amount)
    company.pay(pick=0)
    company.sum_up()
    company.void(pick=0, is_posted=True)
    company.dispute(pick=0)
    company.write_off(pick=0)
    company.crash(flow="write_off_to_erp", pick=1)
    company.take_back(pick=0, is_for_good=False)
    company.crash(flow="unwinding_to_erp", pick=9)
    company.lose_an_answer(vendor="netsuite", do="lose_answer")
    company.take_back(pick=0, is_for_good=True)
    company.end_dispute(pick=0, is_won=True)
    company.replay(pick=3)
    company.teardown()
    assert (lived["void"], lived["disputed"], lived["written_off"], lived["plans"], lived["summed_up"]) == (
        1,
        1,
        1,
        2,
        2,
    )


@pytest.mark.scenario(48, 64, of="amendments between deaths and replays")
def test_a_sold_subscription_that_is_amended_up_and_down_between_deaths_and_replays_keeps_every_total(house):
    company = Shuffled(house, lived := Counter())
    company.open()
    company.sell(pick=1)
    company.sell(pick=1)
    company.amend_subscription(pick=0, quantity=4, price=0)
    company.crash(flow="invoice_to_erp", pick=5)
    company.amend_subscription(pick=0, quantity=1, price=0)  # below zero: the customer's credit
    company.crash(flow="credit_memo_to_erp", pick=7)
    company.lose_an_answer(vendor="netsuite", do="lose_answer")
    company.amend_subscription(pick=1, quantity=2, price=123_457)
    company.amend_subscription(pick=0, quantity=5, price=99_999)  # and this one uses the credit
    company.replay(pick=9)
    company.teardown()
    assert (lived["amended"], lived["deals"]) == (4, 2)
    documents = company.billed_by_subscriptions()
    assert (len(documents), sum(d["total"] < 0 for d in documents)) == (6, 2)
