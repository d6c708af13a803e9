"""Every value that an installation may set reaches its programs, on one host and on Kubernetes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.architecture.house import ROOT
from tests.architecture.test_kubernetes import mounts_of_no_claim, named

PRODUCTION = (ROOT / "docs" / "production.md").read_text()
DEPLOYMENT = (ROOT / "docs" / "operations" / "deployment.md").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
FURTHER: dict[str, Any] = yaml.safe_load((ROOT / "compose.worker.yaml").read_text())
IMAGE = "q2c-portal:${Q2C_RELEASE:?}"
PORTAL = {name: s for name, s in COMPOSE["services"].items() if s.get("image", "").startswith("q2c-portal")}
OWNERS = "DATABASE_OWNER_URL"
OF_COMPOSE = "| in `.env` | what |"


def documented() -> set[str]:
    """The names in the first column of the table of values."""
    table = PRODUCTION.partition("## Values")[2].partition("\n## ")[0].partition(OF_COMPOSE)[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def of_compose() -> set[str]:
    """The names in the table of what compose asks for besides."""
    table = PRODUCTION.partition(OF_COMPOSE)[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def asked(file: str, *, only_needed: bool = False) -> set[str]:
    """What a compose file takes out of `.env`; or what it doesn't start without."""
    lines = [line.partition(" #")[0] for line in (ROOT / file).read_text().splitlines() if not line.startswith("#")]
    return set(re.findall(r"\$\{(\w+):\?" if only_needed else r"\$\{(\w+)", "\n".join(lines)))


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


def test_whatever_compose_asks_for_has_its_line_in_the_page_of_values():
    for file in ("compose.yaml", "compose.worker.yaml"):
        assert asked(file) - documented() - of_compose() == set(), file
        assert asked(file, only_needed=True) <= documented() | of_compose(), file
    assert of_compose() == asked("compose.yaml") - documented()  # and nothing that it doesn't


def test_a_further_host_of_workers_gets_every_value_and_of_the_stores_passwords_only_its_own_roles():
    here, there = COMPOSE["services"], FURTHER["services"]
    assert set(there) == {"worker-doors", "worker-flows", "beat"}
    stores = {"DATABASE_URL": "${Q2C_DATABASE_URL:?}", "REDIS_URL": "${Q2C_REDIS_URL:?}"}
    for name, service in there.items():
        assert service["environment"] == here[name]["environment"] | stores, name
        assert service["command"] == here[name]["command"]
        assert service["image"] == IMAGE
        assert not {"volumes", "depends_on"} & set(service)
    assert asked("compose.worker.yaml", only_needed=True) == {
        "Q2C_RELEASE", "Q2C_DATABASE_URL", "Q2C_REDIS_URL", "Q2C_SECRET_KEY", "Q2C_VAULT_KEYS", "Q2C_ALLOWED_HOSTS",
    }  # fmt: skip


@pytest.mark.parametrize("services", [PORTAL, FURTHER["services"]], ids=["one host", "a further host"])
def test_compose_gives_its_programs_no_more_rights_than_kubernetes_does(services):
    for name, service in services.items():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), name
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert {each.partition(":")[0] for each in service["tmpfs"]} == mounts_of_no_claim(), name


def test_an_image_is_of_one_release_so_that_the_way_back_has_the_one_before():
    assert {service["image"] for service in PORTAL.values()} == {IMAGE}


def test_what_pages_have_compose_run_is_a_service_of_the_file_that_they_name():
    wanted = re.compile(r"docker compose (?:-f (\S+) )?(?:up|run|build|stop|exec|restart)\b([^`\n#]*)")
    for page in (*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"):
        for file, rest in wanted.findall(page.read_text()):
            services = yaml.safe_load((ROOT / (file or "compose.yaml")).read_text())["services"]
            words = re.sub(r"--scale (\S+)=\d+", r"\1", rest).split(" python ")[0].split(" && ")[0].split()
            named_there = [word for word in words if re.fullmatch(r"[a-z][a-z-]*", word)]
            assert set(named_there) <= set(services), f"{page.name}: {rest}"


def test_every_command_that_pages_name_exists():
    commands = {path.stem for path in ROOT.glob("*/**/management/commands/*.py")}
    commands |= {"check", "migrate", "createsuperuser", "COMMAND"}  # Django's own, and what stands for one
    for page in (*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "operations").glob("*.md")):
        named_there = set(re.findall(r"manage\.py ([A-Za-z_]+)", page.read_text()))
        assert named_there <= commands, page.name


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
