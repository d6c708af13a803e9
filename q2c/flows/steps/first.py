"""Of money that came back: whether what it takes back stands. A payout's or refund's failure, or a dispute that is won,
never posts alone: it waits behind its first movement in their lane, and isn't needed where that was given up."""

from __future__ import annotations

from typing import Any

from q2c.canonical import schema
from q2c.canonical.billing import Dispute, Payout, Refund
from q2c.core.money import spoken_money
from q2c.core.problems import Awaits, NotNeeded
from q2c.links import Carried
from q2c.posting.cash import name_payout
from q2c.posting.reversing import LATER
from q2c.transactions.steps import Read
from q2c.transactions.versions import SUPERSEDED

BY_HAND = "booked by hand"


def want_movements(document: Refund | Dispute, txn: Any) -> list[tuple[str, Any]]:
    """The movements of the same object, of one that takes another back."""
    return [("carried", (txn.flow.code, txn.lane))] if document.movement in LATER else []


def check_first(document: Refund | Dispute, txn: Any, links: Any) -> str | None:
    """Whether what this takes back stands by our own document (None) or by one that people booked by hand; also None
    where nothing of it ever came here. Raises NotNeeded where people gave it up. Waits for one that an older release
    took for a version which this replaces: it's brought back."""
    return _check(document, txn, links)


def want_payout_movements(payout: Payout, txn: Any) -> list[tuple[str, Any]]:
    """As for the others."""
    return [("carried", (txn.flow.code, txn.lane))] if payout.movement in LATER else []


def check_first_payout(payout: Payout, txn: Any, links: Any) -> str | None:
    """As for the others."""
    return _check(payout, txn, links)


def _check(document: Refund | Dispute | Payout, txn: Any, links: Any) -> str | None:
    if document.movement not in LATER:
        return None
    taken: list[Carried] = []
    for row in links.carried(txn.flow.code, txn.lane):
        if row.id == txn.id:
            break
        if schema.from_json(row.fact, type(document)).movement not in LATER:
            taken.append(row)
        elif row.state != "cancelled":
            taken.clear()  # money that was taken, given back and taken once more
    if not taken or any(row.state == "completed" for row in taken):
        return None
    if any(row.is_by_hand for row in taken):
        return BY_HAND
    if taken[-1].state != "cancelled" or taken[-1].why.startswith(SUPERSEDED):
        raise awaited_first(document)
    name = _name_of(schema.from_json(taken[-1].fact, type(document)))
    raise NotNeeded(f"{name} was given up, so nothing of it comes back in the ERP")


def _name_of(document: Refund | Dispute | Payout) -> str:
    if isinstance(document, Payout):
        return name_payout(document)
    what = "refund of" if isinstance(document, Refund) else "dispute over"
    return f"The {what} {spoken_money(document.amount, document.currency)}"


def awaited_first(document: Refund | Dispute | Payout) -> Awaits:
    """The wait for the movement that this takes back."""
    source = document.source
    key = f"{source.object_type}:{source.connection}:{source.object_id}"
    return Awaits(key, f"{source.object_type} {source.object_id} in the ERP")


_NAME, _SENTENCE = "check_first", "Of money that came back, see whether what it takes back stands"
STANDS = Read(_NAME, _SENTENCE, check_first, gives="by_hand", wants=want_movements, quiet=True)
PAYOUT_STANDS = Read(
    _NAME, _SENTENCE, check_first_payout, gives="by_hand", wants=want_payout_movements, quiet=True
)  # fmt: skip
