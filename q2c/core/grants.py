"""What the role that the portal runs as may do: everything that it needs, and nothing to what is append-only.

Triggers refuse changes to everybody, but a session setting switches pgtrigger's off: it's made to work for the tables'
owner only, and what may never change isn't granted either. Partitions get no grants of their own: whoever may use the
parent reaches them through it.
"""

from __future__ import annotations

import pgtrigger
from django.apps import apps
from django.db import connection, models, transaction
from psycopg import sql

# pgtrigger asks this function whether a session has switched a trigger off. Its own version says yes to anybody, ours
# to whoever owns the tables. pgtrigger lays its own down with each migration, so this stands again with each grant.
_OWNER_MAY_IGNORE = """
    CREATE OR REPLACE FUNCTION public._pgtrigger_should_ignore(trigger_name NAME) RETURNS BOOLEAN AS $$
        DECLARE
            ignored TEXT := current_setting('pgtrigger.ignore', true);
        BEGIN
            IF coalesce(ignored, '') = '' THEN
                RETURN FALSE;
            END IF;
            RETURN trigger_name = ANY(ignored::text[]) AND pg_has_role(
                (SELECT relowner FROM pg_class WHERE oid = 'public.core_auditentry'::regclass), 'MEMBER');
        END;
    $$ LANGUAGE plpgsql
"""
FUNCTIONS = ("q2c_make_partitions", "q2c_drop_partition")  # run with the owner's rights


def append_only_tables() -> list[str]:
    """Tables whose rows are never changed: those of models that are protected so, and every history."""
    found = []
    for model in apps.get_models():
        refused = refused_operations(model)
        if {"UPDATE", "DELETE"} <= refused or hasattr(model, "history_change_reason"):
            found.append(model._meta.db_table)
    return sorted(found)


def undeletable_tables() -> list[str]:
    """Tables whose rows may change but not go."""
    return sorted(m._meta.db_table for m in apps.get_models() if refused_operations(m) == {"DELETE"})


def changeable_columns() -> dict[str, list[str]]:
    """Tables of which only some columns may change, with those: what is signed or in force stays as it is."""
    found: dict[str, list[str]] = {}
    for model in apps.get_models():
        for trigger in getattr(model._meta, "triggers", ()):
            if isinstance(trigger, pgtrigger.ReadOnly):
                may_change = set(trigger.exclude or ())
                columns = {field.name: str(field.column) for field in model._meta.concrete_fields}
                found[model._meta.db_table] = sorted(columns[name] for name in may_change)
    return found


def refused_operations(model: type[models.Model]) -> set[str]:
    """The operations that the model's triggers refuse without a condition."""
    refused: set[str] = set()
    for trigger in getattr(model._meta, "triggers", ()):
        if (
            isinstance(trigger, pgtrigger.Protect)
            and not isinstance(trigger, pgtrigger.ReadOnly)
            and not trigger.condition
        ):
            refused |= set(str(trigger.operation).split(" OR "))
    return refused


@transaction.atomic
def grant_app_role(role: str) -> int:
    """Grant the role what the portal needs, as the tables' owner; returns the number of tables. Safe to repeat."""
    append_only, undeletable, changeable = append_only_tables(), undeletable_tables(), changeable_columns()
    with connection.cursor() as cursor:
        cursor.execute(_OWNER_MAY_IGNORE)
        name = sql.Identifier(role)
        for statement in (
            "GRANT USAGE ON SCHEMA public TO {}",
            "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}",
            "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {}",
        ):
            cursor.execute(sql.SQL(statement).format(name))
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p', 'v') AND NOT relispartition ORDER BY relname"
        )
        tables = [row[0] for row in cursor.fetchall()]
        for table in tables:
            rights = "SELECT, INSERT, UPDATE, DELETE"
            if table in append_only:
                rights = "SELECT, INSERT"
            elif table in undeletable:
                rights = "SELECT, INSERT, UPDATE"
            elif table == "django_migrations":
                rights = "SELECT"
            if table in changeable:
                columns = sql.SQL(", ").join(map(sql.Identifier, changeable[table]))
                cursor.execute(sql.SQL("GRANT UPDATE ({}) ON {} TO {}").format(columns, sql.Identifier(table), name))
                rights = rights.replace(", UPDATE", "")
            cursor.execute(sql.SQL(f"GRANT {rights} ON {{}} TO {{}}").format(sql.Identifier(table), name))
        for function in FUNCTIONS:
            identifier = sql.Identifier(function)
            cursor.execute(sql.SQL("REVOKE ALL ON FUNCTION {} FROM PUBLIC").format(identifier))
            cursor.execute(sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(identifier, name))
    return len(tables)
