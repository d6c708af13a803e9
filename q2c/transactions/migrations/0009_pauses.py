"""Pauses per flow, legal entity and object type take the place of a switch per flow."""

import datetime as dt

from django.db import migrations, models
from django.db.models import Q

_KEEP = """
INSERT INTO transactions_pause (flow, legal_entity_code, object_type, reason, by, at, resumed_by, resume_reason)
SELECT flow, '', '', reason, by, at, '', '' FROM transactions_flowswitch WHERE is_paused
"""


class Migration(migrations.Migration):
    dependencies = [("transactions", "0008_figures")]

    operations = [
        migrations.CreateModel(
            name="Pause",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("flow", models.CharField(blank=True, max_length=40)),
                ("legal_entity_code", models.CharField(blank=True, max_length=20)),
                ("object_type", models.CharField(blank=True, max_length=40)),
                ("reason", models.TextField()),
                ("by", models.CharField(max_length=150)),
                ("at", models.DateTimeField()),
                ("resumed_at", models.DateTimeField(null=True)),
                ("resumed_by", models.CharField(blank=True, max_length=150)),
                ("resume_reason", models.TextField(blank=True)),
                ("caught_up_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [models.Index(condition=Q(caught_up_at=None), fields=["-id"], name="pause_catching_up")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=Q(resumed_at=None),
                        fields=("flow", "legal_entity_code", "object_type"),
                        name="one_pause",
                    )
                ],
            },
        ),
        migrations.RunSQL(_KEEP, migrations.RunSQL.noop),
        migrations.DeleteModel(name="FlowSwitch"),
        migrations.AddIndex(
            model_name="workitem",
            index=models.Index(
                condition=Q(available_at=dt.datetime(9999, 1, 1, tzinfo=dt.UTC)),
                fields=["flow"],
                name="work_set_aside",
            ),
        ),
    ]
