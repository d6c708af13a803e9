"""The reference: what somebody would write in an afternoon. A commit after each step, one request after the other.

It keeps no intents, looks nothing up before it writes, and records no exchange: after a crash it knows nothing.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from itertools import count
from typing import Any

import psycopg
import requests
from requests_oauthlib import OAuth1

from q2c.bench import cpu
from q2c.bench.stage import Stage, postmaster
from q2c.transactions.models import StepRun

READ_BACK = "id,externalId,tranId,tranDate,postingPeriod,currency,exchangeRate,total,approvalStatus,status"


@dataclass(frozen=True)
class LoopRun:
    """One run: invoices a second, and CPU ms an invoice of the loop and PostgreSQL."""

    per_second: float
    cpu_ms: float


class PlainLoop:
    """Posts the same invoices again under other external ids."""

    def __init__(self, stage: Stage, invoices: list[str]) -> None:
        self.invoices, self.serial = invoices, count()
        self.wire = psycopg.connect(stage.environment["DATABASE_URL"])
        self.wire.execute("CREATE TABLE IF NOT EXISTS bench_loop (id text PRIMARY KEY, state text, body jsonb)")
        self.wire.commit()
        stripe, erp = stage.door.vendor("stripe"), stage.door.vendor("netsuite")
        self.billing_url, self.erp_url = stripe["url"], f"{erp['url']}/services/rest/record/v1/invoice"
        self.billing, self.erp = requests.Session(), requests.Session()
        self.billing.headers["Authorization"] = f"Bearer {stripe['credentials']['api_key']}"
        given = erp["credentials"]
        self.erp.auth = OAuth1(
            given["consumer_key"], given["consumer_secret"], given["token_id"], given["token_secret"],
            signature_method="HMAC-SHA256", realm=given["account"],
        )  # fmt: skip
        self.template = json.loads(bytes(_one_posting()))

    def run(self, number: int) -> LoopRun:
        """Carry so many invoices."""
        roots = [postmaster()]
        database, own, started = cpu.cpu_seconds(roots), time.process_time(), time.monotonic()
        for place in range(number):
            self._carry(self.invoices[place % len(self.invoices)])
        took = time.monotonic() - started
        spent = time.process_time() - own + cpu.cpu_seconds(roots) - database
        return LoopRun(number / took, spent * 1000 / number)

    def _carry(self, invoice: str) -> None:
        key = f"loop-{next(self.serial)}-{invoice}"
        self._commit("INSERT INTO bench_loop (id, state) VALUES (%s, 'started')", [key])
        document = self._answer(
            self.billing.get(f"{self.billing_url}/v1/invoices/{invoice}", params={"expand[]": "customer"})
        )
        sku = document["lines"]["data"][0]["metadata"]["sku"]
        rule = self.wire.execute("SELECT value FROM mappings_mappingrule WHERE kind = 'item' AND key = %s", [sku])
        body = self._body(key, rule.fetchone(), document["total"])  # type: ignore[arg-type]
        self._commit("UPDATE bench_loop SET state = 'built', body = %s WHERE id = %s", [json.dumps(body), key])
        posted = self.erp.post(self.erp_url, json=body)
        posted.raise_for_status()
        made = posted.headers["Location"].rsplit("/", 1)[-1]
        self._commit("UPDATE bench_loop SET state = 'posted' WHERE id = %s", [key])
        booked = self._answer(self.erp.get(f"{self.erp_url}/{made}", params={"fields": READ_BACK}))
        self._commit(
            "UPDATE bench_loop SET state = 'done', body = %s WHERE id = %s", [json.dumps(booked["tranId"]), key]
        )

    def _commit(self, statement: str, values: list[Any]) -> None:
        self.wire.execute(statement, values)
        self.wire.commit()

    def _answer(self, answer: requests.Response) -> Any:
        answer.raise_for_status()
        return answer.json()

    def _body(self, key: str, rule: tuple[str], cents: int) -> dict[str, Any]:
        known = self.template
        amount = cents / 100
        line = {"item": {"id": rule[0]}, "quantity": 1, "rate": amount, "amount": amount, "price": {"id": "-1"}}
        return {
            "externalId": key[:80], "tranId": key[:45], "tranDate": known["document_date"], "toBeEmailed": False,
            "entity": {"id": known["customer"]}, "subsidiary": {"id": known["subsidiary"]},
            "currency": {"id": known["currency"]}, "postingPeriod": {"id": known["period"]}, "item": {"items": [line]},
        }  # fmt: skip


def _one_posting() -> bytes:
    found = StepRun.objects.filter(step="build_posting", state="done").order_by("-at").values_list("output", flat=True)
    return bytes(found[0] or b"")
