"""A record that was merged into another is a signpost to it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("records", "0004_overrides")]

    operations = [
        migrations.AddField(
            "goldenrecord", "merged_into", models.CharField(blank=True, db_default="", default="", max_length=200)
        ),
        migrations.AddField(
            "historicalgoldenrecord",
            "merged_into",
            models.CharField(blank=True, db_default="", default="", max_length=200),
        ),
    ]
