"""Whose documents came. The release before adds and rolls up arrivals without saying it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("records", "0009_billed_day")]

    operations = [
        migrations.AddField("documentarrival", "legal_entity_code", models.CharField(max_length=20, null=True)),
    ]
