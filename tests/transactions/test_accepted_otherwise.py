"""What two people accepted of a write that the target made otherwise is taken as it's there, and never sent again."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from q2c.core.problems import Category, Problem
from q2c.transactions import machine, restart
from q2c.transactions.models import BusinessTransaction, StepRun
from tests.transactions.machine_rig import Rig, Target, add_transactions, flow
from tests.transactions.test_machine import states

pytestmark = pytest.mark.django_db(transaction=True)


class Short(Target):
    """Keeps no id of ours: a look-up finds only what is as asked. Makes 0.90 of 1.00."""

    async def find(self, external_id):
        self.looks += 1
        return

    async def post(self, prepared):
        self.created.append(prepared.external_id)
        made = await Target.post(Target(), msgspec.structs.replace(prepared, amount=Decimal("0.90")))
        self.documents[prepared.external_id] = made
        return made


def differs(document, prepared, was_found):
    if document.total == prepared.amount:
        return None
    code = "document_exists_differs" if was_found else "posted_differently"
    return Problem(code, Category.CONFLICT, "less than asked", number=prepared.external_id, booked=document.total)


async def read_there(prepared, erp):
    return erp.documents[prepared.external_id]


@pytest.mark.parametrize(
    ("accepted", "now", "state", "sent"),
    [
        ("0.90", "0.90", "completed", 1),
        ("0.90", "1.00", "completed", 1),  # somebody put it right by hand
        ("0.90", "0.80", "held", 1),  # not what they accepted
        ("", "0.90", "held", 2),  # nobody accepted it: a plain repost sends it again
    ],
)
def test_what_people_accepted_is_taken_as_it_is_and_not_sent_again(accepted, now, state, sent):
    target = Short()
    rig, asked = Rig(target), flow(equal=differs, there=read_there)
    (one,) = add_transactions(1)
    machine.advance(asked, rig.tools)
    assert [held.problem.code for held in rig.held] == ["posted_differently"]
    (name,) = target.documents
    target.documents[name] = msgspec.structs.replace(target.documents[name], total=Decimal(now))
    rig.accepted = [("posted_differently", {"number": name, "booked": accepted})] if accepted else []
    restart.restart([one])
    machine.advance(asked, rig.tools)
    assert (states(), len(target.created)) == ({state: 1}, sent)
    assert {held.problem.code for held in rig.held} == {"posted_differently"}
    if state == "completed":
        used = {"found": True} if now == "1.00" else {"found": True, "accepted": "posted_differently"}
        assert StepRun.objects.get(step="post", state="done").used == used
        assert BusinessTransaction.objects.get().target_id == target.documents[name].id
