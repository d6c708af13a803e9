"""The machine's tests end their worker, so that its heartbeat doesn't hold the test database open."""

import pytest

from q2c.transactions import workers


@pytest.fixture(autouse=True)
def _worker_ends():
    yield
    workers.stop_worker()
