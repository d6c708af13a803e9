"""The index of messages whose webhook hasn't come; built beside the work."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("inbox", "0005_polled_only")]

    operations = [
        AddIndexConcurrently(
            "inboundkey",
            models.Index(
                fields=["connection", "received_at"], name="inbox_polled_only", condition=models.Q(is_polled_only=True)
            ),
        ),
    ]
