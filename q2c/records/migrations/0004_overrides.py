"""Values that two people let stand, and when a record's fields were last computed."""

from django.db import migrations, models
from django.db.models.functions import Now


class Migration(migrations.Migration):
    dependencies = [("records", "0003_aliases")]

    operations = [
        migrations.AddField("goldenrecord", "overrides", models.JSONField(default=dict)),
        migrations.AddField("goldenrecord", "survived_at", models.DateTimeField(db_default=Now())),
        migrations.AddField("historicalgoldenrecord", "overrides", models.JSONField(default=dict)),
        migrations.AddIndex("goldenrecord", models.Index(fields=["survived_at"], name="record_survived")),
    ]
