"""How many cases an alert has of each queue and entity, for whoever sees some of them only."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('exceptions', '0025_sealed_files'),
    ]

    operations = [
        migrations.AddField(
            model_name='alertgroup',
            name='parts',
            field=models.JSONField(null=True),
        ),
    ]
