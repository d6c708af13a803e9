"""What a message says, as mail, for Slack and for Teams. It names kinds, counts and entities; no customer, no payload.

Slack: an incoming webhook takes `{"text", "blocks"}`, answers 200 "ok"; `&`, `<` and `>` are escaped
(docs.slack.dev, Incoming webhooks; Formatting message text). Teams: a workflow's webhook takes a message with one
Adaptive Card as its attachment, answers 202 (learn.microsoft.com, Create incoming webhooks with Workflows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from django.conf import settings

from exceptions import kind_words, kinds
from exceptions.alerts.parts import Part, parts_of
from exceptions.models import AlertDelivery, AlertGroup
from q2c.core.templatetags.words import spoken

CARD = "application/vnd.microsoft.card.adaptive"
TEST = "test_message"  # of no kind: what a channel is tried with
_ENTITIES_MAX = 8


def title_of(group: AlertGroup, what: str, parts: Sequence[Part]) -> str:
    """One sentence: what it is, and how much of it: of these parts."""
    if group.kind == TEST:
        return "A test: nothing is wrong."
    kind = kinds.kind_of(group.kind).title
    number = number_of(group, what, parts)
    count = "1 case" if number == 1 else "cases" if number is None else f"{number:,} cases"
    if what == AlertDelivery.What.ALL_CLEAR:
        which = "Cases" if number is None else count
        return f"Over: {kind}. {which} of it {'is' if number == 1 else 'are'} closed."
    if what == AlertDelivery.What.REMINDER:
        return f"Still open: {kind}. {'1 case of it waits' if number == 1 else f'{count} of it wait'}."
    if group.about == AlertGroup.About.AT_RISK:
        return f"At risk: {kind}. The promise of {count} is running out."
    if group.about == AlertGroup.About.BREACHED:
        return f"Late: {kind}. The promise of {count} is broken."
    return f"{kind}: {count} opened."


def name_of(group: AlertGroup, what: str) -> str:
    """What it is, without how many: for a list of messages."""
    if group.kind == TEST:
        return "A test"
    about = {AlertGroup.About.AT_RISK: "at risk", AlertGroup.About.BREACHED: "late"}
    word = {
        AlertDelivery.What.REMINDER.value: "still open",
        AlertDelivery.What.ALL_CLEAR.value: "over",
    }.get(what, about.get(AlertGroup.About(group.about), "opened"))
    return f"{kinds.kind_of(group.kind).title}, {word}"


def place_of(group: AlertGroup, parts: Sequence[Part]) -> str:
    """Where: queue, system, flow and entities, as words: of these parts."""
    entities = sorted({part.entity for part in parts if part.entity})
    severity = min((part.severity for part in parts), default=group.severity)
    listed = ", ".join(entities[:_ENTITIES_MAX])
    if len(entities) > _ENTITIES_MAX:
        listed += f" and {len(entities) - _ENTITIES_MAX} more"
    said = [
        f"Severity {kind_words.SEVERITY_WORDS.get(severity, severity)}",
        f"queue {', '.join(spoken(queue) for queue in sorted({part.queue for part in parts}))}",
        f"system {group.connection_code}" if group.connection_code else "",
        spoken(group.flow) if group.flow else "",
        listed,
    ]
    return " · ".join(words for words in said if words)


def link_to(group: AlertGroup) -> str:
    """The list of what it is about."""
    query = {"kind": group.kind, "connection": group.connection_code, "flow": group.flow}
    found = urlencode({name: value for name, value in query.items() if value})
    return f"{settings.BASE_URL.rstrip('/')}/exceptions/cases/?{found}"


def as_slack(group: AlertGroup, what: str, parts: Sequence[Part]) -> dict[str, Any]:
    """The JSON body for Slack; `text` is what notifications and screen readers say."""
    title, place = _escaped(title_of(group, what, parts)), _escaped(place_of(group, parts))
    button = {"type": "button", "text": {"type": "plain_text", "text": "Open the cases"}, "url": link_to(group)}
    return {
        "text": title,
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": f"*{title}*"}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": place}]},
            {"type": "actions", "elements": [button]},
        ],
    }


def as_teams(group: AlertGroup, what: str, parts: Sequence[Part]) -> dict[str, Any]:
    """The JSON body for Teams: a message with one Adaptive Card."""
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "text": title_of(group, what, parts), "weight": "bolder", "wrap": True},
            {"type": "TextBlock", "text": place_of(group, parts), "isSubtle": True, "wrap": True},
        ],
        "actions": [{"type": "Action.OpenUrl", "title": "Open the cases", "url": link_to(group)}],
    }
    return {"type": "message", "attachments": [{"contentType": CARD, "contentUrl": None, "content": card}]}


def as_mail(deliveries: Sequence[AlertDelivery], own: Mapping[int, Sequence[Part]]) -> tuple[str, str]:
    """Subject and text of one mail about one or, in a digest, several. `own` by message: what its reader may know."""
    titles = [title_of(row.group, row.what, own[row.pk]) for row in deliveries]
    places = [place_of(row.group, own[row.pk]) for row in deliveries]
    parts = [f"{t}\n{p}\n{link_to(row.group)}" for t, p, row in zip(titles, places, deliveries, strict=True)]
    subject = titles[0] if len(titles) == 1 else f"{len(titles)} alerts since the last mail"
    mine = f"{settings.BASE_URL.rstrip('/')}/exceptions/alerts/mine/"
    return f"{settings.PRODUCT_NAME}: {subject}", "\n\n".join([*parts, f"What you are told of: {mine}"])


def number_of(group: AlertGroup, what: str, parts: Sequence[Part]) -> int | None:
    """How many cases these parts have; None where it isn't known of some only."""
    if what == AlertDelivery.What.ALERT and list(parts) == parts_of(group):
        return group.case_count
    return None if any(part.cases is None for part in parts) else sum(part.cases or 0 for part in parts)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
