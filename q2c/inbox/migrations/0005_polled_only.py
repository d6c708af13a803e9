"""Messages whose webhook hasn't come."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inbox", "0004_backfills")]

    operations = [
        migrations.AddField("inboundkey", "is_polled_only", models.BooleanField(db_default=False, default=False)),
    ]
