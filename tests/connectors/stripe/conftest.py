"""Stripe's sandbox, a client of ours for it, and somebody else who uses it."""

import httpx
import pytest

from connectors.sandbox.testing import running_sandboxes
from tests.connectors.lines import client_of


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("stripe"), vendors=["stripe"]) as running:
        running.control("POST", "stripe/limits", {"enforced": False})
        yield running


@pytest.fixture
def build(sandboxes):
    def client(collector=None):
        given = sandboxes.vendor("stripe")
        return client_of("stripe", given["url"], secrets=given["credentials"], collector=collector)

    return client


@pytest.fixture
def web(sandboxes):
    """Stripe, as somebody else uses it."""
    given = sandboxes.vendor("stripe")
    with httpx.Client(base_url=given["url"] + "/v1", auth=(given["credentials"]["api_key"], "")) as client:
        yield client
