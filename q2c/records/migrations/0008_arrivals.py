"""How many documents came, in rows that are only added."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("records", "0007_corrected")]

    operations = [
        migrations.CreateModel(
            name="DocumentArrival",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("connection_code", models.CharField(max_length=40)),
                ("document_type", models.CharField(max_length=40)),
                ("hour", models.DateTimeField()),
                ("count", models.IntegerField()),
            ],
        ),
    ]
