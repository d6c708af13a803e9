"""When calls stop, and how they begin again."""

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from aiohttp import web

from connectors import probes, registry
from connectors.breaker import Breaker, breaker_of, breakers, tell_answered
from connectors.calls import Outgoing, outgoing
from q2c import ports
from q2c.core.problems import NeverSent, NotAnswered, Problem
from tests import factories
from tests.connectors.lines import dial, run, serving


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker("netsuite", clock)


def test_five_failures_in_a_row_open_it(breaker):
    for _ in range(4):
        breaker.note_failure("timeout")
    breaker.let_through()
    breaker.note_failure("timeout")
    with pytest.raises(NeverSent) as refusal:
        breaker.let_through()
    assert refusal.value.counts is False
    assert refusal.value.wait_seconds == 5


def test_half_of_twenty_calls_in_a_minute_open_it(breaker):
    for _ in range(10):
        breaker.note_success(5)
        breaker.note_failure("timeout")
    assert breaker.state == "open"


def test_failures_older_than_a_minute_are_forgotten(breaker, clock):
    for _ in range(9):
        breaker.note_failure("timeout")
        breaker.note_success(5)
    clock.now += 61
    for _ in range(9):
        breaker.note_success(5)
        breaker.note_failure("timeout")
    assert breaker.state == "closed"


def test_one_probe_goes_out_and_closes_it(breaker, clock):
    for _ in range(5):
        breaker.note_failure("timeout")
    clock.now += 5
    breaker.let_through()
    with pytest.raises(NeverSent):
        breaker.let_through()
    breaker.note_success(7)
    breaker.let_through()
    assert (breaker.state, breaker.failures_in_row, breaker.latency_ms) == ("closed", 0, 7)


def test_a_failed_probe_doubles_the_pause(breaker, clock):
    for _ in range(5):
        breaker.note_failure("timeout")
    clock.now += 5
    breaker.let_through()
    breaker.note_failure("timeout")
    clock.now += 5
    with pytest.raises(NeverSent):
        breaker.let_through()
    clock.now += 5
    breaker.let_through()


def test_a_probe_that_never_left_lets_the_next_one_try(breaker, clock):
    for _ in range(5):
        breaker.note_failure("timeout")
    clock.now += 5
    breaker.let_through()
    breaker.drop_probe()
    breaker.let_through()
    assert breaker.state == "half_open"


def test_server_errors_open_it_and_refusals_do_not():
    statuses = iter([400] * 30 + [503] * 5)
    seen = []

    async def answer(request):
        seen.append(1)
        return web.Response(status=next(statuses))

    async def story():
        async with serving(answer) as url:
            telephone = dial(url)
            for _ in range(35):
                with pytest.raises(Problem):
                    await telephone.call("POST", "/x", verb="x")
            with pytest.raises(NeverSent):
                await telephone.call("POST", "/x", verb="x")

    run(story())
    assert len(seen) == 35
    assert breaker_of("vendor").state == "open"


def test_an_outage_lets_only_one_probe_reach_the_vendor():
    seen, release = [], asyncio.Event()

    async def answer(request):
        seen.append(1)
        await release.wait()
        return web.Response(status=204)

    async def story():
        async with serving(answer) as url:
            breaker = breaker_of("vendor")
            breaker._open_seconds = 0.0
            for _ in range(5):
                breaker.note_failure("timeout")
            telephone = dial(url)
            calls = [asyncio.ensure_future(telephone.call("POST", "/x", verb="x")) for _ in range(10)]
            while not seen:
                await asyncio.sleep(0)
            release.set()
            return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = run(story())
    assert len(seen) == 1
    assert sum(isinstance(o, NeverSent) for o in outcomes) == 9
    assert not any(isinstance(o, NotAnswered) for o in outcomes)


@pytest.fixture
def processes():
    """Two processes' views of one system that fails, each with its own clock, over the same Redis."""
    name = f"vendor-{uuid.uuid4().hex}"
    return [Breaker(name, object_type="invoice", shared=probes.Probes()) for _ in range(2)]


def fail(breaker, times=5):
    for _ in range(times):
        breaker.note_failure("timeout")


def refuse():
    raise redis.ConnectionError("away")


def is_refused(breaker):
    try:
        breaker.let_through()
    except NeverSent:
        return True
    return False


def test_what_one_process_found_out_another_learns_from_its_first_failure(processes):
    first, second = processes
    fail(first)
    assert not is_refused(second)  # it goes well there, and asks nobody
    fail(second, 1)
    assert is_refused(second)


def test_of_two_processes_one_sends_the_probe_and_its_success_lets_both_through(processes):
    for breaker in processes:
        breaker._open_seconds = 0.0
        fail(breaker)
    prober, other = processes
    assert prober.let_through()
    assert is_refused(other)
    prober.note_success(7)
    other.open_until = other.clock()  # when it asks again
    assert not is_refused(other)
    assert [breaker.state for breaker in processes] == ["closed", "closed"]


def test_a_race_for_the_probe_is_won_by_one(processes):
    name = processes[0].connection
    rivals = [Breaker(name, object_type="invoice", shared=probes.Probes()) for _ in range(12)]
    for breaker in rivals:
        breaker.state = "open"
    with ThreadPoolExecutor(12) as pool:
        refused = list(pool.map(is_refused, rivals))
    assert sorted(refused) == [False] + [True] * 11


def test_a_probe_that_never_left_is_another_processs(processes):
    for breaker in processes:
        breaker.state = "open"
    first, second = processes
    first.let_through()
    first.drop_probe()
    assert not is_refused(second)


def test_after_a_wipe_of_redis_one_probes_and_while_it_is_away_each_is_on_its_own(processes, monkeypatch):
    for breaker in processes:
        fail(breaker)
        breaker.open_until = breaker.clock()
    probes.forget_all()
    assert [is_refused(breaker) for breaker in processes] == [False, True]
    monkeypatch.setattr(probes, "broker", refuse)
    for breaker in processes:
        breaker.state, breaker.open_until = "open", breaker.clock()
    assert [is_refused(breaker) for breaker in processes] == [False, False]
    fail(processes[0], 1)
    assert is_refused(processes[0])


def test_what_fails_for_one_object_type_stops_that_type_alone():
    async def answer(request):
        return web.Response(status=503 if request.path == "/invoice" else 204)

    async def send(telephone, object_type):
        outgoing.set(Outgoing(object_type=object_type))
        try:
            await telephone.call("POST", f"/{object_type}", verb="x")
        except (NeverSent, NotAnswered, Problem) as problem:
            return type(problem)
        return None

    async def story():
        async with serving(answer) as url:
            telephone = dial(url)
            for _ in range(5):
                await send(telephone, "invoice")
            return [await send(telephone, "invoice"), await send(telephone, "payment")]

    assert run(story()) == [NeverSent, None]
    states = {b.object_type: b.state for b in breakers() if b.connection == "vendor"}
    assert states == {"": "closed", "invoice": "open", "payment": "closed"}


def test_look_ups_between_writes_that_fail_do_not_end_their_row(breaker):
    for _ in range(5):
        breaker.note_success(5, is_write=False)
        breaker.note_failure("answered 503", is_write=True)
    assert (breaker.state, breaker.asks_a_write) == ("open", True)


@pytest.mark.parametrize(
    ("failed", "answered", "state"),
    [("write", "read", "open"), ("write", "write", "closed"), ("read", "read", "closed"), ("read", "write", "closed")],
)
def test_where_writes_failed_only_a_write_closes_it(breaker, clock, failed, answered, state):
    for _ in range(5):
        breaker.note_failure("answered 503", is_write=failed == "write")
    clock.now += 5
    assert breaker.let_through()
    breaker.note_success(7, is_write=answered == "write")
    assert breaker.state == state
    assert breaker.let_through() == (state == "open"), "a probe that proved nothing is the next call's"


def test_a_probe_of_another_process_learns_that_writes_failed(processes):
    first, other = processes
    first._open_seconds = 0.0
    for _ in range(5):
        first.note_failure("answered 503", is_write=True)
    other.state = "open"
    assert other.let_through()
    other.note_success(7, is_write=False)
    assert other.state == "open"
    assert first.let_through(), "the probe was handed on"
    first.note_success(7, is_write=True)
    other.open_until = other.clock()
    assert not is_refused(other)
    assert not other.asks_a_write


def test_a_look_up_that_is_answered_lets_one_write_try_and_no_more():
    """Reads are answered, writes aren't: once the writes have stopped each document looks first and then writes."""
    arrived = []

    async def answer(request):
        arrived.append(request.method)
        await asyncio.sleep(0.05)
        return web.Response(status=503 if request.method == "POST" else 204)

    async def document(telephone, *methods):
        outgoing.set(Outgoing(object_type="invoice"))
        for method in methods:
            try:
                await telephone.call(method, "/invoice", verb="x")
            except (NeverSent, NotAnswered, Problem) as problem:
                return type(problem)
        return None

    async def story():
        async with serving(answer) as url:
            telephone = dial(url)
            for _ in range(5):
                await asyncio.create_task(document(telephone, "POST"))
            own = breaker_of("vendor", "invoice")
            assert own.state == "open"
            own.shared.tell_open(own.name, 0.0)
            own.open_until = own.clock()
            arrived.clear()
            return await asyncio.gather(*(document(telephone, "GET", "POST") for _ in range(8)))

    outcomes = run(story())
    assert arrived == ["GET", "POST"], "one document tries, with its look-up"
    assert outcomes.count(NeverSent) == 7
    assert breaker_of("vendor", "invoice").state == "open"


@pytest.mark.django_db
def test_a_system_is_away_while_calls_about_the_same_objects_wait():
    secrets = registry.seal_secrets({"api_key": "sk_test_1", "webhook_secret": "whsec_1"})
    target = ports.Target(factories.make_connection("stripe", secrets=secrets))
    invoices = breaker_of("stripe", "invoice")
    for _ in range(5):
        breaker_of("netsuite", "invoice").note_failure("503")
        breaker_of("stripe", "payout").note_failure("503")  # and no call about payouts has come since
    assert not target.is_away("invoice"), "others were stopped"
    for _ in range(5):
        invoices.note_failure("503", is_write=True)
    assert target.is_away("invoice")
    invoices.note_success(5, is_write=False)
    assert target.is_away("invoice"), "a look-up that is answered proves nothing of writes"
    invoices.note_success(5)
    assert not target.is_away("invoice")
    for _ in range(5):
        breaker_of("stripe").note_failure("no connection")
    assert target.is_away("invoice"), "the whole system is"


@pytest.fixture
def children(clock):
    """Eight processes that each have a breaker of invoices."""
    return [Breaker("netsuite", clock, object_type="invoice", shared=probes.Probes()) for _ in range(8)]


def test_writes_that_fail_in_one_process_each_open_it_as_if_they_had_failed_in_one(children, clock):
    for one in children[:4]:
        one.note_failure("503", is_write=True)
        clock.now += 900
    assert {one.state for one in children} == {"closed"}
    for one in children[4:]:  # and each that tries hours later knows it by its first failure
        one.note_failure("503", is_write=True)
        assert one.state == "open"
        clock.now += 900


def test_an_answer_of_hours_ago_that_is_told_late_does_not_end_the_row(children, clock):
    for one in children[4:]:
        one.note_success(20)
    clock.now += 4 * 3600
    for one in children[:5]:
        tell_answered(children)
        one.note_failure("503", is_write=True)
    assert children[4].state == "open"


def test_a_write_that_another_process_had_answered_ends_the_row_of_all(children, clock):
    for _ in range(3):
        for one in children[:4]:
            one.note_failure("503", is_write=True)
            clock.now += 900
        children[7].note_success(20)
        tell_answered(children)
    assert {one.state for one in children} == {"closed"}


def test_single_failures_between_answers_of_busy_processes_open_nothing(children, clock):
    for _ in range(3):
        for one in children:
            one.note_success(20)
            one.note_failure("503", is_write=True)  # before anybody tells of the answer
    assert {one.state for one in children} == {"closed"}


def test_a_write_that_failed_long_ago_does_not_make_reads_wait_for_a_write(breaker, clock):
    breaker.note_failure("503", is_write=True)
    breaker.note_success(5, is_write=False)
    clock.now += 3600
    for _ in range(5):
        breaker.note_failure("503")
    clock.now += 5
    breaker.let_through()
    breaker.note_success(5, is_write=False)
    assert breaker.state == "closed"
