"""Salesforce's own register of what is sold: opportunities that are won and orders that are activated. Pure.

It's asked by SystemModstamp, the only indexed time that a late win moves; `COUNT()` tells first whether there's
anything.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from connectors.families import Registered
from connectors.fields import instant
from connectors.salesforce import asked, inbound
from connectors.salesforce.ids import full_id

MADE_BEFORE = {"order": dt.timedelta(days=1)}
STREAMS = ("Opportunity", "Order")
_DATED = {"Opportunity": "CloseDate", "Order": "EffectiveDate"}
_AMOUNTS = {"Opportunity": "Amount", "Order": "TotalAmount"}


def soql(stream: str, fields: str, since: str, until: str) -> str:
    """What was sold and changed from an instant to before another one; `fields` may be COUNT()."""
    where = f"{asked.FINAL[stream]} AND SystemModstamp >= {since} AND SystemModstamp < {until}"
    return f"SELECT {fields} FROM {stream} WHERE {where}"


def entry(stream: str, raw: Mapping[str, Any], settings: Mapping[str, Any]) -> Registered:
    """A record as a register's entry."""
    field = str(settings.get("legal_entity_field") or "")
    name = str(raw.get("OrderNumber") or raw.get("Name") or "")
    return Registered(
        document_type="order",
        id=full_id(raw["Id"]),
        made_at=instant(raw["SystemModstamp"]),
        dated=dt.date.fromisoformat(str(raw[_DATED[stream]])),
        currency=inbound.currency_of(raw, settings),
        amount=inbound.optional(raw.get(_AMOUNTS[stream])),
        number=name[:80],
        customer_id=full_id(raw["AccountId"]) if raw.get("AccountId") else "",
        legal_entity=inbound.legal_entity_of(raw, field),
    )
