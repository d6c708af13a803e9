"""The owner's functions heed legal holds, and drop no month that policy wants archived before an archive holds it."""

from importlib import import_module

from django.db import migrations

from q2c.core.keeping_tables import HOLDS_LOCK

FIRST = import_module("q2c.core.migrations.0006_retention")
DROP_BEFORE = FIRST.DROP.partition("REVOKE")[0].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
WHY_BEFORE = FIRST.IN_USE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")

# A customer by every id: what its golden record is known by, and what is made of it elsewhere. `connection:id` each.
CUSTOMERS = """
CREATE FUNCTION q2c_customer_ids(customer text) RETURNS text[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH known AS (
        SELECT g.record_key, g.aliases::text[] AS aliases FROM public.records_goldenrecord g
         WHERE g.record_type = 'customer' AND g.aliases @> ARRAY[customer]::varchar[]
        UNION ALL
        SELECT g.record_key, g.aliases::text[] FROM public.mappings_crossreference x
          JOIN public.connectors_connection c ON c.id = x.connection_id AND c.code = split_part(customer, ':', 1)
          JOIN public.records_goldenrecord g ON g.record_type = 'customer' AND g.record_key = x.record_key
         WHERE x.record_type = 'customer' AND x.external_id = substr(customer, strpos(customer, ':') + 1))
    SELECT ARRAY(
        SELECT customer UNION SELECT unnest(aliases) FROM known
        UNION SELECT c.code || ':' || x.external_id FROM public.mappings_crossreference x
          JOIN public.connectors_connection c ON c.id = x.connection_id
         WHERE x.record_type = 'customer' AND x.record_key IN (SELECT record_key FROM known))
$$;
"""
# No SET here: these are folded into the statements of the functions below, which have it.
OWNER = """
CREATE FUNCTION q2c_owner_of(connection text, customer text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN customer = '' THEN NULL
                WHEN length(customer) - length(replace(customer, ':', '')) = 2
                THEN split_part(customer, ':', 1) || ':' || split_part(customer, ':', 3)
                ELSE connection || ':' || customer END
$$;
"""
COVERS = """
CREATE FUNCTION q2c_hold_covers(h public.core_legalhold, owners text[], entity text, owner text, lane text, dated date,
                                came date) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT (h.lane = '' OR h.lane = lane)
       AND (h.legal_entity_code = '' OR coalesce(entity, '') IN ('', h.legal_entity_code))
       AND (h.customer = '' OR owner = ANY (owners))
       AND (h.first_day IS NULL OR dated BETWEEN h.first_day AND coalesce(h.last_day, 'infinity')
            OR came BETWEEN h.first_day AND coalesce(h.last_day, 'infinity'))
$$;
"""
_OF_TRANSACTION = """
public.q2c_hold_covers(h, o.owners, t.legal_entity_code, public.q2c_owner_of(t.source_connection, t.customer_id),
    t.lane, t.document_date, (t.created_at AT TIME ZONE coalesce(e.time_zone, 'UTC'))::date)
"""
_TRANSACTIONS = """public.transactions_businesstransaction t
    LEFT JOIN public.core_legalentity e ON e.code = t.legal_entity_code"""
MONTHS_HELD = f"""
CREATE FUNCTION q2c_holds_on(parent text, low uuid, high uuid) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    WITH span AS (
        SELECT to_timestamp(('x' || left(replace(low::text, '-', ''), 12))::bit(48)::bigint / 1000.0)::date AS first,
               to_timestamp(('x' || left(replace(high::text, '-', ''), 12))::bit(48)::bigint / 1000.0)::date AS last)
    SELECT coalesce(array_agg(h.id ORDER BY h.id), '{{}}')
      FROM public.core_legalhold h, span,
           LATERAL (SELECT CASE WHEN h.customer = '' THEN NULL ELSE public.q2c_customer_ids(h.customer) END AS owners) o
     WHERE h.state = 'in_force' AND CASE
        -- the whole house: for ever, or in days of this month (which begins a day sooner or later in another zone)
        WHEN h.legal_entity_code = '' AND h.customer = '' AND h.lane = '' AND (h.first_day IS NULL
            OR (h.first_day <= span.last AND coalesce(h.last_day, 'infinity') >= span.first - 1)) THEN true
        WHEN parent = 'inbox_inboundevent' THEN
            EXISTS (SELECT FROM public.inbox_inboundkey k LEFT JOIN public.core_customerkey c ON c.id = k.customer_key_id
                      LEFT JOIN public.core_legalentity e ON e.code = k.legal_entity_code
                     WHERE h.lane = '' AND k.event_id >= low AND k.event_id < high
                       AND public.q2c_hold_covers(h, o.owners, k.legal_entity_code,
                           c.connection_code || ':' || c.customer_id, '', NULL,
                           (k.received_at AT TIME ZONE coalesce(e.time_zone, 'UTC'))::date))
            OR EXISTS (SELECT FROM {_TRANSACTIONS}
                        WHERE (h.lane = '' OR t.lane = h.lane) AND t.id >= low
                          AND t.event_id >= low AND t.event_id < high AND {_OF_TRANSACTION})
        WHEN parent = 'outbox_outboxevent' THEN
            EXISTS (SELECT FROM public.outbox_outboxevent m JOIN {_TRANSACTIONS} ON t.id = m.transaction_id
                     WHERE m.id >= low AND m.id < high AND {_OF_TRANSACTION})
            OR EXISTS (SELECT FROM public.outbox_outboxevent m
                        WHERE m.id >= low AND m.id < high AND m.transaction_id IS NULL
                          AND public.q2c_hold_covers(h, o.owners, m.legal_entity_code, NULL, '', NULL, m.at::date))
        WHEN h.lane <> '' THEN EXISTS (SELECT FROM public.transactions_businesstransaction t
                                        WHERE t.lane = h.lane AND t.id >= low AND t.id < high)
        ELSE EXISTS (SELECT FROM {_TRANSACTIONS} WHERE t.id >= low AND t.id < high AND {_OF_TRANSACTION})
            OR (parent = 'connectors_exchange' AND EXISTS (
                SELECT FROM public.connectors_exchange x JOIN public.core_customerkey c ON c.id = x.customer_key_id
                 WHERE x.transaction_id >= low AND x.transaction_id < high AND NOT EXISTS (
                        SELECT FROM public.transactions_businesstransaction t WHERE t.id = x.transaction_id)
                   AND public.q2c_hold_covers(h, o.owners, '', c.connection_code || ':' || c.customer_id, '', NULL,
                                              x.at::date)))
        END
$$;
"""
NAMES = """
CREATE FUNCTION q2c_hold_words(ids bigint[]) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(string_agg(format('legal hold LH-%s “%s” (%s)', h.id, h.name, h.matter), ', ' ORDER BY h.id), '')
      FROM public.core_legalhold h WHERE h.id = ANY (ids)
$$;
"""
# By $1 and $2: a column of a hold has the name of a parameter.
CUSTOMER_HELD = f"""
CREATE FUNCTION q2c_holds_on_customer(connection text, customer text) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT coalesce(array_agg(h.id ORDER BY h.id), '{{}}')
      FROM public.core_legalhold h,
           LATERAL (SELECT CASE WHEN h.customer = '' THEN NULL ELSE public.q2c_customer_ids(h.customer) END AS owners) o
     WHERE h.state = 'in_force' AND CASE
        WHEN h.customer <> '' THEN $1 || ':' || $2 = ANY (o.owners)
        WHEN h.legal_entity_code = '' AND h.lane = '' AND h.first_day IS NULL THEN true
        ELSE EXISTS (SELECT FROM {_TRANSACTIONS}
                      WHERE (h.lane = '' OR t.lane = h.lane)
                        AND public.q2c_owner_of(t.source_connection, t.customer_id) = $1 || ':' || $2
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
        END
$$;
"""
REFUSE_ERASURE = f"""
CREATE FUNCTION q2c_refuse_erasure(connection text, customer text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock_shared({HOLDS_LOCK});
    held := public.q2c_holds_on_customer(connection, customer);
    IF held <> '{{}}' THEN
        RAISE EXCEPTION 'this customer isn''t erased: % stands', public.q2c_hold_words(held) USING ERRCODE = 'QH001';
    END IF;
END
$$;
"""
WHY_KEPT = FIRST.IN_USE.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION").replace(
    "SELECT CASE\n",
    "SELECT CASE\n        WHEN public.q2c_holds_on(parent, low, high) <> '{}'\n"
    "            THEN public.q2c_hold_words(public.q2c_holds_on(parent, low, high))\n",
)
ARCHIVED = """
CREATE FUNCTION q2c_is_archived(parent text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM (VALUES ('transactions_steprun', 'steps'), ('transactions_lineagelink', 'lineage'),
                                       ('transactions_preparedposting', 'postings'),
                                       ('inbox_inboundevent', 'raw_bodies'), ('connectors_exchange', 'exchanges'),
                                       ('outbox_outboxevent', 'outgoing_events')) AS kept(name, word)
                     JOIN public.mappings_mappingrule rule ON rule.kind = 'archive' AND rule.key = kept.word
                      AND rule.known_to IS NULL AND rule.value = 'yes' AND rule.effective_from <= current_date
                      AND (rule.effective_to IS NULL OR rule.effective_to > current_date)
                    WHERE kept.name = parent)
$$;
"""
# One row's share of the checksum of its month, as the files of archives have it too: of the row as text.
DROP = f"""
CREATE OR REPLACE FUNCTION q2c_drop_partition(name text, OUT parent text, OUT low uuid, OUT high uuid,
                                              OUT months integer, OUT row_count bigint, OUT checksum text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' SET timezone = 'UTC'
SET datestyle = 'ISO, MDY' SET bytea_output = 'hex' SET extra_float_digits = 1 AS $$
DECLARE
    why text;
BEGIN
    PERFORM pg_advisory_xact_lock_shared({HOLDS_LOCK});
    SELECT e.parent, e.low, e.high, e.months, e.why_kept INTO parent, low, high, months, why
      FROM public.q2c_expired_partitions() e WHERE e.child = name;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is no month that policy lets go', name;
    END IF;
    IF why <> '' THEN
        RAISE EXCEPTION '% is kept: %', name, why;
    END IF;
    EXECUTE format('LOCK TABLE public.%I IN SHARE MODE', name);
    EXECUTE format('SELECT count(*), coalesce(sum((''x'' || left(md5(t::text), 15))::bit(60)::bigint), 0)::text'
                   ' FROM public.%I t', name) INTO row_count, checksum;
    IF row_count > 0 AND public.q2c_is_archived(parent) AND NOT EXISTS (SELECT FROM public.core_archive a
        WHERE a.partition = name AND a.row_count = q2c_drop_partition.row_count
          AND a.checksum = q2c_drop_partition.checksum) THEN
        RAISE EXCEPTION '% is kept: no archive holds what it holds now', name;
    END IF;
    EXECUTE format('DROP TABLE public.%I', name);
END
$$;
"""
# Rows that go one by one (q2c_retention_months): alerts, and the rows of bulk actions.
ROWS = f"""
CREATE FUNCTION q2c_holds_on_row(alert public.exceptions_alertgroup) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT coalesce(array_agg(h.id ORDER BY h.id), '{{}}') FROM public.core_legalhold h
     WHERE h.state = 'in_force' AND h.customer = '' AND h.lane = ''
       AND (h.legal_entity_code = '' OR alert.entities = '{{}}' OR h.legal_entity_code = ANY (alert.entities))
       AND (h.first_day IS NULL OR (alert.first_at::date <= coalesce(h.last_day, 'infinity')
                                    AND coalesce(alert.over_at, alert.last_at)::date >= h.first_day))
$$;
CREATE FUNCTION q2c_holds_on_row(item public.exceptions_bulkitem) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT coalesce(array_agg(h.id ORDER BY h.id), '{{}}')
      FROM public.core_legalhold h,
           LATERAL (SELECT CASE WHEN h.customer = '' THEN NULL ELSE public.q2c_customer_ids(h.customer) END AS owners) o
     WHERE h.state = 'in_force' AND (
        EXISTS (SELECT FROM {_TRANSACTIONS} WHERE t.id = item.transaction_id AND {_OF_TRANSACTION})
        OR (item.transaction_id IS NULL AND EXISTS (
            SELECT FROM public.exceptions_bulkaction a WHERE a.id = item.action_id
               AND public.q2c_hold_covers(h, o.owners, item.legal_entity_code, NULL, '', NULL, a.ended_at::date))))
$$;
CREATE FUNCTION q2c_held_row() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock_shared({HOLDS_LOCK});
    held := public.q2c_holds_on_row(OLD);
    IF held <> '{{}}' THEN
        RAISE EXCEPTION 'this row is kept: %', public.q2c_hold_words(held) USING ERRCODE = 'QH001';
    END IF;
    RETURN OLD;
END
$$;
CREATE TRIGGER q2c_held BEFORE DELETE ON exceptions_alertgroup FOR EACH ROW EXECUTE FUNCTION q2c_held_row();
CREATE TRIGGER q2c_held BEFORE DELETE ON exceptions_bulkitem FOR EACH ROW
    WHEN (OLD.result <> 'pending') EXECUTE FUNCTION q2c_held_row();
"""
ROWS_GONE = """
DROP TRIGGER q2c_held ON exceptions_alertgroup;
DROP TRIGGER q2c_held ON exceptions_bulkitem;
DROP FUNCTION q2c_held_row();
DROP FUNCTION q2c_holds_on_row(exceptions_alertgroup);
DROP FUNCTION q2c_holds_on_row(exceptions_bulkitem);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0013_keeping"),
        ("transactions", "0013_listed_periods"),
        ("inbox", "0006_polled_only_index"),
        ("records", "0009_billed_day"),
        ("outbox", "0001_initial"),
        ("connectors", "0004_stopped"),
        ("mappings", "0012_suggestions"),
        ("exceptions", "0025_sealed_files"),
    ]

    operations = [
        migrations.RunSQL(CUSTOMERS, "DROP FUNCTION q2c_customer_ids(text)"),
        migrations.RunSQL(OWNER, "DROP FUNCTION q2c_owner_of(text, text)"),
        migrations.RunSQL(
            COVERS, "DROP FUNCTION q2c_hold_covers(core_legalhold, text[], text, text, text, date, date)"
        ),
        migrations.RunSQL(MONTHS_HELD, "DROP FUNCTION q2c_holds_on(text, uuid, uuid)"),
        migrations.RunSQL(NAMES, "DROP FUNCTION q2c_hold_words(bigint[])"),
        migrations.RunSQL(CUSTOMER_HELD, "DROP FUNCTION q2c_holds_on_customer(text, text)"),
        migrations.RunSQL(REFUSE_ERASURE, "DROP FUNCTION q2c_refuse_erasure(text, text)"),
        migrations.RunSQL(WHY_KEPT, WHY_BEFORE),
        migrations.RunSQL(ARCHIVED, "DROP FUNCTION q2c_is_archived(text)"),
        migrations.RunSQL(DROP, DROP_BEFORE),
        migrations.RunSQL(ROWS, ROWS_GONE),
    ]
