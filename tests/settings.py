"""The portal's own settings for the tests, with servers of their own when no DATABASE_URL is given.

Read before anything else of Django, in the main thread; xdist's workers and the processes that tests start inherit
what is put into the environment here. Tests run as the tables' owner.
"""

import atexit
import base64
import os
import secrets
from pathlib import Path

from q2c import embedded
from tests.brokers import own_broker

os.environ["Q2C_ENV"] = "test"
os.environ.setdefault("Q2C_HOME", str(Path(__file__).resolve().parent.parent / ".q2c" / "test"))
os.environ.setdefault("Q2C_SECRET_KEY", secrets.token_urlsafe(32))
os.environ.setdefault("Q2C_VAULT_KEYS", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())

_home = Path(os.environ["Q2C_HOME"])
_servers = embedded.missing_servers(_home)
if _servers.wants_postgres or _servers.wants_valkey:
    _home.mkdir(parents=True, exist_ok=True)
    _servers.start(os.open(_home / "servers.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    atexit.register(_servers.stop)
    os.environ.update(_servers.environment)
    if _servers.wants_postgres:
        os.environ["DATABASE_URL"] = os.environ["DATABASE_OWNER_URL"]

if "REDIS_URL" in os.environ:
    os.environ["REDIS_URL"] = own_broker(os.environ["REDIS_URL"], os.environ.get("PYTEST_XDIST_WORKER", ""))

from q2c.settings import *  # noqa: E402, F403 - the servers' addresses come first

# No test pulls the plug: a killed process loses nothing that it committed, and a commit needn't wait for the disk.
DATABASES["default"].setdefault("OPTIONS", {})["options"] = "-c synchronous_commit=off"  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the six people of a journey sign in at once
Path(STATIC_ROOT).mkdir(parents=True, exist_ok=True)  # noqa: F405 - nothing is collected, and WhiteNoise warns of its absence
