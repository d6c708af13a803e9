"""Who looks after the rules, signed in."""

from __future__ import annotations

import pytest

from tests import factories
from tests.mappings.sheet_rows import make_items


@pytest.fixture
def maker(client):
    """A mapping admin, signed in; the ERP's list has items."""
    make_items()
    person = factories.make_person("mapping_admin", username="mira")
    client.force_login(person)
    return person
