"""Feeds against their sources' own registers: days, gaps, hours, numbers."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('reconciliation', '0001_feed_documents'),
    ]

    operations = [
        migrations.CreateModel(
            name='FeedCheck',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('connection_code', models.CharField(max_length=40)),
                ('document_type', models.CharField(max_length=40)),
                ('counts_from', models.DateTimeField()),
                ('until', models.DateTimeField(null=True)),
                ('checked_at', models.DateTimeField(null=True)),
                ('whole_at', models.DateTimeField(null=True)),
                ('listed', models.IntegerField(default=0)),
                ('failed_at', models.DateTimeField(null=True)),
                ('failure', models.CharField(blank=True, max_length=300)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('connection_code', 'document_type'), name='one_check_per_feed')],
            },
        ),
        migrations.CreateModel(
            name='FeedDay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('connection_code', models.CharField(max_length=40)),
                ('document_type', models.CharField(max_length=40)),
                ('legal_entity_code', models.CharField(blank=True, max_length=20)),
                ('day', models.DateField()),
                ('currency', models.CharField(max_length=3)),
                ('period_code', models.CharField(blank=True, max_length=20)),
                ('source_count', models.IntegerField(default=0)),
                ('source_amount', models.DecimalField(decimal_places=6, default=0, max_digits=24)),
                ('our_count', models.IntegerField(default=0)),
                ('our_amount', models.DecimalField(decimal_places=6, default=0, max_digits=24)),
                ('waiting_count', models.IntegerField(default=0)),
                ('waiting_amount', models.DecimalField(decimal_places=6, default=0, max_digits=24)),
                ('missing_count', models.IntegerField(default=0)),
                ('missing_amount', models.DecimalField(decimal_places=6, default=0, max_digits=24)),
                ('surplus_count', models.IntegerField(default=0)),
                ('surplus_amount', models.DecimalField(decimal_places=6, default=0, max_digits=24)),
                ('differing_count', models.IntegerField(default=0)),
                ('checked_at', models.DateTimeField()),
            ],
            options={
                'indexes': [models.Index(fields=['day'], name='feed_day'), models.Index(fields=['period_code'], name='feed_day_period')],
                'constraints': [models.UniqueConstraint(fields=('connection_code', 'document_type', 'day', 'legal_entity_code', 'currency'), name='one_feed_day')],
            },
        ),
        migrations.CreateModel(
            name='FeedGap',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('connection_code', models.CharField(max_length=40)),
                ('document_type', models.CharField(max_length=40)),
                ('kind', models.CharField(choices=[('missing', 'Missing'), ('surplus', 'Surplus'), ('differs', 'Differs'), ('ended', 'Ended'), ('number', 'Number')], max_length=10)),
                ('external_id', models.CharField(max_length=120)),
                ('number', models.CharField(blank=True, max_length=80)),
                ('legal_entity_code', models.CharField(blank=True, max_length=20)),
                ('day', models.DateField()),
                ('currency', models.CharField(blank=True, max_length=3)),
                ('amount', models.DecimalField(decimal_places=6, max_digits=20, null=True)),
                ('our_amount', models.DecimalField(decimal_places=6, max_digits=20, null=True)),
                ('found_at', models.DateTimeField()),
                ('read_again_at', models.DateTimeField(null=True)),
                ('read_again_count', models.SmallIntegerField(default=0)),
                ('case_id', models.BigIntegerField(null=True)),
                ('closed_at', models.DateTimeField(null=True)),
                ('closed_how', models.CharField(blank=True, max_length=20)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('closed_at__isnull', True)), fields=['connection_code', 'document_type', 'day'], name='feed_gap_open'), models.Index(fields=['connection_code', 'document_type', 'day', 'id'], name='feed_gap_day')],
                'constraints': [models.UniqueConstraint(fields=('connection_code', 'document_type', 'external_id', 'kind'), name='one_gap_per_document')],
            },
        ),
        migrations.CreateModel(
            name='FeedHour',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('connection_code', models.CharField(max_length=40)),
                ('document_type', models.CharField(max_length=40)),
                ('hour', models.DateTimeField()),
                ('count', models.IntegerField()),
            ],
            options={
                'indexes': [models.Index(fields=['hour'], name='feed_hour')],
                'constraints': [models.UniqueConstraint(fields=('connection_code', 'document_type', 'hour'), name='one_feed_hour')],
            },
        ),
        migrations.CreateModel(
            name='LostWebhook',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('connection_code', models.CharField(max_length=40)),
                ('event_type', models.CharField(max_length=120)),
                ('day', models.DateField()),
                ('count', models.IntegerField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('connection_code', 'day', 'event_type'), name='one_count_of_lost_webhooks')],
            },
        ),
        migrations.CreateModel(
            name='NumberRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('connection_code', models.CharField(max_length=40)),
                ('document_type', models.CharField(max_length=40)),
                ('series', models.CharField(max_length=70)),
                ('first', models.BigIntegerField()),
                ('last', models.BigIntegerField()),
                ('digits', models.SmallIntegerField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('connection_code', 'document_type', 'series', 'first'), name='one_run_of_numbers'), models.CheckConstraint(condition=models.Q(('first__lte', models.F('last'))), name='run_in_order')],
            },
        ),
    ]
