"""What we have of a day, by index; built beside the work."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("records", "0008_arrivals")]

    operations = [
        AddIndexConcurrently(
            "billeddocument",
            models.Index(fields=["connection_code", "document_type", "document_date"], name="billed_day"),
        ),
    ]
