"""Whether people said that a record of ours is that record of another system."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mappings", "0007_evidence")]

    operations = [
        migrations.AddField("crossreference", "is_linked", models.BooleanField(db_default=False, default=False)),
    ]
