"""Answers that are lost, late, strange or refused, at every flow: the vendors' logs hold each document once."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from connectors.manifest import Limits
from exceptions import resolutions
from exceptions.models import ExceptionCase
from q2c.core.models import Person
from q2c.flows.tasks import carry
from tests.journeys.house import forget_everything
from tests.journeys.scene import over
from tests.journeys.scenes import ALIKE, enter, every_scene
from tests.journeys.stage import await_that
from tests.sandboxes.netsuite_client import Client as Erp

pytestmark = pytest.mark.django_db(transaction=True)
UNTIL_LET_GO_ON = 60.0  # seconds: by far longer than it takes until a test takes the delay back
NOT_ANSWERED = (
    {"do": "lose_answer"},
    {"do": "reset_before"},
    {"do": "status", "status": 500},
    {"do": "html_200"},
    {"do": "status", "status": 200, "body": {"success": False}},
)


@contextmanager
def beside(work):
    """Somebody does this meanwhile; what goes wrong there is said here."""
    with ThreadPoolExecutor(1) as other:
        doing = other.submit(work)
        yield
        doing.result(timeout=120)


def clear(house, scene):
    house.sandboxes.control("DELETE", f"{scene.vendor}/faults")
    forget_everything()  # an open breaker among it


def are_stopped(house, scene, **wanted):
    states = house.states(scene.code)
    return {state: states.get(state, 0) for state in wanted} == wanted


@pytest.mark.scenario(1, 2, 3, 6, 50, 51)
@over(every_scene(), rarely=ALIKE)
def test_whatever_becomes_of_an_answer_the_document_is_made_once(house, scene):
    prepared = scene.prepare(house)
    house.carry()
    if scene.side_by_side:
        all_at_once(house, scene, prepared)
    else:
        one_after_another(house, scene, prepared)
    while_it_still_works(house, scene, prepared)
    while_nobody_can_look(house, scene, prepared)


def all_at_once(house, scene, prepared):
    """Each way of not answering, and a refusal, met by facts of one batch."""
    before, arrived, count = len(scene.made(house)), scene.arrived(house), len(NOT_ANSWERED) + 1
    enter(house, scene, prepared, "answers", count)
    house.set_connections(settles_after_seconds="60")
    for nth, fault in enumerate(NOT_ANSWERED, 1):
        scene.meet(house, nth=nth, **fault)
    scene.meet_refusal(house, nth=count)
    house.carry(until=lambda: are_stopped(house, scene, unknown=count - 1, held=1))
    clear(house, scene)
    (case,) = ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES)
    resolutions.repost(case, by=Person.objects.get(username=scene.flow.owner), reason="asked the vendor")
    house.carry_to_the_end(scene.code)
    wanted = scene.wanted(count, unheard=1, refused=count - 1)  # only the first was carried out
    assert scene.arrived(house) - arrived == wanted
    assert len(scene.made(house)) == before + scene.logged(wanted, count)


def one_after_another(house, scene, prepared):
    """The same where facts of one lane follow one another."""
    house.set_connections(settles_after_seconds="60")
    for fault in NOT_ANSWERED:
        before, arrived = len(scene.made(house)), scene.arrived(house)
        enter(house, scene, prepared, "answers")
        scene.meet(house, nth=1, **fault)
        house.carry(until=lambda: are_stopped(house, scene, unknown=1))
        clear(house, scene)
        house.carry_to_the_end(scene.code)
        house.carry()
        assert len(scene.made(house)) == before + 1, fault
        assert scene.arrived(house) - arrived == scene.wanted(refused=int(fault["do"] != "lose_answer")), fault


def while_it_still_works(house, scene, prepared):
    """The answer takes longer than we wait, and we ask again before the vendor is done (scenario 3)."""
    before, arrived = len(scene.made(house)), scene.arrived(house)
    enter(house, scene, prepared, "slow")
    house.set_connections(timeout_seconds=str(0.8 - Limits(at_once=1).connect_seconds))  # 0.8 s in all
    works = scene.meet(house, "delay", nth=1, seconds=UNTIL_LET_GO_ON)
    house.carry(until=lambda: are_stopped(house, scene, unknown=1))
    house.set_connections(timeout_seconds="20")
    for _early in range(3):  # by far fewer than after which a person is asked
        house.hasten()
        carry(scene.code)
    asked = (scene.arrived(house) - arrived).total()
    house.let_go_on(scene.vendor, works)
    await_that(lambda: (scene.arrived(house) - arrived).total() > asked, seconds=60, what="the vendor is done with it")
    house.carry_to_the_end(scene.code)
    clear(house, scene)
    found, most = scene.arrived(house) - arrived, Counter(scene.trace.works)
    repeats = found["refused"] + found["replayed"]  # refused while it works, answered as before once it's done
    assert found["done"] == most["done"], "an early retry while the vendor still works"
    assert repeats <= most["refused"] + most["replayed"], "it's asked as often as we were hurried"
    assert len(scene.made(house)) == before + found["done"]


def while_nobody_can_look(house, scene, prepared):
    """The answer is lost, and the look-up first fails and then doesn't show it yet (scenario 6)."""
    before, arrived = len(scene.made(house)), scene.arrived(house)
    enter(house, scene, prepared, "look-up")
    scene.meet(house, "lose_answer", nth=1)
    house.carry(until=lambda: are_stopped(house, scene, unknown=1))
    unseen = Counter(scene.trace.unseen)
    for fault, wanted in (({"status": 503}, scene.wanted(unheard=1)), (scene.player.absent, unseen)):
        house.sandboxes.control("DELETE", f"{scene.vendor}/faults")
        if scene.trace.look:
            scene.meet(house, "status", looking=True, **fault)
        for _probe in range(2):
            house.hasten()
            forget_everything()
            carry(scene.code)
        assert scene.arrived(house) - arrived == wanted, f"after look-ups of {fault}"
        assert house.held() == [], "an unknown outcome isn't a failure"
    clear(house, scene)
    house.carry_to_the_end(scene.code)
    assert scene.arrived(house) - arrived == unseen, "once the look-up shows it"
    assert len(scene.made(house)) == before + (unseen["done"] if scene.trace.effect != "created" else 1)


# What arrives where the vendor still works on the first while it's asked again, saves it meanwhile and refuses the
# second: a look-up finds it then, and what can't be told by a look-up is sent once more.
BUSY = {
    "application_to_erp": Counter(done=1, refused=1),  # a PATCH
    "customer_to_erp": Counter(done=2, refused=1),  # a PUT under its external id
}


@pytest.mark.scenario(3)
@over(every_scene(*BUSY))
def test_what_is_refused_since_the_first_was_saved_meanwhile_is_neither_held_nor_done_twice(house, scene):
    prepared = scene.prepare(house)
    house.carry()
    enter(house, scene, prepared, "changed meanwhile")
    before, arrived = len(scene.made(house)), scene.arrived(house)
    house.set_connections(timeout_seconds=str(0.8 - Limits(at_once=1).connect_seconds))
    first, second = (scene.meet(house, "delay", nth=n, seconds=UNTIL_LET_GO_ON) for n in (1, 2))
    house.carry(until=lambda: are_stopped(house, scene, unknown=1))
    house.set_connections(timeout_seconds="60")
    house.hasten()

    def save_the_first():
        house.await_hit(scene.vendor, second)
        house.let_go_on(scene.vendor, first)
        await_that(lambda: (scene.arrived(house) - arrived)["done"], seconds=60, what="the first is saved")
        house.let_go_on(scene.vendor, second)

    with beside(save_the_first):
        carry(scene.code, seconds=1)  # asks while the vendor works on the first, is answered after that was saved
    assert scene.arrived(house) - arrived == Counter(done=1, refused=1)
    assert (house.held(), ExceptionCase.objects.count()) == ([], 0), "somebody else's change isn't a failure of ours"
    clear(house, scene)
    house.carry_to_the_end(scene.code)
    house.carry()
    assert scene.arrived(house) - arrived == BUSY[scene.code]
    assert len(scene.made(house)) == before + scene.logged(BUSY[scene.code])
    assert house.held() == []


@over(every_scene("application_to_erp"))
def test_what_somebody_else_changed_at_the_same_moment_is_changed_after_them(house, scene):
    prepared = scene.prepare(house)
    house.carry()
    enter(house, scene, prepared, "an accountant was there")
    (receipt,) = house.made("netsuite", "customerPayment")
    ours = scene.meet(house, "delay", nth=1, seconds=UNTIL_LET_GO_ON)

    def note():
        house.await_hit(scene.vendor, ours)
        Erp(house.sandboxes).send("PATCH", f"customerPayment/{receipt['id']}", {"memo": "seen"})
        house.let_go_on(scene.vendor, ours)

    with beside(note):
        carry(scene.code, seconds=1)
    house.carry_to_the_end(scene.code)
    assert scene.arrived(house) == Counter(done=2, refused=1)  # the accountant's among them
    assert (house.held(), ExceptionCase.objects.count()) == ([], 0)
