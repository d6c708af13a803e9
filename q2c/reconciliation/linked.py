"""Documents that people linked to one of the ERP's which hasn't our external id: the ERP's totals of ours lack them."""

from __future__ import annotations

from q2c.core.hotpath import fetch_rows
from q2c.transactions.batch import LINK

# Whether the transaction `t`, an invoice or credit memo, was linked to a document under another external id than ours.
# What the ERP said of the document is kept with the step that found it.
LINKED_SQL = f"""EXISTS (
    SELECT FROM exceptions_choice c WHERE c.transaction_id = t.id AND c.about = '{LINK}' AND NOT EXISTS (
        SELECT FROM transactions_steprun s
         WHERE s.transaction_id = t.id AND s.state = 'done' AND s.gave IN ('ar_invoice', 'ar_credit_memo')
           AND starts_with(convert_from(s.output, 'UTF8')::json ->> 'external_id',
                           CASE t.flow WHEN 'invoice_to_erp' THEN 'inv-' ELSE 'cm-' END || t.source_connection || '-')))
"""
_COUNT = f"""
SELECT count(*) FROM transactions_businesstransaction t
 WHERE {{source}} AND t.flow IN ('invoice_to_erp', 'credit_memo_to_erp') AND t.state = 'completed' AND {LINKED_SQL}
"""


def count_linked(column: str, source: str) -> int:
    """How many documents of a source (of the feed, or connection, in this column) were linked so."""
    ((count,),) = fetch_rows(_COUNT.format(source=f"t.{column} = %(source)s"), {"source": source})
    return int(count)
