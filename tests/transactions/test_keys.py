"""A target that keeps its answers by idempotency key, errors too: when the same key is sent again, and when another."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from q2c.core.problems import Category, NotAnswered, Problem
from q2c.transactions import machine, restart
from q2c.transactions.models import BusinessTransaction, WorkItem
from q2c.transactions.writing import KEYS_KEPT, SENT_AGAIN_MAX
from tests.transactions.machine_rig import Document, ForgetfulRepeats, Prepared, Rig, Target, add_transactions, flow
from tests.transactions.test_machine import make_due, states

pytestmark = pytest.mark.django_db(transaction=True)

FAILED, SILENT, REFUSED, LOST, DONE_BUT_FAILED = "failed", "silent", "refused", "lost", "done but failed"


class KeepingRepeats(ForgetfulRepeats):
    """It replays by the key, and makes a second document under another one."""

    idempotency_header = "Key"


class Keeping(Target):
    """Meets what it's told, in order, once each: `failed` and `refused` are kept under the key, `silent` never arrived,
    of `lost` the answer was. Afterwards it makes what it's asked for."""

    repeats = KeepingRepeats()

    def __init__(self, *meets: str) -> None:
        super().__init__()
        self.meets = list(meets)
        self.keys: list[str] = []  # of what was sent
        self.kept: dict[str, tuple[Decimal, Problem | None]] = {}

    async def post_under(self, prepared, key):
        self.keys.append(key)
        met = self.meets.pop(0) if self.meets and (key not in self.kept or self.meets[0] == SILENT) else ""
        if met == SILENT:
            raise NotAnswered("no answer came")
        if key in self.kept:
            amount, error = self.kept[key]
            if amount != prepared.amount:
                raise Problem("idempotency_key_reused", Category.CONFLICT, "known with other content")
            if error is None:
                return self.documents[prepared.external_id]
            replayed = type(error)(*error.args) if isinstance(error, NotAnswered) else Problem(
                error.code, error.category, error.summary, is_passing=error.is_passing)  # fmt: skip
            replayed.is_replayed = True
            raise replayed
        error = self._error_of(met)
        self.kept[key] = prepared.amount, error
        if error is None or met == DONE_BUT_FAILED:
            document = Document("thing", f"D{len(self.created)}", prepared.external_id, prepared.amount)
            self.documents[prepared.external_id] = document
            self.created.append(prepared.external_id)
        if error is not None:
            raise error
        if met == LOST:
            raise NotAnswered("no answer came")
        return document

    def _error_of(self, met: str) -> Problem | None:
        if met in (FAILED, DONE_BUT_FAILED):
            return NotAnswered("it answered 500")
        if met in (REFUSED, "busy"):
            return Problem("conflict", Category.CONFLICT, "in another state", is_passing=met == "busy")
        return None


def post_keyed(prepared, erp, write) -> Document:
    return erp.post_under(prepared, write.key)


def keyed(**changes):
    return flow(create=post_keyed, **changes)


def rounds(rig, count, **changes):
    for _ in range(count):
        machine.advance(keyed(**changes), rig.tools)
        make_due()


@pytest.mark.scenario(1, 2, 6)
@pytest.mark.parametrize(
    ("meets", "keys"),
    [
        ([], "A"),
        ([LOST], "A"),
        ([SILENT], "AA"),
        ([SILENT, LOST], "AA"),
        ([FAILED], "AAB"),
        ([FAILED, FAILED], "AABBC"),
        ([SILENT, FAILED], "AAAB"),
        ([DONE_BUT_FAILED], "A"),
        (["busy"], "AB"),
        (["busy", "busy", LOST], "ABC"),
    ],
)
def test_a_kept_error_is_asked_for_once_more_and_then_left_behind(meets, keys):
    target = Keeping(*meets)
    rig = Rig(target)
    add_transactions(1)
    rounds(rig, 2 * len(keys) + 2)
    order = {key: "ABCDEFG"[n] for n, key in enumerate(dict.fromkeys(target.keys))}
    assert ("".join(order[key] for key in target.keys), len(target.created)) == (keys, 1)
    assert (states(), rig.held) == ({"completed": 1}, [])


@pytest.mark.parametrize("amount", ["1.00", "2.00"])
def test_what_was_refused_is_reposted_under_another_key_edited_or_not(amount):
    target = Keeping(REFUSED)
    rig = Rig(target)
    (one,) = add_transactions(1)
    rounds(rig, 1)
    assert [h.problem.code for h in rig.held] == ["conflict"]
    restart.restart([one])

    def edited(fact) -> Prepared:
        return Prepared(f"x-{fact.number}", Decimal(amount))

    edited.__annotations__ = {"return": Prepared, "fact": object}
    rounds(rig, 1, prepare=edited)
    assert (states(), len(target.created), len(set(target.keys))) == ({"completed": 1}, 1, 2)


def test_however_often_it_is_refused_and_reposted_no_key_comes_twice_and_it_is_made_once():
    target = Keeping(REFUSED, REFUSED, REFUSED, LOST)
    rig = Rig(target)
    (one,) = add_transactions(1)
    for _ in range(3):
        rounds(rig, 1)
        restart.restart([one])
    rounds(rig, 2)
    assert (states(), len(target.created)) == ({"completed": 1}, 1)
    assert len(target.keys) == len(set(target.keys)) == 4


@pytest.mark.scenario(6)
def test_a_refusal_while_an_attempt_is_in_doubt_keeps_its_key_until_a_look_up_proves_absence():
    target = Keeping(SILENT, REFUSED)
    rig = Rig(target)
    (one,) = add_transactions(1)
    rounds(rig, 2)
    held = BusinessTransaction.objects.get(id=one)
    assert (held.state, held.problem_code, held.open_intent["key"]) == ("held", "conflict", target.keys[0])
    restart.restart([one])
    make_due()
    looks = target.looks
    rounds(rig, 1)
    assert (states(), target.looks, len(target.keys)) == ({"waiting": 1}, looks + 1, 2), "the new key isn't durable yet"
    rounds(rig, 1)
    assert (states(), len(target.created), target.keys[0] == target.keys[1]) == ({"completed": 1}, 1, True)
    assert target.keys[2] != target.keys[0]


def test_a_refusal_of_a_first_attempt_that_was_made_after_all_is_found_by_the_repost():
    target = Keeping(SILENT, REFUSED)
    rig = Rig(target)
    (one,) = add_transactions(1)
    rounds(rig, 2)
    name = f"x-{BusinessTransaction.objects.get().number}"
    target.documents[name] = Document("thing", "D1", name, Decimal("1.00"))  # the first one arrived late
    restart.restart([one])
    make_due()
    rounds(rig, 1)
    assert (states(), target.created, len(target.keys)) == ({"completed": 1}, [], 2)


@pytest.mark.scenario(6)
@pytest.mark.parametrize(("age", "keys"), [(KEYS_KEPT - dt.timedelta(hours=1), 1), (KEYS_KEPT, 2)])
def test_a_key_is_trusted_as_long_as_the_target_keeps_it(age, keys):
    target = Keeping(SILENT)
    rig = Rig(target)
    add_transactions(1)
    rounds(rig, 1)
    item = WorkItem.objects.get()
    opened_at = dt.datetime.now(dt.UTC) - age
    WorkItem.objects.update(intent={**item.intent, "opened_at": opened_at.isoformat()})
    rounds(rig, 2)
    assert (states(), len(target.created), len(set(target.keys))) == ({"completed": 1}, 1, keys)


@pytest.mark.scenario(6)
@pytest.mark.parametrize(("met", "keys"), [(SILENT, 1), (FAILED, (SENT_AGAIN_MAX + 2) // 2)])
def test_after_many_times_without_an_answer_a_person_looks_and_what_is_sent_then_is_made_once(met, keys):
    target = Keeping(*[met] * 50)
    rig = Rig(target)
    (one,) = add_transactions(1)
    while states() != {"held": 1}:
        assert len(target.keys) <= SENT_AGAIN_MAX + 1
        rounds(rig, 1)
    assert [h.problem.code for h in rig.held] == ["outcome_unknown"]
    assert (len(target.keys), len(set(target.keys))) == (SENT_AGAIN_MAX + 1, keys)
    assert BusinessTransaction.objects.get().open_intent is not None
    target.meets = []
    restart.restart([one])
    make_due()
    rounds(rig, 4)
    assert (states(), len(target.created)) == ({"completed": 1}, 1)


def test_a_change_whose_error_is_kept_is_sent_under_another_key():
    target = Keeping(FAILED)
    rig = Rig(target)
    add_transactions(1)
    rounds(rig, 4, upsert=True)
    assert (states(), len(target.created), target.looks) == ({"completed": 1}, 1, 0)
    assert [key == target.keys[0] for key in target.keys] == [True, True, False]
