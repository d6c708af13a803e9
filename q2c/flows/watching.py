"""What operators are told before it hurts: an error budget that burns fast, a system that is away, credentials that are
about to expire, a month that can't be archived, an archive that isn't whole, an audit chain that isn't anchored.

Each is a case, so it's told by the alerts of all cases; it closes by itself when it's over.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import Any

from django.conf import settings
from django.db.models import OuterRef, QuerySet, Subquery, Sum
from django.utils import timezone

from connectors import turns
from connectors.connections import days_to_expiry
from connectors.models import BreakerTurn, Connection, ConnectionHealth
from exceptions import cases
from exceptions.models import ExceptionCase
from q2c.core import archives, audit
from q2c.core.models import ArchiveCheck, ExpiredMonth, StatNow
from q2c.core.problems import Category, Problem
from q2c.flows.catalog import FLOWS
from q2c.flows.levels import Standing, standings
from q2c.transactions.counting import OPEN

BURNING, EXPIRING = "error_budget_burning", "credentials_expiring"
FAILED, DAMAGED = "archive_failed", "archive_damaged"
UNANCHORED = "audit_not_anchored"
UNANCHORED_AFTER = dt.timedelta(minutes=10)  # it's anchored each minute
AWAY = "system_away"
AWAY_AFTER = dt.timedelta(minutes=5)
WELL_FOR = dt.timedelta(minutes=1)  # a system that comes and goes is away
WARNED_DAYS = (30, 7, 1)


def watch_levels() -> tuple[int, int]:
    """Open a case for each level whose error budget burns fast; close those that are calm again. Both counts."""
    known = {case.subject.get("level"): case for case in _open(BURNING)}
    opened = closed = 0
    for standing in standings():
        code = standing.level.code
        if standing.budget.burns_fast and code not in known:
            cases.open_case(_burning(standing))
            opened += 1
        elif code in known and standing.budget.is_calm and not standing.budget.burns_fast:
            why = "In the last hour no more failed than the service level bears."
            closed += cases.close_matching(_burning(standing), how="calm", why=why) is not None
    return opened, closed


def _burning(standing: Standing) -> Problem:
    seen = standing.budget.hour
    return Problem(
        BURNING,
        Category.AVAILABILITY,
        f"{standing.level.title} ({standing.target.says}) uses up its error budget: in the last hour {seen.bad:,} of "
        f"{seen.total:,} weren't as promised",
        level=standing.level.code,
    )


def watch_systems(now: dt.datetime | None = None) -> tuple[int, int]:
    """Open a case for each system to which calls have stopped, wholly or about some object type, for five minutes, and
    say in it how it is now as long as it's open; close those of systems that have been well for one, and of paused
    ones, which say so themselves. One that nobody has tried any more stays while documents wait for it, or are held.
    Both counts."""
    now = now or timezone.now()
    turns.settle(now)
    by_connection: dict[int, list[BreakerTurn]] = defaultdict(list)
    for turn in turns.latest_turns():
        by_connection[turn.connection_id].append(turn)
    told = {case.connection_code for case in _open(AWAY)}
    opened = closed = 0
    for connection in Connection.objects.filter(pk__in=by_connection).order_by("code"):
        latest = by_connection[connection.pk]
        stopped = [turn for turn in latest if turn.is_open]
        since = min((turn.at for turn in stopped), default=None)
        code, is_paused = connection.code, connection.state == Connection.State.PAUSED
        if code in told and (is_paused or (since is None and max(turn.at for turn in latest) <= now - WELL_FOR)):
            how, why = (
                ("healed", "It’s paused, which says so itself") if is_paused else _how_it_ended(connection, latest)
            )
            over = Problem(AWAY, Category.AVAILABILITY, "over", connection=code)
            if how:
                closed += cases.close_matching(over, how=how, why=f"{why}.", connection_code=code) is not None
        elif not is_paused and since is not None and since <= now - AWAY_AFTER:
            problem = _away(connection, stopped, (now - since) // dt.timedelta(minutes=1))
            if code in told:
                cases.tell_anew(problem, connection_code=code)
            elif not cases.is_waived_since(problem, since, connection_code=code):
                cases.open_case(problem, connection_code=code)
                opened += 1
    return opened, closed


def _how_it_ended(connection: Connection, latest: list[BreakerTurn]) -> tuple[str, str]:
    """How it's well again, and in which words: those of its last turn. Empty where nobody has tried it since, though
    work for it is there: it may be as far away as it was."""
    last = max(latest, key=lambda turn: (turn.at, turn.pk))
    if last.why != turns.NOT_TRIED:
        return "healed", last.why
    untried = {turn.object_type for turn in latest if (turn.at, turn.why) == (last.at, last.why)}
    answered = ConnectionHealth.objects.filter(connection=connection, last_success_at__gt=last.at)
    if untried == {""} and answered.exists():  # an answer about something else says nothing of an object type
        return "healed", turns.WELL_AGAIN
    flows = [flow.code for flow in FLOWS if "" in untried or flow.lane_type in untried]
    waiting = _open_of(connection).filter(flow__in=flows)
    return ("", "") if _sum(waiting) else ("not_tried", last.why)


def _open_of(connection: Connection) -> QuerySet[StatNow]:
    return StatNow.objects.filter(measure=OPEN, connection_code=connection.code)


def _sum(rows: QuerySet[StatNow]) -> int:
    return rows.aggregate(n=Sum("count"))["n"] or 0


def _away(connection: Connection, stopped: list[BreakerTurn], minutes: int) -> Problem:
    types = sorted(turn.object_type.replace("_", " ") for turn in stopped)
    about = f" calls about {', '.join(types)}" if all(types) else ""
    waiting = _sum(_open_of(connection).exclude(about="held"))
    waits = f"{waiting:,} documents wait" if waiting > 1 else "1 document waits" if waiting else "nothing waits"
    why = next((turn.why for turn in stopped if turn.why), "")
    says = f"{connection.name} hasn’t answered{about} for {minutes} minutes; {waits} for it"
    return Problem(
        AWAY, Category.AVAILABILITY, f"{says}. The last failure: {why}" if why else says, connection=connection.code
    )


def warn_of_expiry() -> tuple[int, int]:
    """Open a case for each connection whose credentials expire within 30, 7 and 1 days, each once; close those of
    credentials that were renewed, and the earlier warning when the next one comes. Both counts."""
    due: dict[tuple[str, str, str], Problem] = {}
    for connection in Connection.objects.filter(secrets_expire_at__isnull=False).order_by("code"):
        left = days_to_expiry(connection)
        stage = min((days for days in WARNED_DAYS if left is not None and left < days), default=None)
        if stage is not None:
            problem = _expiring(connection, stage)
            due[_print(problem.subject)] = problem
    told = ExceptionCase.objects.filter(kind=EXPIRING)
    opened = closed = 0
    for case in _open(EXPIRING):
        if _print(case.subject) not in due:
            problem = Problem(EXPIRING, Category.AUTHENTICATION, "over", **case.subject)
            why = "They were renewed, or their date is another one, or it’s told anew as it comes closer."
            code = case.connection_code
            closed += cases.close_matching(problem, how="renewed", why=why, connection_code=code) is not None
    for problem in due.values():
        wanted = {name: problem.subject[name] for name in ("connection", "expires", "within")}
        if not told.filter(subject__contains=wanted).exists():
            cases.open_case(problem, connection_code=problem.subject["connection"])
            opened += 1
    return opened, closed


def watch_archives() -> tuple[int, int]:
    """Open a case where months couldn't be archived, and one for each archive that isn't whole; close those that were
    mended. Both counts."""
    due: dict[tuple[str, str], Problem] = {}
    if failed := list(ExpiredMonth.objects.exclude(failure="").order_by("partition")):
        place = settings.ARCHIVE or "no directory"
        others = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        said = f"{failed[0].partition} couldn’t be archived and dropped{others}: {failed[0].failure}"
        due[FAILED, place] = Problem(FAILED, Category.INTERNAL, said, directory=place)
    newest = ArchiveCheck.objects.filter(archive=OuterRef("pk")).order_by("-id").values("fault")[:1]
    for archive in archives.current().annotate(fault=Subquery(newest)).exclude(fault="").order_by("pk"):
        said = f"{archive.file_name} isn’t whole: {archive.fault}"
        due[DAMAGED, archive.file_name] = Problem(DAMAGED, Category.DRIFT, said, archive=archive.file_name)
    opened = closed = 0
    known = set()
    for case in [*_open(FAILED), *_open(DAMAGED)]:
        name = str(case.subject.get("directory") or case.subject.get("archive"))
        known.add((case.kind, name))
        if (case.kind, name) not in due:
            problem = Problem(case.kind, Category(case.category), "mended", **case.subject)
            why = "It was archived, or its files are whole again."
            closed += cases.close_matching(problem, how="mended", why=why) is not None
    for key in due.keys() - known:
        cases.open_case(due[key])
        opened += 1
    return opened, closed


def watch_anchors(now: dt.datetime | None = None) -> tuple[int, int]:
    """Open a case where the audit chain hasn't been anchored for ten minutes; close it once its newest entry is. Both
    counts."""
    now = now or timezone.now()
    known, found = _open(UNANCHORED), audit.unguarded_since()
    if found is None or now - found[0] <= UNANCHORED_AFTER:
        over = [Problem(UNANCHORED, Category.INTERNAL, "over", **case.subject) for case in known]
        why = "Its newest entry is anchored again."
        return 0, sum(cases.close_matching(problem, how="mended", why=why) is not None for problem in over)
    since, fault = found
    said = f"Nothing that was done since {since:%-d %b %Y %H:%M} UTC is anchored outside the database"
    problem = Problem(
        UNANCHORED, Category.INTERNAL, f"{said}: {fault}" if fault else said, file=str(audit.anchor_file())
    )
    if known or cases.is_waived_since(problem, since):
        return 0, 0
    cases.open_case(problem)
    return 1, 0


def _expiring(connection: Connection, stage: int) -> Problem:
    assert connection.secrets_expire_at is not None
    on = f"{connection.secrets_expire_at:%-d %b %Y}"
    return Problem(
        EXPIRING,
        Category.AUTHENTICATION,
        f"The credentials of {connection.name} expire on {on}",
        connection=connection.code,
        expires=f"{connection.secrets_expire_at:%Y-%m-%d}",
        within=f"{stage} day{'s' if stage > 1 else ''}",
    )


def _print(subject: dict[str, Any]) -> tuple[str, str, str]:
    return tuple(str(subject.get(name) or "") for name in ("connection", "expires", "within"))  # type: ignore[return-value]


def _open(kind: str) -> list[ExceptionCase]:
    return list(ExceptionCase.objects.filter(kind=kind, state__in=ExceptionCase.OPEN_STATES))
