"""A hold on a document covers what was made of it in lanes of its own, and a customer's hold what only their key tells.

A void, a plan or a write-off of a document has a lane of another type with the same object. A dispute or an application
may name no customer, while its exchanges are sealed under one's key (decision 0057).
"""

from importlib import import_module

from django.db import migrations

BEFORE = import_module("q2c.core.migrations.0014_holds_and_archives")
# A document, and what is made of it under its own id. Other types (a payment, a dispute) are documents of their own.
TYPES = (
    "invoice", "invoice_void", "credit_note", "credit_note_void", "unwinding", "write_off", "accrual",
    "Opportunity", "Order", "order", "order_unwinding",
)  # fmt: skip
# No SET here: these are folded into the statements of the functions below, which have it.
LANES = f"""
CREATE FUNCTION q2c_lanes_of(held text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN split_part(held, ':', 2) = ANY ('{{{",".join(TYPES)}}}')
        THEN ARRAY(SELECT split_part(held, ':', 1) || ':' || t || substr(held, length(split_part(held, ':', 1))
                          + length(split_part(held, ':', 2)) + 2) FROM unnest('{{{",".join(TYPES)}}}'::text[]) t)
        ELSE ARRAY[held] END
$$;
"""
COVERS = BEFORE.COVERS.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION").replace(
    "h.lane = lane)", "lane = ANY (public.q2c_lanes_of(h.lane)))"
)
_OF_TRANSACTION, _TRANSACTIONS = BEFORE._OF_TRANSACTION, BEFORE._TRANSACTIONS
# As _OF_TRANSACTION, by whose key an exchange of it is sealed under.
_BY_KEY = _OF_TRANSACTION.replace(
    "public.q2c_owner_of(t.source_connection, t.customer_id)", "c.connection_code || ':' || c.customer_id"
)
# OFFSET: the ids of a held customer are asked once for each hold, not once for each row that may be theirs.
_OWNERS = """LATERAL (SELECT CASE WHEN h.customer = '' THEN NULL ELSE public.q2c_customer_ids(h.customer) END AS owners
                     OFFSET 0) o"""
MONTHS_HELD = f"""
CREATE OR REPLACE FUNCTION q2c_holds_on(parent text, low uuid, high uuid) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    WITH span AS (
        SELECT to_timestamp(('x' || left(replace(low::text, '-', ''), 12))::bit(48)::bigint / 1000.0)::date AS first,
               to_timestamp(('x' || left(replace(high::text, '-', ''), 12))::bit(48)::bigint / 1000.0)::date AS last)
    SELECT coalesce(array_agg(h.id ORDER BY h.id), '{{}}')
      FROM public.core_legalhold h, span,
           {_OWNERS}
     WHERE h.state = 'in_force' AND CASE
        -- the whole house: for ever, or in days of this month (which begins a day sooner or later in another zone)
        WHEN h.legal_entity_code = '' AND h.customer = '' AND h.lane = '' AND (h.first_day IS NULL
            OR (h.first_day <= span.last AND coalesce(h.last_day, 'infinity') >= span.first - 1)) THEN true
        WHEN h.lane <> '' THEN
            EXISTS (SELECT FROM public.transactions_businesstransaction t
                     WHERE t.lane = ANY (public.q2c_lanes_of(h.lane)) AND CASE parent
                        WHEN 'inbox_inboundevent' THEN t.event_id >= low AND t.event_id < high
                        WHEN 'outbox_outboxevent' THEN EXISTS (
                            SELECT FROM public.outbox_outboxevent m
                             WHERE m.transaction_id = t.id AND m.id >= low AND m.id < high)
                        ELSE t.id >= low AND t.id < high END)
        WHEN parent = 'inbox_inboundevent' THEN
            EXISTS (SELECT FROM public.inbox_inboundkey k LEFT JOIN public.core_customerkey c ON c.id = k.customer_key_id
                      LEFT JOIN public.core_legalentity e ON e.code = k.legal_entity_code
                     WHERE k.event_id >= low AND k.event_id < high
                       AND public.q2c_hold_covers(h, o.owners, k.legal_entity_code,
                           c.connection_code || ':' || c.customer_id, '', NULL,
                           (k.received_at AT TIME ZONE coalesce(e.time_zone, 'UTC'))::date))
            OR EXISTS (SELECT FROM {_TRANSACTIONS}
                        WHERE t.id >= low AND t.event_id >= low AND t.event_id < high AND {_OF_TRANSACTION})
        WHEN parent = 'outbox_outboxevent' THEN
            EXISTS (SELECT FROM public.outbox_outboxevent m JOIN {_TRANSACTIONS} ON t.id = m.transaction_id
                     WHERE m.id >= low AND m.id < high AND {_OF_TRANSACTION})
            OR EXISTS (SELECT FROM public.outbox_outboxevent m
                        WHERE m.id >= low AND m.id < high AND m.transaction_id IS NULL
                          AND public.q2c_hold_covers(h, o.owners, m.legal_entity_code, NULL, '', NULL, m.at::date))
        ELSE EXISTS (SELECT FROM {_TRANSACTIONS} WHERE t.id >= low AND t.id < high AND {_OF_TRANSACTION})
            OR (h.customer <> '' AND EXISTS (
                SELECT FROM public.core_customerkey c
                  JOIN public.connectors_exchange x ON x.customer_key_id = c.id
                  JOIN {_TRANSACTIONS} ON t.id = x.transaction_id
                 WHERE (c.connection_code, c.customer_id) IN (
                        SELECT split_part(owner, ':', 1), substr(owner, strpos(owner, ':') + 1)
                          FROM unnest(o.owners) owner)
                   AND x.transaction_id >= low AND x.transaction_id < high AND {_BY_KEY}))
            OR (parent = 'connectors_exchange' AND EXISTS (
                SELECT FROM public.connectors_exchange x JOIN public.core_customerkey c ON c.id = x.customer_key_id
                 WHERE x.transaction_id >= low AND x.transaction_id < high AND NOT EXISTS (
                        SELECT FROM public.transactions_businesstransaction t WHERE t.id = x.transaction_id)
                   AND public.q2c_hold_covers(h, o.owners, '', c.connection_code || ':' || c.customer_id, '', NULL,
                                              x.at::date)))
        END
$$;
"""
# By $1 and $2: a column of a hold has the name of a parameter. Whose key an exchange is sealed under is asked of the
# held document, and of what names no customer itself: of each alone (OFFSET), or all exchanges would be read.
CUSTOMER_HELD = f"""
CREATE OR REPLACE FUNCTION q2c_holds_on_customer(connection text, customer text) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT coalesce(array_agg(h.id ORDER BY h.id), '{{}}')
      FROM public.core_legalhold h,
           {_OWNERS}
     WHERE h.state = 'in_force' AND CASE
        WHEN h.customer <> '' THEN $1 || ':' || $2 = ANY (o.owners)
        WHEN h.legal_entity_code = '' AND h.lane = '' AND h.first_day IS NULL THEN true
        WHEN h.lane <> '' AND EXISTS (
            SELECT FROM public.transactions_businesstransaction t
             WHERE t.lane = ANY (public.q2c_lanes_of(h.lane))
               AND (public.q2c_owner_of(t.source_connection, t.customer_id) = $1 || ':' || $2 OR EXISTS (
                    SELECT FROM public.connectors_exchange x JOIN public.core_customerkey c ON c.id = x.customer_key_id
                     WHERE x.transaction_id = t.id AND c.connection_code = $1 AND c.customer_id = $2))) THEN true
        ELSE EXISTS (SELECT FROM {_TRANSACTIONS}
                      WHERE h.lane = '' AND public.q2c_owner_of(t.source_connection, t.customer_id) = $1 || ':' || $2
                        AND {_OF_TRANSACTION})
            OR EXISTS (SELECT FROM public.core_customerkey c JOIN public.inbox_inboundkey k ON k.customer_key_id = c.id
                         LEFT JOIN {_TRANSACTIONS} ON t.event_id = k.event_id AND t.id >= k.event_id
                        WHERE c.connection_code = $1 AND c.customer_id = $2
                          AND public.q2c_hold_covers(h, o.owners, coalesce(t.legal_entity_code, k.legal_entity_code),
                              NULL, coalesce(t.lane, ''), t.document_date,
                              (k.received_at AT TIME ZONE coalesce(e.time_zone, 'UTC'))::date))
            OR EXISTS (SELECT FROM public.core_customerkey c JOIN public.exceptions_casefile f ON f.customer_key_id = c.id
                         JOIN public.exceptions_casenote n ON n.id = f.note_id
                         JOIN public.exceptions_occurrence w ON w.case_id = n.case_id
                         JOIN {_TRANSACTIONS} ON t.id = w.transaction_id
                        WHERE c.connection_code = $1 AND c.customer_id = $2 AND {_OF_TRANSACTION})
            OR EXISTS (SELECT FROM {_TRANSACTIONS}
                        WHERE h.lane = '' AND t.customer_id = '' AND {_OF_TRANSACTION} AND EXISTS (
                              SELECT FROM public.connectors_exchange x
                                JOIN public.core_customerkey c ON c.id = x.customer_key_id
                               WHERE x.transaction_id = t.id AND c.connection_code = $1 AND c.customer_id = $2
                              OFFSET 0))
        END
$$;
"""


def again(sql: str) -> str:
    """The same function as the migration before made it."""
    return sql.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


class Migration(migrations.Migration):
    dependencies = [("core", "0014_holds_and_archives")]

    operations = [
        migrations.RunSQL(LANES, "DROP FUNCTION q2c_lanes_of(text)"),
        migrations.RunSQL(COVERS, again(BEFORE.COVERS)),
        migrations.RunSQL(MONTHS_HELD, again(BEFORE.MONTHS_HELD)),
        migrations.RunSQL(CUSTOMER_HELD, again(BEFORE.CUSTOMER_HELD)),
    ]
