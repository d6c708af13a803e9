"""One index serves every filter and every page of the lists of rules: in any letter's case, filters checked inside it."""

from django.db import migrations

_SORTED = '(upper(key) COLLATE "C")'


class Migration(migrations.Migration):
    dependencies = [("mappings", "0008_linked")]

    operations = [
        migrations.RunSQL(
            f"CREATE INDEX rule_listed ON mappings_mappingrule (kind, {_SORTED}, id, legal_entity_code, value,"
            " connection_code, effective_from, effective_to) WHERE known_to IS NULL",
            "DROP INDEX rule_listed",
        ),
        migrations.RunSQL(
            f"CREATE INDEX rule_replaced ON mappings_mappingrule (kind, {_SORTED}, id) WHERE known_to IS NOT NULL",
            "DROP INDEX rule_replaced",
        ),
        migrations.RunSQL(
            "DROP INDEX rule_key_begins",
            "CREATE INDEX rule_key_begins ON mappings_mappingrule (kind, upper(key) text_pattern_ops)"
            " WHERE known_to IS NULL",
        ),
        migrations.RemoveIndex(model_name="mappingrule", name="rule_known"),
    ]
