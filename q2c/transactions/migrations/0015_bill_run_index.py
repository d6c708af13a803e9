"""A run's documents by an index of their own, made while the portal works."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("transactions", "0014_bill_runs")]

    operations = [
        AddIndexConcurrently(
            model_name="businesstransaction",
            index=models.Index(
                fields=["bill_run_id", "id"], name="txn_bill_run", condition=models.Q(bill_run_id__isnull=False)
            ),
        ),
    ]
