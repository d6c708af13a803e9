"""What of our documents the source wasn't asked for yet, and what it said of those that it was."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('reconciliation', '0002_completeness'),
    ]

    operations = [
        migrations.AddField(
            model_name='feedcheck',
            name='answers',
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name='feedday',
            name='unconfirmed_amount',
            field=models.DecimalField(db_default=0, decimal_places=6, default=0, max_digits=24),
        ),
        migrations.AddField(
            model_name='feedday',
            name='unconfirmed_count',
            field=models.IntegerField(db_default=0, default=0),
        ),
    ]
