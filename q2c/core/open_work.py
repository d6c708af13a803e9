"""What is open of a customer: cases, documents on their way and messages that wait to be read, as far as the customer's
keys seal what they rest on.

Whose it is, the document says, the message it came in, the requests of one that names nobody, or a file of the case.
Rooms above are read by the names of their tables, as by the owner's functions (decision 0084).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db import connection

NAMED = 5  # in a sentence
SHOWN = 50  # with a link each
# OFFSET: the requests of each document alone, or all there are would be read.
_WORK = """
WITH owned AS MATERIALIZED (
    SELECT w.customer, own
      FROM unnest(%(customers)s::text[]) w(customer), unnest(public.q2c_customer_ids(w.customer)) own
), keys AS MATERIALIZED (
    SELECT o.customer, k.id FROM owned o JOIN core_customerkey k
        ON k.connection_code = split_part(o.own, ':', 1) AND k.customer_id = substr(o.own, strpos(o.own, ':') + 1)
), work AS MATERIALIZED (
    SELECT h.case_id, t.id AS txn, coalesce(h.event_id, t.event_id) AS event,
           public.q2c_owner_of(t.source_connection, t.customer_id) AS owner, t.customer_id = '' AS is_nobodys
      FROM exceptions_occurrence h LEFT JOIN transactions_businesstransaction t ON t.id = h.transaction_id
     WHERE h.closed_at IS NULL AND (h.transaction_id IS NOT NULL OR h.event_id IS NOT NULL)
    UNION ALL
    SELECT NULL::bigint, t.id, t.event_id, public.q2c_owner_of(t.source_connection, t.customer_id), t.customer_id = ''
      FROM transactions_businesstransaction t
     WHERE t.state NOT IN ('completed', 'cancelled') AND NOT EXISTS (
           SELECT FROM exceptions_occurrence h WHERE h.closed_at IS NULL AND h.transaction_id = t.id)
), touched AS (
    SELECT o.customer, w.case_id, w.txn, NULL::uuid AS event FROM work w JOIN owned o ON o.own = w.owner
    UNION
    SELECT k.customer, w.case_id, w.txn, NULL::uuid FROM work w
      JOIN inbox_inboundkey m ON m.event_id = w.event JOIN keys k ON k.id = m.customer_key_id
    UNION
    SELECT k.customer, w.case_id, w.txn, NULL::uuid FROM work w
     CROSS JOIN LATERAL (
           SELECT x.customer_key_id FROM connectors_exchange x WHERE x.transaction_id = w.txn OFFSET 0) x
      JOIN keys k ON k.id = x.customer_key_id WHERE w.is_nobodys
    UNION
    SELECT k.customer, n.case_id, NULL::uuid, NULL::uuid FROM keys k
      JOIN exceptions_casefile f ON f.customer_key_id = k.id JOIN exceptions_casenote n ON n.id = f.note_id
      JOIN exceptions_exceptioncase c ON c.id = n.case_id
     WHERE c.closed_at IS NULL
    UNION
    SELECT k.customer, NULL::bigint, NULL::uuid, m.event_id FROM keys k
      JOIN inbox_inboundkey m ON m.customer_key_id = k.id
     WHERE m.verdict = 'received'
), named AS (
    SELECT DISTINCT customer, 'case' AS sort, case_id, case_id::text AS id, 'EX-' || case_id AS name
      FROM touched WHERE case_id IS NOT NULL
    UNION ALL
    SELECT DISTINCT d.customer, 'document', NULL::bigint, t.id::text, coalesce(nullif(t.number, ''), t.source_id)
      FROM touched d JOIN transactions_businesstransaction t ON t.id = d.txn WHERE d.case_id IS NULL
    UNION ALL
    SELECT DISTINCT d.customer, 'message', NULL::bigint, e.id::text, e.source_id
      FROM touched d JOIN inbox_inboundevent e ON e.id = d.event WHERE d.case_id IS NULL
), placed AS (
    SELECT *, count(*) OVER (PARTITION BY customer) AS total,
           row_number() OVER (PARTITION BY customer ORDER BY sort, case_id, id) AS place FROM named
)
SELECT customer, total, sort, id, name FROM placed WHERE place <= %(shown)s ORDER BY customer, place
"""
_IN_WORDS = {"case": "case {}", "document": "on its way {}", "message": "to be read {}"}


@dataclass(frozen=True)
class Piece:
    """One piece of it. `sort` is case, document or message."""

    sort: str
    id: str
    name: str


@dataclass(frozen=True)
class OpenWork:
    """What is open of a customer: so many pieces, the first of them with their names."""

    total: int = 0
    pieces: tuple[Piece, ...] = ()

    def __bool__(self) -> bool:
        return self.total > 0

    @property
    def words(self) -> str:
        """Its names in a sentence; "" for none."""
        by_sort: dict[str, list[str]] = {}
        for piece in self.pieces[:NAMED]:
            by_sort.setdefault(piece.sort, []).append(piece.name)
        more = self.total - len(self.pieces[:NAMED])
        named = [_IN_WORDS[sort].format(", ".join(names)) for sort, names in by_sort.items()]
        return "; ".join([*named, f"and {more} more"] if more else named)

    @property
    def more(self) -> int:
        """How many aren't among `pieces`."""
        return self.total - len(self.pieces)


NOTHING = OpenWork()


def of_customer(customer: str) -> OpenWork:
    """What is open of a customer (connection:id), by every id of theirs."""
    return of_customers([customer])[customer]


def of_customers(customers: Collection[str]) -> dict[str, OpenWork]:
    """The same for several; one statement, by what is open and not by what there is."""
    found = dict.fromkeys(customers, NOTHING)
    if not found:
        return found
    with connection.cursor() as cursor:
        cursor.execute(_WORK, {"customers": list(found), "shown": SHOWN})
        for customer, total, sort, own_id, name in cursor.fetchall():
            found[customer] = OpenWork(total, (*found[customer].pieces, Piece(sort, own_id, name)))
    return found
