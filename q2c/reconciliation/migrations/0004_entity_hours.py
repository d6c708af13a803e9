"""What came by the hour, of each entity: beside the feed's hours, which the release before goes on filling."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("reconciliation", "0003_unconfirmed")]

    operations = [
        migrations.CreateModel(
            name="FeedEntityHour",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("connection_code", models.CharField(max_length=40)),
                ("document_type", models.CharField(max_length=40)),
                ("legal_entity_code", models.CharField(blank=True, max_length=20)),
                ("hour", models.DateTimeField()),
                ("count", models.IntegerField()),
            ],
            options={
                "indexes": [models.Index(fields=["hour"], name="feed_entity_hour")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("connection_code", "document_type", "legal_entity_code", "hour"),
                        name="one_feed_entity_hour",
                    )
                ],
            },
        ),
    ]
