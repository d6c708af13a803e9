"""What a program is sent: one JSON body by Standard Webhooks, of the same facts that a chat is told. It names kinds,
counts and entities; no customer, no document, no amount, no person.

The body's schema is printed from these classes (`subscribers.py`). A field may come, with a default; none goes and none
changes its meaning: that would be another `type`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from exceptions import kind_words
from exceptions.alerts import messages
from exceptions.alerts.parts import Part
from exceptions.models import AlertDelivery, AlertGroup
from q2c.core.ids import ulid

PLACES_MAX = 100
RAISED, AT_RISK, LATE = "exception.raised", "exception.at_risk", "exception.late"
REMINDED, RESOLVED, TEST = "exception.reminded", "exception.resolved", "exception.test"
TYPES = (RAISED, AT_RISK, LATE, REMINDED, RESOLVED, TEST)
Type = Literal[
    "exception.raised", "exception.at_risk", "exception.late", "exception.reminded", "exception.resolved",
    "exception.test",
]  # fmt: skip
Severity = Literal["urgent", "high", "medium", "low"]
_What, _About = AlertDelivery.What, AlertGroup.About


class Place(msgspec.Struct, kw_only=True):
    """Cases of one queue and legal entity."""

    queue: str
    entity: Annotated[str, Meta(description="Code of the legal entity; empty where it's about none")]
    severity: Severity
    cases: Annotated[int | None, Meta(description="null where they weren't counted apart")]


class AlertData(msgspec.Struct, kw_only=True):
    """An alert: cases of one kind, connection and flow. Fields may come; ignore those that you don't know."""

    alert: Annotated[str, Meta(description="Id of the alert. What opens an hour after the last case is another one")]
    key: Annotated[str, Meta(description="The trouble that it's about: keep one incident for each key")]
    is_over: Annotated[bool, Meta(description="true: the all-clear; nothing of this key is open any more")]
    kind: Annotated[str, Meta(description="Code of the kind of exception, such as missing_item_mapping")]
    title: Annotated[str, Meta(description="What a person is told, one sentence")]
    severity: Annotated[Severity, Meta(description="The most pressing one of `places`")]
    connection: Annotated[str, Meta(description="Code of the connection to the system; may be empty")]
    flow: Annotated[str, Meta(description="Code of the flow; may be empty")]
    cases: Annotated[int | None, Meta(description="How many; of a reminder those open at `timestamp`; null: unknown")]
    queues: list[str]
    entities: list[str]
    places: Annotated[list[Place], Meta(description="By queue and legal entity, the first hundred")]
    places_left_out: int
    round: Annotated[int, Meta(description="Of exception.reminded: the first, the second, ...; otherwise 0")]
    began_at: Annotated[dt.datetime, Meta(description="When the first case opened")]
    over_at: dt.datetime | None
    link: Annotated[str, Meta(description="The cases, in the portal; a sign-in is needed")]


class AlertMessage(msgspec.Struct, kw_only=True):
    """One message. Its `webhook-id` stays the same however often it's sent."""

    type: Type
    timestamp: Annotated[dt.datetime, Meta(description="When it happened, not when it was sent")]
    data: AlertData


def freeze(rows: Iterable[AlertDelivery], own: dict[int, list[Part]], now: dt.datetime) -> None:
    """Give each of these messages its id and its body, and store both before the first attempt; a later one sends the
    same, also where less of it is open by then. One that tells more than its channel may be told by now is made anew,
    as another message."""
    made = [row for row in rows if not row.body or not _is_within(row)]
    for row in made:
        row.message_id, row.body = new_id(), body_of(row, own[row.pk], now)
    AlertDelivery.objects.bulk_update([row for row in made if row.pk], ["message_id", "body"])


def new_id() -> str:
    """Of a message that nobody was sent."""
    return f"msg_{ulid()}"


def body_of(row: AlertDelivery, parts: Sequence[Part], now: dt.datetime) -> str:
    """The JSON of a message about these parts of its alert."""
    group = row.group
    is_over = row.what == _What.ALL_CLEAR
    key = "/".join((group.kind, group.connection_code, group.flow))
    number = messages.number_of(group, row.what, parts)
    words = kind_words.SEVERITY_WORDS
    data = AlertData(
        alert=f"alert_{group.pk or 0}", key=key, is_over=is_over, kind=group.kind,
        title=messages.title_of(group, row.what, parts), connection=group.connection_code, flow=group.flow,
        severity=words[min(part.severity for part in parts)], cases=number,  # type: ignore[arg-type]
        queues=sorted({part.queue for part in parts}), entities=sorted({part.entity for part in parts} - {""}),
        places=[
            Place(queue=part.queue, entity=part.entity, severity=words[part.severity], cases=part.cases)  # type: ignore[arg-type]
            for part in parts[:PLACES_MAX]
        ],
        places_left_out=max(0, len(parts) - PLACES_MAX), round=row.round, began_at=group.first_at,
        over_at=group.over_at if is_over else None, link=messages.link_to(group),
    )  # fmt: skip
    at = now if row.what == _What.REMINDER else (group.over_at if is_over else None) or group.grew_at
    return msgspec.json.encode(AlertMessage(type=type_of(row), timestamp=at, data=data)).decode()


def type_of(row: AlertDelivery) -> Any:
    """What happened, as its name on the wire."""
    if row.group.kind == messages.TEST:
        return TEST
    if row.what != _What.ALERT:
        return RESOLVED if row.what == _What.ALL_CLEAR else REMINDED
    return {_About.AT_RISK: AT_RISK, _About.BREACHED: LATE}.get(_About(row.group.about), RAISED)


def _is_within(row: AlertDelivery) -> bool:
    """Whether its channel may be told now of all that its body tells of: every queue and entity, not the first hundred
    places alone."""
    subscription = getattr(row.channel, "alerts", None)
    if subscription is None:
        return True
    told = msgspec.json.decode(row.body, type=AlertMessage).data
    entities = {*told.entities, *(place.entity for place in told.places)}
    return all(not asked or found <= set(asked) for found, asked in (
        (set(told.queues), subscription.queues), (entities, subscription.entities)
    ))  # fmt: skip
