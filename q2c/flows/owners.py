"""Whose exchanges are those of documents that name no customer: of the invoice or payment that they are about."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from uuid import UUID

from django.db import connection

from connectors.http import Recorded
from connectors.recorder import write_exchanges

# An application names its invoice, a dispute its payment; by the time that anything is sent for them both are known.
_OWNERS = """
SELECT t.id, t.source_connection, d.customer_id
  FROM transactions_businesstransaction t
 CROSS JOIN LATERAL (SELECT convert_from(t.fact, 'UTF8')::jsonb AS said) f
 CROSS JOIN LATERAL (VALUES ('invoice', f.said ->> 'invoice_id'), ('payment', f.said ->> 'payment_id')) AS w (type, id)
  JOIN records_billeddocument d
    ON d.connection_code = t.source_connection AND d.document_type = w.type AND d.external_id = w.id
 WHERE t.id = ANY(%s) AND d.customer_id <> ''
"""


def write_for_owners(rows: Collection[Recorded], late: Collection[UUID]) -> int:
    """Store the machine's exchanges, each under its customer's key. Gives how many; payouts are nobody's."""
    unowned = {r.about.transaction_id for r in rows if r.about.customer is None and r.about.transaction_id is not None}
    if unowned:
        with connection.cursor() as cursor:
            cursor.execute(_OWNERS, [sorted(unowned)])
            found = {transaction: (code, customer) for transaction, code, customer in cursor.fetchall()}
        for row in rows:
            if row.about.customer is None and row.about.transaction_id in found:
                row.about = replace(row.about, customer=found[row.about.transaction_id])
    return write_exchanges(rows, late)
