"""How the queue is stored: rows that are updated four times within a second need room beside them, and cleaning by
count rather than by share, since the table empties and fills again while its statistics speak of yesterday."""

from django.db import migrations

TABLES = {
    "transactions_workitem": "fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,"
    " autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000",
    "transactions_businesstransaction": "autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02",
    "transactions_externaliduse": "autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02",
}


def _names(settings: str) -> str:
    return ", ".join(part.split("=")[0].strip() for part in settings.split(","))


class Migration(migrations.Migration):
    dependencies = [("transactions", "0009_pauses")]
    operations = [
        migrations.RunSQL(f"ALTER TABLE {table} SET ({settings})", f"ALTER TABLE {table} RESET ({_names(settings)})")
        for table, settings in TABLES.items()
    ]
