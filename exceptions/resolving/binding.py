"""What a signature on a resolution is bound to: each document as it is, what would be sent, and the rules behind it.

Documents are read in memory as the machine would read them with what is chosen. Beside a document's own facts stand
the fields of the posting (texts as they are, lists as their hash), its target period, and the rules with their
versions. Whatever of that moves is named, and what was signed doesn't hold for that document any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from exceptions.concerned import facts_of
from mappings.resolve import Snapshot
from q2c.canonical import schema
from q2c.core import jcs
from q2c.flows import trial
from q2c.transactions.models import BusinessTransaction

Choices = Mapping[UUID, dict[str, Any]]
_FIELDS = (
    "customer", "subsidiary", "currency", "document_date", "posting_date", "period", "total", "amount", "tax_total",
    "due_date", "exchange_rate", "po_number", "memo", "lines", "journal",
)  # fmt: skip
_WORDS = {
    "hash": "the document itself",
    "attempt": "its attempt: it was reposted meanwhile",
    "state": "its state: it isn’t held any more",
    "problem": "what holds it",
    "rules": "a mapping that it rests on",
    "outcome": "what would become of it",
    "says": "what would become of it",
    "lines": "its lines",
    "journal": "its accounts or amounts",
}


def state_of(ids: Iterable[UUID], chosen: Choices | None = None) -> dict[UUID, dict[str, Any]]:
    """These documents as they are now; with choices also what would be sent, and by which rules. Plain JSON."""
    ids = list(ids)
    facts = dict(facts_of(ids))
    states = dict(BusinessTransaction.objects.filter(pk__in=ids).values_list("pk", "state"))
    found = {i: {**own, "state": states[i]} for i, own in facts.items()}
    if chosen is not None:
        for tried in trial.try_held(ids, Snapshot.load([]), chosen=chosen):
            found[tried.transaction_id]["would"] = _would(tried)
    plain: dict[UUID, dict[str, Any]] = {i: jcs.as_plain(own) for i, own in found.items()}
    return plain


def what_moved(signed: Mapping[str, Any], present: Mapping[str, Any] | None) -> list[str]:
    """In words, what isn't any more as it was signed; empty when all is."""
    if present is None:
        return ["the document itself: it’s gone"]
    moved = [name for name in ("state", "attempt", "hash", "problem") if signed[name] != present[name]]
    if not moved and "would" in signed:
        then, now = signed["would"], present.get("would", {})
        moved = [name for name in then if then[name] != now.get(name)]
    return [_in_words(name, signed.get("would", {}), present.get("would", {})) for name in moved]


def moved_words(signed: Mapping[str, Any], present: Mapping[str, Any] | None) -> str:
    """Of one document whose facts aren't as they were signed: which of them, and what they say now, as a sentence."""
    number = signed["number"] or "The document"
    if present is None:
        return f"{number} moved: it’s gone."
    moved = [_in_words(name, signed, present) for name in signed if signed[name] != present[name]]
    return f"{number} moved: {'; '.join(moved)}."


def _in_words(name: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    if name in _WORDS:
        return _WORDS[name]
    return f"its {name.replace('_', ' ')}, {then.get(name) or 'nothing'} when it was signed for and now " + (
        str(now.get(name) or "nothing")
    )


def _would(tried: trial.Tried) -> dict[str, Any]:
    """What would be sent, as its fields; `period_code` is the period in our own words."""
    sent = tried.prepared
    found: dict[str, Any] = {"outcome": tried.outcome, "says": tried.says, "period_code": tried.period}
    if tried.outcome == trial.POSTS and sent is not None:
        for name in _FIELDS:
            value = getattr(sent, name, None)
            if isinstance(value, tuple):
                found[name] = jcs.content_hash([schema.content_hash(row) for row in value])[:16]
            elif value not in (None, ""):
                found[name] = str(value)
        found["payload"] = schema.content_hash(sent)
    found["rules"] = jcs.content_hash([list(pair) for pair in tried.rules])[:16]
    return found
