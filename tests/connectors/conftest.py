"""Every test of a connector starts with closed breakers, no tokens and no pause."""

import pytest

from connectors import auth, breaker, throttle


@pytest.fixture(autouse=True)
def _fresh_lines():
    breaker.forget_breakers()
    throttle.forget_throttles()
    auth.forget_tokens()
