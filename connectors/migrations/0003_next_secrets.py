"""Credentials that wait with a new address, out of history like all credentials."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connectors", "0002_initial")]

    operations = [
        migrations.AddField(model_name="connection", name="next_secrets", field=models.BinaryField(null=True)),
    ]
