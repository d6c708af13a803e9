"""The vendors' own counts of a day's calls are believed (decision 0041); a count of ours was never kept."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("connectors", "0004_stopped")]

    operations = [migrations.DeleteModel(name="CallQuota")]
