"""Who works on cases here, and what waits for a commit."""

from __future__ import annotations

import pytest


@pytest.fixture
def commits(django_capture_on_commit_callbacks):
    """What waits for the commit happens, as after a real one."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.fixture
def billing(ben):
    return ben


@pytest.fixture
def controller(cora):
    return cora
