"""The owner's functions that find and drop months which policy no longer keeps."""

from django.db import migrations

# Tables, the word for them in mapping kind `retention`, the months without a rule, and the least that a rule may say.
MONTHS = """
CREATE FUNCTION q2c_retention_months(parent text) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN rule.value = 'keep' THEN NULL
                WHEN rule.value ~ '^[1-9][0-9]{0,2}$' THEN greatest(rule.value::integer, kept.least)
                ELSE kept.months END
      FROM (VALUES ('transactions_steprun', 'steps', 84, 84),
                   ('transactions_lineagelink', 'lineage', 84, 84),
                   ('transactions_preparedposting', 'postings', 84, 84),
                   ('inbox_inboundevent', 'raw_bodies', 24, 1),
                   ('connectors_exchange', 'exchanges', 24, 1),
                   ('outbox_outboxevent', 'outgoing_events', 12, 1)) AS kept(name, word, months, least)
      LEFT JOIN public.mappings_mappingrule rule
        ON rule.kind = 'retention' AND rule.key = kept.word AND rule.known_to IS NULL
       AND rule.effective_from <= current_date AND (rule.effective_to IS NULL OR rule.effective_to > current_date)
     WHERE kept.name = parent
$$;
"""
IN_USE = """
CREATE FUNCTION q2c_why_kept(parent text, low uuid, high uuid) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE
        WHEN parent = 'inbox_inboundevent' AND EXISTS (SELECT FROM public.inbox_inboundkey k
            WHERE k.verdict = 'received' AND k.event_id >= low AND k.event_id < high) THEN 'a message of it is due'
        WHEN parent = 'inbox_inboundevent' AND EXISTS (SELECT FROM public.transactions_businesstransaction t
            WHERE t.state NOT IN ('completed', 'cancelled') AND t.event_id >= low AND t.event_id < high)
            THEN 'a transaction that came of it is unfinished'
        WHEN parent = 'inbox_inboundevent' AND EXISTS (SELECT FROM public.exceptions_occurrence o
            WHERE o.closed_at IS NULL AND o.event_id >= low AND o.event_id < high) THEN 'an open case rests on it'
        WHEN EXISTS (SELECT FROM public.transactions_businesstransaction t
            WHERE t.state NOT IN ('completed', 'cancelled') AND t.id >= low AND t.id < high)
            THEN 'a transaction of it is unfinished'
        WHEN EXISTS (SELECT FROM public.exceptions_occurrence o
            WHERE o.closed_at IS NULL AND o.transaction_id >= low AND o.transaction_id < high)
            THEN 'an open case rests on it'
        ELSE '' END
$$;
"""
EXPIRED = """
CREATE FUNCTION q2c_expired_partitions()
RETURNS TABLE (parent text, child text, low uuid, high uuid, months integer, why_kept text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT x.parent, x.child, x.low, x.high, x.months, public.q2c_why_kept(x.parent, x.low, x.high)
      FROM (
        SELECT p.relname::text AS parent, c.relname::text AS child, public.q2c_retention_months(p.relname::text) AS months,
               (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \\(''([^'']+)''\\)'))[1]::uuid AS low,
               (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \\(''([^'']+)''\\)'))[1]::uuid AS high
          FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid
         WHERE p.relnamespace = 'public'::regnamespace AND p.relkind = 'p'
      ) x
     WHERE x.high IS NOT NULL AND x.months IS NOT NULL
       AND x.high <= (lpad(to_hex((extract(epoch FROM date_trunc('month', now()) - make_interval(months => x.months))
                                   * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
"""
DROP = """
CREATE FUNCTION q2c_drop_partition(name text, OUT parent text, OUT low uuid, OUT high uuid, OUT months integer,
                                   OUT row_count bigint, OUT checksum text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
    why text;
BEGIN
    SELECT e.parent, e.low, e.high, e.months, e.why_kept INTO parent, low, high, months, why
      FROM public.q2c_expired_partitions() e WHERE e.child = name;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is no month that policy lets go', name;
    END IF;
    IF why <> '' THEN
        RAISE EXCEPTION '% is kept: %', name, why;
    END IF;
    EXECUTE format('SELECT count(*), coalesce(sum((''x'' || left(md5(t::text), 15))::bit(60)::bigint), 0)::text'
                   ' FROM public.%I t', name) INTO row_count, checksum;
    EXECUTE format('DROP TABLE public.%I', name);
END
$$;
REVOKE ALL ON FUNCTION q2c_drop_partition(text) FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0005_new_password_waits"),
        ("transactions", "0001_initial"),
        ("inbox", "0001_initial"),
        ("exceptions", "0001_initial"),
        ("mappings", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL(MONTHS, "DROP FUNCTION q2c_retention_months(text)"),
        migrations.RunSQL(IN_USE, "DROP FUNCTION q2c_why_kept(text, uuid, uuid)"),
        migrations.RunSQL(EXPIRED, "DROP FUNCTION q2c_expired_partitions()"),
        migrations.RunSQL(DROP, "DROP FUNCTION q2c_drop_partition(text)"),
    ]
