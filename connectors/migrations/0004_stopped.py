"""Which object types of a connection aren't called, since they fail."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("connectors", "0003_next_secrets")]

    operations = [
        migrations.AddField(
            model_name="connectionhealth",
            name="stopped",
            field=ArrayField(models.CharField(max_length=40), default=list, db_default=[], size=None),
        ),
    ]
