"""Every migration behind the last release may run while that release works; what may not is told apart."""

from __future__ import annotations

import pytest
from django.contrib.postgres.functions import RandomUUID
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.models import Q
from django.db.models.functions import Now

from q2c.core.indexes import AddIndexAlongside
from tests.architecture import upgrades
from tests.upgrades.golden import released

INDEX = models.Index(fields=["state"], name="txn_by_state")
CHECK = models.CheckConstraint(condition=Q(line_count__gte=0), name="lines_not_negative")
TXN = "businesstransaction"
REFUSED = {
    "a table goes": migrations.DeleteModel("Seal"),
    "a column goes": migrations.RemoveField(TXN, "number"),
    "a column is renamed": migrations.RenameField(TXN, "number", "document_number"),
    "a column that the last release leaves empty": migrations.AddField(TXN, "channel", models.CharField(max_length=9)),
    "a default of Python's alone": migrations.AddField(TXN, "channel", models.CharField(max_length=9, default="")),
    "another default for each row": migrations.AddField(TXN, "token", models.UUIDField(db_default=RandomUUID())),
    "a column with an index": migrations.AddField(TXN, "token", models.UUIDField(null=True, unique=True)),
    "a narrower column": migrations.AlterField(TXN, "number", models.CharField(max_length=20)),
    "a column that must be filled": migrations.AlterField(TXN, "amount", models.DecimalField(20, 6)),
    "an index that all wait for": migrations.AddIndex(TXN, INDEX),
    "a check of every row": migrations.AddConstraint(TXN, CHECK),
    "SQL that drops": migrations.RunSQL("ALTER TABLE transactions_seal DROP COLUMN at"),
    "SQL that indexes": migrations.RunSQL("CREATE INDEX x ON transactions_seal (at)"),
    "SQL that drops in a block": migrations.RunSQL("DO $$ BEGIN DROP TABLE transactions_seal; END $$"),
    "the same beside a state": migrations.SeparateDatabaseAndState([migrations.RemoveField(TXN, "number")]),
}
TAKEN = {
    "a new table": migrations.CreateModel("Label", [("id", models.BigAutoField(primary_key=True))]),
    "a column that may be empty": migrations.AddField(TXN, "channel", models.CharField(max_length=9, null=True)),
    "a column that the database fills": migrations.AddField(TXN, "since", models.DateTimeField(db_default=Now())),
    "a wider column": migrations.AlterField(TXN, "number", models.CharField(max_length=120)),
    "an index alongside": AddIndexAlongside(TXN, INDEX),
    "a check of new rows": AddConstraintNotValid(TXN, CHECK),
    "out of the code first": migrations.SeparateDatabaseAndState([], [migrations.RemoveField(TXN, "number")]),
    "a function that drops once it's called": migrations.RunSQL(
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE transactions_seal; END $$"
    ),
    "SQL that adds": migrations.RunSQL("CREATE INDEX CONCURRENTLY x ON transactions_seal (at)"),
}


@pytest.fixture(scope="module")
def state():
    loader = MigrationLoader(None)
    return loader.project_state([("transactions", released()["migrations"]["transactions"])])


@pytest.mark.scenario(59, of="releases: stored documents of every flow")
def test_every_migration_behind_the_last_release_may_run_while_it_works():
    found = {
        f"{app}.{name} {operation.describe()}": said
        for app, name, operation, before in upgrades.new_operations()
        if (said := upgrades.faults(app, operation, before))
    }
    assert found == {}


@pytest.mark.parametrize("operation", REFUSED.values(), ids=REFUSED)
def test_what_the_last_release_could_not_bear_is_refused(operation, state):
    assert upgrades.faults("transactions", operation, state)


@pytest.mark.parametrize("operation", TAKEN.values(), ids=TAKEN)
def test_what_only_adds_is_taken(operation, state):
    assert upgrades.faults("transactions", operation, state) == []
