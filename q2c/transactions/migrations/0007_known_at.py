"""By which mappings a repost goes, where somebody chose those of then. A null column: no row is rewritten."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("transactions", "0006_summaries")]

    operations = [
        migrations.AddField(model_name="workitem", name="known_at", field=models.BigIntegerField(null=True)),
    ]
