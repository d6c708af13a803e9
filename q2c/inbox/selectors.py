"""What arrived, as a person may see it."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet

from q2c.core import access
from q2c.inbox.models import InboundKey


def messages_visible_to(user: Any) -> QuerySet[InboundKey]:
    """Messages with their verdicts, without bodies. One whose entity isn't known is for people of all entities."""
    rows = InboundKey.objects.select_related("event", "connection").defer("body_key", "event__body", "event__headers")
    return access.visible_to(user, rows)


def message_visible_to(user: Any, event_id: Any) -> InboundKey:
    """The key of one message, with its sealed body. Raises DoesNotExist for a foreign one too."""
    rows = access.visible_to(user, InboundKey.objects.select_related("event", "connection", "customer_key"))
    found = rows.filter(event_id=event_id).order_by("id").first()
    if found is None:
        raise InboundKey.DoesNotExist
    return found
