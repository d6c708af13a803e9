"""A small flow and a target in memory, for tests of the machine itself (journeys use the vendors' sandboxes)."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
from django.db import connection

from q2c.canonical.base import Later
from q2c.core.ids import uuid7
from q2c.core.problems import AlreadyThere, NotAnswered
from q2c.core.retries import DEFAULT
from q2c.transactions.steps import Flow, Read, Write
from q2c.transactions.tools import Tools


class Fact(msgspec.Struct, frozen=True):
    later_is = Later.VERSION

    number: str
    amount: Decimal


class Prepared(msgspec.Struct, frozen=True):
    external_id: str
    amount: Decimal


class Document(msgspec.Struct, frozen=True):
    document_type: str
    id: str
    number: str
    total: Decimal


class Repeats:
    idempotency_header = ""
    refuses_existing = True
    reads_own_writes = True
    settles_after_seconds = 0.0
    looks_first = False


class ForgetfulRepeats(Repeats):
    """A target that makes a second document when asked twice."""

    refuses_existing = False


class Target:
    """Keeps documents by external id and refuses a second one; can lose answers."""

    connection_code = "memory"
    name = "Memory"
    at_once = 8
    repeats: Any = Repeats()
    retry = DEFAULT

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.created: list[str] = []
        self.lose_answers = 0
        self.problem: Exception | None = None
        self.looks = 0
        self.answers_nobody = False

    def is_away(self, object_type: str) -> bool:
        return self.answers_nobody

    async def find(self, external_id: str) -> Document | None:
        self.looks += 1
        return self.documents.get(external_id)

    async def post(self, prepared: Prepared) -> Document:
        if self.problem is not None:
            raise self.problem
        if prepared.external_id in self.documents and self.repeats.refuses_existing:
            raise AlreadyThere("This record already exists")
        document = Document("thing", f"D{len(self.documents)}", prepared.external_id, prepared.amount)
        self.documents[prepared.external_id] = document
        self.created.append(prepared.external_id)
        if self.lose_answers:
            self.lose_answers -= 1
            raise NotAnswered("no answer came")
        return document


def prepare(fact: Fact) -> Prepared:
    return Prepared(f"x-{fact.number}", fact.amount)


def find_thing(prepared: Prepared, erp: Any):
    return erp.find(prepared.external_id)


def post_thing(prepared: Prepared, erp: Any) -> Document:
    return erp.post(prepared)


def flow(**changes: Any) -> Flow:
    return Flow(
        code="test_flow",
        title="Test",
        starts_with=("fact",),
        fact_type=Fact,
        owner="platform",
        lane_type=changes.get("lane_type", ""),
        steps=(
            Read("prepare", "Prepare the thing", changes.get("prepare", prepare), gives="prepared"),
            Write(
                "post",
                "Post the thing",
                find=find_thing,
                create=changes.get("create", post_thing),
                gives="thing",
                prepared="prepared",
                port="erp",
                upsert=changes.get("upsert", False),
                equal=changes.get("equal"),
                there=changes.get("there"),
            ),
        ),
    )


class Context:
    def __init__(self, target: Target) -> None:
        self.target = target

    def fetch(self, wants):
        pass

    def change_set(self, run):
        return 7

    def port(self, name, run):
        return self.target

    def used(self, run):
        return None

    def retry_of(self, problem, connection):
        return self.target.retry


class Rig:
    """Tools with lists in place of the other rooms."""

    def __init__(self, target: Target) -> None:
        self.target, self.held, self.done, self.nudged = target, [], [], []
        self.accepted: list = []  # what two people let pass, of every reposted transaction
        self.tools = Tools(
            context=lambda runs: Context(target),
            dial=lambda run, step, deadline: None,
            take_exchanges=list,
            write_exchanges=lambda rows, late: None,
            on_problem=self.held.extend,
            on_done=self.done.extend,
            on_wait=lambda runs: None,
            on_cancelled=lambda runs: None,
            on_refused_credentials=lambda code, problem: None,
            accepted=lambda ids: dict.fromkeys(ids, self.accepted),
            chosen=lambda ids: {},
            nudge=self.nudged.extend,
        )


def add_transactions(count: int, *, flow_code: str = "test_flow", lane: str | None = None) -> list:
    """Transactions with their work items, due now."""
    now, made = dt.datetime.now(dt.UTC), []
    with connection.cursor() as cursor:
        for n in range(count):
            key = uuid7()
            number = str(key)[-12:]
            cursor.execute(
                "INSERT INTO transactions_businesstransaction (id, flow, business_key, lane, lane_sequence,"
                " state_at, created_at, fact_type, fact, source_connection, source_type, source_id, number,"
                " correlation_id, amount, currency)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, 'Fact', %s, 'src', 'fact', %s, %s, %s, 1, 'EUR')",
                [
                    key,
                    flow_code,
                    f"src:fact:{number}",
                    lane or number,
                    n,
                    now,
                    now,
                    msgspec.json.encode(Fact(number, Decimal("1.00"))),
                    number,
                    number,
                    number,
                ],
            )
            cursor.execute(
                "INSERT INTO transactions_workitem (transaction_id, flow, lane, lane_sequence, available_at)"
                " VALUES (%s, %s, %s, %s, now())",
                [key, flow_code, lane or number, n],
            )
            made.append(key)
    return made
