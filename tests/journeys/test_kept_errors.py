"""Billing keeps what it answered under our key, its errors too: the order is carried all the same, and once."""

from __future__ import annotations

import pytest

from exceptions import resolutions
from exceptions.models import ExceptionCase
from q2c.core.models import Person
from q2c.transactions.models import StepRun
from tests.journeys.house import forget_everything
from tests.journeys.scenes import SCENES, enter

pytestmark = pytest.mark.django_db(transaction=True)
CODE = "order_to_subscription"
MADE = {"method": "POST", "path": "/v1/subscriptions", "nth": 1}
REFUSAL = {"error": {"type": "invalid_request_error", "code": "status_transition_invalid", "message": "Not now."}}


@pytest.fixture
def before(house):
    """An order is due; how many subscriptions there were."""
    scene = SCENES[CODE]
    prepared = scene.prepare(house)
    house.carry()
    count = len(scene.made(house))
    enter(house, CODE, prepared, "kept")
    return count


def used_key(house):
    """The key under which the newest subscription was made, by billing's own log and by our step."""
    key = SCENES[CODE].made(house)[-1]["idempotency_key"]
    step = StepRun.objects.filter(step="create_subscription", state="done").latest("at")
    assert step.idempotency_key == key
    return key


@pytest.mark.scenario(2, 6)
def test_an_error_that_billing_keeps_is_left_behind_by_another_key(house, before):
    house.fault("stripe", "status", when=MADE, status=500, kept=True)
    house.carry(until=lambda: house.states(CODE).get("unknown") == 1)
    house.carry_to_the_end(CODE)
    assert (len(SCENES[CODE].made(house)), house.held()) == (before + 1, [])
    assert used_key(house)


def test_a_refusal_that_billing_keeps_is_left_behind_by_a_repost(house, before):
    house.fault("stripe", "status", when=MADE, status=400, body=REFUSAL, kept=True)
    house.carry(until=lambda: house.states(CODE).get("held") == 1)
    forget_everything()
    (case,) = ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES)
    resolutions.repost(case, by=Person.objects.get(username="sales_ops"), reason="mended in Stripe")
    house.carry_to_the_end(CODE)
    assert len(SCENES[CODE].made(house)) == before + 1
    assert used_key(house)
