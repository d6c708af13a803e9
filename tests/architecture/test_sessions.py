"""Behind a pooler a session lasts for one transaction, and hosts' clocks differ: nothing may be kept in a session, and
no host's own clock decides who holds what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.house import ROOT

ROOMS = ("q2c", "connectors", "mappings", "exceptions")
OUTSIDE = (
    "migrations",
    "sandbox",
    "bench",
    "demo",
    "tests",
)  # not the portal at work, or its owner's direct connection
KEPT_IN_A_SESSION = {
    "an advisory lock of a session": r"\bpg_(try_)?advisory_(lock|unlock)\b",
    "a subscription": r"^\s*(UN)?LISTEN\b",
    "a setting of a session": r"^\s*SET\s+(?!LOCAL\b|CONSTRAINTS\b)(SESSION\s+)?[a-z_.]+\s*(=|\bTO\b)|^\s*SET\s+ROLE\b"
    r"|set_config\([^)]*,\s*false\)",
    "a temporary table": r"\bCREATE\s+(GLOBAL\s+|LOCAL\s+)?TEMP(ORARY)?\b",
    "a cursor": r"^\s*DECLARE\s+\w+\s.*\bCURSOR\b",
    "a prepared statement": r"^\s*(PREPARE|DEALLOCATE|DISCARD)\b",
}
# Connections beside Django's: each follows the same rules, or isn't the portal's.
OWN_CONNECTIONS = {
    "q2c/transactions/workers.py": "the worker's beat, with Django's own parameters",
    "q2c/embedded.py": "asks whether the embedded server answers",
}
SESSIONS = {"q2c/core/indexes.py": "migrations, whose connection never leads through a pooler"}
LEASES = ("available_at", "intent_free_at", "beat_at", "core_lease")
# In the transaction of whoever calls it.
CALLED_IN_ONE = {"q2c/core/archives.py:_batches": "its caller opens the transaction of a month"}
ITS_OWN = {"q2c/flows/backfill": ("due_at", "released_at"), "exceptions/bulk": ("starts_at",)}
_CLOCK = re.compile(r"\b(timezone\.now|datetime\.now|time\.time)\(")


def sources() -> Iterator[tuple[str, str]]:
    """The portal's own modules: where they stand, and their text."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            if not set(OUTSIDE) & set(path.relative_to(ROOT).parts):
                yield str(path.relative_to(ROOT)), path.read_text()


MODULES = dict(sources())


def texts(tree: ast.AST) -> set[str]:
    """Every text in it, the pieces of formatted ones too, without what is prose."""
    owners = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
    found = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return found - {ast.get_docstring(owner, clean=False) or "" for owner in owners}


def functions(text: str) -> Iterator[ast.FunctionDef]:
    """Every function of a module."""
    return (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("what", KEPT_IN_A_SESSION)
def test_no_statement_of_the_portal_keeps_something_in_its_session(what):
    pattern = re.compile(KEPT_IN_A_SESSION[what])
    loose = re.compile(KEPT_IN_A_SESSION[what].replace("^", ""))  # in the module's text a statement stands in quotes
    found = [
        f"{name}: {text.strip()[:80]}"
        for name, source in MODULES.items()
        if name not in SESSIONS and loose.search(source)
        for text in texts(ast.parse(source))
        if pattern.search(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("what", "statement"),
    [
        ("an advisory lock of a session", "SELECT pg_try_advisory_lock(1)"),
        ("a subscription", "LISTEN work"),
        ("a setting of a session", "SET lock_timeout = '1s'"),
        ("a setting of a session", "SELECT set_config('role', 'x', false)"),
        ("a temporary table", "CREATE TEMP TABLE x (id int)"),
        ("a cursor", "DECLARE c NO SCROLL CURSOR FOR SELECT 1"),
        ("a prepared statement", "PREPARE x AS SELECT 1"),
    ],
)
def test_such_a_statement_would_be_found(what, statement):
    assert re.search(KEPT_IN_A_SESSION[what], statement)
    assert not re.search(KEPT_IN_A_SESSION[what], "SET LOCAL enable_sort = off")
    assert not re.search(KEPT_IN_A_SESSION[what], "SELECT pg_advisory_xact_lock(1)")


def test_set_local_stands_in_a_transaction_of_its_own_function():
    found = {
        f"{name}:{function.name}": {
            ast.unparse(item.context_expr)
            for block in ast.walk(function)
            if isinstance(block, ast.With)
            for item in block.items
        }
        for name, source in MODULES.items()
        if "SET LOCAL" in source
        for function in functions(source)
        if any(text.startswith("SET LOCAL") for text in texts(function))
    }
    assert found
    assert {name for name, entered in found.items() if "atomic()" not in entered} == set(CALLED_IN_ONE)


def test_only_known_places_open_a_connection_beside_djangos():
    found = {name for name, source in MODULES.items() if re.search(r"psycopg\.(Connection\.)?connect\(", source)}
    assert found == set(OWN_CONNECTIONS)


def test_no_hosts_own_clock_decides_about_a_lease():
    found = set()
    for name, source in MODULES.items():
        words = [*LEASES, *(w for start, own in ITS_OWN.items() if name.startswith(start) for w in own)]
        lines = source.splitlines()
        if not _CLOCK.search(source) or not any(word in source for word in words):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Assign | ast.Call | ast.Compare):
                said = " ".join(lines[node.lineno - 1 : node.end_lineno])
                if _CLOCK.search(said) and any(word in said for word in words):
                    found.add(f"{name}:{node.lineno} {said.strip()[:80]}")
    assert found == set(), "by the database's clock: q2c.core.clocks"


def test_the_rooms_are_read():
    assert len(MODULES) > 300
