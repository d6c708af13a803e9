"""A month is asked once more whether anything of it is in use, when nobody can begin to use it any more.

A message that is run again is looked up in its month first, and its key is opened in the same transaction. While the
checksum of a month was reckoned such a transaction could commit, and the month went with a message that was due.
"""

from importlib import import_module

from django.db import migrations

FIRST = import_module("q2c.core.migrations.0006_retention")
BEFORE = import_module("q2c.core.migrations.0014_holds_and_archives")

# What keeps a month without any hold: asked briefly, while everybody waits.
IN_USE = FIRST.IN_USE.replace("q2c_why_kept", "q2c_why_in_use")
# The parent first, as DROP itself locks them. Whoever has looked into the month is waited for, and a hold can't begin.
DROP = BEFORE.DROP.replace(
    "    EXECUTE format('DROP TABLE",
    """    EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', parent);
    EXECUTE format('LOCK TABLE public.%I IN ACCESS EXCLUSIVE MODE', name);
    why := public.q2c_why_in_use(parent, low, high);
    IF why <> '' THEN
        RAISE EXCEPTION '% is kept: %', name, why;
    END IF;
    EXECUTE format('DROP TABLE""",
)


class Migration(migrations.Migration):
    dependencies = [("core", "0016_new_ways_in_wait")]

    operations = [
        migrations.RunSQL(IN_USE, "DROP FUNCTION q2c_why_in_use(text, uuid, uuid)"),
        migrations.RunSQL(DROP, BEFORE.DROP),
    ]
