"""Sends a vendor's webhooks: persisted before they leave, retried with the vendor's back-off, with ordered faults.

A delivery is a row until it's acknowledged, so a killed sandbox sends again what it hadn't finished. Memory stays
flat: only what is on its way is held.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from connectors.sandbox.clock import Clock
from connectors.sandbox.faults import WEBHOOK_KINDS, Faults
from connectors.sandbox.store import Store

log = logging.getLogger(__name__)

AT_ONCE = 12
READ_AHEAD = 96
TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)
REORDER_SECONDS = 5.0  # a held-back delivery goes out after the next one, or when none comes for so long
LONGEST_NAP = 1.0
COLUMNS = "n, subject, endpoint, url, body, attempt, created"


@dataclass(slots=True)
class Delivery:
    """One event on its way to one endpoint. `attempt` counts the finished attempts."""

    n: int
    subject: str
    endpoint: str
    url: str | None
    body: bytes | None
    attempt: int
    created: float


class Outside:
    """The queue of one vendor's deliveries and the task that works it off."""

    def __init__(self, store: Store, clock: Clock, faults: Faults):
        self.store = store
        self.clock = clock
        self.faults = faults
        self.vendor: Any = None  # set by the server once the vendor exists
        self.session: Any = None  # opened inside run(), on its event loop
        self.ahead: deque[Delivery] = deque()
        self.under_way: set[int] = set()
        self.finished: list[tuple[Delivery, bool]] = []
        self.wake = asyncio.Event()
        self.tasks: set[asyncio.Task] = set()

    def send(
        self,
        subject: str,
        endpoint: str,
        *,
        name: str = "",
        url: str | None = None,
        body: bytes | None = None,
        text: Callable[[], str] | None = None,
        delay: float = 0.0,
    ) -> None:
        """Queue one delivery, in the caller's transaction. `subject` is the event's id.

        Faults match `name` (the event's type) or else the URL with their glob, and what `text` gives (or else the
        body) with their external id.
        """
        due, state, copies = self.clock.time() + delay, "due", 1
        for fault in self._faults(name, url, body, text):
            if fault.do == "webhook_lose":
                state = "lost"
            elif fault.do == "webhook_duplicate":
                copies += 1
            elif fault.do == "webhook_delay":
                due += fault.seconds or 0.0
            elif fault.do == "webhook_reorder":
                state, due = "held", due + (fault.seconds or REORDER_SECONDS)
        execute, now = self.store.db.execute, self.clock.time()
        number = None
        for _ in range(copies):
            number = execute(
                "INSERT INTO deliveries (subject, endpoint, url, body, due, state, created) VALUES (?,?,?,?,?,?,?)",
                (subject, endpoint, url, body, due, state, now),
            ).lastrowid
        if state == "due":
            if self.faults.ordered:
                execute("UPDATE deliveries SET after=? WHERE state='held' AND after IS NULL", (number,))
            self.wake.set()

    def _faults(self, name: str, url: str | None, body: bytes | None, text: Callable[[], str] | None) -> list:
        if not self.faults.ordered:
            return []
        return self.faults.strike(
            WEBHOOK_KINDS, "POST", name or (url or ""), text or (lambda: (body or b"").decode(errors="replace"))
        )

    def open_deliveries(self, subject: str) -> int:
        """How many endpoints haven't acknowledged this event yet (lost and given-up ones included)."""
        return self.store.db.execute("SELECT count(*) FROM deliveries WHERE subject=?", (subject,)).fetchone()[0]

    def describe(self, within: float) -> dict[str, int]:
        """How many attempts are on their way, and how many deliveries come due within so many seconds."""
        state = "SELECT count(*) FROM deliveries WHERE state IN ('due', 'held') AND due<=?"
        due = self.store.db.execute(state, (self.clock.time() + within,)).fetchone()[0]
        return {"under_way": len(self.under_way), "due": due}

    async def run(self) -> None:
        """Work the queue off until cancelled."""
        connector = aiohttp.TCPConnector(limit=AT_ONCE, keepalive_timeout=30)
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT, auto_decompress=False) as session:
            self.session = session
            try:
                while True:
                    self.wake.clear()
                    room = self._start_due()
                    if not room:
                        await self.wake.wait()
                        continue
                    try:
                        # not wait_for: before Python 3.12 it may swallow a cancellation that meets the event
                        async with asyncio.timeout(self._nap()):
                            await self.wake.wait()
                    except TimeoutError:
                        pass
            finally:
                for task in self.tasks:
                    task.cancel()
                await asyncio.gather(*self.tasks, return_exceptions=True)
                self._remember()

    def _nap(self) -> float:
        row = self.store.db.execute("SELECT min(due) FROM deliveries WHERE state IN ('due', 'held')").fetchone()
        if row[0] is None or self.under_way:
            return LONGEST_NAP
        return min(LONGEST_NAP, max(0.01, row[0] - self.clock.time()))

    def _start_due(self) -> bool:
        """Start what is due as far as there's room; whether room is left."""
        self._remember()
        now = self.clock.time()
        self.store.db.execute("UPDATE deliveries SET state='due' WHERE state='held' AND due<=?", (now,))
        while len(self.under_way) < AT_ONCE:
            if not self.ahead and not self._read_ahead(now):
                return True
            delivery = self.ahead.popleft()
            self.under_way.add(delivery.n)
            task = asyncio.create_task(self._deliver(delivery))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        return False

    def _read_ahead(self, now: float) -> bool:
        """Read the next due deliveries; whether there are any."""
        rows = self.store.db.execute(
            f"SELECT {COLUMNS} FROM deliveries WHERE state='due' AND due<=? ORDER BY due, n LIMIT ?", (now, READ_AHEAD)
        ).fetchall()
        self.ahead.extend(Delivery(*row) for row in rows if row[0] not in self.under_way)
        return bool(self.ahead)

    async def _deliver(self, delivery: Delivery) -> None:
        acknowledged = True
        try:
            prepared = self.vendor.prepare_delivery(delivery)
            if prepared is not None:
                url, body, headers = prepared
                async with self.session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                    answer = await response.read()
                    acknowledged = self.vendor.is_acknowledged(delivery, response.status, answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            acknowledged = False
            log.info("webhook %s not delivered: %r", delivery.subject, error)
        except asyncio.CancelledError:
            self.under_way.discard(delivery.n)
            raise
        except Exception:
            acknowledged = False
            log.exception("webhook %s could not be prepared", delivery.subject)
        self.finished.append((delivery, acknowledged))
        self.wake.set()

    def _remember(self) -> None:
        """Write down, in one transaction, how the finished attempts ended."""
        if not self.finished:
            return
        finished, self.finished = self.finished, []
        execute = self.store.db.execute
        with self.store.transaction():
            for delivery, acknowledged in finished:
                self.under_way.discard(delivery.n)
                execute(
                    "UPDATE deliveries SET state='due', due=0, after=NULL WHERE state='held' AND after=?", (delivery.n,)
                )
                if acknowledged:
                    execute("DELETE FROM deliveries WHERE n=?", (delivery.n,))
                    continue
                pause = self.vendor.retry_after(delivery.attempt + 1)
                execute(
                    "UPDATE deliveries SET attempt=attempt+1, due=?, state=? WHERE n=?",
                    (self.clock.time() + (pause or 0), "failed" if pause is None else "due", delivery.n),
                )
