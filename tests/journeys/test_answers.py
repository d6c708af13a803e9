"""Answers that are lost, late, strange or refused, at every flow: the vendors' logs hold each document once."""

from __future__ import annotations

import time
from collections import Counter
from threading import Timer

import pytest

from connectors.manifest import Limits
from exceptions import resolutions
from exceptions.models import ExceptionCase
from q2c.core.models import Person
from q2c.flows import catalog
from q2c.flows.tasks import carry
from tests.journeys.house import forget_everything
from tests.journeys.scenes import SCENES, TRIED, enter
from tests.sandboxes.netsuite_client import Client as Erp

pytestmark = pytest.mark.django_db(transaction=True)
NOT_ANSWERED = (
    {"do": "lose_answer"},
    {"do": "reset_before"},
    {"do": "status", "status": 500},
    {"do": "html_200"},
    {"do": "status", "status": 200, "body": {"success": False}},
)
# What arrives at most while the vendor still works on the first, and somebody hurries us: it refuses the second, or
# the first once the second was saved. Stripe refuses a key that is in use; a status is written again, as it was.
WORKS = Counter(done=1, refused=1)
WHILE_IT_WORKS = {
    "order_to_subscription": Counter(done=1, refused=3),
    "hold_to_source": Counter(done=1, refused=3, replayed=1),
    "status_to_crm": Counter(done=3),
}
# What arrives where the answer was lost, two look-ups failed, and two said that nothing is there: only these may be
# followed by another sending, which the target refuses or answers as the first one.
UNSEEN = Counter(done=1, refused=2)
WHILE_UNSEEN = {
    "application_to_erp": Counter(done=1),
    "customer_to_erp": Counter(done=2),  # a PUT under its external id: the same content at the same record
    "order_to_subscription": Counter(done=1, replayed=1),
    "hold_to_source": Counter(done=1, replayed=1),
    "status_to_crm": Counter(done=3),
}
EMPTY_LIST = {"object": "list", "data": [], "has_more": False, "url": "/v1/subscriptions"}


def meet(house, code, do, *, nth=None, times=None, method=None, **fault):
    """The flow's last write meets a fault."""
    scene = SCENES[code]
    when = {"method": method or scene.method, "path": scene.look if method else scene.path, "nth": nth, "times": times}
    house.fault(scene.vendor, do, when={n: v for n, v in when.items() if v is not None}, **fault)


def clear(house, code):
    house.sandboxes.control("DELETE", f"{SCENES[code].vendor}/faults")
    forget_everything()  # an open breaker among it


def are_stopped(house, code, **wanted):
    states = house.states(code)
    return {state: states.get(state, 0) for state in wanted} == wanted


@pytest.mark.scenario(1, 2, 3, 6, 50, 51)
@pytest.mark.parametrize("code", TRIED)
def test_whatever_becomes_of_an_answer_the_document_is_made_once(house, code):
    scene = SCENES[code]
    prepared = scene.prepare(house)
    house.carry()
    if scene.side_by_side:
        all_at_once(house, code, prepared)
    else:
        one_after_another(house, code, prepared)
    while_it_still_works(house, code, prepared)
    while_nobody_can_look(house, code, prepared)


def all_at_once(house, code, prepared):
    """Each way of not answering, and a refusal, met by facts of one batch."""
    scene, before, count = SCENES[code], len(SCENES[code].made(house)), len(NOT_ANSWERED) + 1
    arrived = scene.arrived(house)
    enter(house, code, prepared, "answers", count)
    house.set_connections(settles_after_seconds="60")
    for nth, fault in enumerate(NOT_ANSWERED, 1):
        meet(house, code, nth=nth, **fault)
    refusal = {} if scene.refusal is None else {"body": scene.refusal}
    meet(house, code, "status", nth=count, status=400, **refusal)
    house.carry(until=lambda: are_stopped(house, code, unknown=count - 1, held=1))
    clear(house, code)
    (case,) = ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES)
    resolutions.repost(case, by=Person.objects.get(username=catalog.BY_CODE[code].owner), reason="asked the vendor")
    house.carry_to_the_end(code)
    wanted = scene.wanted(count, unheard=1, refused=count - 1)  # only the first was carried out
    assert scene.arrived(house) - arrived == wanted
    assert len(scene.made(house)) == before + scene.logged(wanted, count)


def one_after_another(house, code, prepared):
    """The same where facts of one lane follow one another."""
    house.set_connections(settles_after_seconds="60")
    for fault in NOT_ANSWERED:
        scene, before, arrived = SCENES[code], len(SCENES[code].made(house)), SCENES[code].arrived(house)
        enter(house, code, prepared, "answers")
        meet(house, code, nth=1, **fault)
        house.carry(until=lambda: are_stopped(house, code, unknown=1))
        clear(house, code)
        house.carry_to_the_end(code)
        house.carry()
        assert len(scene.made(house)) == before + 1, fault
        assert scene.arrived(house) - arrived == scene.wanted(refused=int(fault["do"] != "lose_answer")), fault


def while_it_still_works(house, code, prepared):
    """The answer takes longer than we wait, and we ask again before the vendor is done (scenario 3)."""
    scene, before, slow = SCENES[code], len(SCENES[code].made(house)), 1.5
    arrived = scene.arrived(house)
    enter(house, code, prepared, "slow")
    house.set_connections(timeout_seconds=str(0.8 - Limits(at_once=1).connect_seconds))  # 0.8 s in all
    meet(house, code, "delay", nth=1, seconds=slow)
    house.carry(until=lambda: are_stopped(house, code, unknown=1))
    asked_at = time.monotonic()
    house.set_connections(timeout_seconds="20")
    for _early in range(3):  # by far fewer than after which a person is asked
        house.hasten()
        carry(code)
    time.sleep(max(0.0, asked_at + slow - time.monotonic()))  # what the vendor was still doing is done by now
    house.carry_to_the_end(code)
    clear(house, code)
    found = scene.arrived(house) - arrived
    most = WHILE_IT_WORKS.get(code, WORKS)  # on a loaded machine the vendor may be done before the last retry
    assert found | Counter(refused=most["refused"]) == most, "an early retry while the vendor still works"
    assert len(scene.made(house)) == before + found["done"]


def while_nobody_can_look(house, code, prepared):
    """The answer is lost, and the look-up first fails and then doesn't show it yet (scenario 6)."""
    scene, before = SCENES[code], len(SCENES[code].made(house))
    arrived = scene.arrived(house)
    enter(house, code, prepared, "look-up")
    meet(house, code, "lose_answer", nth=1)
    house.carry(until=lambda: are_stopped(house, code, unknown=1))
    absent = {"status": 404} if scene.vendor == "netsuite" else {"status": 200, "body": EMPTY_LIST}
    unseen = WHILE_UNSEEN.get(code, UNSEEN)
    for fault, wanted in (({"status": 503}, scene.wanted(unheard=1)), (absent, unseen)):
        house.sandboxes.control("DELETE", f"{scene.vendor}/faults")
        if scene.look:
            meet(house, code, "status", method="GET", **fault)
        for _probe in range(2):
            house.hasten()
            forget_everything()
            carry(code)
        assert scene.arrived(house) - arrived == wanted, f"after look-ups of {fault}"
        assert house.held() == [], "an unknown outcome isn't a failure"
    clear(house, code)
    house.carry_to_the_end(code)
    assert scene.arrived(house) - arrived == unseen, "once the look-up shows it"
    assert len(scene.made(house)) == before + (unseen["done"] if scene.effect != "created" else 1)


# What arrives where the vendor still works on the first while it's asked again, saves it meanwhile and refuses the
# second: a look-up finds it then, and what can't be told by a look-up is sent once more.
BUSY = {
    "application_to_erp": Counter(done=1, refused=1),  # a PATCH
    "customer_to_erp": Counter(done=2, refused=1),  # a PUT under its external id
}


@pytest.mark.scenario(3)
@pytest.mark.parametrize("code", BUSY)
def test_what_is_refused_since_the_first_was_saved_meanwhile_is_neither_held_nor_done_twice(house, code):
    scene, slow = SCENES[code], 3.0
    prepared = scene.prepare(house)
    house.carry()
    enter(house, code, prepared, "changed meanwhile")
    before, arrived = len(scene.made(house)), scene.arrived(house)
    house.set_connections(timeout_seconds=str(0.8 - Limits(at_once=1).connect_seconds))
    meet(house, code, "delay", nth=1, seconds=slow)
    meet(house, code, "delay", nth=2, seconds=slow)
    house.carry(until=lambda: are_stopped(house, code, unknown=1))
    house.set_connections(timeout_seconds="20")
    house.hasten()
    carry(code, seconds=1)  # asks while the vendor works on the first, and is answered after that was saved
    assert scene.arrived(house) - arrived == Counter(done=1, refused=1)
    assert (house.held(), ExceptionCase.objects.count()) == ([], 0), "somebody else's change isn't a failure of ours"
    clear(house, code)
    house.carry_to_the_end(code)
    house.carry()
    assert scene.arrived(house) - arrived == BUSY[code]
    assert len(scene.made(house)) == before + scene.logged(BUSY[code])
    assert house.held() == []


def test_what_somebody_else_changed_at_the_same_moment_is_changed_after_them(house):
    code, scene = "application_to_erp", SCENES["application_to_erp"]
    prepared = scene.prepare(house)
    house.carry()
    enter(house, code, prepared, "an accountant was there")
    (receipt,) = house.made("netsuite", "customerPayment")
    meet(house, code, "delay", nth=1, seconds=2.0)
    noting = Timer(
        0.7, lambda: Erp(house.sandboxes).send("PATCH", f"customerPayment/{receipt['id']}", {"memo": "seen"})
    )
    noting.start()
    carry(code, seconds=1)
    noting.join()
    house.carry_to_the_end(code)
    assert scene.arrived(house) == Counter(done=2, refused=1)  # the accountant's among them
    assert (house.held(), ExceptionCase.objects.count()) == ([], 0)
