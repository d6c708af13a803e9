"""Who works on cases here, and what waits for a commit."""

from __future__ import annotations

import pytest

from tests.core.people import make_person


@pytest.fixture
def commits(django_capture_on_commit_callbacks):
    """What waits for the commit happens, as after a real one."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.fixture
def billing():
    return make_person("ben", "billing_ops")


@pytest.fixture
def controller():
    return make_person("cora", "controller")
