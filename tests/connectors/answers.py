"""The vendors' error answers (`errors/*.jsonl`), each sent through the connector's own verbs over HTTP."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
import socket
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connectors import auth, breaker, quota, registry, throttle
from q2c.canonical import party, posting
from q2c.canonical.base import Source
from q2c.core.problems import Problem
from tests.connectors.lines import client_of, serving

FOLDER = Path(__file__).parent / "errors"
SUCCESS, BROKEN = "success", "broken"
_QUICK = {"connect_seconds": 5.0, "timeout_seconds": 1.5 - 5.0}  # 1.5 s in all, wherever a loaded machine spends them


@dataclass(frozen=True)
class Answer:
    """One line of the corpus."""

    id: str
    vendor: str
    about: str
    kind: str
    expected: str
    mark: str
    source: str
    why: str
    status: int = 0
    headers: dict[str, str] | None = None
    body: Any = ""
    call: str = ""
    fault: str = ""
    varies: tuple[tuple[str, str], ...] = ()
    cause: str = ""
    ours: str = ""
    ours_why: str = ""

    @property
    def raw(self) -> bytes:
        """The body's bytes."""
        return (self.body if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False)).encode()

    def varied(self) -> Answer:
        """The same error of another document: other ids, numbers, amounts, instants."""
        raw = self.raw.decode()
        for one, other in self.varies:
            assert one in raw, f"{self.id}: {one} isn't in its body"
            raw = raw.replace(one, other)
        return Answer(**{**vars(self), "body": raw})


@cache
def answers() -> tuple[Answer, ...]:
    """The whole corpus, by vendor."""
    found = []
    for path in sorted(FOLDER.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            row["varies"] = tuple(tuple(pair) for pair in row.get("varies", ()))
            found.append(Answer(vendor=path.stem, **{"cause": row["id"], **row}))
    return tuple(found)


def spoken() -> list[str]:
    """The vendors of the corpus that have a connector."""
    return sorted({a.vendor for a in answers()} & set(registry.vendors()))


@cache
def _private_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


_SETTINGS = {
    "salesforce": {"order_key_field": "Q2C_Key__c"},
    "netsuite": {"account": "1234567_SB1"},
    "stripe": {},
}


def _client(vendor: str, url: str, *, is_quick: bool) -> Any:
    secrets = {
        "salesforce": {"client_id": "id", "client_secret": "s3cret"},
        "netsuite": {"client_id": "id", "certificate_id": "cert", "private_key": _private_key()},
        "stripe": {"api_key": "sk_test_1", "webhook_secret": "whsec_1"},
    }
    settings = {"is_unlimited": "yes"} | _SETTINGS[vendor]
    client = client_of(vendor, url, settings=settings, secrets=secrets[vendor])
    if is_quick:
        client.telephone.limits = dataclasses.replace(client.telephone.limits, **_QUICK)
    return client


def _ask(client: Any, answer: Answer) -> Any:
    """The verb that this answer is given to."""
    is_write = answer.kind == "write"
    if answer.vendor == "salesforce":
        if is_write:
            return client.publish_status(order_id="ORD-1042", fields={"status": "posted"})
        if answer.call == "composite":
            return client.order("0065g00000XYZABAA4")
        return client.customer("0015g00000ABCDEAA4")
    if answer.vendor == "netsuite":
        if answer.call == "suiteql":
            return _whole(client.reference("subsidiaries"))
        return client.post_journal(_JOURNAL) if is_write else client.read("ar_invoice", "9001")
    return client.save_customer(_CUSTOMER, external_id="acc-1", key="key-1") if is_write else client.subscription("s")


async def _whole(rows: AsyncIterator[Any]) -> list[Any]:
    return [row async for row in rows]


_JOURNAL = posting.Journal(
    external_id="je-1", subsidiary="3", currency="4", currency_code="EUR", period="9",
    posting_date=dt.date(2026, 11, 1),
    lines=(posting.JournalLine(account="121", debit=Decimal(1)), posting.JournalLine(account="54", credit=Decimal(1))),
)  # fmt: skip
_CUSTOMER = party.Customer(
    source=Source(connection="salesforce", object_type="customer", object_id="0015g00000ABCDEAA4"), name="Northwind Ltd"
)
_TOKEN = {"access_token": "t", "token_type": "Bearer", "expires_in": "3600"}


async def _give(answer: Answer, request: web.Request) -> web.StreamResponse:
    is_token = "/oauth2/" in request.path
    if is_token and answer.kind != "token":
        return web.json_response(_TOKEN | {"instance_url": f"http://{request.host}"})
    if answer.fault:
        await request.read()
        if answer.fault == "reset":
            request.transport.abort()
        await asyncio.Event().wait()
    headers = {"Content-Type": "application/json", **(answer.headers or {})}
    return web.Response(status=answer.status, headers=headers, body=answer.raw or None)


def _nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}"


async def _send(answer: Answer, client: Any) -> Problem | str:
    try:
        await _ask(client, answer)
    except Problem as problem:
        return problem
    except Exception:
        return BROKEN
    return SUCCESS


def _start_anew(answer: Answer) -> None:
    breaker.forget_breakers()
    quota.forget_quotas()
    throttle.forget_throttles()
    if answer.kind == "token":
        auth.forget_tokens()


async def send_all(given: Collection[Answer]) -> dict[str, Problem | str]:
    """What the connectors make of each answer: a Problem, or `success`, or `broken` where our own code failed.

    Answers come one after the other; those that never come, side by side.
    """
    now: list[Answer] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        return await _give(now[-1], request)

    def client_for(answer: Answer) -> Any:
        if answer.fault == "refused":
            return _client(answer.vendor, _nobody(), is_quick=True)
        return clients[answer.vendor, answer.fault == "silent"]

    made: dict[str, Problem | str] = {}
    lost = [answer for answer in given if answer.fault == "silent"]
    async with serving(handler) as url:
        clients = {(v, q): _client(v, url, is_quick=q) for v in {a.vendor for a in given} for q in (False, True)}
        for answer in given:
            if answer not in lost:
                now.append(answer)
                _start_anew(answer)
                made[answer.id] = await _send(answer, client_for(answer))
        now += lost
        _start_anew(lost[-1])
        silence = await asyncio.gather(*(_send(a, client_for(a)) for a in lost))
        made |= zip([a.id for a in lost], silence, strict=True)
    return made
