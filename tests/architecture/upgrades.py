"""What a migration may do while the release before it still works: add, and lock nothing that is large.

Judged are the operations behind the last release (`tests/upgrades/released/release.json`), against the state in which
that release left the models.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, RemoveIndexConcurrently
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models.fields import NOT_PROVIDED
from django.db.models.functions import Now

from q2c.core.indexes import AddIndexAlongside, RemoveIndexAlongside
from tests.upgrades.golden import released

# Tables that grow with every document; partitioned ones are known by their migrations.
LARGE = {
    ("transactions", name)
    for name in ("businesstransaction", "workitem", "crossreference", "externalid", "seal", "dependency",
                 "steprun", "lineagelink", "preparedposting")
} | {("inbox", "inboundkey"), ("inbox", "inboundevent"), ("outbox", "outboxevent"), ("connectors", "exchange"),
     ("records", "goldenrecord"), ("exceptions", "occurrence"), ("core", "auditentry")}  # fmt: skip
_GONE = (migrations.DeleteModel, migrations.RenameModel, migrations.AlterModelTable)
_LOCKS = re.compile(
    r"\b(drop\s+table|drop\s+column|rename\s+(to|column)|alter\s+column\s+\S+\s+(set\s+data\s+)?type|set\s+not\s+null"
    r"|lock\s+table|vacuum\s+full|cluster\b)|create\s+(unique\s+)?index\s+(?!concurrently|if)",
    re.IGNORECASE,
)
# Of a function, which runs when it's called; a DO block runs at once.
_BODY = re.compile(r"(?<=\bAS )\$\$.*?\$\$", re.IGNORECASE | re.DOTALL)
LATER = "the last release still uses it: take it out of the code now, and drop it a release later"


def new_operations() -> Iterator[tuple[str, str, Operation, ProjectState]]:
    """Each operation behind the last release with its app, its migration's name and the state before it."""
    loader = MigrationLoader(None)
    last = [(app, name) for app, name in released()["migrations"].items() if (app, name) in loader.graph.nodes]
    state, known = loader.project_state(last), set()
    for node in last:
        known.update(loader.graph.forwards_plan(node))
    for leaf in sorted(loader.graph.leaf_nodes()):
        for node in loader.graph.forwards_plan(leaf):
            if node in known or node[0] not in released()["migrations"]:
                continue
            known.add(node)
            for operation in loader.graph.nodes[node].operations:
                before = state.clone()
                operation.state_forwards(node[0], state)
                yield node[0], node[1], operation, before


def faults(app: str, operation: Operation, before: ProjectState) -> list[str]:
    """What is wrong with an operation; empty where it may run beside the last release."""
    if isinstance(operation, migrations.SeparateDatabaseAndState):
        return [fault for each in operation.database_operations for fault in faults(app, each, before)]
    if isinstance(operation, migrations.RunSQL):
        return [f"“{found.group(0)}” locks or rewrites" for found in _LOCKS.finditer(_text(operation.sql))]
    name = str(getattr(operation, "model_name", "") or getattr(operation, "name", "")).lower()
    old = str(getattr(operation, "old_name", name)).lower()
    if (app, name) not in before.models and (app, old) not in before.models:
        return []  # of a table that this release makes
    if isinstance(operation, (*_GONE, migrations.RemoveField, migrations.RenameField)):
        return [LATER]
    if isinstance(operation, migrations.AddField):
        return _added(operation.field)
    if isinstance(operation, migrations.AlterField):
        return _altered(before.models[app, name].fields[operation.name], operation.field)
    return _constrained(app, name, operation)


def _text(sql: Any) -> str:
    text = sql if isinstance(sql, str) else " ; ".join(s if isinstance(s, str) else s[0] for s in sql)
    return _BODY.sub("", text)


def _added(field: models.Field[Any, Any]) -> list[str]:
    if field.many_to_many:
        return []
    found = []
    if isinstance(field, models.GeneratedField):
        found.append("a generated column rewrites the table")
    given = field.db_default  # what the last release's INSERT, which doesn't name the column, gets
    if not field.null and given is NOT_PROVIDED and not isinstance(field, models.GeneratedField):
        found.append("the last release adds rows without it: null, or a db_default")
    if isinstance(given, models.Expression) and not isinstance(given, models.Value | Now):
        found.append("a default that is another for each row rewrites the table")
    if field.unique or (field.db_index and field.remote_field is None):
        found.append("its index is built while everybody waits: make it apart, alongside")
    return found


def _altered(old: models.Field[Any, Any], new: models.Field[Any, Any]) -> list[str]:
    found = []
    before, after = old.db_type(connection) or "", new.db_type(connection) or ""
    if before != after and not _is_wider(before, after):
        found.append(f"{before} becomes {after}: that rewrites the table")
    if old.null and not new.null:
        found.append("the last release leaves it empty")
    if new.unique and not old.unique:
        found.append("its index is built while everybody waits")
    return found


def _is_wider(before: str, after: str) -> bool:
    sizes = [re.fullmatch(r"varchar\((\d+)\)", kind) for kind in (before, after)]
    if sizes[0] and after == "text":
        return True
    return bool(sizes[0] and sizes[1] and int(sizes[1][1]) >= int(sizes[0][1]))


def _constrained(app: str, name: str, operation: Operation) -> list[str]:
    is_large = (app, name) in LARGE
    if isinstance(operation, migrations.AddConstraint) and not isinstance(operation, AddConstraintNotValid):
        return ["the whole table is looked through under a lock: AddConstraintNotValid, and validate it later"]
    alongside = (AddIndexAlongside, RemoveIndexAlongside, AddIndexConcurrently, RemoveIndexConcurrently)
    if is_large and isinstance(operation, migrations.AddIndex | migrations.RemoveIndex):
        return [] if isinstance(operation, alongside) else ["on a large table: Add- or RemoveIndexAlongside"]
    return []
