"""Who owns a field is a kind of mapping rule: approved, dated, by entity. The table that nobody wrote goes."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("mappings", "0003_shared_references")]

    operations = [
        migrations.RemoveField(model_name="historicalsurvivorshiprule", name="history_user"),
        migrations.DeleteModel(name="SurvivorshipRule"),
        migrations.DeleteModel(name="HistoricalSurvivorshipRule"),
    ]
