"""One run: open the world, torment it, calm it, let it drain, judge it, and say what came of it."""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from pathlib import Path

import requests
from django.db import connection
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from connectors import connections
from connectors.models import Connection
from exceptions.models import Occurrence
from q2c.core.hotpath import AWAY
from q2c.embedded import Embedded
from q2c.inbox.models import InboundKey
from q2c.supervisor import Ended
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests.chaos.company import Company
from tests.chaos.people import LISTS, MAY_SEND, WHO, Somebody, forms_of
from tests.chaos.plan import TORMENTS, make_plan
from tests.chaos.tormentor import Tormentor
from tests.chaos.verdict import Verdict, judge
from tests.chaos.world import World

DRAINS_SECONDS = 600.0
LOOKS_EVERY = 3.0
CALM_LOOKS = 4
POLLED_AFTER = 50.0  # seconds after the last torment: each stream was asked twice
HASTEN_EVERY = 15.0
NOT_HERE = {
    "fill the disk": "needs the right to mount a small disk",
    "jump a process's clock": "only the vendors' clock is moved; the portal's own would need libfaketime",
}


def run(embedded: Embedded, *, home: Path, server_log: int, seed: int, minutes: float, has_disk: bool) -> int:
    """Returns 0 when nothing was found."""
    say(f"chaos: seed {seed}, {minutes:g} minutes (CHAOS_SEED={seed} CHAOS_MINUTES={minutes:g} repeats the torments)")
    has_disk = has_disk and (embedded.home / "postgres").exists()
    without = () if has_disk else ("fill the disk",)
    world = World(embedded, home=home, server_log=server_log, has_disk=has_disk)
    try:
        world.open()
        say(f"everything is ready; its lines go to {home / 'chaos.log'}")
        company = Company(world, seed)
        people = [Somebody(world, name, seed) for name in WHO]
        tormentor = Tormentor(world, make_plan(seed, minutes * 60, without=without))
        for each in (company, *people):
            each.start()
        until = time.monotonic() + minutes * 60

        def storm() -> bool:
            world.step()
            tormentor.step()
            return time.monotonic() > until

        world.keeper.watch(until=storm)
        tormentor.lift()
        company.stop()
        for each in people:
            each.stop()
        say("the storm is over; draining")
        late = drain(world, company)
        if not late:
            people[1].counts["reposts at the end"] += repost_everything(people[1])
            late = drain(world, company)
        verdict = judge(world)
        verdict.say("a page that broke", (what for person in people for what in person.broken))
        verdict.say(f"not at rest after {DRAINS_SECONDS:.0f} s", late)
        report(verdict, tormentor, company, people, has_disk=has_disk, seed=seed)
        return 1 if verdict.findings else 0
    except Ended:
        say("ended before its time")
        return 2
    finally:
        connection.close()
        world.close()


def drain(world: World, company: Company) -> list[str]:
    """Wait until nothing moves any more. Returns what still does when patience is over."""
    started = looked = hastened = time.monotonic()
    calm, late = 0, ["never looked"]

    def is_over() -> bool:
        nonlocal calm, late, looked, hastened
        world.step()
        now = time.monotonic()
        if now - looked < LOOKS_EVERY:
            return False
        looked = now
        if now - hastened > HASTEN_EVERY and now - started > POLLED_AFTER:
            hastened = now
            hasten()
        late = what_moves(company)
        calm = 0 if late else calm + 1
        return (calm >= CALM_LOOKS and now - started > POLLED_AFTER) or now - started > DRAINS_SECONDS

    world.keeper.watch(until=is_over)
    return late


def what_moves(company: Company) -> list[str]:
    """What is under way, in words."""
    try:
        shown = Occurrence.objects.filter(transaction_id=OuterRef("pk"), closed_at__isnull=True)
        moving = Q(state="running") | Q(state="unknown") & ~Exists(shown)
        open_rows = BusinessTransaction.objects.filter(moving)
        found = [f"{t.flow} {t.state} {t.pk}" for t in open_rows.order_by("id")[:20]]
        found += [
            f"received: {key}"
            for key in InboundKey.objects.filter(verdict="received").values_list("dedupe_key", flat=True)[:20]
        ]
        if not found and company.house.has_undelivered_events():
            found.append("an event of billing that neither a webhook nor a poll has brought")
        if not found and company.house.is_expecting():
            found.append("a webhook on its way, or a wait of less than a minute")
    except AWAY as error:
        connection.close()
        return [f"the database doesn't answer: {error}"]
    except requests.RequestException as error:
        return [f"a vendor doesn't answer: {error}"]
    return found


def hasten() -> None:
    """What waits for minutes or hours may look now, and a connection that was paused because the vendor refused our
    credentials is resumed, as its case asks of people. Deadlines of what somebody holds stay as they are."""
    for paused in Connection.objects.filter(state=Connection.State.PAUSED):
        connections.resume(paused, by="chaos", reason="The storm is over")
    WorkItem.objects.filter(worker="", available_at__gt=timezone.now()).update(available_at=timezone.now())


def repost_everything(person: Somebody) -> int:
    """Somebody reposts each open case that can be reposted: what was held by the storm alone goes through."""
    sent, path = 0, LISTS[0]
    pages, seen = 0, set()
    while path and pages < 20:
        page = person.look_at(path)
        pages += 1
        for link in sorted(set(re.findall(r'href="(/exceptions/cases/\d+/)"', page)) - seen):
            seen.add(link)
            for form in forms_of(person.look_at(link)):
                if form.action.endswith("/repost/") and MAY_SEND.search(form.action):
                    sent += person.send(form) < 400
                    break
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = following[1].replace("&amp;", "&") if following else ""
    return sent


def report(
    verdict: Verdict, tormentor: Tormentor, company: Company, people: list[Somebody], *, has_disk: bool, seed: int
) -> None:
    """The summary."""
    say("torments:")
    for name in TORMENTS:
        if name in NOT_HERE and not has_disk:
            continue
        missed = tormentor.missed[name]
        say(f"  {name}: {tormentor.counts[name]}" + (f" ({missed} found nothing to hit)" if missed else ""))
    for name, why in NOT_HERE.items():
        if name != "fill the disk" or not has_disk:
            say(f"  {name}: not run: {why}")
    say("  two beats: all the time")
    say(f"the company: {_told(company.counts)}; refused by the vendor: {_told(company.refused)}")
    say(f"people: {_told(sum((person.counts for person in people), Counter()))}")
    say("verdict:")
    for name, count in sorted(verdict.counts.items()):
        say(f"  {name}: {count}")
    for finding in verdict.findings:
        say(f"  FOUND {finding}")
    say(f"chaos: {len(verdict.findings) or 'no'} finding{'' if len(verdict.findings) == 1 else 's'}, seed {seed}")


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "nothing"


def say(line: str) -> None:
    """One line of the report, also where it is piped."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
