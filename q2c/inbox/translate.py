"""What an event means: asks the vendor's package, decides a verdict for each event, and commits a batch at once.

What may not be imported from here (golden records, flows, cases, the registry) is handed in as `Tools`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from django.db import connection, transaction

from connectors.fields import UNREADABLE, noting
from connectors.manifest import Context, Ignored, Means, NotYet
from q2c.canonical import events
from q2c.canonical.schema import from_json, to_json
from q2c.core import vault
from q2c.core.databases import is_away
from q2c.core.hotpath import once_there
from q2c.core.problems import Category, Problem
from q2c.inbox import claims, verdicts
from q2c.inbox.claims import Claimed
from q2c.inbox.items import Item, Tools, Verdict
from q2c.inbox.refetch import fetch_present
from q2c.inbox.unreadable import unreadable

FETCHED_AT_ONCE = 50  # a vendor's answer of a thousand lines takes megabytes, and a batch is hundreds of them
WAIT_SECONDS = 30.0  # after a read that the vendor couldn't answer
log = structlog.get_logger()


def translate_due(tools: Tools, *, limit: int = 250) -> int:
    """Claim what is due, translate it and commit the verdicts. Returns how many events were claimed."""
    return _translate(claims.claim_events(limit), tools)


def translate_these(event_ids: Iterable[Any], tools: Tools) -> int:
    """The same for particular events (an order of the API, a replay), within an open transaction if there is one."""
    return _translate(claims.claim_these(list(event_ids)), tools)


def _translate(claimed: list[Claimed], tools: Tools) -> int:
    if not claimed:
        return 0
    try:
        sources = tools.sources({c.connection_id for c in claimed})
        items = [Item(c, sources[c.connection_id]) for c in claimed]
        understand(items, tools)
        _commit(items, tools)
    except Exception as error:
        if is_away(error) and not connection.in_atomic_block:  # else the claim goes with the caller's transaction
            back = {c.key_id: (c.token, 0.0) for c in claimed}
            once_there(lambda: claims.release_claims(back))  # nothing is wrong with them: no failed attempt
        raise
    return len(items)


def understand(items: list[Item], tools: Tools) -> None:
    """Set what each means, or the verdict on what means nothing. Reads at the vendors where the message alone doesn't
    say it, and stores nothing: a dry run ends here."""
    for start in range(0, len(items), FETCHED_AT_ONCE):
        _understand_all(items[start : start + FETCHED_AT_ONCE], tools)


def _understand_all(items: list[Item], tools: Tools) -> None:
    """Set the events or the verdict of each; what the vendor answered isn't kept any longer than this."""
    fetched = fetch_present(items, tools)
    for item in items:
        try:
            _understand(item, tools, fetched)
        except Problem as problem:
            item.events, item.verdict = [], _verdict_of(problem)
        except Exception as error:
            if is_away(error):
                raise
            item.events, item.verdict = [], _internal(error)


def _understand(item: Item, tools: Tools, fetched: dict[int, Any]) -> None:
    claimed = item.claimed
    if claimed.is_gone:
        raise Problem("gone", Category.INTERNAL, "This message isn’t kept any more, so it can’t be read again",
                      connection=item.source.code)  # fmt: skip
    if item.is_erased:
        raise Problem("erased", Category.INTERNAL, "Its customer was erased, so this message can’t be read again",
                      connection=item.source.code)  # fmt: skip
    if claimed.attempts >= claims.QUARANTINE_AT:
        raise Problem("quarantined", Category.INTERNAL, "This message ended its worker each time it was read",
                      connection=item.source.code, event_type=claimed.event_type)  # fmt: skip
    meaning = _meaning(item, tools)
    if isinstance(meaning, Ignored | NotYet):
        item.verdict = Verdict("ignored", "not_needed" if isinstance(meaning, Ignored) else "not_yet", meaning.reason)
        return
    answer = fetched.get(claimed.key_id)
    if isinstance(answer, Exception):
        raise answer
    body = item.open_body()
    context = Context(
        connection=item.source.code,
        settings=item.source.settings,
        event_type=claimed.event_type,
        source_id=claimed.source_id,
        received_at=claimed.received_at,
        fetched=answer,
    )
    item.events = _translate_one(meaning, body, context)
    if not item.events:
        item.verdict = Verdict("ignored", "says_nothing", "Nothing in it concerns us")


def _translate_one(meaning: Means, body: bytes, context: Context) -> list[Any]:
    """The canonical events of a message, each as strict as what is stored of it: a vendor's null never becomes an id or
    a currency. Raises Problem `malformed_event` with the path of the field that can't be read."""
    try:
        return [_checked(event) for event in meaning.translate(body, context)]
    except UNREADABLE as error:
        with noting() as noted:  # the same once more, to learn where
            try:
                list(meaning.translate(body, context))
            except UNREADABLE:
                raise unreadable(error, noted) from error
        raise unreadable(error) from error  # what was made of it broke our own rules, whose path it names itself


def _checked(event: Any) -> Any:
    from_json(to_json(event), type(event))
    return event


def _read_keys(items: list[Item], tools: Tools) -> dict[int, str]:
    """By key id: what a message says something of, and of what sort. A later one of the same says all that an earlier
    one did. None of one that names no record, or of a sort that nobody reads.

    Event types that mean the same (a customer created or updated) are one sort.
    """
    sorts: dict[tuple[str, str], str | None] = {}
    found = {}
    for item in items:
        kind = item.source.vendor, item.claimed.event_type
        if kind not in sorts:
            sorts[kind] = _sort_of(item.claimed.event_type, tools.manifest(item.source.vendor).events)
        if (sort := sorts[kind]) and item.claimed.source_id:
            found[item.claimed.key_id] = f"{item.source.code}|{sort}|{item.claimed.source_id}"
    return found


def _sort_of(event_type: str, known: Mapping[str, Means | Ignored | NotYet]) -> str | None:
    """The first event type that is translated in the same way."""
    meaning = known.get(event_type)
    if not isinstance(meaning, Means):
        return None
    return next(name for name, m in known.items() if isinstance(m, Means) and m.translate is meaning.translate)


def _find_owner(item: Item, tools: Tools) -> None:
    """Whose message it is, also where nobody translates it: its body is to go with its customer."""
    customer_of = tools.manifest(item.source.vendor).customer_of
    if item.decided.customer_id or item.claimed.customer_key_id or item.claimed.is_gone or customer_of is None:
        return
    try:
        item.decided.customer_id = customer_of(item.open_body())
    except (ValueError, vault.Unsealable):
        return  # not a message of this vendor's, or of somebody who was erased


def _meaning(item: Item, tools: Tools) -> Means | Ignored | NotYet:
    meaning = tools.manifest(item.source.vendor).events.get(item.claimed.event_type)
    if meaning is None:
        raise Problem(
            "unknown_event", Category.VALIDATION,
            f"{item.source.code} sent an event that we don't know: {item.claimed.event_type}",
            connection=item.source.code, event_type=item.claimed.event_type,
        )  # fmt: skip
    return meaning


# Verdicts of failures.


def _verdict_of(problem: Problem) -> Verdict:
    if problem.heals_by_itself:
        return Verdict("later", wait_seconds=problem.wait_seconds or WAIT_SECONDS, problem=problem)
    if problem.pauses_connection:  # the connection is at fault, not the event
        return Verdict("later", wait_seconds=5 * WAIT_SECONDS, problem=problem)
    return Verdict("refused", problem.code, problem.summary, problem=problem)


def _internal(error: Exception) -> Verdict:
    log.exception("translation_failed", exc_info=error)
    return _verdict_of(
        Problem(
            "unexpected_error",
            Category.INTERNAL,
            f"Our own fault while translating: {type(error).__name__}: {error}",
            error=type(error).__name__,
            step="translate",
        )
    )


# The commit: golden records, transactions, cases and verdicts of the whole batch, or of its halves.


def _commit(items: list[Item], tools: Tools) -> None:
    later = {
        i.claimed.key_id: (i.claimed.token, i.verdict.wait_seconds)
        for i in items
        if i.verdict is not None and i.verdict.kind == "later"
    }
    _pause_refused(items, tools)
    claims.release_claims(later)
    pending = [i for i in items if i.claimed.key_id not in later]
    if pending:
        _commit_halving(pending, tools)


def _pause_refused(items: list[Item], tools: Tools) -> None:
    problems = {i.source.code: i.verdict.problem for i in items if i.verdict is not None}
    for code, problem in sorted(problems.items()):
        if problem is not None and problem.pauses_connection:
            tools.pause(code, problem)


def _commit_halving(items: list[Item], tools: Tools) -> None:
    """One commit for all; what the database or a bug refuses is halved down to the one event at fault."""
    decided = [item.verdict for item in items]
    refusal = _refusal_of(items, tools)
    if refusal is None:
        return
    for item, verdict in zip(items, decided, strict=True):
        item.verdict = verdict
    if len(items) == 1:
        items[0].events, items[0].verdict = [], _internal(refusal)
        with transaction.atomic():
            _write(items, tools)
        return
    middle = len(items) // 2
    _commit_halving(items[:middle], tools)
    _commit_halving(items[middle:], tools)


def _refusal_of(items: list[Item], tools: Tools) -> Exception | None:
    """Commit these events; what was refused, if it was. Raises what says that the database is away."""
    try:
        with transaction.atomic():
            _write(items, tools)
    except Exception as error:
        if is_away(error):
            raise
        return error
    return None


def _write(items: list[Item], tools: Tools) -> None:
    ours = claims.hold_claims({i.claimed.key_id: i.claimed.token for i in items})
    items = [i for i in items if i.claimed.key_id in ours]
    undecided = [i for i in items if i.verdict is None]
    if undecided:
        tools.carry(undecided)
    keys = _read_keys(items, tools)
    for item in items:
        if item.verdict is not None and item.verdict.kind == "refused" and item.verdict.problem is not None:
            item.verdict.problem.subject.setdefault("connection", item.source.code)
            item.verdict.problem.subject.setdefault("event_type", item.claimed.event_type)
            tools.open_case(
                item.verdict.problem,
                event_id=item.claimed.event_id,
                read_key=keys.get(item.claimed.key_id),
                connection_code=item.source.code,
                step="translate",
            )
    was_read = [i for i in items if i.claimed.key_id in keys and _says_all(i)]
    tools.close_read(
        [(keys[i.claimed.key_id], i.claimed.event_id, min(e.occurred_at for e in i.events)) for i in was_read]
    )
    for item in items:
        _find_owner(item, tools)
    verdicts.write_verdicts(items)


def _says_all(item: Item) -> bool:
    """Whether it was carried, and says all that an earlier one of its record did. A refund's failure doesn't: each of
    its movements is posted by itself."""
    is_carried = bool(item.events) and item.decided.kind == "translated" and not item.decided.code
    return is_carried and not any(isinstance(event, events.RefundMade) for event in item.events)
