"""Fixtures of this folder: a source with a register."""

import datetime as dt

import pytest
from django.utils import timezone

from q2c import ports
from q2c.reconciliation.models import FeedCheck
from tests.inbox.conftest import acme  # noqa: F401 - a fixture
from tests.reconciliation.register import Register


@pytest.fixture
def source(acme, monkeypatch):  # noqa: F811
    """Acme with a register, connected two days ago."""
    ports.forget_kept()  # of the database of the test before
    register = Register()
    register.connection = acme
    old = timezone.now() - dt.timedelta(days=20)
    FeedCheck.objects.create(connection_code="acme", document_type="invoice", counts_from=old)
    return register
