"""The transaction as one Procrastinate job whose steps are checkpointed in PostgreSQL, a commit each."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import aiohttp
import psycopg
from procrastinate import App, PsycopgConnector
from psycopg_pool import AsyncConnectionPool

DATABASE, SINK = (sys.argv[1], sys.argv[2]) if len(sys.argv) > 2 else ("", "")
AT_ONCE = 40
app = App(connector=PsycopgConnector(conninfo=DATABASE, min_size=4, max_size=16))
_tools: dict[str, Any] = {}
_LOOK = "SELECT result FROM step WHERE number = %s AND name = %s"
_KEEP = "INSERT INTO step VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"


async def _step(number: str, name: str, work: Any) -> Any:
    """A step whose result is there from an earlier attempt, or is made and committed."""
    async with _tools["pool"].connection() as wire:
        found = await (
            await wire.execute("SELECT result FROM step WHERE number=%s AND name=%s", [number, name])
        ).fetchone()
    if found:
        return json.loads(found[0])
    result = await work()
    async with _tools["pool"].connection() as wire:
        await wire.execute(_KEEP, [number, name, json.dumps(result)])
    return result


async def _item() -> str:
    async with _tools["pool"].connection() as wire:
        row = await (await wire.execute("SELECT item FROM item WHERE sku = 'QB-API'")).fetchone()
        return str(row[0])


async def _make(name: str, facts: dict[str, Any]) -> str:
    async with _tools["session"].post(f"{SINK}/documents", json={"external_id": name, **facts}) as answer:
        answer.raise_for_status()
        return str((await answer.json())["id"])


@app.task(name="carry")
async def carry(number: str) -> None:
    """The whole transaction."""
    item = await _step(number, "item", _item)

    async def build() -> dict[str, str]:
        return {"item": item, "amount": "100.00"}

    facts = await _step(number, "build", build)
    first = await _step(number, "first", lambda: _make(f"one-{number}", facts))
    await _step(number, "second", lambda: _make(f"two-{number}", {**facts, "memo": first}))


async def _serve() -> None:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        AsyncConnectionPool(DATABASE, min_size=4, max_size=16, kwargs={"autocommit": True}) as pool,
        app.open_async(),
    ):
        _tools.update(session=session, pool=pool)
        await app.run_worker_async(concurrency=AT_ONCE, fetch_job_polling_interval=0.1, delete_jobs="successful")


async def _start(number: int) -> None:
    async with app.open_async():
        jobs: list[Any] = [{"number": f"{os.getpid()}-{each}"} for each in range(number)]
        await carry.batch_defer_async(*jobs)


def main(number: int, what: str) -> None:
    """Prepare, serve, or start so many."""
    if what == "prepare":
        with psycopg.connect(DATABASE) as wire:
            wire.execute("CREATE TABLE step (number text, name text, result text, PRIMARY KEY (number, name))")
        with app.open():
            app.schema_manager.apply_schema()
    elif what == "serve":
        asyncio.run(_serve())
    else:
        asyncio.run(_start(number))


if __name__ == "__main__":
    main(int(sys.argv[3]), sys.argv[4])
