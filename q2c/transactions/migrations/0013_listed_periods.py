"""The list of an entity's period reads along an index: of what posts in it, and of what is dated in it and has none."""

from django.db import migrations, models
from django.db.models import Q

from q2c.core.indexes import AddIndexAlongside, RemoveIndexAlongside


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("transactions", "0012_stats")]

    operations = [
        AddIndexAlongside(
            model_name="businesstransaction",
            index=models.Index(fields=["legal_entity_code", "period_code", "-id"], name="txn_period_listed"),
        ),
        AddIndexAlongside(
            model_name="businesstransaction",
            index=models.Index(
                fields=["legal_entity_code", "document_date"],
                name="txn_undated",
                condition=Q(period_code="", document_date__isnull=False),
            ),
        ),
        RemoveIndexAlongside(model_name="businesstransaction", name="txn_period"),
    ]
