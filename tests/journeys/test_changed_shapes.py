"""A vendor's messages and answers with fields that are new, missing, renamed or null: read as before, or refused with
the name of the field. No amount, currency or id ever comes out otherwise, and nothing is silently nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from django.test import Client

from connectors import http
from exceptions.models import ExceptionCase
from q2c.core.models import Person
from q2c.flows import intake
from q2c.flows.tasks import carry
from q2c.inbox.claims import Claimed
from q2c.inbox.items import Item, Source
from q2c.inbox.receive import Arrival, receive
from q2c.inbox.translate import understand
from q2c.transactions.models import BusinessTransaction
from tests.journeys.house import forget_everything
from tests.journeys.scene import EVERY_FLOW, Scene, over, with_each_cast
from tests.journeys.scenes import enter, every_scene, live_a_day, made_by_vendor
from tests.journeys.told import messages

pytestmark = pytest.mark.django_db(transaction=True)
# What a document is worth, which one it is and how it ended. What else a record may say (a name, an address, whose it
# is, what it is about) may be lacking: then it's told without, and a flow that needs it waits or is held.
NEVER_OTHERWISE = frozenset({"total", "tax_total", "amount", "fee", "currency", "object_id", "quantity", "status"})
MAY_LACK = {
    ("OrderClosedWon", "order.amount"),  # what sales wrote beside the lines, which are what is sold
    ("CustomerChanged", "customer.currency"),  # an org with one currency says it nowhere
}
# A movement without its source may be a fee: a payout that was taken for one of its own movements doesn't add up, and
# is held.
MAY_SAY_MORE = {("payout.paid", "source"), ("payout.paid", "source.id")}


def bend(value: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Each way in which one field of a JSON value is of another shape: its path, what was done, the value then."""
    if isinstance(value, dict):
        yield f"{path}.new_field", "new", {**value, "new_field": {"a": [1, None]}}
        for name, inner in value.items():
            others = {n: v for n, v in value.items() if n != name}
            here = f"{path}.{name}"
            yield here, "missing", others
            if EVERY_FLOW:  # to a reader a renamed field is one that lacks and one that is new
                yield here, "renamed", {**others, f"{name}_v2": inner}
            if inner is not None:
                yield here, "null", {**value, name: None}
            for said, what, bent in bend(inner, here):
                yield said, what, {**value, name: bent}
    elif isinstance(value, list) and value:
        for said, what, bent in bend(value[0], path):
            yield said, what, [bent, *value[1:]]


def worth(events: list[Any]) -> list[tuple[str, str, Any]]:
    """What may never come out otherwise, by event and path."""

    def walk(name: str, value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
        if isinstance(value, dict):
            for field, inner in value.items():
                yield from walk(name, inner, f"{path}.{field}".lstrip("."))
        elif isinstance(value, list | tuple):
            for inner in value:
                yield from walk(name, inner, path)
        elif path.rpartition(".")[2] in NEVER_OTHERWISE and (name, path) not in MAY_LACK:
            yield name, path, value

    return [row for event in events for row in walk(type(event).__name__, msgspec.to_builtins(event), "")]


class Reader:
    """Reads messages as the inbox does, with the vendors' answers noted once and then given as prepared."""

    def __init__(self) -> None:
        self.asks = http.Telephone.call
        self.clients: dict[str, Any] = {}
        self.tools = replace(intake.reading_tools({}), client=self.client_of)
        self.noted: dict[str, http.Reply] = {}  # by what was asked
        self.prepared: dict[str, http.Reply] | None = None

    def client_of(self, source: Source) -> Any:
        if source.code not in self.clients:
            self.clients[source.code] = intake.client_of(source)
        return self.clients[source.code]

    async def call(self, telephone: http.Telephone, *args: Any, **more: Any) -> http.Reply:
        if not more.get("is_authorized", True):
            return await self.asks(telephone, *args, **more)  # a token
        asked = f"{args} {more.get('query')} {more.get('json')}"
        if self.prepared and asked in self.prepared:
            return self.prepared[asked]
        reply = self.noted[asked] = await self.asks(telephone, *args, **more)
        return reply

    def read(self, claimed: Claimed, source: Source, body: bytes, answers: dict[str, http.Reply] | None = None) -> Item:
        self.noted, self.prepared = {}, answers
        item = Item(claimed, source, body=body)
        understand([item], self.tools)
        return item


@pytest.fixture
def reader(monkeypatch):
    made = Reader()
    monkeypatch.setattr(http.Telephone, "call", lambda telephone, *args, **more: made.call(telephone, *args, **more))
    return made


@pytest.mark.scenario(55)
@with_each_cast()
def test_a_field_that_is_new_missing_renamed_or_null_is_read_as_before_or_named(house, reader):
    live_a_day(house, house.account())
    sorts, faults = messages(), []
    assert {vendor for vendor, _sort in sorts} == {p.vendor for p in house.cast.players() if p.sends_webhooks}
    for sort, (claimed, source, body) in sorts.items():
        usual = reader.read(claimed, source, body)
        assert usual.verdict is None, usual.verdict
        answers, told = dict(reader.noted), worth(usual.events)

        def judge(path: str, what: str, item: Item, sort=sort, usual=usual, told=told) -> None:
            field, problem = path.rpartition(".")[2], item.verdict and item.verdict.problem
            if (sort[1], path.partition(".data.")[2]) in MAY_SAY_MORE:
                is_fine = {*told} <= {*worth(item.events)}
            elif item.verdict is None:
                is_fine = worth(item.events) == told and (what != "new" or item.events == usual.events)
            else:  # named as the vendor does, or as we do
                is_fine = problem is not None and (field in problem.summary or "at `$." in problem.summary)
            if not is_fine or (problem is not None and problem.code == "unexpected_error"):
                faults.append((*sort, path, what, item.verdict and item.verdict.code, problem and problem.summary))

        if body[:1] == b"{":
            for path, what, bent in bend(json.loads(body)):
                judge(path, what, reader.read(claimed, source, json.dumps(bent).encode(), answers))
        for asked, answer in answers.items():
            for path, what, bent in bend(json.loads(answer.body)):
                prepared = {**answers, asked: replace(answer, body=json.dumps(bent).encode())}
                judge(f"answer{path}", what, reader.read(claimed, source, body, prepared))
    assert faults == [], "\n".join(map(str, faults))


@pytest.mark.scenario(55)
def test_a_person_reads_in_the_case_which_field_lacks_and_nothing_is_posted(house):
    house.invoice(house.customer())
    house.carry()
    before = made_by_vendor(house)
    _claimed, source, body = messages()["stripe", "invoice.finalized"]
    bent = json.loads(body)
    bent["data"]["object"] |= {"id": "in_bent", "total": None}
    arrival = Arrival("invoice.finalized", "in_bent", "evt_bent", json.dumps(bent).encode())
    receive(source.id, [arrival], via="webhook")
    house.carry()
    assert made_by_vendor(house) == before
    case = ExceptionCase.objects.get(state__in=ExceptionCase.OPEN_STATES)
    assert case.kind == "malformed_event"
    client = Client()
    client.force_login(Person.objects.get(username="auditor"))
    assert "data.object.total" in client.get(f"/exceptions/cases/{case.pk}/").content.decode()


def bend_deep(value: Any, says_by_absence: tuple[str, ...]) -> Iterator[tuple[str, str, Any]]:
    """Missing, null and of another type, at every depth; links are no facts."""
    for path, what, bent in bend(value):
        if what != "new" and not path.startswith((".links", *says_by_absence)):
            yield path, what, bent
            if what == "missing":
                yield path, "type", _with_another_type(value, path[1:].split("."))


def _with_another_type(value: Any, path: list[str]) -> Any:
    if isinstance(value, list):
        return [_with_another_type(value[0], path), *value[1:]]
    inner = _with_another_type(value[path[0]], path[1:]) if path[1:] else {"of": ["another", "type"]}
    return {**value, path[0]: inner}


class Bender:
    """Bends the answers to writes and to look-ups, each in another way, and knows of which document."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.asks = scene, http.Telephone.call
        self.bent: list[tuple[str, str]] = []
        self.last: dict[str, tuple[str, str] | None] = {}  # by the vendor's id: how its last answer was bent

    async def call(self, telephone: http.Telephone, method: str, path: str, **more: Any) -> http.Reply:
        reply = await self.asks(telephone, method, path, **more)
        player = self.scene.player
        is_one = telephone.line.vendor == player.vendor and player.tells_of_write(method, more["verb"])
        if not is_one or reply.body[:1] != b"{":
            return reply
        said = json.loads(reply.body)
        ways = {(path, what): value for path, what, value in bend_deep(said, player.may_be_absent)}
        left = sorted((way for way in ways if way not in self.bent), key=lambda way: way[0].count("."))
        self.last[str(said.get("id"))] = left[0] if left else None
        if not left:
            return reply
        self.bent.append(left[0])
        return replace(reply, body=json.dumps(ways[left[0]]).encode())


WORDLESS = dict.fromkeys(("order_unwinding", "order_to_sale", "status_to_crm"), "its write is answered without a word")
NOT_BENT = {
    **WORDLESS,
    "unwinding_to_erp": "a document that its plan reads otherwise is a plan that moved",
    "summary_to_erp": "one at a time: a journal is bent as that of an accrual",
}
EACH_TIME = frozenset({"invoice_to_erp", "order_to_subscription"})
BENT = [scene for scene in every_scene() if scene.code not in NOT_BENT]
BENT_AT_ONCE, LOOKS = 24, 4


@pytest.mark.scenario(55, not_for=NOT_BENT)
@over(BENT, rarely={scene.name for scene in BENT} - EACH_TIME)
def test_whatever_is_wrong_with_what_is_said_of_a_write_it_is_never_failed_nor_another_document(
    house, scene, monkeypatch
):
    code = scene.code
    prepared = scene.prepare(house)
    house.carry()
    before = len(scene.made(house))
    bender = Bender(scene)
    enter(house, scene, prepared, "bent", BENT_AT_ONCE)
    house.set_connections(settles_after_seconds="60")
    monkeypatch.setattr(http.Telephone, "call", lambda telephone, *args, **more: bender.call(telephone, *args, **more))
    house.carry(until=lambda: house.states(code).get("running", 0) == 0)
    transactions = BusinessTransaction.objects.filter(flow=code)
    for _look in range(LOOKS):
        assert list(transactions.filter(state="held").values_list("problem_code", "problem")) == [], bender.bent
        posted = {*transactions.filter(state="completed").values_list("target_id", flat=True)}
        needed = scene.trace.needed
        proved = {i: way for i, way in bender.last.items() if way is not None and i in posted and way[0] in needed}
        assert proved == {}
        house.hasten()
        forget_everything()
        carry(code, seconds=5)
    monkeypatch.undo()
    assert len(bender.bent) > BENT_AT_ONCE
    forget_everything()
    house.carry_to_the_end(code)
    assert len(scene.made(house)) == before + BENT_AT_ONCE
    told = BusinessTransaction.objects.filter(flow=code, state="completed").values_list("target_id", flat=True)
    assert {*told} <= {entry["id"] for entry in house.made(scene.vendor)}
