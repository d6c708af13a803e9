"""The money card: what stands of a document, for people who talk to customers. No payload and no personal data: its
number, its money, where it stands, who has it and until when."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Q

from connectors.models import Connection
from connectors.registry import spellings
from exceptions.kinds import kind_of
from exceptions.models import Occurrence
from q2c.core.money import decimals
from q2c.core.templatetags.words import spoken
from q2c.flows.catalog import BY_CODE as FLOWS
from q2c.flows.catalog import TELLING
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.selectors import transactions_visible_to

MOST = 10


@dataclass(frozen=True)
class Card:
    """One document as it stands. `amount` is in `currency`; `expected_at` is when its case is promised, in UTC."""

    number: str
    document: str
    state: str
    amount: Decimal | None
    currency: str
    legal_entity: str
    problem: str = ""  # in words of the kind, never of the customer
    owner: str = ""
    expected_at: dt.datetime | None = None
    is_paused: bool = False  # its promise waits for somebody outside
    posted_in: str = ""
    posted_as: str = ""

    def as_json(self) -> dict[str, Any]:
        """As the API and the page's JSON show it: money as a string with a decimal point, instants in UTC."""
        amount = None if self.amount is None else f"{self.amount:.{max(decimals(self.currency), 2)}f}"
        at = self.expected_at
        return {
            "number": self.number,
            "document": self.document,
            "state": self.state,
            "amount": amount,
            "currency": self.currency,
            "legal_entity": self.legal_entity,
            "problem": self.problem,
            "owner": self.owner,
            "expected_at": None if at is None else at.astimezone(dt.UTC).isoformat().replace("+00:00", "Z"),
            "posted_in": self.posted_in,
            "posted_as": self.posted_as,
        }


def cards_of(user: Any, text: str) -> list[Card]:
    """The documents of the person's entities that carry this number, the newest first; status messages aside."""
    forms = spellings(text)
    wanted = Q(number__in=forms) | Q(source_id__in=forms) | Q(target_number__in=forms)
    rows = (
        transactions_visible_to(user, permission="portal.view_card")
        .filter(wanted)
        .exclude(flow__in=TELLING)
        .order_by("-id")
    )
    found = list(rows[:MOST])
    held = {
        o.transaction_id: o.case
        for o in Occurrence.objects.filter(
            transaction_id__in=[row.pk for row in found], closed_at__isnull=True
        ).select_related("case")
    }
    names = dict(Connection.objects.values_list("code", "name"))
    return [_card(row, held.get(row.pk), names) for row in found]


def _card(row: BusinessTransaction, case: Any, names: dict[str, str]) -> Card:
    document = FLOWS[row.flow].title if row.flow in FLOWS else spoken(row.flow)
    facts: dict[str, Any] = {
        "number": row.number or row.source_id, "document": document, "state": row.state,
        "amount": row.amount, "currency": row.currency, "legal_entity": row.legal_entity_code,
    }  # fmt: skip
    if case is not None:
        facts |= {
            "problem": kind_of(case.kind).title, "owner": spoken(case.queue),
            "expected_at": None if case.paused_for else case.due_at, "is_paused": bool(case.paused_for),
        }  # fmt: skip
    if row.target_number or row.target_id:
        facts |= {
            "posted_in": names.get(row.target_connection, row.target_connection),
            "posted_as": row.target_number or row.target_id,
        }
    return Card(**facts)
