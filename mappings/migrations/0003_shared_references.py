"""An id of another system may be several records' own, where their type declares it and two people agreed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("connectors", "0003_next_secrets"),
        ("mappings", "0002_final_shape"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="crossreference", name="one_record_per_external_id"),
        migrations.AddField(
            model_name="crossreference",
            name="is_shared",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddConstraint(
            model_name="crossreference",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_shared", False)),
                fields=("connection", "external_type", "external_id"),
                name="one_record_per_external_id",
            ),
        ),
        migrations.AddConstraint(
            model_name="crossreference",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_shared", False), ("record_type__in", ["customer", "product"]), _connector="OR"
                ),
                name="shared_only_where_declared",
            ),
        ),
    ]
