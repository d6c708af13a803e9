"""One migrated database for all workers: the first makes it, each copies it. It's kept for the next run, as long as the
code and the day are the same (the day, as migrating makes the months' partitions)."""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
from pathlib import Path

import django
from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = Path(django.__file__).parents[1]
ROOMS = ("q2c", "connectors", "mappings", "exceptions")
MAKING = "test_template_making"


def use_template() -> None:
    """Have this worker's test database copied from the template; whoever comes first makes it where there's none."""
    template = f"test_template_{digest()}"
    with open(Path(settings.HOME) / "template.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with connection._nodb_cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE 'test_template_%%'")
            found = {name for (name,) in cursor.fetchall()}
            for earlier in found - {template}:
                cursor.execute(f'DROP DATABASE "{earlier}"')
        if template not in found:
            make(template)
    connection.settings_dict["TEST"]["TEMPLATE"] = template


def make(template: str) -> None:
    """Migrate; it gets its name once it's whole, as a run may be killed meanwhile."""
    own, asked = connection.settings_dict["NAME"], connection.settings_dict["TEST"]["NAME"]
    connection.settings_dict["TEST"]["NAME"] = MAKING
    try:
        connection.creation.create_test_db(verbosity=0, autoclobber=True, serialize=False)
    finally:
        connection.close()
        connection.settings_dict["NAME"] = settings.DATABASES["default"]["NAME"] = own
        connection.settings_dict["TEST"]["NAME"] = asked
    with connection._nodb_cursor() as cursor:
        cursor.execute(f'ALTER DATABASE "{MAKING}" RENAME TO "{template}"')


def digest() -> str:
    """Changes with whatever a migrated database may depend on: our code, installed packages, today."""
    found = hashlib.sha256(dt.datetime.now(dt.UTC).date().isoformat().encode())
    found.update(" ".join(sorted(path.name for path in PACKAGES.glob("*.dist-info"))).encode())  # with their versions
    for path in sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        found.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]
