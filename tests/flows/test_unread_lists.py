"""A list of a target that can't be read: what is told, and what else it stops."""

from __future__ import annotations

import pytest

from connectors.models import Connection
from exceptions.models import ExceptionCase
from q2c.core.problems import Category, Problem
from q2c.flows import reference
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("code", "state", "asked", "kinds"),
    [
        ("credentials_refused", "paused", ["items"], ["credentials_refused"]),
        ("vendor_permission", "active", ["items", "accounts"], ["list_unread"]),
    ],
)
def test_a_list_that_may_not_be_read_is_told_alone_and_the_next_is_read(monkeypatch, code, state, asked, kinds):
    factories.make_connection("netsuite")
    seen = []

    def refresh(connection, lists):
        seen.extend(lists)
        if lists == ("items",):
            raise Problem(code, Category.AUTHENTICATION, "The role may not do this", connection=connection)

    monkeypatch.setattr(reference, "refresh_reference", refresh)
    monkeypatch.setattr(reference, "REFERENCE_LISTS", ("items", "accounts"))
    reference.refresh_or_tell("netsuite")
    assert (seen, Connection.objects.get(code="netsuite").state) == (asked, state)
    assert list(ExceptionCase.objects.values_list("kind", flat=True)) == kinds
