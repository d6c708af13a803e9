"""Which transactions of a lane are versions of one document, so that a later one stands for an earlier one, and which
are money that went and its coming back.

The class of a fact says the first (`Document.later_is`), in SQL by the column that holds its name; its content says the
second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from q2c.canonical import events as _told
from q2c.canonical import unwinding as _decided
from q2c.canonical.base import Document, Later

SUPERSEDED = "superseded: "  # how the reason begins why a transaction was cancelled that made way
_MODULES = (_told, _decided)  # which import every document that starts a flow
# What of a document says that its money came back, as q2c.posting.cash reads it.
_CAME_BACK = {
    "Refund": "-> 'failed_at' IS NOT NULL", "Payout": "-> 'failed_at' IS NOT NULL", "Dispute": "->> 'status' = 'won'",
}  # fmt: skip


def came_back_sql(t: str = "t") -> str:
    """Whether the transaction `t` is money that came back: a refund or payout that failed, a dispute won."""
    cases = " ".join(
        f"WHEN '{kind}' THEN convert_from({t}.fact, 'UTF8')::json {says}" for kind, says in _CAME_BACK.items()
    )
    return f"CASE {t}.fact_type {cases} ELSE false END"


def may_come_back_sql(t: str = "t") -> str:
    """Whether what the transaction `t` is about has a movement that takes another one back."""
    return f"{t}.fact_type IN ({_quoted(_CAME_BACK)})"


def is_version_sql(n: str, t: str = "t") -> str:
    """Whether the transaction `n` carries another version of the document that `t` carries."""
    return f"""({n}.lane = {t}.lane AND {n}.flow = {t}.flow AND {n}.source_id = {t}.source_id AND {n}.id <> {t}.id
                AND CASE WHEN {t}.fact_type IN ({_quoted(_named(Later.ANOTHER))}) THEN false
                         WHEN {t}.fact_type IN ({_quoted(_named(Later.OF_MOVEMENT))})
                         THEN ({came_back_sql(n)}) = ({came_back_sql(t)}) ELSE true END)"""


def _named(later: Later) -> list[str]:
    return sorted({kind.__name__ for kind in _kinds(Document) if getattr(kind, "later_is", None) is later})


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _kinds(of: type[Document]) -> Iterator[type[Document]]:
    for kind in of.__subclasses__():
        yield kind
        yield from _kinds(kind)
