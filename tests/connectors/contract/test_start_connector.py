"""A stamped vendor is a working package: found by looking, honest, and green in its own test."""

import importlib
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command

import connectors
from connectors import checks, registry
from connectors.families import Family
from connectors.management.commands.start_connector import stamped_files


@pytest.fixture
def stamped(tmp_path, monkeypatch):
    call_command(
        "start_connector", "acme", "--name", "Acme Billing", "--family", "billing", "--root", str(tmp_path), verbosity=0
    )
    monkeypatch.setattr(connectors, "__path__", [*connectors.__path__, str(tmp_path / "connectors")])
    importlib.invalidate_caches()
    registry.vendors.cache_clear()
    registry.manifest.cache_clear()
    yield tmp_path
    registry.vendors.cache_clear()
    registry.manifest.cache_clear()
    for name in [n for n in sys.modules if n.startswith("connectors.acme")]:
        del sys.modules[name]


def test_a_stamped_vendor_is_found_by_looking(stamped):
    assert "acme" in registry.vendors()
    assert registry.manifest("acme").name == "Acme Billing"
    assert registry.manifest("acme").families == (Family.BILLING,)


def test_its_client_names_the_verbs_that_are_still_to_do(stamped):
    text = (stamped / "connectors/acme/client.py").read_text()
    for verb in registry.promised(registry.PROMISES[Family.BILLING]):
        assert f"billing: {verb}(" in text


def test_a_family_without_a_verb_does_not_start(stamped):
    says = list(checks.lies("acme", registry.manifest("acme"), registry.client_class("acme")))
    assert says == ["it plays billing without one of its verbs"]


def test_what_is_stamped_is_clean(stamped):
    answer = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--config", "line-length=120", str(stamped)],
        capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout


def test_a_vendor_that_exists_or_has_a_bad_name_is_refused(tmp_path, stamped):
    with pytest.raises(CommandError, match="exists"):
        call_command("start_connector", "acme", "--family", "erp", "--root", str(stamped), verbosity=0)
    with pytest.raises(CommandError, match="package name"):
        call_command("start_connector", "Acme-2", "--family", "erp", "--root", str(tmp_path), verbosity=0)


def test_the_vendors_of_this_house_do_not_lie():
    assert checks.check_vendors(None) == []


def test_every_file_of_a_vendor_is_stamped():
    names = {path.rsplit("/", 1)[1] for path in stamped_files("x", "X", [Family.ERP])}
    assert names == {
        "__init__.py", "manifest.py", "client.py", "inbound.py", "outbound.py", "README.md", "test_client.py",
    }  # fmt: skip
