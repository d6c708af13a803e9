"""Which kinds have rules that look at a document is asked once per change set: an index of these few rules."""

from django.db import migrations, models
from django.db.models import Q

from q2c.core.indexes import AddIndexAlongside


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("mappings", "0012_suggestions")]

    operations = [
        AddIndexAlongside(
            model_name="mappingrule",
            index=models.Index(fields=["kind"], name="rule_looks", condition=~Q(conditions_key="") | ~Q(region="")),
        ),
    ]
