"""A receiver gets one message of an alert and round, so that there may be reminders: the new rule first, then the old one
goes. Both are indexes, made and dropped while others write; broken off, it's run again."""

from django.db import migrations, models

TABLE = "exceptions_alertdelivery"


def _state(add, drop):
    return [
        migrations.RemoveConstraint("alertdelivery", drop),
        migrations.AddConstraint("alertdelivery", add),
    ]


def _sql(receiver, new, old):
    made = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {} ON " + TABLE + " ({}) WHERE {} IS NOT NULL"
    drop = "DROP INDEX CONCURRENTLY IF EXISTS {}"
    column = f"{receiver}_id"
    first = made.format(new, f"group_id, what, round, {column}", column)
    former = made.format(old, f"group_id, what, {column}", column)
    return [
        migrations.RunSQL(drop.format(new), migrations.RunSQL.noop),  # what a run that was broken off left of it
        migrations.RunSQL(first, drop.format(new)),
        migrations.RunSQL(drop.format(old), former),
    ]


def _swap(receiver):
    new, old = f"one_message_per_{receiver}_and_round", f"one_alert_per_{receiver}"
    constraint = models.UniqueConstraint(
        fields=["group", "what", "round", receiver],
        condition=models.Q((f"{receiver}__isnull", False)),
        name=new,
    )
    return migrations.SeparateDatabaseAndState(_sql(receiver, new, old), _state(constraint, old))


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("exceptions", "0027_reminders_and_webhooks"),
    ]

    operations = [_swap("person"), _swap("channel")]
