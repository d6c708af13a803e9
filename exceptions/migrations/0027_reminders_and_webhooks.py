"""Reminders of alerts, webhooks with their secrets, and what came of each attempt to send to a channel."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('exceptions', '0026_alert_parts'),
    ]

    operations = [
        migrations.AddField(
            model_name='alertchannel',
            name='former_secret',
            field=models.BinaryField(null=True),
        ),
        migrations.AddField(
            model_name='alertchannel',
            name='former_until',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='alertchannel',
            name='next_secret',
            field=models.BinaryField(null=True),
        ),
        migrations.AddField(
            model_name='alertchannel',
            name='off_because',
            field=models.CharField(blank=True, choices=[('gone', 'It answered 410: it’s gone'), ('failing', 'It took nothing for days')], db_default='', default='', max_length=10),
        ),
        migrations.AddField(
            model_name='alertchannel',
            name='secret',
            field=models.BinaryField(null=True),
        ),
        migrations.AddField(
            model_name='alertdelivery',
            name='body',
            field=models.TextField(blank=True, db_default='', default=''),
        ),
        migrations.AddField(
            model_name='alertdelivery',
            name='message_id',
            field=models.CharField(blank=True, db_default='', default='', max_length=40),
        ),
        migrations.AddField(
            model_name='alertdelivery',
            name='round',
            field=models.SmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='alertgroup',
            name='remind_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='historicalalertchannel',
            name='former_until',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='historicalalertchannel',
            name='off_because',
            field=models.CharField(blank=True, choices=[('gone', 'It answered 410: it’s gone'), ('failing', 'It took nothing for days')], db_default='', default='', max_length=10),
        ),
        migrations.AlterField(
            model_name='alertchannel',
            name='sort',
            field=models.CharField(choices=[('slack', 'Slack'), ('teams', 'Microsoft Teams'), ('webhook', 'Signed webhook')], max_length=10),
        ),
        migrations.AlterField(
            model_name='alertdelivery',
            name='what',
            field=models.CharField(choices=[('alert', 'Alert'), ('reminder', 'Reminder'), ('all_clear', 'All Clear')], max_length=10),
        ),
        migrations.AlterField(
            model_name='historicalalertchannel',
            name='sort',
            field=models.CharField(choices=[('slack', 'Slack'), ('teams', 'Microsoft Teams'), ('webhook', 'Signed webhook')], max_length=10),
        ),
        migrations.AddIndex(
            model_name='alertdelivery',
            index=models.Index(condition=models.Q(('channel__isnull', False)), fields=['channel', '-id'], name='alert_of_channel'),
        ),
        migrations.CreateModel(
            name='AlertAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField()),
                ('took_ms', models.IntegerField(default=0)),
                ('status', models.SmallIntegerField(null=True)),
                ('error', models.CharField(blank=True, max_length=200)),
                ('channel', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='exceptions.alertchannel')),
                ('delivery', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tries', to='exceptions.alertdelivery')),
            ],
            options={
                'indexes': [models.Index(fields=['channel', '-at'], name='attempt_of_channel')],
            },
        ),
    ]
