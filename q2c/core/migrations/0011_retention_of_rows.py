"""Retention also of rows that no month is dropped with: alerts, and the rows of bulk actions."""

from importlib import import_module

from django.db import migrations

BEFORE = import_module("q2c.core.migrations.0006_retention").MONTHS.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
AFTER = BEFORE.replace(
    "('outbox_outboxevent', 'outgoing_events', 12, 1))",
    "('outbox_outboxevent', 'outgoing_events', 12, 1), ('exceptions_alertgroup', 'alerts', 12, 1),"
    " ('exceptions_bulkitem', 'bulk_rows', 24, 12))",
)


class Migration(migrations.Migration):
    dependencies = [("core", "0010_held_roles")]

    operations = [migrations.RunSQL(AFTER, BEFORE)]
