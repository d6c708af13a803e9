"""The dry run of a back-fill: messages are carried as ever in a transaction that is taken back, and their documents
read up to the write that would be due.

So it says what the real run would do, by the same code. Systems are read where a message alone doesn't say what it
means (as the intake does), in the last lane; nothing is written to any, and nothing of ours is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import structlog
from django.db import OperationalError, transaction

from q2c import ports
from q2c.core.customer_keys import owner_of
from q2c.core.hotpath import fetch_rows
from q2c.core.models import CustomerKey
from q2c.flows import intake, sightings, trial
from q2c.flows.dispatch import Fact
from q2c.flows.intake import Dispatching
from q2c.flows.trial import Tried
from q2c.inbox import translate
from q2c.inbox.claims import Claimed
from q2c.inbox.items import Item
from q2c.inbox.models import BackfillItem

log = structlog.get_logger(__name__)
Finding = BackfillItem.Finding
ERASED = "Its customer was erased, so nothing of it is read again."
CLOSED = "Replay the message by itself: its case then says what can be done."
DIFFERENCES_MAX = 4
_FORMER = """
SELECT DISTINCT ON (n.id) n.id, t.id, t.state, t.fact, t.target_number, t.target_id
  FROM transactions_businesstransaction n
  JOIN transactions_businesstransaction t
    ON t.source_id = n.source_id AND t.flow = n.flow AND t.source_connection = n.source_connection
   AND t.source_type = n.source_type AND t.id <> n.id AND t.state <> 'cancelled' AND NOT t.id = ANY(%(new)s)
 WHERE n.id = ANY(%(new)s) ORDER BY n.id, t.lane_sequence DESC
"""
_KNOWN = """
SELECT id, state, target_number, target_id, problem ->> 'summary' FROM transactions_businesstransaction
 WHERE id = ANY(%s)
"""
_IN_WORDS = {
    "completed": "It is here and done", "held": "It is here and held", "cancelled": "It is here and was ended",
    "unknown": "It is here, and its outcome is being looked up",
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What a dry run says of one message. `amount` in `currency`, as the document has it."""

    finding: str
    code: str = ""
    says: str = ""
    flow: str = ""
    number: str = ""
    legal_entity: str = ""
    period: str = ""
    currency: str = ""
    amount: Decimal | None = None
    document_key: str = ""
    transaction_id: UUID | None = None


def try_messages(claimed: Sequence[Claimed]) -> dict[UUID, Found]:
    """What would become of these messages, by event id. Nothing is stored, and nothing is written to any system."""
    sources = intake.sources_of({c.connection_id for c in claimed})
    items = [Item(c, sources[c.connection_id]) for c in claimed]
    found: dict[UUID, Found] = {}
    gone = _erased_keys(items)
    for item in items:
        if item.claimed.customer_key_id in gone:
            found[item.claimed.event_id] = Found(Finding.REFUSED, "erased", ERASED)
    rest = [item for item in items if item.claimed.event_id not in found]
    owners: intake.Owners = {}
    translate.understand(rest, intake.reading_tools(owners))
    _note_owners(rest, owners)
    intake.store_what_was_said(owners)
    for item in _of_erased(rest):
        found[item.claimed.event_id] = Found(Finding.REFUSED, "erased", ERASED)
    undecided = []
    for item in rest:
        if item.claimed.event_id in found:
            continue
        if item.verdict is None:
            undecided.append(item)
        else:
            found[item.claimed.event_id] = _unread(item)
    return found | _try(undecided)


def _try(items: list[Item]) -> dict[UUID, Found]:
    """All at once; what a bug refuses is halved down to the one message at fault."""
    if not items:
        return {}
    events = {item.claimed.event_id: list(item.events) for item in items}
    try:
        with transaction.atomic():
            dispatched = intake.carry_items(items, set(), {})
            found = _look(items, dispatched)
            transaction.set_rollback(True)
        return found
    except OperationalError:
        raise  # the database was away, or two waited for each other: the next nudge tries the piece again
    except Exception as error:
        for item in items:
            item.verdict, item.events = None, events[item.claimed.event_id]
        if len(items) > 1:
            middle = len(items) // 2
            return _try(items[:middle]) | _try(items[middle:])
        log.exception("a dry run failed", event=str(items[0].claimed.event_id))
        says = f"Our own fault: {type(error).__name__}: {error}"
        return {items[0].claimed.event_id: Found(Finding.HELD, "unexpected_error", says)}


def _look(items: list[Item], dispatched: Dispatching) -> dict[UUID, Found]:
    """What the facts of each message would lead to."""
    by_event: dict[UUID, list[tuple[Fact, UUID]]] = {}
    for fact, transaction_id in zip(dispatched.facts, dispatched.ids, strict=True):
        if fact.event_id is not None:
            by_event.setdefault(fact.event_id, []).append((fact, transaction_id))
    new = sorted(dispatched.new)
    tried = {one.transaction_id: one for one in trial.try_new(new, ports.known_rules())} if new else {}
    formers = {row[0]: row[1:] for row in fetch_rows(_FORMER, {"new": new})} if new else {}
    here = sorted(set(dispatched.ids) - dispatched.new)
    known = {row[0]: row[1:] for row in fetch_rows(_KNOWN, [here])} if here else {}
    taken: set[UUID] = set()
    found = {}
    for item in items:
        own = by_event.get(item.claimed.event_id, [])
        fresh = [(fact, i) for fact, i in own if i in dispatched.new and i not in taken]
        if fresh:
            fact, transaction_id = fresh[0]
            found[item.claimed.event_id] = _fresh(fact, tried[transaction_id], formers.get(transaction_id))
        elif own:
            fact, transaction_id = own[0]
            found[item.claimed.event_id] = _known(fact, transaction_id, known.get(transaction_id))
        else:
            found[item.claimed.event_id] = _unread(item)
        taken.update(i for _, i in own)
    return found


def _fresh(fact: Fact, tried: Tried, former: tuple[Any, ...] | None) -> Found:
    about = replace(_about(fact), legal_entity=tried.legal_entity or fact.legal_entity_code, period=tried.period)
    if former is not None and fact.amount is not None:
        transaction_id, state, stored, target_number, target_id = former
        where = f" ({target_number or target_id})" if target_number or target_id else ""
        says = f"{_IN_WORDS.get(state, 'It is here and on its way')}{where}, with other content: "
        says += "; ".join(_differences(bytes(stored), fact.document)) or "only what no list shows"
        return replace(about, finding=Finding.DIFFERS, says=says[:300], transaction_id=transaction_id)
    if tried.outcome == trial.HELD and tried.code == "period_closed":
        return replace(about, finding=Finding.REFUSED, code=tried.code, says=f"{tried.says}. {CLOSED}"[:300])
    finding = {trial.POSTS: Finding.POSTS, trial.HELD: Finding.HELD, trial.WAITS: Finding.WAITS}.get(
        tried.outcome, Finding.NOTHING
    )
    return replace(about, finding=finding, code=tried.code, says=tried.says[:300])


def _known(fact: Fact, transaction_id: UUID, row: tuple[Any, ...] | None) -> Found:
    about = replace(_about(fact), finding=Finding.KNOWN)
    if row is None:  # of an earlier message of this very batch
        return replace(about, says="An earlier message of this back-fill brings it.")
    state, target_number, target_id, problem = row
    says = _IN_WORDS.get(state, "It is here and on its way")
    if state == "completed" and (target_number or target_id):
        says += f": {target_number or target_id}"
    if state == "held" and problem:
        says += f": {problem}"
    return replace(about, says=says[:300], transaction_id=transaction_id)


def _about(fact: Fact) -> Found:
    return Found(
        "", flow=fact.flow, number=fact.number[:80], legal_entity=fact.legal_entity_code[:20],
        currency=fact.currency if fact.amount is not None else "", amount=fact.amount,
        document_key=f"{fact.flow}|{fact.business_key}"[:300],
    )  # fmt: skip


def _unread(item: Item) -> Found:
    """Of a message that leads to no document: why."""
    verdict = item.verdict
    if verdict is None or verdict.kind == "translated":
        return Found(Finding.KNOWN, says="It says nothing that we don't hold.")
    says = (verdict.problem.summary if verdict.problem is not None else verdict.reason)[:300]
    about = Found(
        Finding.NOTHING, verdict.code[:60], says, legal_entity=verdict.legal_entity_code, currency=verdict.currency,
        amount=verdict.amount,
    )  # fmt: skip
    if verdict.kind == "refused":
        return replace(about, finding=Finding.HELD)
    return replace(about, finding=Finding.WAITS) if verdict.kind == "later" else about


def _differences(stored: bytes, document: Any) -> Iterable[str]:
    """The fields that a document says otherwise than what we hold, in words."""
    before: dict[str, Any] = msgspec.json.decode(stored)
    now: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    named = [
        name for name in sorted(before.keys() | now.keys())
        if name not in ("source", "type") and before.get(name) != now.get(name)
    ]  # fmt: skip
    for name in named[:DIFFERENCES_MAX]:
        then, today = _short(before.get(name)), _short(now.get(name))
        word = name.replace("_", " ")
        yield f"{word} {then}, now {today}" if then != today else f"{word} in their details"
    if len(named) > DIFFERENCES_MAX:
        yield f"{len(named) - DIFFERENCES_MAX} more"


def _short(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"{len(value)} entries"
    return "empty" if value in (None, "") else str(value)[:40]


def _erased_keys(items: Iterable[Item]) -> set[UUID]:
    ids = {i.claimed.customer_key_id for i in items if i.claimed.customer_key_id is not None}
    gone = CustomerKey.objects.filter(id__in=ids, destroyed_at__isnull=False) if ids else CustomerKey.objects.none()
    return set(gone.values_list("id", flat=True))


def _of_erased(items: Iterable[Item]) -> list[Item]:
    """Messages (of what was read at the source) that speak of a customer who was erased here."""
    whose = {(i.claimed.event_id, c): i for i in items for e in i.events if (c := _customer_of(i, e))}
    if not whose:
        return []
    rows = CustomerKey.objects.filter(
        destroyed_at__isnull=False,
        connection_code__in={c[0] for _, c in whose},
        customer_id__in={c[1] for _, c in whose},
    )
    gone = set(rows.values_list("connection_code", "customer_id"))
    return list({id(item): item for (_, owner), item in whose.items() if owner in gone}.values())


def _customer_of(item: Item, event: Any) -> tuple[str, str] | None:
    customer = sightings.customer_of(event)
    return owner_of(item.source.code, customer) if customer else None


def _note_owners(items: Iterable[Item], owners: intake.Owners) -> None:
    """Whose a reading at the vendor is: under that customer's key the exchange is sealed."""
    for item in items:
        for event in item.events:
            if (owner := _customer_of(item, event)) is not None:
                owners[str(item.claimed.event_id)] = owner
