"""Leases, and the owner's function that makes partitions ahead."""

from django.db import migrations, models

# The bounds are the least UUIDv7 of each month's first instant (core.partitions.month_partition_sql makes the same).
# A month that can't be made, because rows of it already lie in the default partition, is reported and left.
MAKE = """
CREATE FUNCTION q2c_make_partitions(months_ahead integer DEFAULT 6) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    parent record;
    month timestamptz;
    low text;
    high text;
    child text;
    made text[] := '{}';
BEGIN
    IF months_ahead NOT BETWEEN 0 AND 60 THEN
        RAISE EXCEPTION 'months_ahead must lie between 0 and 60';
    END IF;
    FOR parent IN
        SELECT c.relname AS name FROM pg_class c
        JOIN pg_partitioned_table p ON p.partrelid = c.oid
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
        WHERE c.relnamespace = 'public'::regnamespace AND p.partstrat = 'r' AND p.partnatts = 1
          AND a.atttypid = 'uuid'::regtype
        ORDER BY c.relname
    LOOP
        FOR step IN 0..months_ahead LOOP
            month := date_trunc('month', now(), 'UTC') + make_interval(months => step);
            child := parent.name || '_' || to_char(month AT TIME ZONE 'UTC', 'YYYY_MM');
            CONTINUE WHEN to_regclass(format('public.%I', child)) IS NOT NULL;
            low := lpad(to_hex((extract(epoch FROM month) * 1000)::bigint), 12, '0') || repeat('0', 20);
            high := lpad(to_hex((extract(epoch FROM month + interval '1 month') * 1000)::bigint), 12, '0') || repeat('0', 20);
            BEGIN
                EXECUTE format('CREATE TABLE public.%I PARTITION OF public.%I FOR VALUES FROM (%L) TO (%L)',
                               child, parent.name, low::uuid, high::uuid);
                made := made || child;
            EXCEPTION WHEN check_violation THEN
                RAISE WARNING 'the default partition of % holds rows of %', parent.name, child;
            END;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;
REVOKE ALL ON FUNCTION q2c_make_partitions(integer) FROM PUBLIC;
"""


class Migration(migrations.Migration):
    dependencies = [("core", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Lease",
            fields=[
                ("name", models.CharField(max_length=120, primary_key=True, serialize=False)),
                ("holder", models.CharField(max_length=120)),
                ("until", models.DateTimeField()),
            ],
        ),
        migrations.RunSQL(MAKE, "DROP FUNCTION q2c_make_partitions(integer)"),
    ]
