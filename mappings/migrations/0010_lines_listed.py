from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("mappings", "0009_listed")]

    operations = [
        migrations.AddIndex(
            model_name="changeline",
            index=models.Index(fields=["change_set", "kind", "key", "id"], name="change_line_listed"),
        ),
    ]
