"""`make chaos`: CHAOS_MINUTES (10), CHAOS_SEED (made up and printed), Q2C_CHAOS_PORT, Q2C_CHAOS_SANDBOX_PORT.

The servers come first, since Django's settings are read from the environment; everything else is in `run.py`.
"""

from __future__ import annotations

import base64
import os
import random
import secrets
import shutil
import sys
from pathlib import Path

import django

from q2c.embedded import Embedded
from q2c.processes import take_lock
from tests.chaos import disk


def main() -> int:
    """Run, say what came of it, and return 0 when nothing was found, 1 for findings."""
    seed = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1, 1_000_000))
    minutes = float(os.environ.get("CHAOS_MINUTES") or 10)
    home = Path(os.environ.get("Q2C_HOME") or ".q2c").absolute() / "chaos"
    home.mkdir(parents=True, exist_ok=True)
    lock = take_lock(home / "chaos.lock")
    if lock is None:
        sys.stderr.write(f"Chaos is already running in {home}.\n")
        return 2
    servers = home / "servers"
    disk.take_away(servers)
    for path in home.iterdir():
        if path.name != "chaos.lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    servers.mkdir()
    has_disk = disk.make_small(servers)
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("REDIS_URL", None)
    os.environ |= {
        "Q2C_ENV": "test", "Q2C_HOME": str(home), "DJANGO_SETTINGS_MODULE": "q2c.settings", "PYTHONWARNINGS": "ignore",
        "Q2C_PORT": os.environ.get("Q2C_CHAOS_PORT") or "8300",
        "Q2C_SANDBOX_PORT": os.environ.get("Q2C_CHAOS_SANDBOX_PORT") or "9200", "PYTHONUNBUFFERED": "1",
        # In test mode every process would make up keys of its own.
        "Q2C_SECRET_KEY": secrets.token_urlsafe(32),
        "Q2C_VAULT_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }  # fmt: skip
    log = os.open(home / "servers.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    embedded = Embedded(servers)
    try:
        embedded.start(log)
        os.environ |= embedded.environment | {"DATABASE_URL": embedded.environment["DATABASE_OWNER_URL"]}
        django.setup()
        from tests.chaos.run import run

        return run(embedded, home=home, server_log=log, seed=seed, minutes=minutes, has_disk=has_disk)
    finally:
        embedded.stop()
        disk.take_away(servers)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # threads that wait for a vendor's answer aren't waited for
