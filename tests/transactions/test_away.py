"""A database that goes while a step reads: nothing is wrong with the document, so it isn't held, and goes on later."""

from __future__ import annotations

import dataclasses

import pytest
from django.db import OperationalError

from q2c.transactions import machine
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.steps import Read
from tests.transactions.machine_rig import Fact, Rig, Target, add_transactions, flow

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("where", ["in the step", "in what it wants"])
def test_a_database_that_goes_in_the_middle_of_a_read_holds_nothing(where):
    away = [True]

    def ask(fact: Fact) -> str:
        if away[0]:
            raise OperationalError("the connection is closed")
        return fact.number

    def check(fact: Fact) -> str:
        return ask(fact) if where == "in the step" else fact.number

    def want(fact: Fact) -> list:
        if where != "in the step":
            ask(fact)
        return []

    steps = list(flow().steps)
    steps.insert(1, Read("check", "Check the thing", check, gives="checked", wants=want))
    asking = dataclasses.replace(flow(), steps=tuple(steps))
    rig = Rig(Target())
    add_transactions(1)
    with pytest.raises(OperationalError):
        machine.advance(asking, rig.tools)
    one = BusinessTransaction.objects.get()
    assert (one.state in ("running", "waiting"), rig.held) == (True, [])

    away[0] = False
    machine.advance(asking, rig.tools)
    one.refresh_from_db()
    assert one.state == "completed"
