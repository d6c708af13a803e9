"""What production refuses to start with."""

import re

import pytest
from django.conf import settings
from django.db import connection

from connectors.models import Connection
from q2c.core.checks import production_database, production_settings, refuse_unsafe_start
from q2c.core.grants import grant_app_role
from q2c.core.models import Person
from q2c.core.roles import ROLES


@pytest.fixture
def production(settings):
    settings.ENV = "production"
    settings.SECRET_KEY = "given"
    settings.ARE_VAULT_KEYS_MADE_UP = False
    settings.DEBUG = False
    settings.ANCHOR_FILE = "/mnt/anchors/audit.jsonl"
    settings.OWNER_COMMANDS = False
    return settings


@pytest.fixture
def as_app(db):
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = 'q2c_app'")
        if not cursor.fetchone():
            cursor.execute("CREATE ROLE q2c_app")
        grant_app_role("q2c_app")
        cursor.execute("SET LOCAL ROLE q2c_app")
        yield
        cursor.execute("RESET ROLE")


def ids(errors):
    return [error.id for error in errors]


def test_a_fit_production_starts(production, as_app):
    assert production_settings() == []
    assert production_database() == []
    refuse_unsafe_start()


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("SECRET_KEY", "made-up:abc", "q2c.E001"),
        ("ARE_VAULT_KEYS_MADE_UP", True, "q2c.E002"),
        ("DEBUG", True, "q2c.E003"),
        ("ANCHOR_FILE", "", "q2c.E004"),
        ("ANCHOR_FILE", str(settings.HOME / "anchors" / "audit.jsonl"), "q2c.E004"),
        ("ENV", "prod", "q2c.E000"),
    ],
)
def test_unsafe_settings_are_refused(production, name, value, error):
    setattr(production, name, value)
    assert ids(production_settings()) == [error]


def test_a_role_that_owns_the_tables_is_refused(production, db, capsys):
    assert ids(production_database()) == ["q2c.E011"]
    with pytest.raises(SystemExit) as ended:
        refuse_unsafe_start()
    assert ended.value.code == 3
    assert re.search(r"q2c\.E011 The role \S+ owns the portal's tables", capsys.readouterr().err)


def test_no_program_starts_as_the_owner_of_the_tables_by_a_variable(production, as_app, capsys):
    production.OWNER_COMMANDS = True
    with pytest.raises(SystemExit) as ended:
        refuse_unsafe_start()
    assert ended.value.code == 3
    assert "q2c.E015" in capsys.readouterr().err


def test_the_demos_people_are_refused_by_mark_and_by_name(production, as_app):
    person = Person.objects.create(username="ann", email="ann@demo.invalid")
    assert ids(production_database()) == ["q2c.E013"]
    Person.objects.filter(pk=person.pk).update(email="ann@example.com")
    assert production_database() == []
    Person.objects.bulk_create(Person(username=role.code) for role in ROLES)
    assert ids(production_database()) == ["q2c.E013"]


def test_a_sandbox_connection_is_refused(production, as_app):
    Connection.objects.create(code="stripe", name="Stripe", vendor="stripe", base_url="https://x", is_sandbox=True)
    errors = production_database()
    assert [(e.id, e.msg) for e in errors] == [("q2c.E014", "Sandbox connections are present: stripe")]


def test_the_demo_refuses_nothing(settings, db):
    settings.ENV = "demo"
    settings.DEBUG = True
    assert (production_settings(), production_database()) == ([], [])
