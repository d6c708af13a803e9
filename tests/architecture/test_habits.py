"""The habits of the house that a machine can look after."""

import ast
import re

import pytest

from tests.architecture.house import PACKAGES, ROOT, modules, tree

LINES_MAX = 420
LINES_MAX_SANDBOX = 540  # a vendor's sandbox follows the vendor's own chapters
LINES_MAX_SETTINGS = 250
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "manager", "mapper", "views_old"}
ROOMS = ("q2c/core", "q2c/canonical", "q2c/inbox", "q2c/outbox", "q2c/records", "q2c/posting", "q2c/transactions",
         "q2c/flows", "q2c/reconciliation", "q2c/portal", "q2c/api", "exceptions", "mappings", "connectors",
         "connectors/sandbox", "connectors/salesforce", "connectors/stripe", "connectors/netsuite")  # fmt: skip

OURS = {name: path for name, path in modules().items() if ".migrations" not in name}


def test_every_module_says_what_it_is_for():
    silent = [name for name, path in OURS.items() if path.read_text().strip() and not ast.get_docstring(tree(path))]
    assert silent == []


def test_files_are_small():
    sizes = {name: len(path.read_text().splitlines()) for name, path in OURS.items()}
    limits = {name: LINES_MAX_SANDBOX if ".sandbox." in name else LINES_MAX for name in sizes}
    assert {name: size for name, size in sizes.items() if size > limits[name]} == {}
    assert sizes["q2c.settings"] <= LINES_MAX_SETTINGS


def test_no_module_has_a_name_that_says_nothing():
    assert [name for name in OURS if name.rsplit(".", 1)[-1] in FORBIDDEN_NAMES] == []


def test_the_word_exceptions_belongs_to_the_room():
    assert [name for name in OURS if name.endswith(".exceptions")] == []


def test_nothing_is_left_for_later_in_a_comment():
    pattern = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK)\b")
    assert [name for name, path in OURS.items() if pattern.search(path.read_text())] == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_a_page_that_says_where_to_start(room):
    page = ROOT / room / "README.md"
    assert page.exists()
    assert len(page.read_text().splitlines()) <= 80


# Where a date is a person's own: one that they write, the name of a file that they take, what a form begins with.
OWN_DAY = ("mappings.workbench.", "mappings.forms", "exceptions.workbench.", "exceptions.resolving.snoozes",
           "exceptions.sheets.checking")  # fmt: skip


def test_rules_are_never_asked_on_the_day_of_whoever_asks():
    """A request has the person's own time zone, so with `timezone.localdate()` a person would choose which rule says
    who agrees; `mappings.days.rules_today` is the entity's day."""
    rooms = ("mappings.", "exceptions.", "q2c.flows.")
    found = []
    for name, path in OURS.items():
        if name.startswith(rooms) and not name.startswith(OWN_DAY):
            for node in ast.walk(tree(path)):
                word = getattr(node, "attr", None) or getattr(node, "id", None)
                if word in ("localdate", "localtime", "get_current_timezone"):
                    found.append(f"{name}:{node.lineno}")
    assert found == []


def test_money_is_never_a_float():
    """No FloatField anywhere, and no call of float() in the rooms that count money."""
    rooms = ("q2c.posting", "q2c.canonical", "q2c.core.money", "q2c.reconciliation", "q2c.records")
    found = []
    for name, path in OURS.items():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Attribute) and node.attr == "FloatField":
                found.append(f"{name}: FloatField")
            is_float = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"
            if is_float and name.startswith(rooms):
                found.append(f"{name}: float()")
    assert found == []


def test_the_sentence_of_a_problem_names_things_as_people_know_them():
    """Ids belong to the subject; a code word (`rounding_limit`) is said in plain words."""
    said = re.compile(r"\b[a-z]+_[a-z_]+\b")
    found = []
    for name, path in OURS.items():
        if ".sandbox" in name:
            continue
        for node in ast.walk(tree(path)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Problem"):
                continue
            for part in (inner for argument in node.args[2:3] for inner in ast.walk(argument)):
                is_id = isinstance(part, ast.Attribute) and part.attr.endswith("_id")
                if is_id or (isinstance(part, ast.Constant) and said.search(str(part.value))):
                    found.append((name, node.lineno, ast.unparse(part)))
    # What is looked for by its id: of two references that can't both hold, and of a document that nobody knows.
    assert {name for name, _, _ in found} == {"mappings.references", "q2c.reconciliation.restored"}, found


def test_nothing_is_done_behind_the_readers_back():
    """No signal for business effects, no logic in save()."""
    found = []
    for name, path in OURS.items():
        for node in ast.walk(tree(path)):
            if (
                isinstance(node, ast.FunctionDef)
                and node.name == "save"
                and "sandbox" not in name
                and "forms" not in name
            ):
                found.append(f"{name}: save()")
            if isinstance(node, ast.ImportFrom) and node.module == "django.db.models.signals":
                found.append(f"{name}: signals")
    assert found == []


def test_the_four_packages_exist():
    assert [p for p in PACKAGES if not (ROOT / p / "__init__.py").exists()] == []
