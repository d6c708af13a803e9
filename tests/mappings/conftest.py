"""Mira, who looks after the rules, and those who agree: Cora of controllership, Ben of billing."""

from __future__ import annotations

import pytest

from tests import factories
from tests.core.people import make_person
from tests.mappings.sheet_rows import make_items


@pytest.fixture
def maker(client):
    """A mapping admin, signed in; the ERP's list has items."""
    make_items()
    person = factories.make_person("mapping_admin", username="mira")
    client.force_login(person)
    return person


@pytest.fixture
def mira():
    return make_person("mira", "mapping_admin")


@pytest.fixture
def cora():
    return make_person("cora", "controller")


@pytest.fixture
def ben():
    return make_person("ben", "billing_ops")
