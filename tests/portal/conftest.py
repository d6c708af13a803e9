"""People who are signed in."""

import pytest
from django.test import Client

from tests import factories


@pytest.fixture
def sign_in(db):
    """Signs a person of a role in, for some entities or (none given) all: returns their client with `.person`."""

    def sign_in(role="controller", *, entities=(), **fields):
        client = Client()
        client.person = factories.make_person(role, entities=entities, **fields)
        client.force_login(client.person)
        return client

    return sign_in


@pytest.fixture
def controller(sign_in):
    """A controller of all entities."""
    return sign_in("controller")
