"""Pairs of records that are perhaps one thing, and the blocks by which records are compared."""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("records", "0005_merged"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DuplicatePair",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("record_type", models.CharField(max_length=40)),
                ("one_key", models.CharField(max_length=200)),
                ("other_key", models.CharField(max_length=200)),
                ("one_name", models.CharField(blank=True, max_length=300)),
                ("other_name", models.CharField(blank=True, max_length=300)),
                ("score", models.SmallIntegerField()),
                ("reasons", models.JSONField(default=list)),
                ("legal_entity_code", models.CharField(blank=True, max_length=20)),
                (
                    "state",
                    models.CharField(
                        choices=[("suspected", "Suspected"), ("distinct", "Distinct"), ("merged", "Merged")],
                        default="suspected",
                        max_length=10,
                    ),
                ),
                ("why", models.TextField(blank=True)),
                ("decided_at", models.DateTimeField(null=True)),
                ("found_at", models.DateTimeField()),
                ("merge", models.JSONField(null=True)),
                (
                    "decided_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("record_type", "one_key", "other_key"), name="one_duplicate_pair"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("one_key__lt", models.F("other_key"))), name="pair_in_order"
                    ),
                ],
                "indexes": [models.Index(fields=["state", "-score", "-id"], name="duplicate_state")],
            },
        ),
        migrations.AddField(
            "goldenrecord",
            "blocks",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=320), null=True, size=None
            ),
        ),
        migrations.AddIndex(
            "goldenrecord", django.contrib.postgres.indexes.GinIndex(fields=["blocks"], name="record_blocks")
        ),
    ]
