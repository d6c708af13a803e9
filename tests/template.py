"""One migrated database for all of a run's workers: the first makes it, each copies it. The next run drops it."""

from __future__ import annotations

import fcntl
from pathlib import Path

from django.conf import settings
from django.db import connection


def use_template(run: str) -> None:
    """Have this worker's test database copied from the run's template; whoever comes first makes the template."""
    own, template = connection.settings_dict["NAME"], f"test_template_{run[:12]}"
    asked = connection.settings_dict["TEST"]["NAME"]
    with open(Path(settings.HOME) / "template.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with connection._nodb_cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE 'test_template_%%'")
            found = [name for (name,) in cursor.fetchall()]
            for earlier in set(found) - {template}:
                cursor.execute(f'DROP DATABASE "{earlier}"')
        if template not in found:
            connection.settings_dict["TEST"]["NAME"] = template
            try:
                connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
            finally:
                connection.close()
                connection.settings_dict["NAME"] = settings.DATABASES["default"]["NAME"] = own
                connection.settings_dict["TEST"]["NAME"] = asked
    connection.settings_dict["TEST"]["TEMPLATE"] = template
