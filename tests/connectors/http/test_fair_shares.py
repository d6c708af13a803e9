"""Two connections of one account: together never more than it takes at once, and each has its part of that."""

import asyncio

import pytest
from aiohttp import web

from connectors import registry
from connectors.lanes import BACKFILL, CRITICAL, NORMAL
from connectors.manifest import Limits
from connectors.slots import one_slot
from tests.connectors.contract.vendor_facts import VENDORS
from tests.connectors.lines import dial, run, serving

AT_ONCE = 4
SHARED = Limits(at_once=AT_ONCE, timeout_seconds=20.0, connect_seconds=5.0, is_by_address=True)


@pytest.mark.scenario(23, of="messages and calls, before any flow")
def test_an_account_at_its_limit_serves_a_second_connection_in_its_turn():
    """One connection brings a hundred calls, and then another one a few of its own."""
    running, most, served = 0, 0, []

    async def answer(request):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.03)
        running -= 1
        served.append(request.path.strip("/"))
        return web.json_response({})

    async def story():
        async with serving(answer) as url:
            busy, calm = (dial(url, limits=SHARED, code=code) for code in ("busy", "calm"))
            calls = [asyncio.ensure_future(busy.call("GET", "/busy", verb="read")) for _ in range(100)]
            while len(served) < 2 * AT_ONCE:
                await asyncio.sleep(0.01)
            await asyncio.gather(*(calm.call("GET", "/calm", verb="read") for _ in range(8)))
            left = sum(not call.done() for call in calls)
            await asyncio.gather(*calls)
            return left

    left = run(story())
    assert most <= AT_ONCE
    assert (served.count("busy"), served.count("calm")) == (100, 8)
    assert left > 100 / 3, "the few were done long before the many"


@pytest.mark.parametrize(
    ("first", "second"), [(NORMAL, NORMAL), (NORMAL, CRITICAL), (BACKFILL, CRITICAL)], ids=["equal", "urgent", "last"]
)
def test_the_only_slot_goes_to_and_fro_though_its_holder_always_has_another_call(first, second):
    """More of them than slots, each with calls without end: whoever has none gets its turn."""
    served = {"first": 0, "second": 0}

    async def go_on(of, lane):
        while min(served.values()) < 5:
            async with one_slot(f"only-{first}-{second}", 1, lane, of=of):
                await asyncio.sleep(0.005)
                served[of] += 1

    async def story():
        many = [asyncio.ensure_future(go_on("first", first)) for _ in range(10)]
        while not served["first"]:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(asyncio.gather(*many, *(go_on("second", second) for _ in range(3))), 15)

    run(story())


@pytest.mark.parametrize("code", VENDORS)
def test_connections_share_slots_only_where_the_address_is_one_accounts(code):
    limits = registry.manifest(code).limits
    accounts = {dial("https://one.example.com", limits=limits, code=name).account for name in ("a", "b")}
    assert len(accounts) == (1 if limits.is_by_address else 2)
    assert limits.is_by_address == (code == "netsuite")  # its account is part of its host's name
