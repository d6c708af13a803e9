"""What the flash and the cut-off list read by index: a document's tax, its last day of service, dates and periods."""

from django.db import migrations, models
from django.db.models import Q

# Rows of before: what their stored documents say. A period of service ends with the first instant after it, an hour's
# slack for the clocks, in the entity's own zone (q2c/posting/days.py).
_BACKFILL = """
UPDATE transactions_businesstransaction t
   SET tax = coalesce((f.document ->> 'tax_total')::numeric, 0),
       service_end = (
           SELECT max(coalesce(
               (l ->> 'service_end')::date,
               ((l ->> 'service_until')::timestamptz + interval '1 hour')
                   AT TIME ZONE coalesce(e.time_zone, 'UTC') - interval '1 day')::date)
             FROM jsonb_array_elements(f.document -> 'lines') AS l)
  FROM (SELECT id, legal_entity_code, convert_from(fact, 'UTF8')::jsonb AS document
          FROM transactions_businesstransaction WHERE flow IN ('invoice_to_erp', 'credit_memo_to_erp')) f
  LEFT JOIN core_legalentity e ON e.code = f.legal_entity_code
 WHERE t.id = f.id
"""


class Migration(migrations.Migration):
    dependencies = [("transactions", "0007_known_at"), ("core", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="businesstransaction",
            name="tax",
            field=models.DecimalField(decimal_places=6, max_digits=20, null=True),
        ),
        migrations.AddField(
            model_name="businesstransaction", name="service_end", field=models.DateField(null=True)
        ),
        migrations.RunSQL(_BACKFILL, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="businesstransaction",
            index=models.Index(fields=["legal_entity_code", "period_code"], name="txn_period"),
        ),
        migrations.AddIndex(
            model_name="businesstransaction",
            index=models.Index(fields=["legal_entity_code", "document_date"], name="txn_dated"),
        ),
        migrations.AddIndex(
            model_name="businesstransaction",
            index=models.Index(
                fields=["legal_entity_code", "service_end"], name="txn_served", condition=Q(service_end__isnull=False)
            ),
        ),
        migrations.AddIndex(
            model_name="preparedposting",
            index=models.Index(fields=["legal_entity_code", "posting_date"], name="posting_dated"),
        ),
    ]
