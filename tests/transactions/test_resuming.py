"""What of a document's earlier runs stands when it's taken up again: what was written, and what that rests on; a write
that had nothing to write is decided anew (docs/decisions/0081)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from q2c.core.problems import Awaits, Category, Problem
from q2c.transactions import machine, restart
from q2c.transactions.claims import Claim
from q2c.transactions.models import BusinessTransaction, StepRun, WorkItem
from q2c.transactions.resuming import load_runs, standing_writes
from q2c.transactions.steps import Flow, Read, Wait, Write
from tests import factories
from tests.flows.skippable import skippable
from tests.transactions.machine_rig import Document, Fact, Prepared, Rig, Target, add_transactions

pytestmark = pytest.mark.django_db(transaction=True)


def asking(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which asks for a fact of this name, and for the target."""
    kinds = (inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY) for n in (name, "erp"))
    function.__signature__ = inspect.Signature(list(kinds))  # type: ignore[attr-defined]
    return function


class World:
    """What a flow of three writes finds, which may change between its attempts: which of them have something to write,
    which are refused, what a rule says, and what others did."""

    def __init__(self) -> None:
        self.wants, self.refuses = {"second", "third"}, set[str]()
        self.amount, self.is_elsewhere, self.says = 1, False, ""
        self.waits = False
        self.target = Target()
        self.rig = Rig(self.target)
        self.flow = Flow(
            code="test_flow", title="Test", starts_with=("fact",), fact_type=Fact, owner="platform",
            steps=(
                Read("ask", "Ask others", self.ask, gives="asked", quiet=True),
                Read("look", "See whether it's elsewhere", self.look, gives="elsewhere"),
                *self.steps("first", unless="elsewhere"),
                Wait("wait", "Wait for a parent", until=self.wait, gives="parent"),
                *self.steps("second"),
                *self.steps("third"),
            ),
        )  # fmt: skip

    def ask(self, fact: Fact) -> str | None:
        return self.says or None

    def look(self, fact: Fact) -> str | None:
        return "elsewhere" if self.is_elsewhere else None

    def wait(self, fact: Fact) -> str:
        if self.waits:
            raise Awaits("parent:1", "its parent")
        return "came"

    def steps(self, name: str, unless: str = "") -> tuple[Read, Write]:
        """A read that builds what a write sends, and the write."""

        def build(fact: Fact) -> Prepared | None:
            return Prepared(f"{name}-{fact.number}", Decimal(self.amount)) if name in self.wants else None

        def find(erp: Target, **given: Prepared) -> Document:
            return erp.find(given[f"to_{name}"].external_id)  # type: ignore[return-value]

        async def post(erp: Target, **given: Prepared) -> Document:
            if name in self.refuses:
                raise Problem("vendor_refused", Category.VALIDATION, "no")
            return await erp.post(given[f"to_{name}"])

        write = Write(f"post_{name}", f"Post the {name}", find=asking(f"to_{name}", find), unless=unless, port="erp",
                      create=asking(f"to_{name}", post), gives=name, prepared=f"to_{name}")  # fmt: skip
        return Read(f"build_{name}", f"Build the {name}", build, gives=f"to_{name}"), write

    def carry(self) -> str:
        """Carry what is due as far as it goes. Returns the state of the one transaction."""
        WorkItem.objects.update(available_at="2020-01-01T00:00:00Z", intent_free_at="2020-01-01T00:00:00Z")
        machine.advance(self.flow, self.rig.tools)
        return BusinessTransaction.objects.get().state

    def repost(self) -> str:
        """Put it back to work, and carry it."""
        assert restart.restart([BusinessTransaction.objects.get().pk])[0].is_restarted
        return self.carry()

    def sent(self) -> dict[str, int]:
        """What the target made, by the write's name, with its amount."""
        return {name.partition("-")[0]: int(made.total) for name, made in self.target.documents.items()}


@pytest.fixture
def world():
    add_transactions(1)
    return World()


def rows(step: str) -> list[tuple]:
    """What the rows of a step say: sequence, its state, which row it supersedes, why it was skipped, our id."""
    found = StepRun.objects.filter(step=step).order_by("sequence")
    return [(r.sequence, r.state, r.supersedes, (r.used or {}).get("skipped"), r.external_id) for r in found]


def number() -> str:
    return BusinessTransaction.objects.get().number


@pytest.mark.scenario(36, of="a write that had nothing to write")
def test_what_was_read_before_a_write_that_had_nothing_to_write_is_read_again(world):
    world.refuses = {"second"}
    assert world.carry() == "held"
    ((first, *_),) = rows("post_first")
    world.amount, world.refuses = 2, set()
    assert world.repost() == "completed"
    assert world.sent() == {"second": 2, "third": 2}
    (_, again) = rows("post_first")
    assert again[1:] == ("done", first, "to_first", "")
    assert [supersedes for _, _, supersedes, *_ in rows("look")] == [None, 0]


@pytest.mark.scenario(36, of="a write that had nothing to write")
@pytest.mark.parametrize("answer", ["given", "lost"])
def test_a_write_that_had_nothing_to_write_is_made_on_the_repost_where_it_has_something_now(world, answer):
    world.refuses = {"second"}
    world.carry()
    ((first, *_),) = rows("post_first")
    world.wants, world.refuses = {"first", "second", "third"}, set()
    world.target.lose_answers = int(answer == "lost")
    if answer == "lost":
        assert world.repost() == "unknown"
        assert BusinessTransaction.objects.get().held_step == "post_first"
        world.wants = {"second", "third"}  # what it rests on stands, for it may have been made
        assert world.carry() == "completed"
    else:
        assert world.repost() == "completed"
    assert (world.sent(), world.target.created[0]) == ({"first": 1, "second": 1, "third": 1}, f"first-{number()}")
    (_, made) = rows("post_first")
    assert made[1:] == ("done", first, None, f"first-{number()}")
    assert StepRun.objects.get(sequence=made[0]).idempotency_key != ""


def test_a_write_that_was_made_on_a_repost_stands_from_then_on(world):
    world.refuses = {"second"}
    world.carry()
    world.wants = {"first", "second", "third"}
    assert world.repost() == "held"
    world.wants, world.amount, world.refuses = {"second", "third"}, 2, set()
    assert world.repost() == "completed"
    assert world.sent() == {"first": 1, "second": 2, "third": 2}
    assert len(rows("post_first")) == 2
    assert len(rows("build_first")) == 2


def test_a_finished_write_keeps_what_is_before_it_and_with_it_one_that_had_nothing_to_write(world):
    world.refuses = {"third"}
    world.carry()
    world.wants, world.amount, world.refuses = {"first", "second", "third"}, 2, set()
    assert world.repost() == "completed"
    assert world.sent() == {"second": 1, "third": 2}
    assert len(rows("post_first")) == len(rows("build_first")) == len(rows("wait")) == 1


def test_an_open_intent_keeps_what_is_before_it_and_with_it_a_write_that_had_nothing_to_write(world):
    world.target.lose_answers = 1
    assert world.carry() == "unknown"
    world.wants, world.amount = {"first", "second", "third"}, 2
    assert world.carry() == "completed"
    assert (world.sent(), len(rows("post_first"))) == ({"second": 1, "third": 2}, 1)


def test_what_is_written_elsewhere_stays_left_out(world):
    world.is_elsewhere, world.wants, world.refuses = True, {"first", "second", "third"}, {"second"}
    world.carry()
    assert [skipped for *_, skipped, _ in rows("post_first")] == ["elsewhere"]
    world.is_elsewhere, world.amount, world.refuses = False, 2, set()
    assert world.repost() == "completed"
    assert world.sent() == {"second": 2, "third": 2}
    assert len(rows("post_first")) == len(rows("build_first")) == 1


def test_a_wait_behind_a_write_that_had_nothing_to_write_costs_no_row_and_reads_as_ever(world):
    world.refuses = {"second"}
    world.carry()
    count = StepRun.objects.count()
    world.waits, world.refuses, world.amount = True, set(), 2
    assert world.repost() == "waiting"
    assert StepRun.objects.count() == count
    world.waits, world.amount = False, 3
    assert world.carry() == "completed"
    assert world.sent() == {"second": 3, "third": 3}


def test_what_a_quiet_step_said_before_a_repost_and_says_no_more_isnt_taken_over(world):
    world.says, world.refuses = "yes", {"second"}
    world.carry()
    world.says, world.refuses = "", {"third"}
    assert world.repost() == "held"
    (found,) = load_runs(world.flow, [Claim(BusinessTransaction.objects.get().pk, 0, None, 0, 0, 0, 1, "", False)])
    assert (found.facts["second"].total, found.facts["asked"]) == (Decimal(1), None)


@pytest.mark.parametrize(("flow", "write"), skippable(), ids=[f"{f.code}-{w.name}" for f, w in skippable()])
def test_of_every_flow_only_what_had_nothing_to_write_is_decided_anew(flow, write):
    def stands(used: dict[str, str] | None, state: str = "done") -> bool:
        txn = factories.make_transaction("held", flow=flow.code)
        factories.make_step(txn, write.name, kind="write", used=used, output=None)
        if state != "done":
            factories.make_step(txn, write.name, kind="write", state=state, used=used)
        return write.name in standing_writes({txn.pk: flow}).get(txn.pk, set())

    assert not stands({"skipped": write.prepared})
    assert all(stands(used) for used in (None, {"found": True}, {"skipped": "older release"}))
    assert stands(None, "failed")
    assert not stands(None, "undone")
    if write.unless:
        assert stands({"skipped": write.unless})
