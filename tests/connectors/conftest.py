"""Every test of a connector starts with closed breakers, no tokens and no pause."""

import pytest

from connectors import auth, breaker, quota, slots, throttle


@pytest.fixture(autouse=True)
def _fresh_lines():
    breaker.forget_breakers()
    quota.forget_quotas()
    slots.forget_lowered()
    throttle.forget_throttles()
    auth.forget_tokens()
