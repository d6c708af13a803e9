"""Every value that an installation may set reaches its programs, on one host and on Kubernetes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import yaml

from tests.architecture.house import ROOT
from tests.architecture.test_kubernetes import named

PRODUCTION = (ROOT / "docs" / "production.md").read_text()
DEPLOYMENT = (ROOT / "docs" / "operations" / "deployment.md").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
PORTAL = {name: s for name, s in COMPOSE["services"].items() if s.get("image") == "q2c-portal"}
OWNERS = "DATABASE_OWNER_URL"


def documented() -> set[str]:
    """The names in the first column of the table of values."""
    table = PRODUCTION.partition("## Values")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def of_the_image() -> set[str]:
    """What the Dockerfile sets, which nobody need repeat."""
    found = re.search(r"^ENV (.*?[^\\])$", (ROOT / "Dockerfile").read_text(), re.M | re.S)
    assert found
    return set(re.findall(r"(\w+)=", found[1]))


def literals(secret: str) -> set[str]:
    """What the page has one put into this secret of Kubernetes."""
    found = re.search(rf"create secret generic {secret} ((?:.*\\\n)*.*)", DEPLOYMENT)
    assert found
    return set(re.findall(r"--from-literal=(\w+)=", found[1]))


def test_every_value_reaches_every_service_of_compose_and_the_owners_the_migration_alone():
    wanted = documented() - of_the_image()
    assert set(PORTAL) == {"migrate", "web", "worker-doors", "worker-flows", "worker-reconciliation", "beat"}
    for name, service in PORTAL.items():
        assert set(service["environment"]) == (wanted if name == "migrate" else wanted - {OWNERS}), name
        assert ("OWNER" in str(service)) is (name == "migrate")


def test_every_value_reaches_every_program_on_kubernetes_and_the_owners_the_migration_alone():
    plain, shared, own = set(named("ConfigMap", "q2c")["data"]), literals("q2c"), literals("q2c-owner")
    assert own == {OWNERS}
    assert not plain & shared
    assert plain | shared | own | of_the_image() == documented() | of_the_image()


def test_every_value_that_the_programs_read_is_documented():
    read = set()
    for path in (*ROOT.glob("q2c/*.py"), *(ROOT / "q2c" / "core").glob("*.py")):
        if path.name not in ("launch.py", "embedded.py", "servers.py", "supervisor.py", "processes.py"):
            read |= set(re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", path.read_text()))
    of_others = {"DJANGO_SETTINGS_MODULE", "Q2C_HOME", "Q2C_STATIC_ROOT"}  # the image's
    of_the_demo = {"Q2C_PORT", "Q2C_SANDBOX_PORT", "Q2C_DEBUG", "Q2C_AS_OWNER"}
    assert read - documented() - of_others - of_the_demo == set()


def test_what_compose_mounts_is_declared_or_a_folder_of_the_host():
    for name, service in COMPOSE["services"].items():
        for mount in service.get("volumes", ()):
            if isinstance(mount, dict):
                assert (mount["type"], mount["bind"]) == ("bind", {"create_host_path": False})
            else:
                source = mount.partition(":")[0]
                assert source.startswith("./") or source in COMPOSE["volumes"], f"{name}: {mount}"


def read(**given: str) -> dict[str, str]:
    """What production makes of these values."""
    ask = (
        "import json; from django.conf import settings; from q2c import web_server;"
        "print(json.dumps({n: str(getattr(m, n)) for m in (settings, web_server) for n in dir(m)"
        " if n.isupper() and n != 'LOGGING' or n in ('workers', 'threads', 'bind')}"
        " | {'level': settings.LOGGING['root']['level']}))"
    )
    kept = {name: value for name, value in os.environ.items() if not re.match("Q2C_|PROM|OTEL|DATABASE|REDIS", name)}
    given |= {"DJANGO_SETTINGS_MODULE": "q2c.settings", "Q2C_SECRET_KEY": "x" * 50, "Q2C_VAULT_KEYS": "a" * 43 + "="}
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=ROOT, env=kept | given, capture_output=True, text=True, timeout=300, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_an_empty_value_counts_as_not_given():
    needed = {"Q2C_ENV", "Q2C_SECRET_KEY", "Q2C_VAULT_KEYS", "DATABASE_URL", OWNERS, "REDIS_URL"}
    empty, missing = read(**dict.fromkeys(documented() - needed, "")), read()
    assert missing["ENV"] == "production"
    assert {name for name in missing if empty[name] != missing[name]} == set()
